"""What is Python's own about watching; what every client must do is in clients/conformance."""

import asyncio
import gc
import os
import socket
import threading
import time
import unittest
from unittest import mock

from sidecar import SidecarTest, lockside
from world import eventually

from lockside import LockEvent, Lockside, Refused, alock, awatch, lock, watch
from lockside._course import Course
from lockside._sse import Events
from lockside.errors import Unavailable


def types(events, count):
    return [next(events).type for _ in range(count)]


class Watching(SidecarTest):
    def assert_no_stream(self):
        eventually(2, "no stream is open", lambda: self.sidecar.metric("lockside_watchers") == 0)

    def test_a_block_ends_its_stream(self):
        with watch("x") as events:
            self.assertEqual(next(events), LockEvent("state", "x", 0, waiters=0, state="free"))
            self.assertEqual(next(events), LockEvent("synced"))
            with lock("x", owner="web-3", meta={"job": 7}) as held:
                granted = next(events)
                self.assertEqual((granted.type, granted.token, granted.holder.owner), ("granted", held.token, "web-3"))
                self.assertEqual(granted.holder.meta, {"job": 7})
            self.assertEqual(next(events), LockEvent("released", "x", held.token))
        self.assertEqual(list(events), [])
        self.assert_no_stream()

    def test_a_lock_is_watched_by_its_object(self):
        with lock("x") as held, held.watch() as events:
            self.assertEqual(next(events).holder.token, held.token)

    def test_another_thread_ends_the_loop(self):
        events, seen = watch(prefix="jobs/"), []
        reader = threading.Thread(target=lambda: seen.extend(event.type for event in events))
        reader.start()
        eventually(5, "it watches", lambda: seen)
        events.close()
        reader.join(2)
        self.assertFalse(reader.is_alive())
        self.assertEqual(seen, ["synced"])
        self.assert_no_stream()

    def test_a_watch_that_is_forgotten_ends(self):
        events = watch("x")
        next(events)
        del events
        gc.collect()
        self.assert_no_stream()

    def test_nothing_is_left_open(self):
        before, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
        for _ in range(20):
            with watch("x") as events:
                next(events)
        self.assertLessEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertLessEqual(threading.active_count(), threads)

    def test_a_key_that_cannot_be_watched_ends_it(self):
        events = watch("x" * 2000)
        with self.assertRaises(Refused) as raised:
            next(events)
        self.assertEqual((raised.exception.code, raised.exception.status), ("bad-request", 400))
        self.assertEqual(list(events), [])

    def test_what_is_no_key_is_refused_before_anything_is_sent(self):
        for arguments in ({}, {"key": ""}, {"key": 7}, {"key": "x", "prefix": "x"}):
            for call in (watch, awatch):
                with self.subTest(arguments), self.assertRaises(ValueError):
                    call(**arguments)

    def test_coroutines_watch_as_threads_do(self):
        async def play():
            seen = []
            async with alock("x") as held:
                async with held.watch() as events:
                    async for event in events:
                        seen.append(event.type)
                        if event.type == "synced":
                            asyncio.ensure_future(held.release())
                        if event.type == "released":
                            break
            return seen

        self.assertEqual(asyncio.run(asyncio.wait_for(play(), 10)), ["state", "synced", "released"])
        self.assert_no_stream()

    def test_a_coroutine_that_is_cancelled_loses_no_event(self):
        async def play():
            async with awatch(prefix="") as events:
                seen, cancelled = [], 0
                while "released" not in seen:
                    try:
                        seen.append((await asyncio.wait_for(events.__anext__(), 0.002)).type)
                    except asyncio.TimeoutError:
                        cancelled += bool(seen)
                        if cancelled == 30:
                            held = await alock("x", meta="y" * 800).acquire()
                    else:
                        if seen[-1] == "granted":
                            await held.release()
                return seen

        self.assertEqual(asyncio.run(asyncio.wait_for(play(), 20)), ["synced", "granted", "released"])

    def test_another_task_ends_the_loop(self):
        async def play():
            events, seen = awatch("x"), []

            async def read():
                async for event in events:
                    seen.append(event.type)

            reader = asyncio.ensure_future(read())
            while len(seen) < 2:
                await asyncio.sleep(0.01)
            await events.close()
            await reader
            return seen

        self.assertEqual(asyncio.run(asyncio.wait_for(play(), 10)), ["state", "synced"])
        self.assert_no_stream()

    def test_the_end_of_a_loop_ends_its_watches(self):
        async def play():
            events = awatch("x")
            await events.__anext__()
            asyncio.ensure_future(events.__anext__())
            await events.__anext__()

        asyncio.run(play())
        gc.collect()
        self.assert_no_stream()


