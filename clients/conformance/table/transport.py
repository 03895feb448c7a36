"""Sockets, proxies, timeouts: what lies between a client and its sidecar."""

import time

from certificates import KEY_FORMS, Authority
from wire import Wire
from world import eventually, free_port

from . import behaviour


@behaviour
def unix_socket(world):
    """LOCKSIDE_URL may name a unix socket; a hold there survives a restart, and its release is confirmed."""
    sidecar = world.sidecar(unix=True)
    driver = world.driver()
    lease = driver.acquire("a", ttl_ms=6000)
    sidecar.kill()
    time.sleep(1)
    sidecar.start()
    time.sleep(5.5)
    driver.check("a")
    assert sidecar.token("a") == lease["token"]
    assert driver.release("a")["confirmed"] is True
    assert sidecar.is_free("a")
    driver.assert_none_lost()


@behaviour
def tls(world):
    """LOCKSIDE_URL may be https: LOCKSIDE_CA_FILE verifies the sidecar, LOCKSIDE_CERT_FILE and LOCKSIDE_KEY_FILE are the client's
    certificate. A hold there is renewed, survives a restart, and is told of a force-release; so is a watch of it."""
    sidecar, url, env, _ = _with_tls(world)
    driver = world.driver(url=url, env=env)
    lease = driver.acquire("a", ttl_ms=6000)
    driver.acquire("b", ttl_ms=30_000)
    driver.watch("w", key="b")
    eventually(10, "the watch has the state", lambda: len(driver.told("w")) == 2)
    time.sleep(4)
    driver.check("a")
    sidecar.kill()
    time.sleep(0.5)
    sidecar.start()
    time.sleep(5.5)
    driver.check("a")
    assert sidecar.token("a") == lease["token"]
    driver.assert_none_lost()
    sidecar.force("b")
    driver.lost("b", within=10)
    assert driver.release("a")["confirmed"] is True
    assert sidecar.is_free("a")


@behaviour
def tls_of_others(world):
    """A sidecar that another CA verifies, or under another name, is not spoken to; a client without a certificate is refused."""
    _, url, env, _ = _with_tls(world)
    strange = Authority(world.directory, "strange")
    without = {"LOCKSIDE_CA_FILE": env["LOCKSIDE_CA_FILE"]}
    for url, env in [
        (url, {**env, "LOCKSIDE_CA_FILE": str(strange.file)}),
        (url.replace("localhost", "127.0.0.1"), env),
        (url, without),
    ]:
        refusal = world.driver(url=url, env=env).start_acquire("a").refusal()
        assert refusal.type in ("unavailable", "unknown"), refusal


@behaviour
def tls_keys(world):
    """The key of the client's certificate may be PKCS#8, PKCS#1 or SEC 1, as different tools write it."""
    _, url, env, authority = _with_tls(world)
    for form in KEY_FORMS:
        certificate, key = authority.issue(form.replace(" ", "-"), "URI:spiffe://test/job", form)
        own = {"LOCKSIDE_CERT_FILE": str(certificate), "LOCKSIDE_KEY_FILE": str(key)}
        assert world.driver(url=url, env={**env, **own}).acquire(form)["token"], form


def _with_tls(world):
    """A sidecar that asks for client certificates, its URL, what finds it there, and the CA."""
    authority, port = Authority(world.directory), free_port()
    certificate, key = authority.issue("sidecar", "DNS:localhost")
    sidecar = world.sidecar(
        "--listen", f"tls:127.0.0.1:{port}", "--tls-cert-file", str(certificate), "--tls-key-file", str(key),
        "--tls-client-ca-file", str(authority.file),
    )
    certificate, key = authority.issue("client", "URI:spiffe://test/job")
    env = {
        "LOCKSIDE_CA_FILE": str(authority.file), "LOCKSIDE_CERT_FILE": str(certificate), "LOCKSIDE_KEY_FILE": str(key)
    }
    return sidecar, f"https://localhost:{port}", env, authority


@behaviour
def url_in_the_program(world):
    """A URL that the program gives wins over LOCKSIDE_URL."""
    sidecar = world.sidecar()
    driver = world.driver(env={"LOCKSIDE_URL": "http://127.0.0.1:9"}, settings={"url": sidecar.url})
    driver.acquire("a")
    assert sidecar.holder("a")


