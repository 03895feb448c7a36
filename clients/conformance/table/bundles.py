"""Bundles: several keys that are acquired together or not at all."""

import time

from wire import Wire
from world import eventually

from . import behaviour


def assert_free(sidecar, *keys):
    taken = [key for key in keys if not sidecar.is_free(key)]
    assert not taken, f"not free: {taken}"


def assert_in_the_way(refusal, key, code="held"):
    assert (refusal.type, refusal.code, refusal.key) == ("held", code, key), refusal
    assert f"`{key}`" in refusal.error["detail"], refusal


@behaviour
def all_or_none(world):
    """All keys are held at once, each with the token that others see; where one is held, none of the others is taken."""
    driver, sidecar = world.driver(), world.sidecar()
    lease = driver.bundle("b", ["a", "k/ö", "c"], owner="transfer-1", meta={"run": 7})
    assert set(lease["tokens"]) == {"a", "k/ö", "c"} and lease["owner"] == "transfer-1", lease
    assert set(lease["modes"].values()) == {"exclusive"}, lease
    for key, token in lease["tokens"].items():
        holder = sidecar.holder(key)
        assert (holder["token"], holder["owner"], holder["meta"]) == (token, "transfer-1", {"run": 7}), holder
    driver.check("b")
    refusal = driver.start_bundle("other", ["x", "c", "y"]).refusal()
    assert_in_the_way(refusal, "c")
    assert_free(sidecar, "x", "y")
    driver.check("b")
    assert driver.release("b")["confirmed"] is True


@behaviour
def the_one_in_the_way_is_named(world):
    """The error names the key that is held, of several the first by bytes, and its holder."""
    driver, sidecar = world.driver(), world.sidecar()
    tokens = {key: sidecar.take(key, owner=f"holder-of-{key}") for key in ("b", "c")}
    for keys in (["a", "b", "c", "d"], ["d", "c", "b", "a"]):
        refusal = driver.start_bundle("x", keys).refusal()
        assert_in_the_way(refusal, "b")
        assert (refusal.holder["owner"], refusal.holder["token"]) == ("holder-of-b", tokens["b"]), refusal
    sidecar.release("b", tokens["b"])
    assert_in_the_way(driver.start_bundle("x", ["a", "b", "c"]).refusal(), "c")
    assert_free(sidecar, "a", "b", "d")


@behaviour
def the_order_of_the_request_does_not_matter(world):
    """Two processes that ask for the same keys in opposite orders never wait for each other, in 20 rounds."""
    drivers = [world.driver(), world.driver(url=world.other().url)]
    orders = (["a", "b", "c"], ["c", "b", "a"])
    highest = {key: 0 for key in "abc"}
    for number in range(20):
        answers = [driver.start_bundle("x", keys, wait_ms=20_000) for driver, keys in zip(drivers, orders)]
        eventually(10, f"round {number}: one has all", lambda: any(answer.done.is_set() for answer in answers))
        first = 0 if answers[0].done.is_set() else 1
        second = 1 - first
        for turn in (first, second):
            tokens = answers[turn].result(10)["tokens"]
            assert all(tokens[key] > highest[key] for key in highest), (number, tokens, highest)
            highest = tokens
            assert turn == second or not answers[second].done.is_set(), f"round {number}: both have all"
            drivers[turn].release("x")


@behaviour
def waits_for_all(world):
    """A bundle that waits gets its keys when the last of them is free; it names the one it waited for if that is too late."""
    driver, sidecar = world.driver(), world.sidecar()
    first, last = sidecar.take("a"), sidecar.take("c")
    late = driver.start_bundle("late", ["a", "b"], wait_ms=600).refusal()
    assert_in_the_way(late, "a", "wait-timeout")
    waiting = driver.start_bundle("b", ["c", "b", "a"], wait_ms=30_000)
    eventually(5, "it waits for the first", lambda: sidecar.state("a")["waiters"] == 1)
    sidecar.release("a", first)
    eventually(5, "it waits for the last", lambda: sidecar.state("c")["waiters"] == 1)
    assert not waiting.done.is_set() and not sidecar.is_free("b")
    # Longer than the ttl: what it has is kept.
    time.sleep(3.5)
    sidecar.release("c", last)
    tokens = waiting.result(5)["tokens"]
    assert tokens == {key: sidecar.token(key) for key in ("a", "b", "c")}, tokens
    driver.check("b")


