"""An older sidecar and this one on one Redis, as in a rolling update: neither grants what the other has granted.

`LOCKSIDE_BINARY` is this one's binary, `LOCKSIDE_OLD_BINARY` that of the last commit before leases could share a key."""

import os
import random
import sys
import threading
import time
import unittest
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "clients/conformance"))

from world import Rival, Sidecar, World, eventually, path_of  # noqa: E402

OLD_BINARY = os.environ["LOCKSIDE_OLD_BINARY"]
SECONDS = float(os.environ.get("UPGRADE_SECONDS") or 20)
SHARED = {"mode": "shared"}


class Pair(unittest.TestCase):
    """Each test has a Redis and two sidecars of its own."""

    def setUp(self):
        self.world = World([])
        self.addCleanup(self.world.close)
        self.new = self.world.sidecar(name="new")
        self.old = self.world.sidecar(name="old", start=False)
        self.old.binary = OLD_BINARY
        self.old.start()

    def both_ways(self):
        """The one that grants first and the other one, with a key of their own."""
        for first, second in ((self.old, self.new), (self.new, self.old)):
            with self.subTest(first=first.name):
                yield first, second, f"import-{first.name}"


class Exclusive(Pair):
    def test_the_other_one_refuses_renews_and_releases_what_one_granted(self):
        for first, second, key in self.both_ways():
            token = first.take(key, owner="a")
            status, problem = second.acquire(key, owner="b")
            self.assertEqual((status, problem["code"], problem["holder"]["token"]), (409, "held", token))
            status, lease = second.ask("PUT", f"{path_of(key)}?token={token}", {"ttlMs": 45_000})
            self.assertEqual((status, lease["token"]), (200, token))
            second.release(key, token)
            self.assertTrue(first.is_free(key))

    def test_tokens_rise_whichever_grants(self):
        tokens = []
        for _ in range(20):
            for sidecar in (self.old, self.new):
                tokens.append(sidecar.take("rising"))
                sidecar.release("rising", tokens[-1])
        self.assertEqual(tokens, sorted(set(tokens)))

    def test_a_repeated_attempt_is_told_of_its_lease_by_the_other_one(self):
        for first, second, key in self.both_ways():
            name = {"Idempotency-Key": f"attempt-{first.name}"}
            body = {"ttlMs": 30_000, "owner": "a"}
            status, lease = first.ask("POST", path_of(key), body, headers=name)
            self.assertEqual(status, 201, lease)
            status, again = second.ask("POST", path_of(key), body, headers=name)
            self.assertEqual((status, again["token"]), (200, lease["token"]))

    def test_waiters_of_both_are_served_in_the_order_in_which_they_came(self):
        for first, second, key in self.both_ways():
            token = first.take(key)
            rivals = []
            for at, sidecar in enumerate((second, first, second, first)):
                rivals.append(Waiter(sidecar, key))
                eventually(10, "one more waits", lambda: first.state(key)["waiters"] == at + 1)
            second.release(key, token)
            for rival in rivals:
                rival.join(20)
            self.assertEqual([rival.status for rival in rivals], [201] * 4)
            self.assertEqual([rival.token for rival in rivals], sorted(rival.token for rival in rivals))

    def test_a_lease_outlives_the_sidecar_that_is_replaced(self):
        for first, second, key in self.both_ways():
            token = first.take(key)
            first.drain()
            first.process.popen.wait(20)
            self.assertEqual(second.token(key), token)
            second.release(key, token)
            first.start()


class Shared(Pair):
    def test_a_shared_key_is_held_as_far_as_the_old_one_is_concerned(self):
        tokens = [self.new.take("catalog", owner=owner, **SHARED) for owner in ("a", "b")]
        status, problem = self.old.acquire("catalog")
        self.assertEqual((status, problem["code"]), (409, "held"))
        for method in ("PUT", "DELETE"):
            status, problem = self.old.ask(method, f"{path_of('catalog')}?token={tokens[0]}")
            self.assertEqual((status, problem["code"]), (410, "lost"), method)
        self.old.ask("DELETE", f"{path_of('catalog')}?force=true")
        self.assertEqual(self.new.state("catalog")["sharedBy"], 2)

    def test_who_waits_at_the_old_one_has_the_key_once_the_last_reader_is_gone(self):
        tokens = [self.new.take("catalog", owner=owner, **SHARED) for owner in ("a", "b")]
        rival = Rival(self.old, "catalog")
        self.new.release("catalog", tokens[0])
        time.sleep(1)
        self.assertIsNone(rival.at, "one reader is still there")
        self.new.release("catalog", tokens[1])
        rival.granted(within=10)
        for mode in ({}, SHARED):
            self.assertEqual(self.new.acquire("catalog", **mode)[0], 409)

    def test_who_waits_to_share_what_the_old_one_granted_has_it_afterwards(self):
        token = self.old.take("catalog")
        reader = Waiter(self.new, "catalog", **SHARED)
        eventually(10, "it waits", lambda: self.old.state("catalog")["waiters"] == 1)
        self.old.release("catalog", token)
        reader.join(20)
        self.assertEqual(reader.status, 201)
        self.assertEqual(self.old.acquire("catalog")[0], 409)

    def test_readers_of_the_new_one_keep_out_none_for_longer_than_they_read(self):
        self.new.take("catalog", ttl_ms=1000, **SHARED)
        rival = Rival(self.old, "catalog")
        rival.granted(within=10)