@behaviour
def no_proxy(world):
    """Proxy settings of the environment are for the internet: none is ever asked for the sidecar."""
    sidecar = world.sidecar()
    proxy = Wire(sidecar.port)
    world.closers.append(proxy.close)
    names = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    host, port = proxy.url.removeprefix("http://").split(":")
    env = {
        **{name: proxy.url for name in names},
        "NO_PROXY": "", "no_proxy": "", "NODE_USE_ENV_PROXY": "1",
        "JAVA_TOOL_OPTIONS": f"-Dhttp.proxyHost={host} -Dhttp.proxyPort={port} -Dhttp.nonProxyHosts= "
        f"-DsocksProxyHost={host} -DsocksProxyPort={port} -DsocksNonProxyHosts=",
    }
    driver = world.driver(env=env)
    lease = driver.acquire("a")
    assert sidecar.token("a") == lease["token"]
    driver.release("a")
    driver.watch("w", key="a")
    eventually(10, "the watch has the state", lambda: len(driver.told("w")) == 2)
    assert not proxy.heads and not proxy.open, proxy.heads


@behaviour
def idle_timeouts(world):
    """The ecosystem's timeouts for idle connections, at 700 ms, end neither a hold nor a wait: lines come every 2 s."""
    sidecar = world.sidecar()
    wire = Wire(sidecar.port)
    world.closers.append(wire.close)
    driver = world.driver(url=wire.url, settings={"idleTimeoutMs": 700})
    lease = driver.acquire("a", ttl_ms=60_000)
    token = sidecar.take("b", ttl_ms=60_000)
    waiting = driver.start_acquire("b", wait_ms=30_000)
    time.sleep(7)
    driver.check("a")
    assert sidecar.token("a") == lease["token"]
    assert not waiting.done.is_set(), waiting.content
    sidecar.release("b", token)
    waiting.result(5)
    driver.assert_none_lost()
    # Neither of them was sent again, which would be at the end of the queue.
    for key in "ab":
        assert len(wire.headers("Host", f"/v1/locks/{key}/hold")) == 1, wire.heads
    assert driver.release("a")["confirmed"] is True


@behaviour
def bytes_one_by_one(world):
    """Lines that come in pieces are lines all the same."""
    sidecar = world.sidecar()
    wire = Wire(sidecar.port, lambda number, head: "dribble")
    world.closers.append(wire.close)
    driver = world.driver(url=wire.url)
    token = sidecar.take("a", ttl_ms=60_000)
    waiting = driver.start_acquire("a", ttl_ms=3000, wait_ms=30_000)
    eventually(5, "it waits", lambda: sidecar.state("a")["waiters"] == 1)
    sidecar.release("a", token)
    lease = waiting.result(10)
    time.sleep(6)
    driver.check("a")
    driver.assert_none_lost()
    assert sidecar.token("a") == lease["token"]
    driver.release("a")


@behaviour
def connection_reset(world):
    """A hold whose connection breaks while its sidecar lives is released by it: lost at once, and no other lease kept."""
    sidecar = world.sidecar()
    wire = Wire(sidecar.port)
    world.closers.append(wire.close)
    driver = world.driver(url=wire.url)
    lease = driver.acquire("a", ttl_ms=15_000)
    wire.cut()
    # Whether the sidecar or the client is first, the lock is either the same one, or lost and free.
    time.sleep(2)
    lost = [event for event in driver.seen if event["event"] == "lost"]
    if lost:
        eventually(2, "the key is free", lambda: sidecar.is_free("a"))
        assert driver.send("check", lock="a").refusal().type == "lost"
    else:
        driver.check("a")
        assert sidecar.token("a") == lease["token"]
        driver.release("a")
        assert sidecar.is_free("a")


@behaviour
def meta(world):
    """`meta` comes back as it was given, where the holder is shown."""
    driver, sidecar = world.driver(), world.sidecar()
    driver.acquire("a", meta={"job": "night", "n": [1, 2, None], "ü": "ß"})
    assert sidecar.holder("a")["meta"] == {"job": "night", "n": [1, 2, None], "ü": "ß"}