@behaviour
def given_up_while_it_waits(world):
    """A bundle whose acquire is given up leaves the queue, and releases what it has."""
    driver, sidecar = world.driver(), world.sidecar()
    sidecar.take("b")
    waiting = driver.start_bundle("x", ["a", "b"], ttl_ms=60_000, wait_ms=30_000)
    eventually(5, "it waits for b", lambda: sidecar.state("b")["waiters"] == 1)
    assert not sidecar.is_free("a")
    driver.call("cancel", lock="x")
    assert waiting.refusal(5).type == "cancelled"
    eventually(3, "nothing is left", lambda: sidecar.is_free("a") and sidecar.state("b")["waiters"] == 0)


@behaviour
def release_frees_all(world):
    """When the release returns all keys are free; another release of the same bundle changes nothing."""
    driver, sidecar = world.driver(), world.sidecar()
    before = {}
    for _ in range(3):
        tokens = driver.bundle("x", ["b", "a"])["tokens"]
        assert all(tokens[key] > before.get(key, 0) for key in ("a", "b")), (before, tokens)
        before = tokens
        assert driver.release("x")["confirmed"] is True
        assert_free(sidecar, "a", "b")
    driver.bundle("y", ["b", "a"])
    assert driver.release("x")["confirmed"] is True
    driver.check("y")
    driver.assert_none_lost()


@behaviour
def shared_keys(world):
    """Each key has a mode and a limit of its own: two bundles share one key, and not another."""
    driver, sidecar = world.driver(), world.sidecar()
    catalog, encoder = {"key": "catalog", "shared": True}, {"key": "encoder", "limit": 2}
    first = driver.bundle("first", [catalog, encoder, "own-1"])
    assert first["modes"] == {"catalog": "shared", "encoder": "shared", "own-1": "exclusive"}, first
    driver.bundle("second", ["own-2", encoder, catalog])
    assert sidecar.state("catalog")["sharedBy"] == 2
    assert [holder.get("limit") for holder in sidecar.state("encoder")["holders"]] == [2, 2]
    refusal = driver.start_bundle("third", [catalog, encoder]).refusal()
    assert_in_the_way(refusal, "encoder")
    assert (refusal.mode, refusal.shared_by, refusal.holder["limit"]) == ("shared", 2, 2), refusal
    assert sidecar.state("catalog")["sharedBy"] == 2
    assert_in_the_way(driver.start_bundle("writer", ["catalog"]).refusal(), "catalog")
    driver.release("first")
    assert sidecar.state("catalog")["sharedBy"] == 1
    driver.check("second")


@behaviour
def a_key_twice_is_refused(world):
    """A bundle that names a key twice, or no key, is refused with an error that says so; nothing is taken."""
    driver, sidecar = world.driver(), world.sidecar()
    twice = driver.start_bundle("x", ["a", "b", "a"]).refusal()
    assert twice.type == "refused" and "`a` is there twice" in twice.error["detail"], twice
    none = driver.start_bundle("x", []).refusal()
    assert none.type == "refused" and "keys: expected 1 to 16" in none.error["detail"], none
    assert_free(sidecar, "a", "b")


@behaviour
def an_answer_that_was_lost_leaves_nothing_behind(world):
    """An acquire whose answer was lost is repeated under the same name: the bundle is granted once, with one token for each key."""
    sidecar = world.sidecar()
    wire = Wire(sidecar.port, lambda number, head: "swallow" if number == 1 else None)
    world.closers.append(wire.close)
    driver = world.driver(url=wire.url)
    tokens = driver.bundle("x", ["a", "b"], ttl_ms=20_000)["tokens"]
    names = wire.headers("Idempotency-Key", "/v1/bundles/hold")
    assert len(names) == 2 and names[0] == names[1], names
    time.sleep(1)
    driver.check("x")
    assert tokens == {key: sidecar.token(key) for key in tokens}