class Waiter(threading.Thread):
    """Waits for a key, and releases it at once."""

    def __init__(self, sidecar: Sidecar, key: str, **more):
        super().__init__(daemon=True)
        self.sidecar, self.key, self.more = sidecar, key, more
        self.status = self.token = None
        self.start()

    def run(self):
        self.status, answer = self.sidecar.acquire(self.key, wait_ms=30_000, **self.more)
        self.token = answer.get("token")
        if self.status == 201 and not self.more:
            self.sidecar.release(self.key, self.token)


@dataclass
class Grant:
    """What a caller was promised, by its own clock: told of, and until when."""

    key: str
    token: int
    limit: int  # 1: alone
    told: float
    ends: float


def promised_until(told: float, lease: dict) -> float:
    """As the client counts that may have waited: from the response. But not beyond what Redis says, since on a busy machine a
    response may be read long after it was written."""
    until = datetime.fromisoformat(lease["validUntil"].replace("Z", "+00:00")).timestamp()
    return min(told + lease["validForMs"] / 1000, time.monotonic() + until - time.time())


class AtRandom(Pair):
    KEYS = ("one", "two", "three")

    def test_no_promise_overlaps_another_whatever_is_asked_of_either(self):
        grants, failures, until = [], [], time.monotonic() + SECONDS
        callers = [
            Caller(sidecar, at, self.KEYS, until, grants, failures)
            for at, sidecar in enumerate((self.old, self.new) * 4)
        ]
        for caller in callers:
            caller.join(SECONDS + 60)
        self.assertEqual(failures, [])
        told_by = {name: sum(caller.granted for caller in callers if caller.sidecar.name == name) for name in ("old", "new")}
        self.assertGreater(min(told_by.values()), SECONDS, told_by)
        self.assertGreater(sum(grant.limit > 1 for grant in grants), SECONDS)
        for key in self.KEYS:
            of_key = sorted((grant for grant in grants if grant.key == key), key=lambda grant: grant.token)
            self.assertEqual(len({grant.token for grant in of_key}), len(of_key))
            for at, grant in enumerate(of_key):
                # Granted before it, as their tokens say, and promised beyond it.
                beside = [other for other in of_key[:at] if max(other.told, grant.told) < other.ends]
                self.assertLess(len(beside), grant.limit, f"{grant} beside {beside}")
                self.assertTrue(all(other.limit > 1 for other in beside), f"{grant} beside {beside}")


class Caller(threading.Thread):
    """Asks one of the sidecars, holds what it is granted for a while, and releases it or lets it lapse."""

    def __init__(self, sidecar: Sidecar, seed: int, keys, until: float, grants: list, failures: list):
        super().__init__(daemon=True)
        self.sidecar, self.dice, self.keys, self.until = sidecar, random.Random(seed), keys, until
        self.grants, self.failures, self.granted = grants, failures, 0
        self.start()

    def run(self):
        try:
            while time.monotonic() < self.until:
                self.once()
        except Exception as error:  # noqa: BLE001: told by the test
            self.failures.append(f"{self.sidecar.name}: {error!r}")

    def once(self):
        dice, key = self.dice, self.dice.choice(self.keys)
        can_share = self.sidecar.name == "new"
        limit = dice.choice((1, 2, 3, 10_000)) if can_share else 1
        mode = {} if limit == 1 else {"limit": limit}
        status, lease = self.sidecar.acquire(
            key, ttl_ms=dice.choice((300, 1000, 5000)), wait_ms=dice.choice((0, 500, 3000)), owner=f"caller-{id(self)}", **mode
        )
        told = time.monotonic()
        if status in (409, 408):
            return
        if status != 201:
            raise AssertionError(f"{status} {lease}")
        self.granted += 1
        ends = promised_until(told, lease)
        # A shared request that waited may have been granted the key alone by the old one.
        limit = 1 if lease.get("mode", "exclusive") == "exclusive" else limit
        grant = Grant(key, lease["token"], limit, told, ends)
        self.grants.append(grant)
        time.sleep(dice.uniform(0, 0.05))
        if dice.random() < 0.9:
            grant.ends = min(ends, time.monotonic())
            status, problem = self.sidecar.ask("DELETE", f"{path_of(key)}?token={grant.token}")
            if status not in (204, 410):
                raise AssertionError(f"{status} {problem}")


if __name__ == "__main__":
    unittest.main()
