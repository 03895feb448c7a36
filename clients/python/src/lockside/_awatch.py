"""`async with awatch(...)`: what happens to a lock, or to all whose keys begin alike, for coroutines."""

import asyncio
from types import TracebackType
from typing import Optional, Protocol, Type

from . import _course
from ._address import Sidecar
from ._awire import AsyncConnection
from ._clock import now
from ._course import Course
from ._event import LockEvent
from ._thread import in_thread
from ._watch import begins, credential, is_stream, no_sidecar, refusal, trouble
from ._wire import Broken
from .errors import LocksideError

_AT_ONCE = 65536


class AsyncFeed(Protocol):
    """Where events come from: a sidecar, or a fake."""

    async def next(self) -> Optional[LockEvent]:
        """Waits for an event; None once it is closed."""

    async def close(self) -> None: ...


class AsyncWatch:
    """Iterates over events, waiting for each, and connects again by itself. It ends when it is closed, or with Refused. A
    coroutine that waits for an event can be cancelled, and asked for the next one later: no event is lost by that."""

    def __init__(self, feed: AsyncFeed) -> None:
        self._feed = feed

    def __aiter__(self) -> "AsyncWatch":
        return self

    async def __anext__(self) -> LockEvent:
        event = await self._feed.next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def close(self) -> None:
        """Ends it at once; a coroutine that waits for an event comes to the end of its loop."""
        await self._feed.close()

    async def __aenter__(self) -> "AsyncWatch":
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()


class AsyncSidecarFeed:
    """It reads from the socket only what is asked for, as the one for threads does."""

    def __init__(self, sidecar: Sidecar, course: Course) -> None:
        self._sidecar, self._course = sidecar, course
        self._connection: Optional[AsyncConnection] = None
        # Goes on when the coroutine that waits for it is cancelled: part of an event may have come.
        self._step: "Optional[asyncio.Task[None]]" = None
        self._is_closed = False

    async def next(self) -> Optional[LockEvent]:
        while not self._is_closed:
            event = self._course.next()
            if event is not None:
                return event
            if self._step is None:
                self._step = asyncio.get_running_loop().create_task(self._advance())
            step = self._step
            await asyncio.wait({step})
            if self._step is step:
                self._step = None
            if not step.cancelled() and step.exception() is not None and not self._is_closed:
                self._is_closed = True
                step.result()
        return None

    async def close(self) -> None:
        self._is_closed = True
        step = self._step
        if self._connection is not None:
            # Until Python 3.12 `wait_for` may swallow a cancellation.
            self._connection.shut()
        if step is not None:
            step.cancel()
            await asyncio.wait({step})
            # Retrieved, or asyncio reports it as an error that was never looked at.
            step.cancelled() or step.exception()
        self._drop()

    async def _advance(self) -> None:
        """Until something was told, or something has changed."""
        try:
            if self._connection is None:
                await asyncio.sleep(max(self._course.resume_at - now(), 0))
                await self._open()
                return
            while not self._course.take(await self._connection.part(_course.SILENCE)):
                pass
        except (OSError, ValueError, asyncio.TimeoutError, LocksideError) as error:
            self._drop()
            if not self._is_closed:
                self._course.broken(trouble(self._sidecar, self._course, error))
        except BaseException:
            self._drop()
            raise

    async def _open(self) -> None:
        sidecar, course = self._sidecar, self._course
        headers = await in_thread(lambda: credential(sidecar, course))
        if self._is_closed:
            raise Broken("the watch is closed")
        connection = self._connection = AsyncConnection(sidecar.address)
        try:
            await asyncio.wait_for(connection.open(), sidecar.timeout)
        except (OSError, asyncio.TimeoutError) as error:
            raise no_sidecar(sidecar, course, Broken(str(error) or "no answer in time")) from error
        until = now() + begins(sidecar)
        await connection.send(course.path, headers, until)
        status, answered = await connection.head(until)
        if not is_stream(status, answered):
            raise refusal(course, status, answered, await connection.rest(until))
        course.begin()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
