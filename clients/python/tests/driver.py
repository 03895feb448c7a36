"""The driver of the conformance suite: lines of JSON on stdin and stdout, see clients/conformance/README.md.
`driver.py` plays locks for threads, `driver.py asyncio` locks for coroutines."""

import asyncio
import gc
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time

import lockside
from driver_protocol import error_of, say
from driver_watch import LoopReader, ThreadReader


class Leaks(logging.Handler):
    def emit(self, record):
        if hasattr(record, "key"):
            say({"event": "leaked", "key": record.key})


def view(leader):
    return {
        "isLeader": leader.is_leader,
        "name": leader.name,
        "token": leader.token,
        "since": leader.since,
        "lastUpdate": leader.last_update,
        "candidates": leader.candidates,
        "isStale": leader.is_stale,
    }


TERMS = {"delayMs": "delay", "minHoldMs": "min_hold", "maxHoldMs": "max_hold", "restMs": "rest"}


def options(op):
    more = {name: op[name] for name in ("owner", "meta", "shared", "limit") if name in op}
    more.update({option: op[name] / 1000 for name, option in TERMS.items() if name in op})
    name = op["lock"]
    return {
        "ttl": op["ttlMs"] / 1000,
        "wait": op["waitMs"] / 1000,
        "on_lost": lambda reason: say({"event": "lost", "lock": name, "reason": reason}),
        **more,
    }


def keys_of(op):
    return [lockside.BundleKey(**each) if len(each) > 1 else each["key"] for each in op["keys"]]


def granted_all(bundle):
    return {"tokens": bundle.tokens, "modes": bundle.modes, "owner": bundle.owner}


def granted(lock):
    return {"token": lock.token, "owner": lock.owner, "mode": lock.mode, "limit": lock.limit}


