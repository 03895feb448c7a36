"""Watching: what a client tells of a key or of a prefix, and what it cannot watch."""

import http.client
import time

from wire import Wire
from world import eventually

from . import behaviour


def types(driver, name="w") -> list:
    return [event["type"] for event in driver.told(name)]


def sees(driver, *expected, within: float = 10, name="w", since=0) -> list:
    """The events after the first `since`, once these types have come, in this order and no other."""
    try:
        eventually(within, "", lambda: len(types(driver, name)) >= since + len(expected))
    except AssertionError:
        pass
    told = driver.told(name)[since:]
    assert [event["type"] for event in told] == list(expected), f"{told}; all: {driver.seen[-20:]}"
    return told


def watching(driver, *states, **what) -> int:
    """Begins to watch, and waits for the state; how many events came."""
    driver.watch("w", **what)
    return len(sees(driver, *states, "synced"))


def ended(driver, name="w", within: float = 10) -> dict:
    def ends():
        return [event for event in driver.seen if event["event"] == "ended" and event["watch"] == name]

    eventually(within, "the watch ends", ends)
    return ends()[0]


@behaviour
def a_key_from_its_state_on(world):
    """First the state, then each change with its token, its holder and its waiters; a renewal is none."""
    driver, sidecar, other = world.driver(), world.sidecar(), world.other()
    driver.watch("w", key="a/b c")
    state, synced = sees(driver, "state", "synced")
    assert (state["key"], state["state"], state["token"], state["holder"], state["waiters"]) == ("a/b c", "free", 0, None, 0), state
    assert (synced["key"], synced["token"]) == (None, None), synced
    token = other.take("a/b c", owner="importer-7")
    granted, = sees(driver, "granted", since=2)
    assert (granted["key"], granted["token"], granted["waiters"]) == ("a/b c", token, 0), granted
    assert granted["holder"] == {"owner": "importer-7", "token": token, "mode": "exclusive", "limit": None, "state": None}, granted
    other.ask("PUT", f"/v1/locks/a%2Fb%20c?token={token}", {"ttlMs": 30_000})
    other.release("a/b c", token)
    released, = sees(driver, "released", since=3)
    assert (released["token"], released["holder"], released["state"]) == (token, None, None), released
    short = sidecar.take("a/b c", ttl_ms=300)
    long = sees(driver, "granted", "expired", since=4)
    assert [event["token"] for event in long] == [short, short], long
    forced = sidecar.take("a/b c")
    sees(driver, "granted", since=6)
    other.force("a/b c")
    assert sees(driver, "forced", since=7)[0]["token"] == forced


@behaviour
def a_key_that_is_held_and_rests(world):
    """A key that is held is told with its holder; a release that leaves it resting says so, and its end is an expiry."""
    driver, sidecar = world.driver(), world.sidecar()
    token = sidecar.take("a")
    driver.watch("w", key="a")
    state, _ = sees(driver, "state", "synced")
    assert (state["state"], state["token"], state["holder"]["owner"]) == ("held", token, "rival"), state
    status, _ = sidecar.ask("DELETE", f"/v1/locks/a?token={token}&restMs=700")
    assert status == 204, status
    released, expired = sees(driver, "released", "expired", since=2)
    assert (released["state"], released["holder"]["token"]) == ("resting", token), released
    assert expired["token"] == token, expired


@behaviour
def a_share_that_rests(world):
    """Of those who share a key each has its state, and one that rests says so when it is released; one who has it alone has none."""
    driver, sidecar = world.driver(), world.sidecar()
    first, second = (sidecar.take("a", mode="shared") for _ in range(2))
    sidecar.take("b")
    driver.watch("w", key="a")
    state, _ = sees(driver, "state", "synced")
    assert [holder["state"] for holder in state["holders"]] == ["held", "held"], state
    status, _ = sidecar.ask("DELETE", f"/v1/locks/a?token={second}&restMs=60000")
    assert status == 204, status
    (released,) = sees(driver, "released", since=2)
    assert (released["state"], released["holder"]["token"], released["holder"]["state"]) == ("resting", second, "resting"), released
    driver.watch("prefix", prefix="")
    of_a, of_b, _ = sees(driver, "state", "state", "synced", name="prefix")
    assert [(holder["token"], holder["state"]) for holder in of_a["holders"]] == [(first, "held"), (second, "resting")], of_a
    assert (of_a["state"], of_b["state"], of_b["holder"]["state"]) == ("held", "held", None), of_b


