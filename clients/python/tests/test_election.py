"""What is Python's own about leader election; what every client must do is in clients/conformance."""

import asyncio
import os
import time
import unittest
from datetime import timedelta

from sidecar import SidecarTest, lockside
from world import eventually

from lockside import Lockside, Refused, Unavailable, aleader, aresign, leader, resign
from lockside.testing import FakeLockside, fake


class Elections(SidecarTest):
    flags = ("--elect", "jobs", "--elect-as", "pod-7", "--elect-ttl", "1s")

    def lead(self):
        eventually(5, "it leads", lambda: leader("jobs").is_leader)
        return leader("jobs")

    def test_the_leader_is_named_with_its_token(self):
        known = self.lead()
        self.assertEqual((known.name, known.candidates, known.is_stale), ("pod-7", 1, False))
        self.assertEqual(known.token, self.sidecar.token("election:jobs"))
        self.assertRegex(known.since, r"^\d{4}-\d\d-\d\dT")
        self.assertRegex(known.last_update, r"^\d{4}-\d\d-\d\dT")

    def test_what_was_answered_ends_by_the_clock(self):
        known = self.lead()
        self.assertTrue(known.is_leader)
        self.sidecar.kill()
        eventually(2, "the validity has passed", lambda: not known.is_leader)
        self.assertRaises(Unavailable, leader, "jobs")

    def test_it_does_not_lead_for_as_long_as_it_resigned(self):
        self.lead()
        resign("jobs", for_=timedelta(seconds=30))
        known = leader("jobs")
        self.assertEqual((known.is_leader, known.name, known.token, known.since), (False, None, None, None))
        self.assertTrue(self.sidecar.is_free("election:jobs"))
        resign("jobs", for_=0.001)
        self.lead()

    def test_coroutines_ask_as_threads_do(self):
        async def play():
            while not (await aleader("jobs")).is_leader:
                await asyncio.sleep(0.02)
            await aresign("jobs", for_=30)
            return await aleader("jobs")

        self.assertFalse(asyncio.run(asyncio.wait_for(play(), 5)).is_leader)

    def test_a_cancelled_coroutine_does_not_wait_for_an_answer(self):
        self.sidecar.freeze()

        async def play():
            start = time.monotonic()
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(aleader("jobs"), 0.2)
            return time.monotonic() - start

        self.assertLess(asyncio.run(play()), 3)

    def test_an_unknown_election_is_refused(self):
        for call in (leader, resign):
            with self.subTest(call.__name__), self.assertRaises(Refused) as raised:
                call("other")
            error = raised.exception
            self.assertEqual((error.code, error.status, error.key), ("no-such-election", 404, "other"))

    def test_a_sidecar_that_does_not_answer_is_unavailable(self):
        self.sidecar.freeze()
        impatient = Lockside(timeout=0.2)
        with self.assertRaises(Unavailable) as raised:
            impatient.leader("jobs")
        self.assertEqual(raised.exception.outcome, "not-applied")
        self.assertRaises(lockside.OutcomeUnknown, impatient.resign, "jobs")

    def test_what_is_no_name_or_no_time_is_refused_before_anything_is_sent(self):
        client = Lockside("unix:/nothing/listens/here")
        self.assertRaises(ValueError, client.leader, "")
        self.assertRaises(ValueError, client.resign, "jobs", for_=-1)
        self.assertRaises(ValueError, client.resign, "jobs", for_=float("inf"))
        self.assertRaises(TypeError, client.resign, "jobs", for_="30s")

    def test_nothing_is_left_open(self):
        self.lead()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            leader("jobs")
        self.assertLessEqual(len(os.listdir("/proc/self/fd")), before)


class Fake(unittest.TestCase):
    def test_a_pod_leads_until_another_one_does(self):
        with fake() as locks:
            locks.lead("jobs")
            first = leader("jobs")
            self.assertTrue(first.is_leader)
            locks.follow("jobs", "pod-8")
            self.assertFalse(first.is_leader)
            second = leader("jobs")
            self.assertEqual((second.name, second.is_leader, second.candidates), ("pod-8", False, 2))
            self.assertGreater(second.token, first.token)

    def test_a_pod_that_resigns_does_not_lead(self):
        locks = FakeLockside()
        locks.lead("jobs")
        first = locks.leader("jobs")
        locks.resign("jobs", for_=30)
        self.assertFalse(first.is_leader)
        self.assertIsNone(locks.leader("jobs").name)
        locks.follow("jobs", "pod-8")
        locks.resign("jobs")
        self.assertEqual(locks.leader("jobs").name, "pod-8")

    def test_coroutines_use_it_too(self):
        async def play():
            await aresign("jobs")
            return await aleader("jobs")

        with fake() as locks:
            locks.lead("jobs")
            self.assertFalse(asyncio.run(play()).is_leader)

    def test_an_unknown_election_is_refused(self):
        with self.assertRaises(Refused) as raised:
            FakeLockside().leader("jobs")
        self.assertEqual(raised.exception.code, "no-such-election")


if __name__ == "__main__":
    unittest.main()
