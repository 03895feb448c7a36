"""Locks that share their key: readers and writers, and a limit on how many."""

import time

from wire import Wire
from world import Rival, eventually

from . import behaviour


def sharers(sidecar, key="a") -> int:
    return sidecar.state(key).get("sharedBy", 0)


def assert_full(refusal, shared_by, waiters=0):
    assert (refusal.type, refusal.code, refusal.state) == ("held", "held", "held"), refusal
    assert (refusal.mode, refusal.shared_by, refusal.waiters) == ("shared", shared_by, waiters), refusal
    assert refusal.holder["mode"] == "shared", refusal


def assert_waits(sidecar, waiters, *answers):
    eventually(5, f"{waiters} wait", lambda: sidecar.state("a")["waiters"] == waiters)
    granted = [answer.content for answer in answers if answer.done.is_set()]
    assert not granted, granted


@behaviour
def the_lock_says_how_it_is_held(world):
    """A lock has the mode and the limit that it was granted with; a limit makes it shared; others see both at its holder."""
    driver, sidecar = world.driver(), world.sidecar()
    for key, options, expected in (
        ("alone", {}, ("exclusive", None)),
        ("shared", {"shared": True}, ("shared", None)),
        ("limited", {"limit": 3}, ("shared", 3)),
        ("both", {"shared": True, "limit": 10_000}, ("shared", 10_000)),
    ):
        lease = driver.acquire(key, **options)
        assert (lease["mode"], lease["limit"]) == expected, lease
        holder = sidecar.holder(key)
        assert (holder["token"], holder["mode"], holder.get("limit")) == (lease["token"], *expected), holder


@behaviour
def readers_together_and_a_writer_waits(world):
    """Shared locks of one process and of others have a key together; a lock that is not shared waits for the last of them."""
    driver, other, sidecar = world.driver(), world.driver(), world.sidecar()
    readers = [driver.acquire("a", lock=name, shared=True) for name in ("r1", "r2")]
    readers.append(other.acquire("a", lock="r3", shared=True))
    tokens = [reader["token"] for reader in readers]
    assert tokens == sorted(set(tokens)), tokens
    assert [holder["token"] for holder in sidecar.state("a")["holders"]] == tokens
    assert_full(other.start_acquire("a", lock="refused").refusal(), shared_by=3)
    writer = other.start_acquire("a", lock="w", wait_ms=30_000)
    assert_waits(sidecar, 1, writer)
    driver.release("r1")
    other.release("r3")
    assert_waits(sidecar, 1, writer)
    driver.check("r2")
    driver.release("r2")
    lease = writer.result(5)
    assert lease["mode"] == "exclusive" and lease["token"] > tokens[-1], lease
    other.check("w")


@behaviour
def a_writer_excludes_readers(world):
    """A lock that is not shared keeps shared ones out; those that wait get the key together when it is released."""
    driver, sidecar = world.driver(), world.sidecar()
    token = driver.acquire("a", lock="w")["token"]
    refusal = driver.start_acquire("a", lock="refused", shared=True).refusal()
    assert (refusal.code, refusal.mode, refusal.shared_by) == ("held", None, None), refusal
    assert (refusal.holder["token"], refusal.holder["mode"]) == (token, "exclusive"), refusal
    readers = [driver.start_acquire("a", lock=name, wait_ms=30_000, shared=True) for name in ("r1", "r2")]
    assert_waits(sidecar, 2, *readers)
    driver.release("w")
    for reader in readers:
        assert reader.result(5)["mode"] == "shared"
    assert sharers(sidecar) == 2


@behaviour
def a_limit_of_two(world):
    """A limit of two lets two in and refuses the third, which says who is in; one that waits gets in when one has left."""
    driver, sidecar = world.driver(), world.sidecar()
    first = driver.acquire("a", lock="p1", limit=2, owner="encoder-1")
    driver.acquire("a", lock="p2", limit=2)
    refusal = driver.start_acquire("a", lock="refused", limit=2).refusal()
    assert_full(refusal, shared_by=2)
    assert refusal.holder["limit"] == 2, refusal
    late = driver.start_acquire("a", lock="late", limit=2, wait_ms=700).refusal()
    assert (late.type, late.code) == ("held", "wait-timeout"), late
    waiting = driver.start_acquire("a", lock="p3", limit=2, wait_ms=30_000)
    behind = driver.start_acquire("a", lock="p4", limit=2, wait_ms=30_000)
    assert_waits(sidecar, 2, waiting, behind)
    driver.release("p1")
    eventually(5, "one of them gets in", lambda: waiting.done.is_set() or behind.done.is_set())
    assert_waits(sidecar, 1)
    assert sharers(sidecar) == 2
    assert first["token"] not in [holder["token"] for holder in sidecar.state("a")["holders"]]
    driver.assert_none_lost()


