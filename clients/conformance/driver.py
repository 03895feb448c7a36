"""The runner's end of a driver: requests and answers as lines of JSON, see README.md."""

import itertools
import json
import queue
import signal
import subprocess
import threading
import time
from pathlib import Path


class DriverError(AssertionError):
    """The driver ended, did not answer in time, or answered what is not in the protocol."""


class Refusal(Exception):
    """`"ok": false`: the client raised one of its typed errors."""

    def __init__(self, error: dict):
        super().__init__(json.dumps(error))
        self.error = error
        self.type = error.get("type")
        self.code = error.get("code")
        self.outcome = error.get("outcome")
        self.reason = error.get("reason")
        self.holder = error.get("holder") or {}
        self.state = error.get("state")
        self.waiters = error.get("waiters")
        self.mode = error.get("mode")
        self.shared_by = error.get("sharedBy")
        self.key = error.get("key")


class Answer:
    """What an operation came to, once it has."""

    def __init__(self):
        self.done = threading.Event()
        self.content: dict = {}
        self.at = 0.0

    def result(self, within: float = 20) -> dict:
        if not self.done.wait(within):
            raise DriverError(f"the driver did not answer within {within} s")
        if self.content.get("ok"):
            return self.content
        raise Refusal(self.content.get("error") or {"type": "driver", "detail": json.dumps(self.content)})

    def refusal(self, within: float = 20) -> Refusal:
        try:
            result = self.result(within)
        except Refusal as refusal:
            return refusal
        raise AssertionError(f"expected an error, and it was done: {result}")


class Driver:
    def __init__(self, command, env: dict, log: Path):
        with open(log, "ab") as errors:
            self.popen = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=env, text=True, bufsize=1
            )
        self.ids = itertools.count(1)
        self.answers: dict = {}
        self.events: "queue.Queue" = queue.Queue()
        self.seen: list = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.popen.stdout:
            at = time.monotonic()
            try:
                message = json.loads(line)
            except ValueError:
                message = {"event": "garbage", "line": line}
            if "event" in message:
                self.seen.append({**message, "at": at})
                continue
            answer = self.answers.pop(message.get("id"), None)
            if answer:
                answer.content, answer.at = message, at
                answer.done.set()
        gone = {"ok": False, "error": {"type": "driver", "detail": "the driver ended"}}
        for answer in list(self.answers.values()):
            answer.content = gone
            answer.done.set()

    @property
    def pid(self) -> int:
        return self.popen.pid

    def send(self, op: str, **arguments) -> Answer:
        """Sends an operation, and does not wait for it."""
        answer, number = Answer(), next(self.ids)
        self.answers[number] = answer
        message = {"id": number, "op": op, **{name: value for name, value in arguments.items() if value is not None}}
        try:
            self.popen.stdin.write(json.dumps(message) + "\n")
            self.popen.stdin.flush()
        except OSError as error:
            raise DriverError(f"the driver is gone: {error}") from error
        return answer

    def call(self, op: str, within: float = 20, **arguments) -> dict:
        return self.send(op, **arguments).result(within)

    def configure(self, **settings):
        self.call("configure", within=60, **settings)

    def acquire(self, key: str, ttl_ms: int = 3000, wait_ms: int = 0, lock=None, within=None, **more) -> dict:
        within = within or wait_ms / 1000 + 20
        return self.call("acquire", within, lock=lock or key, key=key, ttlMs=ttl_ms, waitMs=wait_ms, **more)

    def start_acquire(self, key: str, ttl_ms: int = 3000, wait_ms: int = 0, lock=None, **more) -> Answer:
        return self.send("acquire", lock=lock or key, key=key, ttlMs=ttl_ms, waitMs=wait_ms, **more)

    def bundle(self, lock: str, keys, ttl_ms: int = 3000, wait_ms: int = 0, **more) -> dict:
        """Acquires all keys, each a text or an object of the protocol, under that name."""
        return self.start_bundle(lock, keys, ttl_ms, wait_ms, **more).result(wait_ms / 1000 + 20)

    def start_bundle(self, lock: str, keys, ttl_ms: int = 3000, wait_ms: int = 0, **more) -> Answer:
        keys = [{"key": key} if isinstance(key, str) else key for key in keys]
        return self.send("bundle", lock=lock, keys=keys, ttlMs=ttl_ms, waitMs=wait_ms, **more)

    def release(self, lock: str) -> dict:
        return self.call("release", lock=lock)

    def check(self, lock: str):
        return self.call("check", lock=lock)

    def event(self, kind: str, lock: str, within: float) -> dict:
        """The event of that kind for that lock, waited for."""
        end = time.monotonic() + within
        while True:
            for event in list(self.seen):
                if event["event"] == kind and event.get("lock", event.get("key")) == lock:
                    return event
            if time.monotonic() > end:
                raise AssertionError(f"no event `{kind}` of `{lock}` within {within} s; seen: {self.seen}")
            time.sleep(0.005)

    def watch(self, name: str, **what):
        """Watches a `key`, or a `prefix`, under that name."""
        self.call("watch", watch=name, **what)

    def told(self, name: str) -> list:
        """What a watch has told so far."""
        return [event for event in list(self.seen) if event["event"] == "watched" and event["watch"] == name]

    def lost(self, lock: str, within: float) -> dict:
        return self.event("lost", lock, within)

    def assert_none_lost(self):
        lost = [event for event in self.seen if event["event"] == "lost"]
        assert not lost, f"lost: {lost}"

    def freeze(self):
        self.popen.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.popen.send_signal(signal.SIGCONT)

    def end(self):
        """The ordinary end: its input ends."""
        self.popen.stdin.close()
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            raise DriverError("the driver goes on 10 s after its input ended") from None

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
