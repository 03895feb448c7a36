"""Sidecars that die, restart, or are not there yet."""

import time

from world import Rival, eventually

from . import behaviour


@behaviour
def fifty_holds_survive(world):
    """A sidecar is killed and comes back 3 s later: 50 of 50 holds with a ttl of 10 s go on with their tokens."""
    driver, sidecar = world.driver(), world.sidecar()
    keys = [f"job-{number}" for number in range(50)]
    leases = {key: driver.acquire(key, ttl_ms=10_000) for key in keys}
    sidecar.kill()
    time.sleep(3)
    for key in keys:
        driver.check(key)
    sidecar.start()
    # Beyond the end of what was promised before.
    time.sleep(9)
    driver.assert_none_lost()
    for key in keys:
        driver.check(key)
        assert sidecar.token(key) == leases[key]["token"], key
    for key in keys:
        assert driver.release(key)["confirmed"] is True
        assert sidecar.is_free(key), key


@behaviour
def killed_again_and_again(world):
    """A hold survives five kills in a row."""
    driver, sidecar = world.driver(), world.sidecar()
    lease = driver.acquire("a", ttl_ms=6000)
    for _ in range(5):
        sidecar.kill()
        time.sleep(0.3)
        sidecar.start()
        time.sleep(1)
    driver.check("a")
    driver.assert_none_lost()
    assert sidecar.token("a") == lease["token"]


@behaviour
def killed_for_good(world):
    """A sidecar is killed and does not come back: lost before another one has the key, reason sidecar."""
    driver, sidecar, other = world.driver(), world.sidecar(), world.other()
    driver.acquire("a", ttl_ms=4000)
    rival = Rival(other, "a")
    sidecar.kill()
    killed = time.monotonic()
    lost = driver.lost("a", 6)
    assert lost["reason"] == "sidecar", lost
    assert lost["at"] < rival.granted(10)
    # Not at the first sign either: it may come back.
    assert lost["at"] - killed > 0.7, lost["at"] - killed


@behaviour
def taken_meanwhile(world):
    """A sidecar is killed, another one is given the key by force, the sidecar comes back: lost, reason superseded."""
    driver, sidecar, other = world.driver(), world.sidecar(), world.other()
    driver.acquire("a", ttl_ms=15_000)
    sidecar.kill()
    other.force("a")
    token = other.take("a")
    sidecar.start()
    lost = driver.lost("a", 4)
    assert lost["reason"] == "superseded", lost
    assert other.token("a") == token


@behaviour
def freed_meanwhile(world):
    """A sidecar is killed and the key is freed: the lock is lost when the sidecar is back, and a new lease not kept."""
    driver, sidecar, other = world.driver(), world.sidecar(), world.other()
    driver.acquire("a", ttl_ms=15_000)
    sidecar.kill()
    other.force("a")
    sidecar.start()
    lost = driver.lost("a", 4)
    assert lost["reason"] in ("expired", "superseded"), lost
    eventually(2, "the key is free", lambda: other.is_free("a"))
    time.sleep(1)
    assert other.is_free("a")


@behaviour
def released_while_it_is_gone(world):
    """A release while the sidecar is gone returns soon, does not claim to be confirmed, and nothing is taken up again."""
    driver, sidecar, other = world.driver(), world.sidecar(), world.other()
    driver.acquire("a", ttl_ms=4000)
    sidecar.kill()
    start = time.monotonic()
    assert driver.release("a")["confirmed"] is False
    assert time.monotonic() - start < 4
    sidecar.start()
    eventually(6, "the lease has ended", lambda: other.is_free("a"))
    driver.assert_none_lost()


@behaviour
def moved_to_the_successor(world):
    """A sidecar that is stopped has a successor at its address before it ends: the hold moves, with its token."""
    sidecar = world.sidecar("--shutdown-grace", "6s")
    driver, other = world.driver(), world.other()
    lease = driver.acquire("a", ttl_ms=20_000)
    old = sidecar.process
    sidecar.drain()
    eventually(3, "the old one accepts no more", lambda: not sidecar.answers())
    sidecar.start()
    old.popen.wait(20)
    # Beyond the grace of the old one.
    time.sleep(2)
    driver.check("a")
    driver.assert_none_lost()
    assert other.token("a") == lease["token"]
    assert driver.release("a")["confirmed"] is True
    assert other.is_free("a")


@behaviour
def killed_while_one_waits(world):
    """A sidecar restarts while a client waits: the wait goes on, and ends with the key."""
    driver, sidecar, other = world.driver(), world.sidecar(), world.other()
    token = other.take("a", ttl_ms=60_000)
    waiting = driver.start_acquire("a", wait_ms=30_000)
    eventually(5, "it waits", lambda: other.state("a")["waiters"] == 1)
    sidecar.kill()
    time.sleep(1)
    assert not waiting.done.is_set(), waiting.content
    sidecar.start()
    time.sleep(1)
    other.release("a", token)
    waiting.result(15)
    driver.check("a")


@behaviour
def stopped_while_one_waits(world):
    """A sidecar is stopped and replaced while a client waits: the wait goes on at the next one."""
    driver, sidecar, other = world.driver(), world.sidecar(), world.other()
    token = other.take("a", ttl_ms=60_000)
    waiting = driver.start_acquire("a", wait_ms=30_000)
    eventually(5, "it waits", lambda: other.state("a")["waiters"] == 1)
    sidecar.drain()
    sidecar.process.popen.wait(15)
    assert not waiting.done.is_set(), waiting.content
    sidecar.start()
    time.sleep(1)
    other.release("a", token)
    waiting.result(15)


@behaviour
def not_there_yet(world):
    """Without a sidecar an acquire that does not wait is unavailable, not-applied, at once; one that waits waits for it."""
    sidecar = world.sidecar(start=False)
    driver = world.driver()
    start = time.monotonic()
    refusal = driver.start_acquire("a").refusal()
    assert (refusal.type, refusal.outcome) == ("unavailable", "not-applied"), refusal
    assert time.monotonic() - start < 2
    waiting = driver.start_acquire("a", wait_ms=20_000)
    time.sleep(1.5)
    sidecar.start()
    waiting.result(15)
    driver.check("a")


@behaviour
def not_there_at_all(world):
    """Without a sidecar an acquire that waits is unavailable when its time has passed."""
    world.sidecar(start=False)
    driver = world.driver()
    start = time.monotonic()
    refusal = driver.start_acquire("a", wait_ms=1500).refusal()
    assert (refusal.type, refusal.outcome) == ("unavailable", "not-applied"), refusal
    assert 1.4 <= time.monotonic() - start < 5
