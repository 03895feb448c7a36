"""Locks that are lost: the client says so with a reason, before another one can have the key."""

import time

from driver import Refusal
from world import Rival, eventually

from . import behaviour


def assert_lost(driver, lock, *reasons):
    """check says so, too, and so does release."""
    for op in ("check", "release"):
        refusal = driver.send(op, lock=lock).refusal()
        assert refusal.type == "lost" and refusal.reason in reasons, (op, refusal)


@behaviour
def by_force(world):
    """A lock that is force-released is lost at once, reason forced."""
    driver, sidecar = world.driver(), world.sidecar()
    driver.acquire("a", ttl_ms=20_000)
    driver.acquire("b", ttl_ms=20_000)
    forced = time.monotonic()
    sidecar.force("a")
    lost = driver.lost("a", 3)
    assert lost["reason"] == "forced" and lost["at"] - forced < 1.5, (lost, forced)
    assert_lost(driver, "a", "forced")
    driver.check("b")
    assert len(driver.seen) == 1, driver.seen


@behaviour
def released_by_another(world):
    """A lock whose token another program releases is lost, reason released."""
    driver, sidecar = world.driver(), world.sidecar()
    lease = driver.acquire("a", ttl_ms=20_000)
    sidecar.release("a", lease["token"])
    assert driver.lost("a", 3)["reason"] == "released"
    assert_lost(driver, "a", "released")


@behaviour
def redis_forgot_it(world):
    """When Redis lost its data and another one has the key, the lock is lost at the next renewal."""
    driver, sidecar = world.driver(), world.sidecar()
    driver.acquire("a", ttl_ms=3000)
    assert world.command_redis("FLUSHALL") == b"+OK"
    sidecar.take("a")
    # Expired, where a renewal came between the two.
    assert driver.lost("a", 4)["reason"] in ("superseded", "expired")
    assert_lost(driver, "a", "superseded", "expired")
    assert sidecar.holder("a")["owner"] == "rival"


@behaviour
def redis_frozen(world):
    """Redis stands still: lost before another one has the key, reason redis, by the client's own clock."""
    driver, other = world.driver(), world.other()
    driver.acquire("a", ttl_ms=4000)
    rival = Rival(other, "a")
    world.redis.freeze()
    frozen = time.monotonic()
    lost = driver.lost("a", 6)
    assert lost["reason"] == "redis" and lost["at"] - frozen < 4, (lost, frozen)
    world.redis.thaw()
    assert lost["at"] < rival.granted(15)
    assert_lost(driver, "a", "redis")


@behaviour
def redis_frozen_for_a_moment(world):
    """Redis stands still for less than the lease has left: nothing is said, and the lock goes on."""
    driver, sidecar = world.driver(), world.sidecar()
    lease = driver.acquire("a", ttl_ms=6000)
    world.redis.freeze()
    time.sleep(1.8)
    world.redis.thaw()
    time.sleep(6)
    driver.check("a")
    driver.assert_none_lost()
    assert sidecar.token("a") == lease["token"]


@behaviour
def sidecar_frozen(world):
    """The sidecar stands still: lost before another one has the key, reason sidecar, by the client's own clock."""
    driver, other, sidecar = world.driver(), world.other(), world.sidecar()
    driver.acquire("a", ttl_ms=4000)
    rival = Rival(other, "a")
    sidecar.freeze()
    lost = driver.lost("a", 6)
    assert lost["reason"] == "sidecar", lost
    assert lost["at"] < rival.granted(10)
    refusal = driver.send("check", lock="a").refusal()
    assert (refusal.type, refusal.reason) == ("lost", "sidecar")
    # Does not hang on a sidecar that says nothing.
    assert driver.send("release", lock="a").refusal(8).type == "lost"


@behaviour
def sidecar_frozen_for_a_moment(world):
    """The sidecar stands still for less than the lease has left: nothing is said, and the lock goes on."""
    driver, sidecar = world.driver(), world.sidecar()
    lease = driver.acquire("a", ttl_ms=6000)
    sidecar.freeze()
    time.sleep(1.8)
    sidecar.thaw()
    time.sleep(5)
    driver.check("a")
    driver.assert_none_lost()
    assert sidecar.token("a") == lease["token"]


