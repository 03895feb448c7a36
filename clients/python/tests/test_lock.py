"""What is Python's own about locks; what every client must do is in clients/conformance."""

import asyncio
import os
import signal
import threading
import time
import unittest
from datetime import timedelta

from sidecar import SidecarTest, lockside

from lockside import LockHeld, LockLost, Lockside, alock, lock, locked


class WithStatement(SidecarTest):
    def test_the_body_has_the_token_and_the_end_of_the_body_releases(self):
        with lock("x", ttl=10, wait=60) as held:
            self.assertEqual(held.token, self.sidecar.token("x"))
            self.assertTrue(held.held)
        self.assertTrue(self.sidecar.is_free("x"))
        self.assertFalse(held.held)

    def test_a_body_that_ends_after_the_loss_raises_it(self):
        with self.assertRaises(LockLost) as raised:
            with lock("x", ttl=timedelta(seconds=10)) as held:
                self.sidecar.force("x")
                self.assertTrue(held.lost.wait(5))
        self.assertEqual(raised.exception.reason, "forced")

    def test_an_error_of_the_body_is_not_replaced_by_the_loss(self):
        with self.assertRaises(ZeroDivisionError):
            with lock("x") as held:
                self.sidecar.force("x")
                held.lost.wait(5)
                1 / 0

    def test_on_lost_is_told_the_reason_once(self):
        reasons = []
        held = lock("x", on_lost=reasons.append).acquire()
        self.sidecar.force("x")
        held.lost.wait(5)
        self.assertRaises(LockLost, held.release)
        self.assertEqual(reasons, ["forced"])

    def test_on_wait_is_told_the_position_and_the_holder(self):
        self.sidecar.take("x", ttl_ms=1500, owner="importer-7")
        seen = []
        with lock("x", wait=20, on_wait=lambda position, holder: seen.append((position, holder.owner))):
            pass
        self.assertIn((1, "importer-7"), seen)

    def test_an_interrupted_wait_leaves_the_queue(self):
        self.sidecar.take("x", ttl_ms=60_000)
        threading.Timer(0.7, os.kill, [os.getpid(), signal.SIGINT]).start()
        with self.assertRaises(KeyboardInterrupt):
            lock("x", wait=60).acquire()
        self.assert_none_waits()

    def test_an_object_may_be_used_again_and_not_twice_at_once(self):
        made = lock("x")
        with made:
            self.assertRaises(RuntimeError, made.acquire)
        with made:
            pass

    def test_release_may_be_repeated(self):
        held = lock("x").acquire()
        self.assertTrue(held.release())
        self.assertTrue(held.release())

    def test_what_is_no_time_is_refused_before_anything_is_sent(self):
        for options in ({"ttl": 0}, {"ttl": float("inf")}, {"ttl": float("nan")}, {"wait": -1}):
            with self.subTest(options), self.assertRaises(ValueError):
                lock("x", **options)
        self.assertRaises(TypeError, lock, "x", ttl="10")
        self.assertRaises(ValueError, lock, "")

    def test_files_of_tls_beside_a_url_without_it_are_a_mistake(self):
        for url in (None, "http://127.0.0.1:7420", "unix:/x"):
            for option in ("ca_file", "cert_file", "key_file"):
                with self.subTest(option, url=url), self.assertRaisesRegex(ValueError, "https://"):
                    Lockside(url, **{option: "/x"})

    def test_wait_none_waits_as_long_as_it_takes(self):
        token = self.sidecar.take("x")
        threading.Timer(1, self.sidecar.release, ["x", token]).start()
        with lock("x", wait=None):
            pass


class Terms(SidecarTest):
    def test_a_second_run_within_the_minimum_is_refused_as_resting(self):
        with lock("x", min_hold=timedelta(seconds=30)) as held:
            with self.assertRaises(LockHeld) as raised:
                lock("x").acquire()
            self.assertEqual(raised.exception.state, "held")
        with self.assertRaises(LockHeld) as raised:
            lock("x").acquire()
        self.assertEqual((raised.exception.state, raised.exception.holder.token), ("resting", held.token))
        self.assertIn("rests", str(raised.exception))

    def test_the_end_of_the_body_ends_the_delay_and_begins_the_rest(self):
        with lock("x", delay=30):
            pass
        self.assertTrue(self.sidecar.is_free("x"))
        with lock("x", delay=30, rest=20):
            pass
        self.assertEqual(self.sidecar.state("x")["state"], "resting")

    def test_coroutines_and_decorators_take_them_too(self):
        @locked("x", min_hold=30)
        async def work():
            pass

        asyncio.run(work())
        self.assertRaises(LockHeld, asyncio.run, work())

    def test_a_lock_is_lost_at_its_maximum(self):
        with self.assertRaises(LockLost) as raised:
            with lock("x", ttl=1, max_hold=2.5) as held:
                self.assertTrue(held.lost.wait(5))
        self.assertEqual(raised.exception.reason, "max-hold")

    def test_what_is_no_time_is_refused_before_anything_is_sent(self):
        for options in ({"delay": -1}, {"min_hold": float("inf")}, {"max_hold": 0}, {"rest": float("nan")}):
            with self.subTest(options), self.assertRaises(ValueError):
                lock("x", **options)
        self.assertRaises(TypeError, lock, "x", delay="10")


