"""Bundles are kept, lost and taken up again as one."""

import time

from wire import Wire
from world import Rival, eventually

from . import behaviour
from .bundles import assert_free


@behaviour
def kept_for_longer_than_the_ttl(world):
    """All keys are renewed for as long as the bundle is held."""
    driver, sidecar = world.driver(), world.sidecar()
    tokens = driver.bundle("x", ["a", "b"], ttl_ms=1000)["tokens"]
    time.sleep(3)
    driver.check("x")
    assert tokens == {key: sidecar.token(key) for key in tokens}
    driver.assert_none_lost()


@behaviour
def one_that_is_forced_loses_the_bundle(world):
    """A force-release of one key is one loss of the whole bundle, which names the key; the other keys are released at once."""
    driver, sidecar = world.driver(), world.sidecar()
    driver.bundle("x", ["a", "b", "c"], ttl_ms=60_000)
    sidecar.force("b")
    assert driver.lost("x", 3)["reason"] == "forced"
    eventually(3, "the others are released", lambda: all(sidecar.is_free(key) for key in ("a", "b", "c")))
    for operation in ("check", "release"):
        refusal = driver.send(operation, lock="x").refusal()
        assert (refusal.type, refusal.reason, refusal.key) == ("lost", "forced", "b"), refusal
    losses = [event for event in driver.seen if event["event"] == "lost"]
    assert len(losses) == 1, losses


@behaviour
def one_that_is_released_by_its_token_loses_the_bundle(world):
    """A release of one lease by its token ends the whole bundle, and the other keys are released at once."""
    driver, sidecar = world.driver(), world.sidecar()
    tokens = driver.bundle("x", ["a", "b"], ttl_ms=60_000)["tokens"]
    sidecar.release("a", tokens["a"])
    assert driver.lost("x", 3)["reason"] == "released"
    eventually(3, "the other is released", lambda: sidecar.is_free("b"))
    assert driver.send("check", lock="x").refusal().key == "a"


@behaviour
def lost_before_another_has_a_key(world):
    """When the sidecar stands still, the bundle is lost before any of its keys is granted to another owner."""
    sidecar, other = world.sidecar(), world.other()
    driver = world.driver()
    driver.bundle("x", ["a", "b"], ttl_ms=5000)
    rivals = [Rival(other, key) for key in ("a", "b")]
    sidecar.freeze()
    lost = driver.lost("x", 7)
    assert lost["reason"] == "sidecar", lost
    for rival in rivals:
        assert lost["at"] < rival.granted(10)
    sidecar.thaw()


@behaviour
def goes_on_over_a_restart(world):
    """A sidecar that is killed and restarts within the ttl takes the bundle up again, with the same tokens."""
    sidecar, other = world.sidecar(), world.other()
    driver = world.driver()
    tokens = driver.bundle("x", ["b", "a"], ttl_ms=6000)["tokens"]
    rival = Rival(other, "a")
    sidecar.kill()
    time.sleep(0.3)
    sidecar.start()
    time.sleep(6)
    driver.check("x")
    assert tokens == {key: other.token(key) for key in tokens}
    assert rival.at is None
    driver.assert_none_lost()
    assert driver.release("x")["confirmed"] is True
    rival.granted(5)


@behaviour
def moved_to_the_successor(world):
    """A sidecar that is stopped has a successor at its address before it ends: the bundle moves, with its tokens."""
    sidecar = world.sidecar("--shutdown-grace", "6s")
    driver, other = world.driver(), world.other()
    tokens = driver.bundle("x", ["a", "b", "c"], ttl_ms=20_000)["tokens"]
    old = sidecar.process
    sidecar.drain()
    eventually(3, "the old one accepts no more", lambda: not sidecar.answers())
    sidecar.start()
    old.popen.wait(20)
    # Beyond the grace of the old one.
    time.sleep(2)
    driver.check("x")
    driver.assert_none_lost()
    assert tokens == {key: other.token(key) for key in tokens}
    assert driver.release("x")["confirmed"] is True
    assert_free(other, "a", "b", "c")


@behaviour
def killed_while_it_waits(world):
    """A sidecar restarts while a bundle that has some of its keys waits for the next: the wait goes on, and ends with all."""
    driver, sidecar, other = world.driver(), world.sidecar(), world.other()
    token = other.take("b", ttl_ms=60_000)
    waiting = driver.start_bundle("x", ["a", "b"], ttl_ms=20_000, wait_ms=30_000)
    eventually(5, "it waits", lambda: other.state("b")["waiters"] == 1)
    first = other.token("a")
    sidecar.kill()
    time.sleep(0.5)
    assert not waiting.done.is_set(), waiting.content
    sidecar.start()
    eventually(10, "it waits again", lambda: sidecar.ask("GET", "/v1/locks/b")[1].get("waiters") == 1)
    other.release("b", token)
    tokens = waiting.result(15)["tokens"]
    assert tokens["a"] == first, (tokens, first)
    driver.check("x")


@behaviour
def connection_reset(world):
    """A hold whose connection breaks while its sidecar lives: the bundle goes on with all its tokens, or is lost, and all is free."""
    sidecar = world.sidecar()
    wire = Wire(sidecar.port)
    world.closers.append(wire.close)
    driver = world.driver(url=wire.url)
    for number in range(5):
        tokens = driver.bundle("x", ["a", "b", "c"], ttl_ms=15_000)["tokens"]
        before = len(driver.seen)
        wire.cut()
        # Whether the sidecar or the client is first.
        time.sleep(1)
        if len(driver.seen) > before:
            eventually(2, f"round {number}: all are free", lambda: all(sidecar.is_free(key) for key in tokens))
            assert driver.send("check", lock="x").refusal().type == "lost"
        else:
            driver.check("x")
            assert tokens == {key: sidecar.token(key) for key in tokens}
            driver.release("x")
            assert_free(sidecar, *tokens)


@behaviour
def lost_as_one_when_a_key_ended_during_a_restart(world):
    """Where one key was force-released while the sidecar restarted, the bundle is lost, and nothing of it is left."""
    sidecar, other = world.sidecar(), world.other()
    driver = world.driver()
    driver.bundle("x", ["a", "b"], ttl_ms=20_000)
    sidecar.kill()
    other.force("b")
    rival = other.take("b")
    sidecar.start()
    assert driver.lost("x", 5)["reason"] == "superseded"
    refusal = driver.send("release", lock="x").refusal()
    assert (refusal.type, refusal.key) == ("lost", "b"), refusal
    eventually(3, "the other key is released", lambda: other.is_free("a"))
    assert other.token("b") == rival


@behaviour
def free_when_the_process_dies(world):
    """The keys of a process that is killed are free at once."""
    driver, other = world.driver(), world.driver()
    driver.bundle("x", ["a", "b"], ttl_ms=60_000)
    waiting = other.start_bundle("y", ["b", "a"], wait_ms=30_000)
    eventually(5, "the other waits", lambda: world.sidecar().state("a")["waiters"] == 1)
    driver.kill()
    waiting.result(10)


@behaviour
def forgotten_while_it_is_held(world):
    """A bundle that is forgotten while it is held is warned of, and stays held."""
    driver, sidecar = world.driver(), world.sidecar()
    driver.bundle("x", ["a", "b"])
    driver.call("drop", lock="x")
    driver.event("leaked", "a, b", 5)
    assert not sidecar.is_free("a") and not sidecar.is_free("b")
