"""The terms of a lock: when its key gets free, and for how long it is renewed."""

import time

from wire import Wire
from world import Rival, eventually

from . import behaviour


@behaviour
def delay_counts_where_nothing_was_released(world):
    """A process that dies leaves its key taken for the delay, in the state held, and no longer."""
    driver, next_one, sidecar = world.driver(), world.driver(), world.sidecar()
    driver.acquire("a", ttl_ms=1000, delayMs=3000)
    driver.kill()
    killed = time.monotonic()
    refusal = next_one.start_acquire("a").refusal()
    assert (refusal.type, refusal.state) == ("held", "held"), refusal
    eventually(5, "the key is free", lambda: sidecar.is_free("a"))
    # It ends the lease, which had up to a second more.
    assert time.monotonic() - killed > 2.9


@behaviour
def release_ends_the_delay(world):
    """A release frees a key with a delay at once."""
    driver, sidecar = world.driver(), world.sidecar()
    driver.acquire("a", ttl_ms=3000, delayMs=20_000)
    assert driver.release("a")["confirmed"] is True
    assert sidecar.is_free("a")
    driver.acquire("a", lock="again")
    driver.release("again")


@behaviour
def lost_with_a_delay_when_its_connection_ends(world):
    """A lock with a delay whose connection is cut is lost before the delay is over, or goes on; a release frees the key."""
    sidecar = world.sidecar()
    wire = Wire(sidecar.port)
    world.closers.append(wire.close)
    driver = world.driver(url=wire.url)
    lease = driver.acquire("a", ttl_ms=20_000, delayMs=3000)
    wire.cut()
    cut = time.monotonic()
    eventually(3, "the end was heard or the hold taken up", lambda: driver.seen or len(wire.heads) > 1)
    time.sleep(1)
    if driver.seen:
        lost = driver.lost("a", 1)
        assert lost["reason"] == "expired" and lost["at"] - cut < 2.5, (lost, cut)
        assert sidecar.token("a") == lease["token"], sidecar.state("a")
        assert driver.send("release", lock="a").refusal().reason == "expired"
    else:
        driver.check("a")
        driver.release("a")
    assert sidecar.is_free("a")


@behaviour
def release_of_a_lost_lock_ends_the_delay(world):
    """A lock that was lost keeps its key for the delay, and its release, when the work has stopped, ends that."""
    driver, sidecar = world.driver(), world.sidecar()
    driver.acquire("a", ttl_ms=2000, maxHoldMs=2000, delayMs=20_000)
    driver.lost("a", 5)
    # The lease has ended, and the client has closed its connection.
    time.sleep(0.5)
    assert sidecar.state("a")["state"] == "held"
    assert driver.send("release", lock="a").refusal().reason == "max-hold"
    assert sidecar.is_free("a")


@behaviour
def minimum_outlasts_the_release(world):
    """A key with a minimum rests after its release until the minimum is over: held, state resting, with its last holder."""
    driver, sidecar = world.driver(), world.sidecar()
    start = time.monotonic()
    lease = driver.acquire("a", minHoldMs=2500)
    assert driver.release("a")["confirmed"] is True
    refusal = driver.start_acquire("a", lock="again").refusal()
    assert (refusal.type, refusal.code, refusal.state) == ("held", "held", "resting"), refusal
    assert refusal.holder["token"] == lease["token"], refusal
    eventually(5, "the key is free", lambda: sidecar.is_free("a"))
    assert time.monotonic() - start > 2.5
    driver.assert_none_lost()


@behaviour
def state_of_a_lock_that_is_held(world):
    """The error for a key that is held says so, also after a wait."""
    driver, sidecar = world.driver(), world.sidecar()
    sidecar.take("a")
    refusal = driver.start_acquire("a").refusal()
    assert (refusal.code, refusal.state) == ("held", "held"), refusal
    refusal_of_a_wait = lambda: driver.start_acquire("a", wait_ms=300).refusal()
    # Where Redis is slow to say who holds it, the sidecar does without.
    eventually(10, "the state after a wait", lambda: refusal_of_a_wait().state == "held")


@behaviour
def wait_for_the_end_of_a_rest(world):
    """An acquire that waits gets a key that rests when the rest is over; one that does not wait long enough is told of it."""
    driver = world.driver()
    driver.acquire("a", minHoldMs=1500)
    driver.release("a")
    refusal = driver.start_acquire("a", lock="short", wait_ms=300).refusal()
    assert refusal.code == "wait-timeout" and refusal.state in ("resting", None), refusal
    driver.acquire("a", lock="long", wait_ms=10_000)
    driver.release("long")


@behaviour
def maximum_ends_the_lock(world):
    """A lock is lost when it has been held for its maximum, reason max-hold, before the key is free; until then it is renewed."""
    driver, sidecar = world.driver(), world.sidecar()
    start = time.monotonic()
    driver.acquire("a", ttl_ms=2000, maxHoldMs=3500)
    rival = Rival(sidecar, "a")
    lost = driver.lost("a", 5)
    assert lost["reason"] == "max-hold" and lost["at"] - start > 2.2, (start, lost)
    assert lost["at"] < rival.granted(5)
    for op in ("check", "release"):
        assert driver.send(op, lock="a").refusal().reason == "max-hold"


@behaviour
def maximum_of_the_sidecar_ends_the_lock(world):
    """A lock of a sidecar with --max-hold is lost before the key is free."""
    sidecar = world.sidecar("--max-hold", "2s")
    driver = world.driver()
    driver.acquire("a", ttl_ms=1000)
    rival = Rival(sidecar, "a")
    assert driver.lost("a", 5)["at"] < rival.granted(5)


@behaviour
def rest_after_the_release(world):
    """A lock with a rest keeps its key taken for so long after its release, not after its grant."""
    driver, sidecar = world.driver(), world.sidecar()
    driver.acquire("a", restMs=2000)
    time.sleep(1)
    released = time.monotonic()
    assert driver.release("a")["confirmed"] is True
    refusal = driver.start_acquire("a", lock="again").refusal()
    assert (refusal.type, refusal.state) == ("held", "resting"), refusal
    eventually(5, "the key is free", lambda: sidecar.is_free("a"))
    assert time.monotonic() - released > 2


@behaviour
def terms_out_of_bounds_are_refused(world):
    """What the sidecar does not allow is a bad request, at once, also where the acquire would wait."""
    driver = world.driver()
    for terms in ({"delayMs": 10**11}, {"minHoldMs": 10**11}, {"maxHoldMs": 2000}):
        refusal = driver.start_acquire("a", ttl_ms=3000, wait_ms=20_000, **terms).refusal(5)
        assert (refusal.type, refusal.code) == ("refused", "bad-request"), (terms, refusal)
