"""Bundles; what every client must do is in clients/conformance/table/bundles.py and bundle_loss.py."""

import asyncio
import threading
import unittest

from sidecar import SidecarTest, eventually

from lockside import BundleKey, LockHeld, LockLost, Lockside, Refused, abundle, bundle, lock
from lockside.testing import FakeLockside, fake


class Bundles(SidecarTest):
    def test_the_block_has_all_keys_and_frees_them(self):
        with bundle(["y", BundleKey("x", limit=2)], ttl=5) as held:
            self.assertEqual((held.keys, held.modes), (("y", "x"), {"y": "exclusive", "x": "shared"}))
            self.assertEqual(held.tokens, {key: self.sidecar.token(key) for key in ("y", "x")})
            self.assertEqual((held.held, held.lost_key), (True, None))
            with self.assertRaises(LockHeld) as raised:
                bundle(["x", "z"]).acquire()
            self.assertEqual((raised.exception.key, raised.exception.holder.owner), ("x", held.owner))
            self.assertIn("`x` is shared by", str(raised.exception))
            self.assertTrue(self.sidecar.is_free("z"))
        self.assertTrue(self.sidecar.is_free("x") and self.sidecar.is_free("y"))

    def test_it_is_told_which_key_it_waits_for(self):
        told = threading.Event()
        keys = []

        def on_wait(key, position, holder):
            if holder is not None:
                keys.append((key, holder.owner))
                told.set()

        token = self.sidecar.take("y")
        waiting = threading.Thread(target=bundle(["x", "y"], wait=20, on_wait=on_wait).acquire)
        waiting.start()
        self.assertTrue(told.wait(10))
        self.assertEqual(keys[0], ("y", "rival"))
        self.sidecar.release("y", token)
        waiting.join(10)

    def test_a_loss_of_one_key_ends_the_block(self):
        reasons = []
        with self.assertRaises(LockLost) as raised:
            with bundle(["x", "y"], ttl=20, on_lost=reasons.append) as held:
                self.sidecar.force("y")
                self.assertTrue(held.lost.wait(10))
                self.assertEqual((held.reason, held.lost_key), ("forced", "y"))
        self.assertEqual((raised.exception.key, raised.exception.reason, reasons), ("y", "forced", ["forced"]))
        eventually(5, "the other key is free", lambda: self.sidecar.is_free("x"))

    def test_a_coroutine_is_cancelled_by_the_loss_of_one_key(self):
        async def work():
            async with abundle(["x", "y"], ttl=20) as held:
                self.assertEqual(set(held.tokens), {"x", "y"})
                await asyncio.to_thread(self.sidecar.force, "x")
                await asyncio.sleep(20)

        with self.assertRaises(LockLost) as raised:
            asyncio.run(work())
        self.assertEqual((raised.exception.key, raised.exception.reason), ("x", "forced"))
        eventually(5, "the other key is free", lambda: self.sidecar.is_free("y"))

    def test_what_names_no_keys_is_refused_before_anything_is_sent(self):
        client = Lockside("http://127.0.0.1:1")
        self.assertRaises(TypeError, client.bundle, "x")
        for keys in ([""], ["x", 7], [BundleKey("x", limit=0)]):
            self.assertRaises(ValueError, client.bundle, keys)
        self.assertRaises(ValueError, client.abundle, ["x"], ttl=0)
        held = client.bundle(["x", "y"])
        self.assertFalse(held.held)
        with self.assertRaisesRegex(RuntimeError, "the bundle `x, y` was not acquired"):
            held.tokens


class FakeBundles(unittest.TestCase):
    def test_all_or_none(self):
        with fake() as locks:
            locks.hold("y", owner="importer-7")
            with self.assertRaises(LockHeld) as raised:
                bundle(["z", "y", "x"]).acquire()
            self.assertEqual((raised.exception.key, raised.exception.holder.owner), ("y", "importer-7"))
            self.assertEqual(locks.acquired, ["y"])
            locks.free("y")
            with bundle(["z", BundleKey("y", shared=True), "x"]) as held:
                self.assertEqual((held.keys, held.modes["y"]), (("z", "y", "x"), "shared"))
                self.assertEqual(held.tokens, {key: locks.holder(key).token for key in held.keys})
                with lock("y", shared=True):
                    self.assertRaises(LockHeld, lock("x").acquire)
            self.assertEqual(locks.acquired[1:4], ["x", "y", "z"])
            self.assertIsNone(locks.holder("x") or locks.holder("y") or locks.holder("z"))

    def test_it_waits_for_one_key_after_another(self):
        locks = FakeLockside()
        locks.hold("x")
        locks.hold("y")
        self.assert_times_out(locks, "x")
        waiting = threading.Thread(target=locks.bundle(["y", "x"], wait=20).acquire)
        waiting.start()
        eventually(5, "it waits for x", lambda: locks.waiters("x") == 1)
        locks.free("x")
        eventually(5, "it waits for y", lambda: locks.waiters("y") == 1)
        self.assert_times_out(locks, "x")
        locks.free("y")
        waiting.join(10)
        self.assertEqual(locks.acquired, ["x", "y", "x", "y"])

    def assert_times_out(self, locks, key):
        with self.assertRaises(LockHeld) as raised:
            locks.bundle(["w", "x"], wait=0.05).acquire()
        self.assertEqual((raised.exception.key, raised.exception.code), (key, "wait-timeout"))
        self.assertIsNone(locks.holder("w"))
        locks.acquired.remove("w")

    def test_one_that_is_lost_loses_all(self):
        locks, reasons = FakeLockside(), []
        held = locks.bundle(["x", "y"], on_lost=reasons.append).acquire()
        locks.lose("y")
        self.assertEqual((held.held, held.reason, held.lost_key, reasons), (False, "forced", "y", ["forced"]))
        self.assertIsNone(locks.holder("x"))
        self.assertRaises(LockLost, held.release)

    def test_one_that_is_lost_while_another_is_waited_for_ends_the_acquire(self):
        locks, errors = FakeLockside(), []
        locks.hold("y")

        def acquire():
            with self.assertRaises(LockHeld) as raised:
                locks.bundle(["x", "y"], wait=20).acquire()
            errors.append(raised.exception)

        waiting = threading.Thread(target=acquire)
        waiting.start()
        eventually(5, "it waits", lambda: locks.waiters("y") == 1)
        locks.lose("x")
        waiting.join(10)
        self.assertEqual((errors[0].key, errors[0].code, locks.waiters("y")), ("x", "held", 0))

    def test_a_cancelled_acquire_leaves_nothing(self):
        locks = FakeLockside()
        locks.hold("y")

        async def play():
            task = asyncio.ensure_future(locks.abundle(["x", "y"], wait=None).acquire())
            while locks.waiters("y") == 0:
                await asyncio.sleep(0.01)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

        asyncio.run(play())
        self.assertEqual((locks.holder("x"), locks.waiters("y")), (None, 0))

    def test_a_failure_and_what_is_not_valid(self):
        locks = FakeLockside()
        with self.assertRaises(Refused) as raised:
            locks.bundle(["x", "y", "x"], wait=5).acquire()
        self.assertIn("`x` is there twice", str(raised.exception))
        self.assertRaises(Refused, locks.bundle([]).acquire)
        locks.fail(LockHeld("told to", key="x"))
        self.assertRaises(LockHeld, locks.bundle(["x"]).acquire)
        with locks.bundle(["x"]):
            self.assertIsNotNone(locks.holder("x"))
