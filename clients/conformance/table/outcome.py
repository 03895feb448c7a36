"""Answers that are lost, and what Redis does not say."""

import json
import time

from wire import Wire
from world import eventually

from . import behaviour


@behaviour
def lost_answer_is_asked_for_again(world):
    """An answer that was lost is asked for again under the same Idempotency-Key and owner, and is the same lease."""
    sidecar = world.sidecar()
    wire = Wire(sidecar.port, lambda number, head: "swallow" if number == 1 else None)
    world.closers.append(wire.close)
    driver = world.driver(url=wire.url)
    lease = driver.acquire("a", ttl_ms=5000)
    keys = wire.headers("Idempotency-Key", "/v1/locks/a/hold")
    assert len(keys) >= 2 and keys[0] and len(set(keys)) == 1, keys
    assert sidecar.token("a") == lease["token"]
    owners = {json.loads(head.split("\r\n\r\n", 1)[1])["owner"] for head in wire.heads if head.split("\r\n\r\n", 1)[1]}
    assert len(owners) == 1, owners
    driver.release("a")
    driver.acquire("a")
    again = wire.headers("Idempotency-Key", "/v1/locks/a/hold")
    assert again[-1] != keys[0], "each attempt has a name of its own"


@behaviour
def lost_answers_of_a_wait(world):
    """The same for an acquire that waits, three times in a row."""
    sidecar = world.sidecar()
    wire = Wire(sidecar.port, lambda number, head: "swallow" if number <= 3 else None)
    world.closers.append(wire.close)
    driver = world.driver(url=wire.url)
    lease = driver.acquire("a", ttl_ms=5000, wait_ms=10_000)
    assert len(set(wire.headers("Idempotency-Key", "/v1/locks/a/hold"))) == 1
    time.sleep(6)
    driver.check("a")
    assert sidecar.token("a") == lease["token"]


@behaviour
def redis_silent_for_a_moment(world):
    """Redis does not answer for 1.7 s: an acquire, even one that does not wait, ends with the lock."""
    driver, sidecar = world.driver(), world.sidecar()
    world.redis.freeze()
    acquiring = driver.start_acquire("a", ttl_ms=8000)
    time.sleep(1.7)
    world.redis.thaw()
    lease = acquiring.result(10)
    time.sleep(3)
    driver.check("a")
    assert sidecar.token("a") == lease["token"]


@behaviour
def redis_silent_for_long(world):
    """Redis does not answer: an error in time, never held, whose outcome is unknown; and no lock is left behind."""
    driver, sidecar = world.driver(), world.sidecar()
    world.redis.freeze()
    start = time.monotonic()
    refusal = driver.start_acquire("a", ttl_ms=30_000).refusal()
    assert time.monotonic() - start < 10
    assert (refusal.type, refusal.outcome) == ("unknown", "unknown"), refusal
    world.redis.thaw()
    eventually(8, "the key is free", lambda: sidecar.ask("GET", "/v1/locks/a")[1].get("state") == "free")
    driver.acquire("a", wait_ms=5000)


@behaviour
def redis_is_gone(world):
    """Redis cannot be reached: unavailable, not-applied, with the sidecar's code."""
    driver, sidecar = world.driver(), world.sidecar()
    world.redis.kill()
    eventually(10, "the sidecar knows", lambda: sidecar.ask("GET", "/v1/locks/a")[1].get("code") == "redis-unavailable")
    refusal = driver.start_acquire("a").refusal()
    assert (refusal.type, refusal.code, refusal.outcome) == ("unavailable", "redis-unavailable", "not-applied"), refusal


@behaviour
def redis_comes_back(world):
    """Redis cannot be reached, and comes back: an acquire that waits gets its lock."""
    driver, sidecar = world.driver(), world.sidecar()
    world.redis.kill()
    eventually(10, "the sidecar knows", lambda: sidecar.ask("GET", "/v1/locks/a")[1].get("code") == "redis-unavailable")
    waiting = driver.start_acquire("a", wait_ms=20_000)
    time.sleep(1)
    world.redis = world.start_redis()
    waiting.result(15)


@behaviour
def beyond_a_quota(world):
    """A caller at a limit of its own: unavailable at once, not-applied, with the sidecar's code; what it holds, it keeps."""
    world.sidecar("--caller-holds", "1")
    driver = world.driver()
    driver.acquire("a")
    start = time.monotonic()
    refusal = driver.start_acquire("b").refusal()
    assert (refusal.type, refusal.code, refusal.outcome) == ("unavailable", "quota-exceeded", "not-applied"), refusal
    assert time.monotonic() - start < 5
    driver.check("a")
    driver.release("a")
    driver.acquire("b", wait_ms=5000)


@behaviour
def sidecar_silent(world):
    """A sidecar that stands still: an error in time, outcome unknown; and no lock is left behind when it goes on."""
    driver, sidecar, other = world.driver(), world.sidecar(), world.other()
    sidecar.freeze()
    start = time.monotonic()
    refusal = driver.start_acquire("a", ttl_ms=30_000).refusal()
    assert time.monotonic() - start < 12
    assert (refusal.type, refusal.outcome) == ("unknown", "unknown"), refusal
    sidecar.thaw()
    time.sleep(0.5)
    eventually(8, "the key is free", lambda: other.is_free("a"))


@behaviour
def sidecar_silent_while_one_waits(world):
    """A sidecar that falls silent in a wait: the caller is told when its time has passed, not when the sidecar wakes."""
    driver, sidecar, other = world.driver(), world.sidecar(), world.other()
    other.take("a", ttl_ms=60_000)
    waiting = driver.start_acquire("a", wait_ms=5000)
    eventually(5, "it waits", lambda: other.state("a")["waiters"] == 1)
    sidecar.freeze()
    start = time.monotonic()
    refusal = waiting.refusal(20)
    assert refusal.type in ("unknown", "unavailable"), refusal
    assert time.monotonic() - start < 12


@behaviour
def release_is_asked_for_again(world):
    """Redis does not answer for a moment while a lock is released: the release is confirmed all the same."""
    driver, sidecar = world.driver(), world.sidecar()
    driver.acquire("a", ttl_ms=20_000)
    world.redis.freeze()
    releasing = driver.send("release", lock="a")
    time.sleep(1.3)
    world.redis.thaw()
    releasing.result(8)
    eventually(3, "the key is free", lambda: sidecar.ask("GET", "/v1/locks/a")[1].get("state") == "free")
    driver.assert_none_lost()
