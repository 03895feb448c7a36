"""Keys that are held, and those who wait for them."""

import time

from world import eventually

from . import behaviour


@behaviour
def granted_when_it_is_free(world):
    """A waiting acquire gets the key when its holder releases it."""
    driver, sidecar = world.driver(), world.sidecar()
    token = sidecar.take("a")
    waiting = driver.start_acquire("a", wait_ms=30_000)
    eventually(5, "it waits", lambda: sidecar.state("a")["waiters"] == 1)
    time.sleep(2.5)
    sidecar.release("a", token)
    released = time.monotonic()
    lease = waiting.result()
    assert waiting.at - released < 1.5, waiting.at - released
    assert lease["token"] > token
    driver.check("a")


@behaviour
def in_vain(world):
    """A wait ends after its time, as held with the holder."""
    driver, sidecar = world.driver(), world.sidecar()
    sidecar.take("a", owner="importer-7")
    start = time.monotonic()
    refusal = driver.start_acquire("a", wait_ms=1200).refusal()
    took = time.monotonic() - start
    assert (refusal.type, refusal.code, refusal.outcome) == ("held", "wait-timeout", "not-applied"), refusal
    assert refusal.holder["owner"] == "importer-7", refusal
    assert 1.1 <= took < 4, took
    assert sidecar.state("a")["waiters"] == 0


@behaviour
def given_up(world):
    """A wait that its caller cancels leaves the queue at once, and gets nothing."""
    driver, sidecar = world.driver(), world.sidecar()
    token = sidecar.take("a")
    waiting = driver.start_acquire("a", wait_ms=30_000)
    eventually(5, "it waits", lambda: sidecar.state("a")["waiters"] == 1)
    driver.call("cancel", lock="a")
    assert waiting.refusal(5).type == "cancelled"
    eventually(2, "the queue is empty", lambda: sidecar.state("a")["waiters"] == 0)
    sidecar.release("a", token)
    assert sidecar.is_free("a")


@behaviour
def longer_than_the_sidecar_allows(world):
    """A wait above --max-wait is made of several."""
    sidecar = world.sidecar("--max-wait", "1s")
    driver = world.driver()
    token = sidecar.take("a")
    waiting = driver.start_acquire("a", wait_ms=20_000)
    time.sleep(3)
    assert not waiting.done.is_set(), waiting.content
    sidecar.release("a", token)
    waiting.result(5)


@behaviour
def many_waiters_one_holder(world):
    """Ten waiters of one process: each gets the key once, one at a time."""
    driver = world.driver()
    driver.acquire("a", lock="first")
    waiting = {f"w{number}": driver.start_acquire("a", wait_ms=60_000, lock=f"w{number}") for number in range(10)}
    eventually(10, "all wait", lambda: world.sidecar().state("a")["waiters"] == 10)
    holding, tokens = "first", []
    while waiting:
        driver.release(holding)
        eventually(10, "the next one is granted", lambda: any(answer.done.is_set() for answer in waiting.values()))
        time.sleep(0.05)
        granted = [lock for lock, answer in waiting.items() if answer.done.is_set()]
        assert len(granted) == 1, granted
        holding = granted[0]
        tokens.append(waiting.pop(holding).result()["token"])
    assert tokens == sorted(tokens)
