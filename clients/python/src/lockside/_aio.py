"""`async with alock(...)`: a lock for coroutines. The session's thread hears the sidecar, also while the loop is busy."""

import asyncio
import dataclasses
import logging
from types import TracebackType
from typing import Any, Callable, Optional, Type, TypeVar

from ._attempt import GivenUp
from ._awatch import AsyncWatch
from ._lock import Base, MakeOrder, OneKey, Open
from ._thread import in_thread
from .errors import LockLost

_log = logging.getLogger("lockside")
T = TypeVar("T")
L = TypeVar("L", bound="ForCoroutines")


class _Signals:
    """Hears the session, and passes it on to the loop."""

    def __init__(self, on_lost: Optional[Callable[[str], Any]]) -> None:
        self._loop = asyncio.get_running_loop()
        self.settled: "asyncio.Future[None]" = self._loop.create_future()
        self.lost_event = asyncio.Event()
        self.on_lost = on_lost
        self.task: "Optional[asyncio.Task[Any]]" = None
        self.has_cancelled = False
        # How often the task had been cancelled before.
        self.cancelling = 0

    def granted(self) -> None:
        self.in_loop(self._settle, None)

    def failed(self, error: BaseException) -> None:
        self.in_loop(self._settle, error)

    def lost(self, reason: str) -> None:
        self.in_loop(self._lose, reason)

    def in_loop(self, call: Callable[..., Any], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            # The loop is closed, and nothing in it can be told.
            pass

    def _settle(self, error: Optional[BaseException]) -> None:
        if self.settled.done():
            return
        if error is None:
            self.settled.set_result(None)
        else:
            self.settled.set_exception(error)

    def _lose(self, reason: str) -> None:
        self.lost_event.set()
        if self.task is not None and not self.task.done():
            self.has_cancelled = True
            self.task.cancel()
        if self.on_lost:
            try:
                self.on_lost(reason)
            except Exception:
                _log.exception("on_lost failed")


class ForCoroutines(Base):
    """How coroutines acquire, keep and release."""

    def __init__(
        self,
        key: str,
        make_order: MakeOrder,
        open_session: Open,
        on_lost: Optional[Callable[[str], Any]] = None,
        cancel_on_loss: bool = True,
    ) -> None:
        super().__init__(key, make_order, open_session)
        self._on_lost, self._cancels = on_lost, cancel_on_loss
        self._signals: Optional[_Signals] = None

    @property
    def lost(self) -> asyncio.Event:
        """Set when it is lost, before its lease ends: stop the work."""
        self._held()
        assert self._signals is not None
        return self._signals.lost_event

    async def acquire(self: L) -> L:
        """Acquires it, waiting as long as was said. Raises LockHeld, Unavailable, OutcomeUnknown or Refused."""
        signals = _Signals(self._on_lost)
        order = self._make_order()
        on_wait = order.on_wait
        if on_wait is not None:
            order = dataclasses.replace(order, on_wait=lambda *told: signals.in_loop(on_wait, *told))
        session = self._new(signals, order)
        self._signals = signals
        session.start()
        try:
            await asyncio.shield(signals.settled)
        except asyncio.CancelledError:
            await _finish(session.abandon)
            # Neither a grant nor an error is for anybody any more.
            signals.settled.add_done_callback(lambda settled: settled.exception())
            raise
        except GivenUp:
            raise RuntimeError(f"the acquire of `{self.key}` was cancelled by another task") from None
        return self

    async def release(self) -> bool:
        """Releases it; another acquire right after this gets it. False: lockside could not be asked, and it ends with the
        lease at the latest. Raises LockLost if it was lost before."""
        return await _finish(self._held().release)

    async def __aenter__(self: L) -> L:
        await self.acquire()
        assert self._signals is not None
        if self._cancels:
            task = self._signals.task = asyncio.current_task()
            self._signals.cancelling = task.cancelling() if task is not None and hasattr(task, "cancelling") else 0
            if self._signals.lost_event.is_set():
                await self.release()
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        signals = self._signals
        assert signals is not None
        task, signals.task = signals.task, None
        by_others = False
        if signals.has_cancelled and task is not None and hasattr(task, "uncancel"):
            by_others = task.uncancel() > signals.cancelling
        is_ours = signals.has_cancelled and not by_others
        try:
            await self.release()
        except LockLost as lost:
            if error is None or (is_ours and kind is asyncio.CancelledError):
                raise lost from error
        except asyncio.CancelledError:
            if error is not None or not is_ours:
                raise
            # The body had ended when it was cancelled.
            raise LockLost(self._held().lost_key or self.key, self.reason or "expired") from None


class AsyncLock(ForCoroutines, OneKey):
    """A lock that lockside keeps renewed from acquire to release. `async with` cancels its body when the lock is lost."""

    def __init__(
        self,
        key: str,
        make_order: MakeOrder,
        open_session: Open,
        open_watch: Callable[[], AsyncWatch],
        on_lost: Optional[Callable[[str], Any]] = None,
        cancel_on_loss: bool = True,
    ) -> None:
        super().__init__(key, make_order, open_session, on_lost, cancel_on_loss)
        self._open_watch = open_watch

    def watch(self) -> AsyncWatch:
        """What happens to the key, also while others hold it; see Lockside.awatch."""
        return self._open_watch()


async def _finish(call: Callable[[], T]) -> T:
    """Runs it in a thread, and waits for it whatever happens to the task."""
    done = in_thread(call)
    cancelled: Optional[asyncio.CancelledError] = None
    while not done.done():
        try:
            await asyncio.wait({done})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        # Retrieved, or asyncio reports it as an error that was never looked at.
        done.exception()
        raise cancelled
    return done.result()
