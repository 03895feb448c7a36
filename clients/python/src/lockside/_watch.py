"""`with watch(...)`: what happens to a lock, or to all whose keys begin alike, for threads."""

import json
import threading
from types import TracebackType
from typing import Any, Dict, Optional, Protocol, Type

from . import _course
from ._address import Sidecar
from ._clock import now
from ._course import Course
from ._event import LockEvent
from ._wire import Connection
from .errors import LocksideError, Refused, Unavailable, of_problem


class Feed(Protocol):
    """Where events come from: a sidecar, or a fake."""

    def next(self) -> Optional[LockEvent]:
        """Waits for an event; None once it is closed."""

    def close(self) -> None: ...


class Watch:
    """Iterates over events, waiting for each, and connects again by itself. It ends when it is closed, or with Refused."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def __iter__(self) -> "Watch":
        return self

    def __next__(self) -> LockEvent:
        event = self._feed.next()
        if event is None:
            raise StopIteration
        return event

    def close(self) -> None:
        """Ends it at once; a thread that waits for an event comes to the end of its loop."""
        self._feed.close()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __del__(self) -> None:
        feed = getattr(self, "_feed", None)
        if feed is not None:
            feed.close()


class SidecarFeed:
    """It reads from the socket only what is asked for, so that a slow reader costs no memory here: the sidecar drops what
    it cannot send, and tells of a gap."""

    def __init__(self, sidecar: Sidecar, course: Course) -> None:
        self._sidecar, self._course = sidecar, course
        self._connection: Optional[Connection] = None
        self._closed = threading.Event()
        # Held by the thread that reads.
        self._turn = threading.RLock()

    def next(self) -> Optional[LockEvent]:
        with self._turn:
            try:
                while not self._closed.is_set():
                    event = self._course.next()
                    if event is not None:
                        return event
                    self._advance()
            except LocksideError:
                self._closed.set()
                raise
            finally:
                if self._closed.is_set():
                    self._drop()
            return None

    def close(self) -> None:
        self._closed.set()
        connection = self._connection
        if connection is not None:
            connection.shut()
        with self._turn:
            self._drop()

    def _advance(self) -> None:
        """Until something was told, or something has changed."""
        try:
            if self._connection is None:
                if not self._closed.wait(max(self._course.resume_at - now(), 0)):
                    self._begin()
                return
            while not self._course.take(self._connection.part(_course.SILENCE)):
                pass
        except (OSError, ValueError, LocksideError) as error:
            self._drop()
            if not self._closed.is_set():
                self._course.broken(trouble(self._sidecar, self._course, error))

    def _begin(self) -> None:
        try:
            self._open()
        except BaseException:
            # Also where Ctrl-C came in between: what has begun in part is not read.
            self._drop()
            raise

    def _open(self) -> None:
        sidecar, course = self._sidecar, self._course
        headers = credential(sidecar, course)
        connection = self._connection = Connection(sidecar.address)
        if self._closed.is_set():
            return
        try:
            connection.open(sidecar.timeout)
        except OSError as error:
            raise no_sidecar(sidecar, course, error) from error
        until = now() + begins(sidecar)
        connection.send("GET", course.path, headers, None)
        status, answered = connection.head(until)
        if not is_stream(status, answered):
            raise refusal(course, status, answered, connection.rest(until))
        course.begin()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.shut()
            connection.close()


# What a watch for threads and one for coroutines share.


def credential(sidecar: Sidecar, course: Course) -> Dict[str, str]:
    try:
        return sidecar.headers()
    except (OSError, ValueError) as error:
        raise Refused(f"`{course.name}`: the token file: {error}", key=course.name) from error


def begins(sidecar: Sidecar) -> float:
    """How long a stream may take to begin: the sidecar first reads the state of every shard."""
    return 2 * sidecar.timeout


def is_stream(status: int, headers: Dict[str, str]) -> bool:
    return status == 200 and headers.get("content-type", "").startswith("text/event-stream")


def refusal(course: Course, status: int, headers: Dict[str, str], text: bytes) -> LocksideError:
    if status == 200:
        message = f"`{course.name}`: what came is no stream of events; does the URL name lockside's API?"
        return Refused(message, key=course.name, status=status)
    try:
        view: Any = json.loads(text)
    except ValueError:
        view = None
    return of_problem(course.name, status, view, headers.get("retry-after"))


def no_sidecar(sidecar: Sidecar, course: Course, error: OSError) -> Unavailable:
    return Unavailable(f"cannot connect to lockside at {sidecar.address}: {error}; is it running?", key=course.name)


def trouble(sidecar: Sidecar, course: Course, error: Exception) -> LocksideError:
    """The error of the client for one of the connection."""
    if isinstance(error, LocksideError):
        return error
    why = str(error) or "no answer in time"
    return Unavailable(f"no events from lockside at {sidecar.address}: {why}", key=course.name)