@behaviour
def a_permit_of_a_process_that_dies(world):
    """The permits of a process that is killed are free at once."""
    driver, other = world.driver(), world.driver()
    driver.acquire("a", lock="p1", ttl_ms=60_000, limit=2)
    driver.acquire("a", lock="p2", ttl_ms=60_000, limit=2)
    waiting = other.start_acquire("a", lock="p3", limit=1, wait_ms=30_000)
    assert_waits(world.sidecar(), 1, waiting)
    driver.kill()
    assert waiting.result(10)["limit"] == 1


@behaviour
def a_limit_that_changes(world):
    """The limit is a condition of the request: a higher one lets more in, and a lower one takes no lock away."""
    driver, sidecar = world.driver(), world.sidecar()
    for name in ("p1", "p2"):
        driver.acquire("a", lock=name, limit=2)
    driver.acquire("a", lock="p3", limit=3)
    assert_full(driver.start_acquire("a", lock="refused", limit=3).refusal(), shared_by=3)
    # Any number, where none is named.
    driver.acquire("a", lock="p4", shared=True)
    lower = driver.start_acquire("a", lock="lower", limit=1, wait_ms=30_000)
    assert_waits(sidecar, 1, lower)
    for name in ("p1", "p2", "p3"):
        driver.check(name)
        driver.release(name)
    assert_waits(sidecar, 1, lower)
    driver.release("p4")
    lower.result(5)
    driver.assert_none_lost()


@behaviour
def first_come_first_served(world):
    """Readers that come after a writer that waits are served after it, whether they wait or not."""
    driver, sidecar = world.driver(), world.sidecar()
    driver.acquire("a", lock="r1", shared=True)
    writer = driver.start_acquire("a", lock="w", wait_ms=30_000)
    assert_waits(sidecar, 1, writer)
    assert_full(driver.start_acquire("a", lock="refused", shared=True).refusal(), shared_by=1, waiters=1)
    readers = [driver.start_acquire("a", lock=name, wait_ms=30_000, shared=True) for name in ("r2", "r3")]
    assert_waits(sidecar, 3, writer, *readers)
    driver.release("r1")
    token = writer.result(5)["token"]
    assert_waits(sidecar, 2, *readers)
    driver.release("w")
    assert all(reader.result(5)["token"] > token for reader in readers)


@behaviour
def a_writer_that_gives_up(world):
    """When a writer leaves the queue, the readers behind it share the key with those that have it."""
    driver, sidecar = world.driver(), world.sidecar()
    driver.acquire("a", lock="r1", shared=True)
    writer = driver.start_acquire("a", lock="w", wait_ms=30_000)
    assert_waits(sidecar, 1, writer)
    reader = driver.start_acquire("a", lock="r2", wait_ms=30_000, shared=True)
    assert_waits(sidecar, 2, writer, reader)
    driver.call("cancel", lock="w")
    assert writer.refusal(5).type == "cancelled"
    reader.result(5)
    assert sharers(sidecar) == 2


@behaviour
def lost_one_by_one(world):
    """A force-release of one lease that shares a key is a loss of that lock alone; one of the key is a loss of all."""
    driver, sidecar = world.driver(), world.sidecar()
    leases = {name: driver.acquire("a", lock=name, ttl_ms=20_000, shared=True) for name in ("r1", "r2", "r3")}
    sidecar.force("a", leases["r2"]["token"])
    assert driver.lost("r2", 3)["reason"] == "forced"
    assert driver.send("release", lock="r2").refusal().reason == "forced"
    for name in ("r1", "r3"):
        driver.check(name)
    assert [event["lock"] for event in driver.seen] == ["r2"], driver.seen
    sidecar.force("a")
    for name in ("r1", "r3"):
        assert driver.lost(name, 3)["reason"] == "forced"


@behaviour
def lost_before_a_writer_has_the_key(world):
    """When the sidecar stands still, its reader is lost before a writer has the key; a reader at another sidecar goes on."""
    sidecar, other = world.sidecar(), world.other()
    driver, elsewhere = world.driver(), world.driver(url=other.url)
    driver.acquire("a", lock="r1", ttl_ms=3000, shared=True)
    elsewhere.acquire("a", lock="r2", ttl_ms=3000, shared=True)
    rival = Rival(other, "a")
    sidecar.freeze()
    lost = driver.lost("r1", 5)
    assert lost["reason"] == "sidecar", lost
    eventually(5, "its lease has ended", lambda: sharers(other) == 1)
    elsewhere.check("r2")
    elsewhere.release("r2")
    assert lost["at"] < rival.granted(5)
    sidecar.thaw()
    elsewhere.assert_none_lost()


