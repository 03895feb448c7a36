"""What a client makes of answers about several keys: each key that one names counts, and no other."""

import itertools
import re

from wire import Wire
from world import eventually

from . import behaviour
from .bundles import assert_free


def wired(world, port, fault=lambda number, head: None, edit=None):
    wire = Wire(port, fault, edit)
    world.closers.append(wire.close)
    return wire


def released_after_a_loss_unheard(world, fault=lambda number, head: None):
    """One key of three is lost while the sidecar of the hold stands still; the release goes to another sidecar."""
    sidecar, other = world.sidecar(), world.other()
    wire = wired(world, sidecar.port, fault)
    driver = world.driver(url=wire.url)
    driver.bundle("x", ["a", "b", "c"], ttl_ms=60_000)
    sidecar.freeze()
    other.force("b")
    wire.port = other.port
    refusal = driver.send("release", lock="x").refusal()
    assert (refusal.type, refusal.key) == ("lost", "b"), refusal
    assert_free(other, "a", "b", "c")
    sidecar.thaw()


@behaviour
def bundle_release_names_the_lost_key(world):
    """A release that finds one of the leases ended is a loss of that key; the others are released."""
    released_after_a_loss_unheard(world)


@behaviour
def bundle_release_again_names_the_lost_key(world):
    """So it is where the first request to release got no answer, since the repetition released the other keys."""
    releases = []

    def fault(number, head):
        if "/v1/bundles/release" in head.splitlines()[0]:
            releases.append(number)
            return "drop" if len(releases) == 1 else None
        return None

    released_after_a_loss_unheard(world, fault)
    assert len(releases) == 2, releases


@behaviour
def bundle_release_whose_answer_is_lost(world):
    """A release whose answer is lost is repeated, finds all leases ended, and is confirmed: it did that itself."""
    releases = []

    def fault(number, head):
        if "/v1/bundles/release" in head.splitlines()[0]:
            releases.append(number)
            return "swallow" if len(releases) == 1 else None
        return None

    sidecar = world.sidecar()
    driver = world.driver(url=wired(world, sidecar.port, fault).url)
    driver.bundle("x", ["a", "b"], ttl_ms=60_000)
    assert driver.release("x")["confirmed"] is True
    assert len(releases) == 2, releases
    assert_free(sidecar, "a", "b")


@behaviour
def bundle_of_other_keys_is_refused(world):
    """An answer that grants other keys than were asked for, or fewer, is an error, and nothing stays held."""
    sidecar = world.sidecar()

    def other(data):
        return data.replace(b'{"key":"b"', b'{"key":"z"')

    def fewer(data):
        return re.sub(rb',\{"key":"b"[^}]*\}', lambda found: b" " * len(found[0]), data)

    def none(data):
        return re.sub(rb'\{"key":"a"[^]]*\]', lambda found: b" " * (len(found[0]) - 1) + b"]", data)

    for edit in (other, fewer, none):
        driver = world.driver(url=wired(world, sidecar.port, edit=edit).url)
        refusal = driver.start_bundle("x", ["a", "b"], ttl_ms=60_000).refusal()
        assert refusal.type == "refused", (edit.__name__, refusal)
        eventually(3, f"{edit.__name__}: they are released", lambda: all(sidecar.is_free(key) for key in "ab"))


@behaviour
def others_are_free_after_a_loss_that_the_client_found(world):
    """Where the repetition of a hold finds one key with another owner, the other keys are released at once."""
    sidecar, other = world.sidecar(), world.other()
    driver = world.driver()
    driver.bundle("x", ["a", "b", "c"], ttl_ms=60_000)
    sidecar.kill()
    other.force("b")
    rival = other.take("b")
    sidecar.start()
    assert driver.lost("x", 5)["reason"] == "superseded"
    eventually(3, "the other keys are released", lambda: other.is_free("a") and other.is_free("c"))
    assert other.token("b") == rival
    refusal = driver.send("check", lock="x").refusal()
    assert (refusal.type, refusal.key) == ("lost", "b"), refusal


@behaviour
def released_while_it_is_taken_up_again(world):
    """A release in the moment in which the hold moves to the next sidecar is no loss: neither of a lock nor of a bundle."""
    sidecar, other = world.sidecar("--shutdown-grace", "5s"), world.other()
    # What becomes of the repetition. The answer to the release is late: the sidecar that is left tells of the end before.
    repetition = None

    def fault(number, head):
        if wire.port != other.port:
            return None
        return repetition if "/hold" in head else "late"

    wire = wired(world, sidecar.port, fault)
    driver = world.driver(url=wire.url)
    for repetition, keys in itertools.product(("late", "stuck"), (["a"], ["b", "c"])):
        wire.port = sidecar.port
        if len(keys) == 1:
            driver.acquire(keys[0], ttl_ms=60_000, lock="x")
        else:
            driver.bundle("x", keys, ttl_ms=60_000)
        requests = len(wire.heads)
        wire.port = other.port
        old = sidecar.process
        sidecar.drain()
        eventually(3, "the hold is repeated", lambda: len(wire.heads) > requests)
        assert driver.release("x")["confirmed"] is True
        driver.assert_none_lost()
        assert_free(other, *keys)
        old.popen.wait(20)
        sidecar.start()