class Driver:
    """What both kinds share."""

    def __init__(self):
        self.locks = {}
        self.watches = {}
        self.leaders = {}
        self.client = None

    def configure(self, op):
        if "idleTimeoutMs" in op:
            socket.setdefaulttimeout(op["idleTimeoutMs"] / 1000)
        self.client = lockside.Lockside(op.get("url"))
        return {}

    def check(self, op):
        self.locks[op["lock"]].check()
        return {}

    def isLeader(self, op):
        return {"isLeader": self.leaders[op["election"]].is_leader}

    def stall(self, op):
        self.watches[op["watch"]].goes_on.clear()
        return {}

    def resume(self, op):
        self.watches[op["watch"]].goes_on.set()
        return {}

    def drop(self, op):
        del self.locks[op["lock"]]
        gc.collect()
        return {}

    def exec(self, op):
        child = subprocess.Popen(op["command"], close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        threading.Thread(target=child.wait, daemon=True).start()
        return {"pid": child.pid}

    def fork(self, op):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                self.locks[op["lock"]].check()
                holds = b"1"
            except lockside.LockLost:
                holds = b"0"
            os.write(write, holds)
            time.sleep(op["ms"] / 1000)
            os._exit(0)
        os.close(write)
        holds = os.read(read, 1)
        os.close(read)
        threading.Thread(target=os.waitpid, args=(pid, 0), daemon=True).start()
        return {"pid": pid, "childHolds": holds == b"1"}

    def block(self, op):
        # Keeps the interpreter, and in asyncio the loop.
        end = time.monotonic() + op["ms"] / 1000
        while time.monotonic() < end:
            sum(range(1000))
        if "thenCheck" in op:
            self.locks[op["thenCheck"]].check()
        return {}


class Threads(Driver):
    def leader(self, op):
        known = self.leaders[op["election"]] = self.client.leader(op["election"])
        return view(known)

    def resign(self, op):
        self.client.resign(op["election"], for_=op.get("forMs", 0) / 1000)
        return {}

    def acquire(self, op):
        lock = self.client.lock(op["key"], **options(op))
        self.locks[op["lock"]] = lock
        lock.acquire()
        return granted(lock)

    def bundle(self, op):
        bundle = self.client.bundle(keys_of(op), **options(op))
        self.locks[op["lock"]] = bundle
        bundle.acquire()
        return granted_all(bundle)

    def watch(self, op):
        reader = self.watches[op["watch"]] = ThreadReader(op["watch"], self.client.watch(op.get("key"), prefix=op.get("prefix")))
        reader.thread.start()
        return {}

    def unwatch(self, op):
        reader = self.watches[op["watch"]]
        reader.events.close()
        reader.thread.join()
        return {}

    def cancel(self, op):
        self.locks[op["lock"]].cancel()
        return {}

    def release(self, op):
        return {"confirmed": self.locks[op["lock"]].release()}

    def cycle(self, op):
        refusals = 0
        for _ in range(op["count"]):
            try:
                with self.client.lock(op["key"], ttl=op["ttlMs"] / 1000):
                    pass
            except lockside.LocksideError:
                refusals += 1
        return {"refusals": refusals}

    def answer(self, op):
        try:
            say({"id": op["id"], "ok": True, **getattr(self, op["op"])(op)})
        except RuntimeError as error:
            kind = "cancelled" if "cancelled" in str(error) else "other"
            say({"id": op["id"], "ok": False, "error": {"type": kind, "detail": str(error)}})
        except Exception as error:
            say({"id": op["id"], "ok": False, "error": error_of(error)})

    def run(self):
        for line in sys.stdin:
            threading.Thread(target=self.answer, args=(json.loads(line),), daemon=True).start()


class Coroutines(Driver):
    def __init__(self):
        super().__init__()
        self.waiting = {}

    async def leader(self, op):
        known = self.leaders[op["election"]] = await self.client.aleader(op["election"])
        return view(known)

    async def resign(self, op):
        await self.client.aresign(op["election"], for_=op.get("forMs", 0) / 1000)
        return {}

    async def acquire(self, op):
        lock = self.client.alock(op["key"], **options(op))
        self.locks[op["lock"]] = lock
        self.waiting[op["lock"]] = asyncio.current_task()
        await lock.acquire()
        return granted(lock)

    async def bundle(self, op):
        bundle = self.client.abundle(keys_of(op), **options(op))
        self.locks[op["lock"]] = bundle
        self.waiting[op["lock"]] = asyncio.current_task()
        await bundle.acquire()
        return granted_all(bundle)

    async def watch(self, op):
        reader = self.watches[op["watch"]] = LoopReader(op["watch"], self.client.awatch(op.get("key"), prefix=op.get("prefix")))
        reader.task = asyncio.ensure_future(reader.run())
        return {}

    async def unwatch(self, op):
        reader = self.watches[op["watch"]]
        await reader.events.close()
        await reader.task
        return {}

    async def cancel(self, op):
        self.waiting[op["lock"]].cancel()
        return {}

    async def release(self, op):
        return {"confirmed": await self.locks[op["lock"]].release()}

    async def cycle(self, op):
        refusals = 0
        for _ in range(op["count"]):
            try:
                async with self.client.alock(op["key"], ttl=op["ttlMs"] / 1000):
                    pass
            except lockside.LocksideError:
                refusals += 1
        return {"refusals": refusals}

    async def answer(self, op):
        try:
            done = getattr(self, op["op"])(op)
            say({"id": op["id"], "ok": True, **(await done if asyncio.iscoroutine(done) else done)})
        except asyncio.CancelledError:
            say({"id": op["id"], "ok": False, "error": {"type": "cancelled"}})
        except Exception as error:
            say({"id": op["id"], "ok": False, "error": error_of(error)})

    async def serve(self):
        loop, tasks = asyncio.get_running_loop(), set()
        while True:
            line = await loop.run_in_executor(None, sys.stdin.readline)
            if not line:
                return
            task = loop.create_task(self.answer(json.loads(line)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    def run(self):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(self.serve())


if __name__ == "__main__":
    logging.getLogger("lockside").addHandler(Leaks())
    driver = Coroutines() if "asyncio" in sys.argv else Threads()
    driver.run()
    # The ordinary end of a program that still holds its locks.