class AsyncWith(SidecarTest):
    def test_the_body_has_the_token_and_the_end_of_the_body_releases(self):
        async def work():
            async with alock("x", ttl=10, wait=60) as held:
                self.assertEqual(held.token, self.sidecar.token("x"))

        asyncio.run(work())
        self.assertTrue(self.sidecar.is_free("x"))

    def test_the_body_is_cancelled_at_the_loss_and_the_loss_is_raised(self):
        async def work():
            async with alock("x"):
                await asyncio.get_running_loop().run_in_executor(None, self.sidecar.force, "x")
                await asyncio.sleep(30)

        start = time.monotonic()
        with self.assertRaises(LockLost) as raised:
            asyncio.run(work())
        self.assertEqual(raised.exception.reason, "forced")
        self.assertLess(time.monotonic() - start, 10)

    def test_the_task_goes_on_after_a_loss_that_was_caught(self):
        async def work():
            try:
                async with alock("x"):
                    await asyncio.get_running_loop().run_in_executor(None, self.sidecar.force, "x")
                    await asyncio.sleep(30)
            except LockLost:
                await asyncio.sleep(0.01)
                return "went on"

        self.assertEqual(asyncio.run(work()), "went on")

    def test_a_body_that_never_awaits_is_told_at_its_end(self):
        async def work():
            async with alock("x") as held:
                self.sidecar.force("x")
                end = time.monotonic() + 5
                while held.held and time.monotonic() < end:
                    time.sleep(0.01)

        with self.assertRaises(LockLost):
            asyncio.run(work())

    def test_without_cancel_on_loss_the_body_looks_for_itself(self):
        async def work():
            async with alock("x", cancel_on_loss=False) as held:
                await asyncio.get_running_loop().run_in_executor(None, self.sidecar.force, "x")
                await asyncio.wait_for(held.lost.wait(), 5)
                return_value.append(held.reason)

        return_value = []
        self.assertRaises(LockLost, asyncio.run, work())
        self.assertEqual(return_value, ["forced"])

    def test_a_cancelled_body_stays_cancelled_and_is_released(self):
        async def work():
            async with alock("x"):
                entered.set()
                await asyncio.sleep(30)

        async def main():
            task = asyncio.ensure_future(work())
            await entered.wait()
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertTrue(self.sidecar.is_free("x"))

        async def setting():
            nonlocal entered
            entered = asyncio.Event()
            await main()

        entered = None
        asyncio.run(setting())

    def test_on_wait_is_told_in_the_loop(self):
        async def work():
            loop, seen = asyncio.get_running_loop(), []

            def on_wait(position, holder):
                seen.append((position, holder.owner, asyncio.get_running_loop() is loop))

            async with alock("x", wait=20, on_wait=on_wait):
                self.assertIn((1, "importer-7", True), seen)

        self.sidecar.take("x", ttl_ms=1500, owner="importer-7")
        asyncio.run(work())

    def test_a_timeout_ends_a_wait_and_leaves_the_queue(self):
        async def work():
            await asyncio.wait_for(alock("x", wait=60).acquire(), 1)

        self.sidecar.take("x", ttl_ms=60_000)
        self.assertRaises(asyncio.TimeoutError, asyncio.run, work())
        self.assert_none_waits()

    def test_a_hundred_waiters_in_one_loop_all_get_their_turn(self):
        async def work(number):
            async with alock("x", ttl=5, wait=60):
                order.append(number)

        async def main():
            await asyncio.gather(*(work(number) for number in range(100)))

        order = []
        asyncio.run(main())
        self.assertEqual(sorted(order), list(range(100)))


class Decorator(SidecarTest):
    def test_a_function_runs_under_the_lock_that_its_arguments_name(self):
        @locked("volume/{id}", ttl=10, lock_as="held")
        def edit(id, held):
            return held.key, held.token == self.sidecar.token("volume/7")

        self.assertEqual(edit(7), ("volume/7", True))
        self.assertTrue(self.sidecar.is_free("volume/7"))

    def test_a_coroutine_function_runs_under_the_lock(self):
        @locked(lambda id: f"volume/{id}")
        async def edit(id):
            return self.sidecar.holder(f"volume/{id}")["owner"]

        self.assertTrue(asyncio.run(edit(7)).endswith(f"/{os.getpid()}"))

    def test_what_is_held_by_another_owner_is_not_run(self):
        @locked("x")
        def work():
            self.fail("it ran")

        self.sidecar.take("x")
        self.assertRaises(LockHeld, work)

    def test_a_generator_is_refused(self):
        with self.assertRaises(TypeError):

            @locked("x")
            def work():
                yield 1


class Addresses(unittest.TestCase):
    def test_what_is_no_address_is_refused_and_not_repeated(self):
        for url in ("ftp://x", "http://user:secret@x", "unix:relative", "http://x/path", "http://x?a=b", "127.0.0.1:7420"):
            with self.subTest(url), self.assertRaises(ValueError) as raised:
                Lockside(url)
            self.assertNotIn("secret", str(raised.exception))

    def test_the_forms_that_the_command_line_takes_are_taken(self):
        for url in ("", "http://127.0.0.1:7420", "http://[::1]:7420/", "http://localhost", "unix:/x", "unix:///x"):
            with self.subTest(url):
                Lockside(url)


if __name__ == "__main__":
    unittest.main()
