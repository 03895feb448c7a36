"""Processes that vanish, fork, run others, or forget what they hold."""

import contextlib
import os
import time

from world import Rival, eventually

from . import behaviour


@behaviour
def vanished(world):
    """A process that is killed leaves no lock behind."""
    driver, sidecar = world.driver(), world.sidecar()
    driver.acquire("a", ttl_ms=60_000)
    driver.kill()
    eventually(2, "the key is free", lambda: sidecar.is_free("a"))


@behaviour
def ended(world):
    """A process that ends without releasing ends soon, and leaves no lock behind."""
    driver, sidecar = world.driver(), world.sidecar()
    driver.acquire("a", ttl_ms=60_000)
    driver.end()
    eventually(2, "the key is free", lambda: sidecar.is_free("a"))


@behaviour
def vanished_while_it_waits(world):
    """A process that is killed while it waits leaves the queue."""
    driver, sidecar = world.driver(), world.sidecar()
    sidecar.take("a", ttl_ms=60_000)
    driver.start_acquire("a", wait_ms=60_000)
    eventually(5, "it waits", lambda: sidecar.state("a")["waiters"] == 1)
    driver.kill()
    eventually(2, "the queue is empty", lambda: sidecar.state("a")["waiters"] == 0)


@behaviour
def forked(world):
    """A forked child does not hold its parent's lock, does not end it, and does not keep it when the parent is gone."""
    driver, sidecar = world.driver(), world.sidecar()
    lease = driver.acquire("a", ttl_ms=2000)
    child = driver.call("fork", lock="a", ms=60_000)
    world.stray(child["pid"])
    assert child["childHolds"] in (False, None), "check in the child says that it holds the lock"
    time.sleep(3)
    driver.check("a")
    assert sidecar.token("a") == lease["token"]
    driver.kill()
    eventually(2, "the key is free", lambda: sidecar.is_free("a"))
    assert os.path.exists(f"/proc/{child['pid']}"), "the child was to live on"


@behaviour
def child_ends(world):
    """A forked child that ends leaves its parent's lock alone."""
    driver, sidecar = world.driver(), world.sidecar()
    lease = driver.acquire("a", ttl_ms=2000)
    driver.call("fork", lock="a", ms=0)
    time.sleep(3)
    driver.check("a")
    driver.assert_none_lost()
    assert sidecar.token("a") == lease["token"]


@behaviour
def close_on_exec(world):
    """A program that is started does not inherit the connection: the lock ends with its holder."""
    driver, sidecar = world.driver(), world.sidecar()
    driver.acquire("a", ttl_ms=60_000)
    waiting = driver.start_acquire("b", ttl_ms=60_000)
    waiting.result()
    child = driver.call("exec", command=["sleep", "60"])
    world.stray(child["pid"])
    sockets = [target for target in descriptors(child["pid"]) if target.startswith("socket:")]
    assert not sockets, sockets
    driver.kill()
    eventually(2, "the keys are free", lambda: sidecar.is_free("a") and sidecar.is_free("b"))
    assert os.path.exists(f"/proc/{child['pid']}"), "the child was to live on"


@behaviour
def released_while_a_child_lives(world):
    """A release frees the key also while a forked child lives."""
    driver, sidecar = world.driver(), world.sidecar()
    driver.acquire("a", ttl_ms=20_000)
    world.stray(driver.call("fork", lock="a", ms=60_000)["pid"])
    assert driver.release("a")["confirmed"] is True
    assert sidecar.is_free("a")


@behaviour
def collected(world):
    """A lock that the program forgot stays held until the process ends, and a warning names its key."""
    driver, sidecar = world.driver(), world.sidecar()
    lease = driver.acquire("a", ttl_ms=1000)
    driver.call("drop", lock="a")
    leaked = driver.event("leaked", "a", 5)
    assert leaked["key"] == "a"
    time.sleep(3)
    assert sidecar.token("a") == lease["token"], "a garbage collector released it"
    driver.end()
    eventually(2, "the key is free", lambda: sidecar.is_free("a"))


@behaviour
def released_and_collected(world):
    """A lock that was released and then forgotten is no reason to warn."""
    driver = world.driver()
    driver.acquire("a")
    driver.release("a")
    driver.call("drop", lock="a")
    time.sleep(1)
    assert not driver.seen, driver.seen


def descriptors(pid):
    """What the process's descriptors stand for; one that it closes while they are read is none it inherited to keep."""
    targets = []
    for descriptor in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            targets.append(os.readlink(descriptor.path))
    return targets