@behaviour
def client_frozen(world):
    """A process that stood still longer than its lease has lost it, though an old renewal lies unread in its socket."""
    driver, sidecar, other = world.driver(), world.sidecar(), world.other()
    driver.acquire("a", ttl_ms=3000)
    rival = Rival(other, "a")
    driver.freeze()
    # A renewal and more are written to the frozen client; then nothing renews.
    time.sleep(1.5)
    sidecar.freeze()
    rival.granted(10)
    checked = driver.send("check", lock="a")
    driver.thaw()
    refusal = checked.refusal()
    assert refusal.type == "lost", refusal
    lost = driver.lost("a", 3)
    assert lost["at"] <= checked.at + 0.5
    time.sleep(0.5)
    assert driver.send("check", lock="a").refusal().type == "lost"


@behaviour
def client_busy(world):
    """A client that was kept busy for less than its lease keeps it; for longer, it keeps it or says that it is lost."""
    driver, sidecar = world.driver(), world.sidecar()
    lease = driver.acquire("short", ttl_ms=6000)
    driver.acquire("long", ttl_ms=1000)
    driver.call("block", ms=3000)
    driver.check("short")
    assert sidecar.token("short") == lease["token"]
    try:
        driver.check("long")
        assert sidecar.holder("long")
    except Refusal as refusal:
        assert refusal.type == "lost", refusal
        driver.lost("long", 1)
        eventually(2, "the key is free", lambda: sidecar.is_free("long"))


@behaviour
def client_busy_while_it_is_lost(world):
    """A client that was kept busy while its sidecar stood still says no at its first check."""
    driver, sidecar, other = world.driver(), world.sidecar(), world.other()
    driver.acquire("a", ttl_ms=3000)
    rival = Rival(other, "a")
    busy = driver.send("block", ms=6000, thenCheck="a")
    time.sleep(1.5)
    sidecar.freeze()
    rival.granted(10)
    refusal = busy.refusal()
    assert refusal.type == "lost", refusal
    driver.lost("a", 1)


@behaviour
def credential_withdrawn(world):
    """A hold whose credential is no longer good is lost, reason unauthorized."""
    secret = world.directory / "api-token"
    secret.write_text("a-token-of-this-test-that-is-long-enough\n")
    secret.chmod(0o600)
    world.credentials = {"Authorization": f"Bearer {secret.read_text().strip()}"}
    world.sidecar("--api-token-file", secret)
    copy = world.directory / "copy"
    copy.write_text(secret.read_text())
    driver = world.driver(env={"LOCKSIDE_TOKEN_FILE": str(copy)})
    driver.acquire("a", ttl_ms=3000)
    secret.write_text("another-token-of-this-test-long-enough\n")
    assert driver.lost("a", 12)["reason"] == "unauthorized"


@behaviour
def drained(world):
    """A sidecar that is stopped keeps the lock for a while: loss is told before it releases it, reason draining."""
    sidecar = world.sidecar("--shutdown-grace", "5s")
    driver, other = world.driver(), world.other()
    driver.acquire("a", ttl_ms=20_000)
    rival = Rival(other, "a")
    drained = time.monotonic()
    sidecar.drain()
    lost = driver.lost("a", 8)
    granted = rival.granted(10)
    assert lost["reason"] == "draining", lost
    # In time to stop.
    assert granted - lost["at"] > 0.2, (lost["at"], granted)
    # Not at the first word of it, either: the grace is for the work.
    assert lost["at"] - drained > 1.5, lost["at"] - drained
    assert granted - drained < 9
    assert_lost(driver, "a", "draining")


@behaviour
def drained_and_done_in_time(world):
    """Work that ends within the grace of a sidecar that is stopped ends well, and the key is free at once."""
    sidecar = world.sidecar("--shutdown-grace", "5s")
    driver, other = world.driver(), world.other()
    driver.acquire("a", ttl_ms=20_000)
    rival = Rival(other, "a")
    sidecar.drain()
    time.sleep(1)
    driver.check("a")
    released = time.monotonic()
    driver.release("a")
    assert rival.granted(10) - released < 1.5
    driver.assert_none_lost()