@behaviour
def a_prefix(world):
    """The locks with a prefix, and no others; the prefix is taken as it is written."""
    driver, sidecar = world.driver(), world.sidecar()
    held = {key: sidecar.take(key) for key in ("jobs/50% & more", "jobs/b", "other/a")}
    driver.watch("w", prefix="jobs/")
    *states, _ = sees(driver, "state", "state", "synced")
    assert {event["key"]: event["token"] for event in states} == {key: held[key] for key in ("jobs/50% & more", "jobs/b")}, states
    driver.watch("narrow", prefix="jobs/50% &")
    assert sees(driver, "state", "synced", name="narrow")[0]["key"] == "jobs/50% & more"
    driver.watch("all", prefix="")
    sees(driver, "state", "state", "state", "synced", name="all")
    sidecar.take("other/b")
    sees(driver, "granted", name="all", since=4)
    sidecar.take("jobs/c")
    assert sees(driver, "granted", since=3)[0]["key"] == "jobs/c"
    sidecar.release("jobs/b", held["jobs/b"])
    assert sees(driver, "released", since=4)[0]["key"] == "jobs/b"
    sees(driver, "granted", "granted", "released", name="all", since=4)


@behaviour
def a_prefix_of_many(world):
    """Each of many locks is told once, however the stream is cut on its way."""
    driver, sidecar = world.driver(), world.sidecar()
    tokens = {}
    for number in range(200):
        body = {"ttlMs": 60_000, "owner": f"owner-{number}", "meta": "x" * (number * 5)}
        status, lease = sidecar.ask("POST", f"/v1/locks/many-{number}", body)
        assert status == 201, lease
        tokens[f"many-{number}"] = lease["token"]
    driver.watch("w", prefix="many-")
    *states, _ = sees(driver, *["state"] * 200, "synced")
    assert {event["key"]: event["token"] for event in states} == tokens
    assert {event["holder"]["owner"] for event in states} == {f"owner-{number}" for number in range(200)}


@behaviour
def a_hand_over(world):
    """A waiter is seen, and then that it has the lock."""
    driver, sidecar = world.driver(), world.sidecar()
    before = sidecar.take("a")
    since = watching(driver, "state", key="a")
    waiting = driver.start_acquire("a", wait_ms=30_000)
    told, = sees(driver, "waiting", since=since)
    assert (told["key"], told["token"], told["waiters"]) == ("a", before, 1), told
    sidecar.release("a", before)
    lease = waiting.result()
    eventually(5, "the grant is seen", lambda: types(driver)[-1] in ("granted", "waiting") and "granted" in types(driver))
    granted = [event for event in driver.told("w") if event["type"] == "granted"]
    assert [event["token"] for event in granted] == [lease["token"]], granted
    holder = {**{name: lease[name] for name in ("owner", "token", "mode", "limit")}, "state": None}
    assert granted[0]["holder"] == holder, granted
    driver.release("a")


@behaviour
def what_cannot_be_watched(world):
    """A key that is not valid, and a URL of something else, are an error at once, and are not asked for again."""
    sidecar = world.sidecar()
    wire = Wire(sidecar.port)
    world.closers.append(wire.close)
    driver = world.driver(url=wire.url)
    driver.watch("w", key="x" * 2000)
    error = ended(driver)["error"]
    assert (error["type"], error["code"], error["outcome"]) == ("refused", "bad-request", "not-applied"), error
    time.sleep(2.5)
    assert len(wire.heads) == 1 and driver.told("w") == [], wire.heads


