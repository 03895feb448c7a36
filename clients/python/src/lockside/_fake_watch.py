"""Those who watch a fake: what happens to its locks is put into a queue of each."""

import asyncio
import threading
from collections import deque
from typing import Callable, Deque, List, Optional

from ._course import Course
from ._event import LockEvent

States = Callable[[Callable[[str], bool]], List[LockEvent]]


class Watchers:
    """`change` guards the fake, and is held by the callers of `tell`; `states` are those of the keys that match."""

    def __init__(self, change: "threading.RLock", states: States) -> None:
        self.changed = threading.Condition(change)
        self._states = states
        self._feeds: "List[FakeFeed]" = []

    def tell(self, event: LockEvent) -> None:
        assert event.key is not None
        for feed in self._feeds:
            if feed.matches(event.key):
                feed.put(event)

    def gap(self) -> None:
        with self.changed:
            for feed in self._feeds:
                feed.put(LockEvent("gap"))
                self._begin(feed)

    def enter(self, feed: "FakeFeed") -> None:
        with self.changed:
            self._feeds.append(feed)
            self._begin(feed)

    def leave(self, feed: "FakeFeed") -> None:
        if feed in self._feeds:
            self._feeds.remove(feed)

    def _begin(self, feed: "FakeFeed") -> None:
        states = self._states(feed.matches)
        if feed.key is not None and not states:
            states = [LockEvent("state", feed.key, 0, waiters=0, state="free")]
        for event in [*states, LockEvent("synced")]:
            feed.put(event)


class FakeFeed:
    """What both kinds share."""

    def __init__(self, watchers: Watchers, key: Optional[str], prefix: Optional[str]) -> None:
        # Refuses what a sidecar would refuse.
        name = Course.of(key, prefix).name
        self.key = key
        self.matches: Callable[[str], bool] = (lambda each: each == name) if prefix is None else (lambda each: each.startswith(name))
        self._watchers = watchers
        self._events: "Deque[LockEvent]" = deque()
        self._is_closed = False
        watchers.enter(self)

    def put(self, event: LockEvent) -> None:
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        self._watchers.changed.notify_all()

    def _end(self) -> None:
        with self._watchers.changed:
            self._is_closed = True
            self._watchers.leave(self)
            self._wake()


class ThreadFeed(FakeFeed):
    def next(self) -> Optional[LockEvent]:
        with self._watchers.changed:
            self._watchers.changed.wait_for(lambda: self._is_closed or self._events)
            return None if self._is_closed else self._events.popleft()

    def close(self) -> None:
        self._end()


class LoopFeed(FakeFeed):
    _waits: "Optional[asyncio.Event]" = None
    _loop: Optional[asyncio.AbstractEventLoop] = None

    async def next(self) -> Optional[LockEvent]:
        while True:
            with self._watchers.changed:
                if self._is_closed or self._events:
                    return None if self._is_closed else self._events.popleft()
                self._loop, self._waits = asyncio.get_running_loop(), asyncio.Event()
            await self._waits.wait()

    async def close(self) -> None:
        self._end()

    def _wake(self) -> None:
        if self._loop is not None and self._waits is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._waits.set)
