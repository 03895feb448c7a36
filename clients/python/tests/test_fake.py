"""The fake does what the sidecar does, as far as an application can tell."""

import asyncio
import threading
import unittest

from sidecar import lockside

from lockside import LockHeld, LockLost, OutcomeUnknown, Unavailable, alock, awatch, lock, locked, watch
from lockside.testing import FakeLockside, fake


class Fake(unittest.TestCase):
    def test_locks_are_exclusive_and_tokens_rise(self):
        with fake() as locks:
            with lock("x") as first:
                with self.assertRaises(LockHeld) as raised:
                    lock("x").acquire()
                self.assertEqual(raised.exception.holder.token, first.token)
                self.assertEqual(locks.holder("x").owner, first.owner)
            with lock("x") as second:
                self.assertGreater(second.token, first.token)
            self.assertIsNone(locks.holder("x"))
            self.assertEqual(locks.acquired, ["x", "x"])

    def test_what_another_owner_holds_is_held_until_it_is_free(self):
        with fake() as locks:
            locks.hold("x", owner="importer-7")
            with self.assertRaises(LockHeld) as raised:
                lock("x", wait=0.05).acquire()
            self.assertEqual((raised.exception.code, raised.exception.holder.owner), ("wait-timeout", "importer-7"))
            threading.Timer(0.1, locks.free, ["x"]).start()
            with lock("x", wait=10):
                pass

    def test_a_lock_with_a_minimum_or_a_rest_rests_until_it_is_free(self):
        for terms in ({"min_hold": 540}, {"rest": 60}):
            with self.subTest(terms), fake() as locks:
                with lock("x", **terms) as first:
                    pass
                with self.assertRaises(LockHeld) as raised:
                    lock("x", wait=0.05).acquire()
                self.assertEqual((raised.exception.state, raised.exception.holder.token), ("resting", first.token))
                threading.Timer(0.1, locks.free, ["x"]).start()
                with lock("x", wait=10, delay=5):
                    with self.assertRaises(LockHeld) as raised:
                        lock("x").acquire()
                    self.assertEqual(raised.exception.state, "held")
                self.assertIsNone(locks.holder("x"))

    def test_waiters_are_served_in_order(self):
        locks, order = FakeLockside(), []

        def work(number):
            with locks.lock("x", wait=None):
                order.append(number)

        first = locks.lock("x").acquire()
        threads = []
        for number in range(5):
            threads.append(threading.Thread(target=work, args=(number,)))
            threads[-1].start()
            while locks.waiters("x") <= number:
                pass
        first.release()
        for thread in threads:
            thread.join()
        self.assertEqual(order, list(range(5)))

    def test_a_loss_is_told_as_the_sidecar_tells_it(self):
        reasons = []
        with fake() as locks:
            with self.assertRaises(LockLost):
                with lock("x", on_lost=reasons.append) as held:
                    locks.lose("x", "forced")
                    self.assertTrue(held.lost.is_set())
                    held.check()
            self.assertEqual(reasons, ["forced"])
            with lock("x"):
                pass

    def test_failures_are_raised_once(self):
        with fake() as locks:
            locks.fail()
            locks.fail(OutcomeUnknown("no answer"))
            self.assertRaises(Unavailable, lock("x").acquire)
            self.assertRaises(OutcomeUnknown, lock("x").acquire)
            lock("x").acquire().release()

    def test_coroutines_and_decorators_use_it_too(self):
        @locked("volume/{id}")
        async def edit(id):
            await asyncio.sleep(30)

        async def main(locks):
            task = asyncio.ensure_future(edit(7))
            while locks.holder("volume/7") is None:
                await asyncio.sleep(0.01)
            with self.assertRaises(LockHeld):
                await alock("volume/7").acquire()
            locks.lose("volume/7")
            with self.assertRaises(LockLost):
                await task

        with fake() as locks:
            asyncio.run(main(locks))

    def test_what_happens_is_told_to_those_who_watch(self):
        with fake() as locks:
            locks.hold("x", owner="importer-7")
            with watch("x") as key, watch(prefix="") as every, watch("y") as other:
                self.assertRaises(LockHeld, lock("x", wait=0.01).acquire)
                locks.free("x")
                with lock("x", rest=1):
                    pass
                locks.free("x")
                lock("x").acquire()
                locks.lose("x")
                locks.gap()
                changes = "waiting waiting released granted released expired granted forced gap".split()
                told = [next(key) for _ in range(13)]
                self.assertEqual([event.type for event in told], ["state", "synced", *changes, "state", "synced"])
                self.assertEqual((told[0].state, told[0].holder.owner, told[0].token), ("held", "importer-7", told[4].token))
                self.assertEqual([event.waiters for event in told[2:4]], [1, 0])
                self.assertEqual((told[6].state, told[6].token), ("resting", told[7].token))
                self.assertEqual((told[-2].state, told[-2].key), ("free", "x"))
                self.assertEqual([next(every).type for _ in range(12)], ["state", "synced", *changes, "synced"])
                self.assertEqual([next(other).type for _ in range(5)], ["state", "synced", "gap", "state", "synced"])
            self.assertEqual(list(key), [])

    def test_coroutines_watch_it_too(self):
        async def main(locks):
            async with awatch("x") as events:
                told = [(await events.__anext__()).type for _ in range(2)]
                reader = asyncio.ensure_future(events.__anext__())
                await asyncio.sleep(0)
                threading.Thread(target=locks.hold, args=["x"]).start()
                told.append((await reader).type)
                reader = asyncio.ensure_future(events.__anext__())
                await asyncio.sleep(0)
                await events.close()
                with self.assertRaises(StopAsyncIteration):
                    await reader
            return told

        with fake() as locks:
            self.assertEqual(asyncio.run(main(locks)), ["state", "synced", "granted"])

    def test_a_cancelled_wait_leaves_the_queue(self):
        async def main(locks):
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(alock("x", wait=None).acquire(), 0.1)
            self.assertEqual(locks.waiters("x"), 0)

        with fake() as locks:
            locks.hold("x")
            asyncio.run(main(locks))

    def test_its_locks_are_the_very_classes_of_the_real_ones(self):
        self.assertIsInstance(FakeLockside().lock("x"), lockside.Lock)
        self.assertIsInstance(FakeLockside().alock("x"), lockside.AsyncLock)


if __name__ == "__main__":
    unittest.main()