class Raw(unittest.TestCase):
    """A server that says nothing but what a test says."""

    def setUp(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.client = Lockside("http://127.0.0.1:%d" % self.listener.getsockname()[1])

    def serve(self, *answers):
        """Answers one connection after another, and leaves each open."""

        def run():
            for answer in answers:
                connection, _ = self.listener.accept()
                self.addCleanup(connection.close)
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 5)

    STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 100\n\n"

    def test_a_stream_that_is_silent_is_given_up(self):
        self.serve(self.STREAM + b"event: synced\ndata: {}\n\n", self.STREAM + b"event: synced\ndata: {}\n\n")
        with mock.patch("lockside._course.SILENCE", 0.3), self.client.watch(prefix="") as events:
            self.assertEqual(types(events, 3), ["synced", "gap", "synced"])

    def test_coroutines_give_a_silent_stream_up_too(self):
        self.serve(self.STREAM + b"event: synced\ndata: {}\n\n", self.STREAM + b"event: synced\ndata: {}\n\n")

        async def play():
            async with self.client.awatch(prefix="") as events:
                return [(await events.__anext__()).type for _ in range(3)]

        with mock.patch("lockside._course.SILENCE", 0.3):
            self.assertEqual(asyncio.run(asyncio.wait_for(play(), 10)), ["synced", "gap", "synced"])

    def test_retry_after_is_waited_for(self):
        refusal = b"HTTP/1.1 503 Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
        self.serve(refusal, self.STREAM + b"event: synced\ndata: {}\n\n")
        start = time.monotonic()
        with self.client.watch(prefix="") as events:
            self.assertEqual(next(events).type, "synced")
        self.assertGreater(time.monotonic() - start, 1)

    def test_what_is_no_stream_is_refused(self):
        self.serve(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi")
        with self.assertRaises(Refused), self.client.watch("x") as events:
            next(events)

    def test_an_event_without_end_breaks_the_stream(self):
        self.serve(self.STREAM + b"event: synced\ndata: {}\n\ndata: " + b"x" * 1100_000, self.STREAM + b"event: synced\ndata: {}\n\n")
        with self.client.watch(prefix="") as events:
            self.assertEqual(types(events, 3), ["synced", "gap", "synced"])


class Parts(unittest.TestCase):
    """What needs no sidecar."""

    def test_server_sent_events_are_parsed_however_they_are_cut(self):
        text = (
            "retry: 1042\n\n: a comment\n\nevent: state\r\ndata: {\"key\":\"ä\"}\r\n\r\nevent: nothing\n\n"
            "event:later\nid: 7\ndata: a\ndata: b\n\ndata\n\n"
        ).encode()
        expected = [("state", '{"key":"ä"}'), ("later", "a\nb"), ("message", "")]
        for size in (1, 2, 3, 7, 1000):
            events = Events()
            parsed = [event for at in range(0, len(text), size) for event in events.feed(text[at : at + size])]
            self.assertEqual((parsed, events.retry), (expected, 1.042), size)

    def test_a_gap_is_told_once_until_something_else_is(self):
        course = Course.of("x", None)
        lost = Unavailable("lost")
        course.broken(lost)
        self.assertIsNone(course.next())
        course.take(b"event: state\ndata: {}\n\nevent: gap\ndata: {}\n\nevent: gap\ndata: {}\n\n")
        course.broken(lost)
        self.assertEqual([course.next().type for _ in range(2)], ["state", "gap"])
        self.assertIsNone(course.next())
        course.take(b"event: synced\ndata: {}\n\nevent: of a later version\ndata: 7\n\n")
        course.broken(lost)
        self.assertEqual([course.next().type for _ in range(2)], ["synced", "gap"])

    def test_pauses_grow_to_a_few_seconds_and_differ(self):
        with mock.patch("lockside._course.now", lambda: 0):
            course, pauses = Course.of("x", None), []
            for _ in range(8):
                course.broken(Unavailable("lost"))
                pauses.append(course.resume_at)
            self.assertTrue(all(5 <= pause <= 6.25 for pause in pauses[3:]), pauses)
            self.assertTrue(1 <= pauses[0] <= 1.25, pauses)
            self.assertGreater(len(set(pauses)), 6)
            course.broken(Unavailable("lost", retry_after=60))
            self.assertTrue(60 <= course.resume_at <= 75)
            course.take(b"retry: 2000\n\nevent: synced\ndata: {}\n\n")
            course.broken(Unavailable("lost"))
            self.assertTrue(2 <= course.resume_at <= 2.5)

    def test_only_what_may_pass_is_tried_again(self):
        for status in (400, 401, 403, 404):
            self.assertRaises(Refused, Course.of("x", None).broken, Refused("no", status=status))
        self.assertRaises(Refused, Course.of("x", None).broken, Refused("the token file"))
        for error in (Refused("a proxy", status=429), lockside.OutcomeUnknown("no", status=502), Unavailable("no", status=503)):
            Course.of("x", None).broken(error)


if __name__ == "__main__":
    unittest.main()
