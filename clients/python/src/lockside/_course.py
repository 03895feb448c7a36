"""The course of a watch over all its connections, without any input or output: what is told, and when to connect again."""

import logging
import math
import random
from collections import deque
from typing import Deque, Optional
from urllib.parse import quote

from ._clock import now
from ._event import LockEvent
from ._sse import Events
from .errors import LocksideError, Unavailable

_log = logging.getLogger("lockside")

#: Longest silence of a stream: the sidecar writes a comment every 15 s.
SILENCE = 45.0
_FIRST_PAUSE = 1.0
_SHORTEST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_GAP = LockEvent("gap")


class Course:
    """`name` is the key or the prefix, for messages."""

    def __init__(self, name: str, path: str) -> None:
        self.name, self.path = name, path
        #: When to connect again.
        self.resume_at = -math.inf
        self._events: "Deque[LockEvent]" = deque()
        self._parser = Events()
        self._pause = _FIRST_PAUSE
        self._failures = 0
        # Whether anything was told since the beginning or the last gap.
        self._has_told = False

    @staticmethod
    def of(key: Optional[str], prefix: Optional[str]) -> "Course":
        if (key is None) == (prefix is None):
            raise ValueError("watch: expected a key or a prefix")
        name = prefix if key is None else key
        if not isinstance(name, str) or key == "":
            raise ValueError("key: expected text that is not empty")
        if key is None:
            return Course(name, f"/v1/events?prefix={quote(name, safe='')}")
        return Course(name, f"/v1/locks/{quote(name, safe='')}/events")

    def next(self) -> Optional[LockEvent]:
        return self._events.popleft() if self._events else None

    def begin(self) -> None:
        """A stream begins."""
        self._parser = Events()

    def take(self, content: bytes) -> bool:
        """What of the stream has come; whether there is something to tell."""
        for name, data in self._parser.feed(content):
            event = LockEvent.of(name, data)
            if event is not None:
                self._failures = 0
                self._tell(event)
        if self._parser.retry is not None:
            self._pause = self._parser.retry
        return bool(self._events)

    def broken(self, error: LocksideError) -> None:
        """The stream ended, or did not begin. Raises the error if connecting again does not help."""
        if not _may_pass(error):
            raise error
        if self._failures == 0:
            _log.warning("%s: %s; connecting again", self.path, error)
        self._tell(_GAP)
        pause = min(self._pause * 2**self._failures, max(_LONGEST_PAUSE, self._pause))
        pause = max(pause, error.retry_after or 0, _SHORTEST_PAUSE)
        self._failures = min(self._failures + 1, 10)
        self.resume_at = now() + pause * random.uniform(1, 1.25)

    def _tell(self, event: LockEvent) -> None:
        is_gap = event.type == "gap"
        # One gap before each run of states, also if both the sidecar and this client noticed it.
        if self._has_told or not is_gap:
            self._events.append(event)
        self._has_told = not is_gap


def _may_pass(error: LocksideError) -> bool:
    if error.status is None:
        return isinstance(error, Unavailable)
    return error.status == 429 or error.status >= 500