@behaviour
def a_credential(world):
    """A watch sends the credential in LOCKSIDE_TOKEN_FILE, which it reads again for each stream; a wrong one is an error, at once."""
    secret = world.directory / "api-token"
    secret.write_text("a-token-of-this-test-that-is-long-enough\n")
    secret.chmod(0o600)
    shown = world.directory / "shown"
    shown.write_text(secret.read_text())
    world.credentials = {"Authorization": f"Bearer {secret.read_text().strip()}"}
    sidecar = world.sidecar("--api-token-file", secret, "--anonymous", "none")
    wire = Wire(sidecar.port)
    world.closers.append(wire.close)
    driver = world.driver(url=wire.url, env={"LOCKSIDE_TOKEN_FILE": str(shown)})
    since = watching(driver, "state", key="a")
    shown.write_text("a-token-that-the-sidecar-does-not-know-of\n")
    wire.cut()
    error = ended(driver)["error"]
    assert (error["type"], error["code"]) == ("refused", "unauthorized"), error
    sees(driver, "gap", since=since)
    time.sleep(2.5)
    assert len(wire.heads) == 2, wire.heads


@behaviour
def closing_frees_the_seat(world):
    """A watch that is closed ends its stream at once, also while it waits to connect again, and tells nothing more."""
    driver, sidecar = world.driver(), world.sidecar()
    since = watching(driver, "state", key="a")
    assert sidecar.metric("lockside_watchers") == 1
    driver.call("unwatch", within=2, watch="w")
    assert ended(driver)["error"] is None
    eventually(2, "no stream is open", lambda: sidecar.metric("lockside_watchers") == 0)
    sidecar.take("a")
    driver.watch("again", key="a")
    sees(driver, "state", "synced", name="again")
    sidecar.kill()
    sees(driver, "state", "synced", "gap", name="again")
    time.sleep(1.5)
    driver.call("unwatch", within=2, watch="again")
    assert ended(driver, "again")["error"] is None
    assert len(driver.told("w")) == since, driver.told("w")


def asks_again(world, sidecar):
    """Watches a key at a sidecar whose one seat is taken, which is free once it was refused and has asked again."""
    wire = Wire(sidecar.port)
    world.closers.append(wire.close)
    driver = world.driver(url=wire.url)
    seat = http.client.HTTPConnection("127.0.0.1", sidecar.port, timeout=5)
    seat.request("GET", "/v1/locks/other/events")
    response = seat.getresponse()
    assert response.status == 200
    driver.watch("w", key="a")
    eventually(5, "it was refused and asks again", lambda: len(wire.heads) >= 2)
    assert driver.told("w") == []
    response.close()
    seat.close()
    sees(driver, "state", "synced", within=15)


@behaviour
def too_many_watchers(world):
    """A sidecar without a seat is asked again after its Retry-After, as one that is not available."""
    asks_again(world, world.sidecar("--max-watchers", "1"))


@behaviour
def beyond_a_quota(world):
    """A sidecar at which the caller may watch no more is asked again after its Retry-After."""
    sidecar = world.sidecar("--caller-waiters", "1")
    asks_again(world, sidecar)
    assert sidecar.metric("lockside_quota_exceeded_total") >= 2


@behaviour
def a_slow_reader(world):
    """A program that stops reading costs no memory in the client: what it cannot take stays at the sidecar, as a gap; then the
    last state is right."""
    sidecar = world.sidecar(unix=True)
    driver = world.driver()
    since = watching(driver, "state", key="a")
    driver.call("stall", watch="w")
    body = {"ttlMs": 30_000, "owner": "rival", "meta": "x" * 900}
    # More than twice what the sockets and the buffers and the queue of the sidecar take.
    count = 1500
    for _ in range(count):
        status, lease = sidecar.ask("POST", "/v1/locks/a", body)
        assert status == 201, lease
        sidecar.release("a", lease["token"])
    last = sidecar.take("a", owner="last")
    driver.call("resume", watch="w")
    # Both the state before the stall and the one after the gap end with `synced`.
    eventually(20, "the last state is told", lambda: any(event["token"] == last for event in driver.told("w")[since:]))
    told = driver.told("w")[since:]
    told_types = [event["type"] for event in told]
    assert told_types.count("gap") == 1, told_types
    assert told_types.count("granted") < count / 2, "the client has read without bound"
    assert [event["token"] for event in told if event["type"] in ("state", "granted")][-1] == last, told[-5:]


@behaviour
def the_end_of_a_program_that_watches(world):
    """A program that comes to its end while it watches ends, and leaves no stream behind."""
    driver, sidecar = world.driver(), world.sidecar()
    watching(driver, "state", key="a")
    driver.end()
    eventually(2, "no stream is open", lambda: sidecar.metric("lockside_watchers") == 0)
