"""One holder, no trouble."""

import os
import socket
import time

from world import eventually

from . import behaviour


@behaviour
def acquire_and_release(world):
    """A lock is held after acquire, and free when release returns: not a moment later."""
    driver, sidecar = world.driver(), world.sidecar()
    lease = driver.acquire("night/report")
    holder = sidecar.holder("night/report")
    assert holder and holder["token"] == lease["token"], (holder, lease)
    driver.check("night/report")
    assert driver.release("night/report")["confirmed"] is True
    assert sidecar.is_free("night/report")
    driver.assert_none_lost()


@behaviour
def owner_is_host_and_pid(world):
    """Without a name of its own a lock's owner is HOST/PID, and a given name is taken as it is."""
    driver, sidecar = world.driver(), world.sidecar()
    driver.acquire("a")
    assert sidecar.holder("a")["owner"] == f"{socket.gethostname()}/{driver.pid}", sidecar.holder("a")
    lease = driver.acquire("b", owner="importer-7")
    assert lease["owner"] == sidecar.holder("b")["owner"] == "importer-7"


@behaviour
def keys_are_encoded(world):
    """A key is what its caller says, whatever characters are in it."""
    driver, sidecar = world.driver(), world.sidecar()
    for key in ("a/b", "a b?c#d&e=f", "100%", "%2F", "ключ:ü", "..", "a+b"):
        driver.acquire(key)
        assert sidecar.holder(key), key
        driver.release(key)
        assert sidecar.is_free(key), key


@behaviour
def tokens_rise(world):
    """Each grant of a key has a higher token than the one before."""
    driver = world.driver()
    tokens = []
    for _ in range(5):
        tokens.append(driver.acquire("a")["token"])
        driver.release("a")
    assert tokens == sorted(set(tokens)) and all(type(token) is int for token in tokens), tokens


@behaviour
def held_says_by_whom(world):
    """An acquire that does not wait is refused at once where the key is held, with its holder."""
    driver, sidecar = world.driver(), world.sidecar()
    token = sidecar.take("a", owner="importer-7")
    start = time.monotonic()
    refusal = driver.start_acquire("a").refusal()
    assert time.monotonic() - start < 2
    assert (refusal.type, refusal.code, refusal.outcome) == ("held", "held", "not-applied"), refusal
    assert (refusal.holder["owner"], refusal.holder["token"]) == ("importer-7", token), refusal


@behaviour
def held_by_the_same_process_is_held(world):
    """A second acquire by the same process is refused like a stranger's: a lock is not re-entrant by accident."""
    driver = world.driver()
    driver.acquire("a")
    assert driver.start_acquire("a", lock="again").refusal().type == "held"
    driver.check("a")


@behaviour
def renewed_for_as_long_as_it_is_held(world):
    """Work may take several times the ttl."""
    driver, sidecar = world.driver(), world.sidecar()
    lease = driver.acquire("a", ttl_ms=2000)
    end = time.monotonic() + 7
    while time.monotonic() < end:
        driver.check("a")
        assert sidecar.token("a") == lease["token"]
        time.sleep(0.1)
    driver.release("a")
    driver.assert_none_lost()


@behaviour
def two_hundred_reacquires(world):
    """200 times acquire and release in a row, without waiting: not one refusal."""
    driver = world.driver()
    done = driver.call("cycle", within=80, key="a", ttlMs=3000, count=200)
    assert done["refusals"] == 0, done


@behaviour
def handed_from_process_to_process(world):
    """What one process has released another one gets without waiting, 30 times in turn."""
    drivers = [world.driver(), world.driver()]
    for turn in range(30):
        drivers[turn % 2].acquire("a")
        drivers[turn % 2].release("a")


@behaviour
def check_after_release_is_no(world):
    """A released lock is not held: check says lost, reason released, and no signal of loss is given."""
    driver = world.driver()
    driver.acquire("a")
    driver.release("a")
    refusal = driver.send("check", lock="a").refusal()
    assert (refusal.type, refusal.reason) == ("lost", "released"), refusal
    driver.assert_none_lost()


@behaviour
def refused_for_good(world):
    """What the sidecar calls a bad request is an error of its own, at once, also where the acquire would wait."""
    driver = world.driver()
    start = time.monotonic()
    refusal = driver.start_acquire("a", ttl_ms=10**12, wait_ms=20_000).refusal()
    assert (refusal.type, refusal.code, refusal.outcome) == ("refused", "bad-request", "not-applied"), refusal
    assert time.monotonic() - start < 5


@behaviour
def credential(world):
    """Where the sidecar wants a credential, the one in LOCKSIDE_TOKEN_FILE is sent; without it: refused, unauthorized."""
    secret = world.directory / "api-token"
    secret.write_text("a-token-of-this-test-that-is-long-enough\n")
    secret.chmod(0o600)
    world.credentials = {"Authorization": f"Bearer {secret.read_text().strip()}"}
    world.sidecar("--api-token-file", secret)
    refusal = world.driver().start_acquire("a", wait_ms=20_000).refusal()
    assert (refusal.type, refusal.code) == ("refused", "unauthorized"), refusal
    driver = world.driver(env={"LOCKSIDE_TOKEN_FILE": str(secret)})
    driver.acquire("a")
    driver.release("a")
    assert world.sidecar().is_free("a")


@behaviour
def nothing_is_left_open(world):
    """After many locks a client has as many file descriptors as after the first few."""
    driver = world.driver()
    count = lambda: len(os.listdir(f"/proc/{driver.pid}/fd"))
    driver.call("cycle", within=60, key="a", ttlMs=3000, count=20)
    before = count()
    driver.call("cycle", within=60, key="a", ttlMs=3000, count=60)
    eventually(5, f"no more than {before} descriptors", lambda: count() <= before)
