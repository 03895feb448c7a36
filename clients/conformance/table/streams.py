"""Watching: what a client does when the stream of events breaks."""

import time

from wire import Wire

from . import behaviour
from .watching import sees, watching

# The sidecar writes at least every 15 s; a client gives a silent stream up after 45 s.
SILENCE = 45


@behaviour
def a_sidecar_that_restarts(world):
    """A sidecar is killed and comes back: one gap, told before it is back, then the state of then."""
    driver, sidecar, other = world.driver(), world.sidecar(), world.other()
    token = other.take("a")
    since = watching(driver, "state", key="a")
    sidecar.kill()
    sees(driver, "gap", since=since, within=3)
    other.release("a", token)
    later = other.take("a")
    sidecar.start()
    _, state, _ = sees(driver, "gap", "state", "synced", since=since, within=15)
    assert state["token"] == later, state
    sidecar.force("a")
    sees(driver, "gap", "state", "synced", "forced", since=since)


@behaviour
def a_sidecar_that_is_stopped(world):
    """The same when it is stopped in good order, which ends its streams at once."""
    driver, sidecar = world.driver(), world.sidecar()
    since = watching(driver, prefix="jobs/")
    sidecar.drain()
    sidecar.process.popen.wait(15)
    sidecar.start()
    sees(driver, "gap", "synced", since=since, within=15)


@behaviour
def no_sidecar_yet(world):
    """Without a sidecar a watch waits for one; no gap comes, since nothing was told."""
    sidecar = world.sidecar(start=False)
    driver = world.driver()
    driver.watch("w", key="a")
    time.sleep(1.5)
    assert driver.told("w") == []
    sidecar.start()
    sees(driver, "state", "synced", within=15)


@behaviour
def a_redis_that_restarts(world):
    """Redis is lost for some time: one gap, and once it is back the state, on the same stream."""
    sidecar = world.sidecar()
    wire = Wire(sidecar.port)
    world.closers.append(wire.close)
    driver = world.driver(url=wire.url)
    sidecar.take("a")
    since = watching(driver, "state", key="a")
    world.redis.kill()
    sees(driver, "gap", since=since)
    time.sleep(1)
    world.redis = world.start_redis()
    told = sees(driver, "gap", "state", "synced", since=since, within=20)
    assert told[1]["state"] == "free", told
    assert len(wire.heads) == 1, wire.heads


@behaviour
def a_gap_of_both(world):
    """Redis is lost, and then the sidecar: that is one gap, since nothing was told between."""
    driver, sidecar = world.driver(), world.sidecar()
    since = watching(driver, "state", key="a")
    world.redis.freeze()
    sees(driver, "gap", since=since)
    sidecar.kill()
    time.sleep(1)
    world.redis.thaw()
    sidecar.start()
    sees(driver, "gap", "state", "synced", since=since, within=20)


@behaviour
def a_connection_that_breaks(world):
    """A connection that is reset is made again, after a pause: one gap each time."""
    sidecar = world.sidecar()
    wire = Wire(sidecar.port)
    world.closers.append(wire.close)
    driver = world.driver(url=wire.url)
    since = watching(driver, "state", key="a")
    for _ in range(3):
        cut = time.monotonic()
        wire.cut()
        *_, synced = sees(driver, "gap", "state", "synced", since=since)
        assert synced["at"] - cut > 0.5, "no pause"
        since += 3
    assert len(wire.heads) == 4, wire.heads


@behaviour
def a_stream_in_pieces(world):
    """A stream whose bytes come one by one is told as any other."""
    sidecar = world.sidecar()
    sidecar.take("ä\u2028b")
    wire = Wire(sidecar.port, lambda number, head: "dribble")
    world.closers.append(wire.close)
    driver = world.driver(url=wire.url)
    driver.watch("w", prefix="ä")
    assert sees(driver, "state", "synced")[0]["key"] == "ä\u2028b"


@behaviour
def a_frozen_sidecar(world):
    """A sidecar that stands still is noticed by its silence: a gap, and a new connection once it goes on."""
    driver, sidecar = world.driver(), world.sidecar()
    since = watching(driver, "state", key="a")
    sidecar.freeze()
    frozen = time.monotonic()
    gap, = sees(driver, "gap", since=since, within=SILENCE + 10)
    # Its last comment may have come before.
    assert SILENCE - 16 <= gap["at"] - frozen <= SILENCE + 5, gap["at"] - frozen
    sidecar.thaw()
    sees(driver, "gap", "state", "synced", since=since, within=30)


@behaviour
def a_quiet_key(world):
    """A stream with nothing to tell goes on: the sidecar's comments are no events, and no gap comes."""
    sidecar = world.sidecar()
    wire = Wire(sidecar.port)
    world.closers.append(wire.close)
    driver = world.driver(url=wire.url, settings={"idleTimeoutMs": 700})
    since = watching(driver, "state", key="a")
    time.sleep(17)
    sidecar.take("a")
    sees(driver, "granted", since=since)
    assert len(wire.heads) == 1, wire.heads
