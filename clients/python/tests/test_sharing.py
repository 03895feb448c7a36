"""Locks that share their key; what every client must do is in clients/conformance/table/sharing.py."""

import asyncio
import threading
import unittest

from sidecar import SidecarTest, eventually

from lockside import LockHeld, LockLost, Lockside, alock, lock, locked, watch
from lockside.testing import FakeLockside, fake


class Sharing(SidecarTest):
    def test_readers_have_the_key_together_and_a_writer_has_it_alone(self):
        with lock("x", shared=True) as first, lock("x", shared=True) as second:
            self.assertEqual((first.mode, first.limit, second.mode), ("shared", None, "shared"))
            with self.assertRaises(LockHeld) as raised:
                lock("x").acquire()
            held = raised.exception
            self.assertEqual((held.mode, held.shared_by, held.state, held.waiters), ("shared", 2, "held", 0))
            self.assertIn("`x` is shared by", str(held))
            self.assertIn("and 1 more", str(held))
        with lock("x") as writer:
            self.assertEqual((writer.mode, writer.limit), ("exclusive", None))
        self.assertTrue(self.sidecar.is_free("x"))

    def test_a_limit_makes_a_lock_shared(self):
        with lock("x", limit=2) as first, lock("x", limit=2):
            self.assertEqual((first.mode, first.limit), ("shared", 2))
            with self.assertRaises(LockHeld) as raised:
                lock("x", limit=2).acquire()
            self.assertEqual(raised.exception.holder.limit, 2)

    def test_a_decorated_function_runs_as_often_at_once_as_its_limit_says(self):
        change, running, most = threading.Lock(), [0], [0]
        three = threading.Barrier(3)

        @locked("encode/{name}", limit=3, wait=30)
        def encode(name):
            with change:
                running[0] += 1
                most[0] = max(most[0], running[0])
            three.wait(20)
            with change:
                running[0] -= 1

        threads = [threading.Thread(target=encode, args=["x"]) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        self.assertEqual((running[0], most[0]), (0, 3))

    def test_coroutines_share_a_key(self):
        async def read(both):
            async with alock("x", shared=True) as held:
                self.assertEqual(held.mode, "shared")
                await both.wait()

        async def play():
            both = asyncio.Event()
            readers = [asyncio.create_task(read(both)) for _ in range(2)]
            while (await asyncio.to_thread(self.sidecar.state, "x")).get("sharedBy") != 2:
                await asyncio.sleep(0.02)
            both.set()
            await asyncio.gather(*readers)

        asyncio.run(asyncio.wait_for(play(), 20))
        self.assertTrue(self.sidecar.is_free("x"))

    def test_what_is_no_limit_is_refused_before_anything_is_sent(self):
        client = Lockside("http://127.0.0.1:1")
        for limit in (0, -1, 10_001):
            self.assertRaises(ValueError, client.lock, "x", limit=limit)
        for limit in ("3", 2.5, True):
            self.assertRaises(TypeError, client.alock, "x", limit=limit)


class FakeSharing(unittest.TestCase):
    def test_readers_and_a_writer(self):
        with fake() as locks:
            with lock("x", shared=True) as first, lock("x", shared=True):
                with self.assertRaises(LockHeld) as raised:
                    lock("x").acquire()
                self.assertEqual((raised.exception.mode, raised.exception.shared_by), ("shared", 2))
                self.assertEqual([holder.mode for holder in locks.holders("x")], ["shared", "shared"])
                self.assertEqual(locks.holder("x").token, first.token)
            with lock("x") as writer:
                with self.assertRaises(LockHeld) as raised:
                    lock("x", shared=True).acquire()
                self.assertEqual((raised.exception.mode, raised.exception.holder.token), (None, writer.token))

    def test_a_limit_and_another_owner(self):
        with fake() as locks:
            locks.hold("x", owner="encoder-1", shared=True)
            with lock("x", limit=2):
                self.assertRaises(LockHeld, lock("x", limit=2).acquire)
                with lock("x", limit=3) as third:
                    self.assertEqual(third.limit, 3)
                locks.free("x")
                with lock("x", limit=2):
                    pass

    def test_first_come_first_served_over_both_modes(self):
        locks, order = FakeLockside(), []
        first = locks.lock("x", shared=True).acquire()
        threads = []

        def work(name, shared):
            with locks.lock("x", wait=None, shared=shared):
                order.append(name)

        for number, (name, shared) in enumerate((("writer", False), ("reader", True), ("reader", True), ("last", False))):
            threads.append(threading.Thread(target=work, args=[name, shared]))
            threads[-1].start()
            eventually(5, "it waits", lambda: locks.waiters("x") == number + 1)
        self.assertRaises(LockHeld, locks.lock("x", shared=True).acquire)
        first.release()
        for thread in threads:
            thread.join(10)
        self.assertEqual(order, ["writer", "reader", "reader", "last"])
        self.assertIsNone(locks.holder("x"))

    def test_readers_get_in_when_a_writer_gives_up(self):
        locks = FakeLockside()
        with locks.lock("x", shared=True):
            writer = threading.Thread(target=lambda: self.assertRaises(LockHeld, locks.lock("x", wait=0.3).acquire))
            writer.start()
            eventually(5, "the writer waits", lambda: locks.waiters("x") == 1)
            with locks.lock("x", wait=20, shared=True):
                self.assertEqual(len(locks.holders("x")), 2)
            writer.join(10)

    def test_one_of_those_who_share_a_key_rests_and_then_all_of_them(self):
        with fake() as locks:
            locks.hold("x", owner="reader-1", shared=True)
            second = lock("x", shared=True, rest=60).acquire()
            with watch("x") as events:
                told = iter(events)
                self.assertEqual([next(told).type for _ in range(2)], ["state", "synced"])
                second.release()
                released = next(told)
            self.assertEqual((released.type, released.state, released.holder.state), ("released", "resting", "resting"))
            self.assertEqual([holder.state for holder in locks.holders("x")], ["held", "resting"])
            for state, shared_by in (("held", 2), ("resting", 1)):
                with self.assertRaises(LockHeld) as raised:
                    lock("x").acquire()
                self.assertEqual((raised.exception.state, raised.exception.shared_by), (state, shared_by))
                with watch("x") as events:
                    self.assertEqual(next(iter(events)).state, state)
                locks.free("x")
            with lock("x"):
                self.assertIsNone(locks.holder("x").state)

    def test_all_who_share_a_key_lose_it(self):
        with fake() as locks:
            first, second = lock("x", shared=True).acquire(), lock("x", shared=True).acquire()
            locks.lose("x")
            for held in (first, second):
                self.assertEqual(held.reason, "forced")
                self.assertRaises(LockLost, held.release)
            self.assertIsNone(locks.holder("x"))

    def test_a_watch_tells_who_share_a_key(self):
        with fake() as locks:
            with lock("x", shared=True), lock("x", limit=5):
                with watch("x") as events:
                    state = next(events)
                    self.assertEqual((state.state, state.mode, state.shared_by), ("held", "shared", 2))
                    self.assertEqual([holder.limit for holder in state.holders], [None, 5])
                    self.assertEqual(state.holder, state.holders[0])


if __name__ == "__main__":
    unittest.main()