@behaviour
def goes_on_over_a_restart(world):
    """A sidecar that is killed and restarts takes its shared locks up again: the limit and a writer that waits do not matter."""
    sidecar, other = world.sidecar(), world.other()
    driver = world.driver()
    tokens = [driver.acquire("a", lock=name, ttl_ms=6000, limit=2)["token"] for name in ("p1", "p2")]
    rival = Rival(other, "a")
    sidecar.kill()
    time.sleep(0.3)
    sidecar.start()
    time.sleep(6)
    for name in ("p1", "p2"):
        driver.check(name)
    assert [holder["token"] for holder in sidecar.state("a")["holders"]] == tokens
    assert rival.at is None
    driver.assert_none_lost()
    for name in ("p1", "p2"):
        assert driver.release(name)["confirmed"] is True
    rival.granted(5)


@behaviour
def lost_with_a_delay_while_others_share(world):
    """A shared lock with a delay whose connection is cut goes on, or is lost as expired: those who share the key supersede nothing."""
    sidecar = world.sidecar()
    wire = Wire(sidecar.port)
    world.closers.append(wire.close)
    driver = world.driver(url=wire.url)
    driver.acquire("a", ttl_ms=20_000, delayMs=3000, shared=True)
    sidecar.take("a", mode="shared")
    wire.cut()
    eventually(3, "the end was heard or the hold taken up", lambda: driver.seen or len(wire.heads) > 1)
    time.sleep(1)
    if driver.seen:
        assert driver.lost("a", 1)["reason"] == "expired"
    else:
        driver.check("a")
    assert sharers(sidecar) == 2


class Storage:
    """Keeps the highest token of a holder that has the key alone, and refuses whatever is lower."""

    def __init__(self):
        self.highest = 0

    def takes(self, lease: dict) -> bool:
        if lease["token"] < self.highest:
            return False
        if lease["mode"] == "exclusive":
            self.highest = lease["token"]
        return True


@behaviour
def the_storage_checks_the_token(world):
    """The token of a shared lock shuts no other reader out; one from before the last writer's is refused."""
    driver, storage = world.driver(), Storage()
    first, second = (driver.acquire("a", lock=name, shared=True) for name in ("r1", "r2"))
    assert second["token"] > first["token"]
    assert storage.takes(second) and storage.takes(first)
    for name in ("r1", "r2"):
        driver.release(name)
    writer = driver.acquire("a", lock="w")
    assert storage.takes(writer)
    # What they sent is late.
    assert not storage.takes(first) and not storage.takes(second)
    driver.release("w")
    third, fourth = (driver.acquire("a", lock=name, shared=True) for name in ("r3", "r4"))
    assert storage.takes(fourth) and storage.takes(third) and storage.takes(writer)
    assert third["token"] > writer["token"]


@behaviour
def watched(world):
    """A watch tells at first who share a key, and then of each lease that begins and ends."""
    driver, sidecar = world.driver(), world.sidecar()
    first = sidecar.take("a", owner="r1", mode="shared")
    sidecar.take("a", owner="r2", limit=5)
    driver.watch("w", key="a")
    eventually(5, "all states are told", lambda: [event["type"] for event in driver.told("w")] == ["state", "synced"])
    state = driver.told("w")[0]
    assert (state["state"], state["mode"], state["sharedBy"], state["waiters"]) == ("held", "shared", 2, 0), state
    assert [(holder["owner"], holder["mode"], holder["limit"]) for holder in state["holders"]] == [
        ("r1", "shared", None), ("r2", "shared", 5),
    ], state
    assert state["holder"] == state["holders"][0], state
    lease = driver.acquire("a", lock="r3", limit=3)
    granted = lambda: [event for event in driver.told("w") if event["type"] == "granted"]
    eventually(5, "the grant is told", granted)
    holder = {**{name: lease[name] for name in ("owner", "token", "mode", "limit")}, "state": "held"}
    assert granted()[0]["holder"] == holder, granted()
    sidecar.release("a", first)
    eventually(5, "the release is told", lambda: driver.told("w")[-1]["type"] == "released")
    assert driver.told("w")[-1]["token"] == first
