"""`with lock(...)`: a lock for threads."""

import logging
import sys
import threading
from types import TracebackType
from typing import Any, Callable, Optional, Protocol, Type, TypeVar

from ._attempt import GivenUp, Lease, Leases, Order
from ._session import Listener
from ._watch import Watch
from .errors import LockLost

_log = logging.getLogger("lockside")


class SessionLike(Protocol):
    """What a lock needs of its session, the real one or the fake's."""

    reason: Optional[str]
    lost_key: Optional[str]

    @property
    def leases(self) -> Leases: ...

    @property
    def is_held(self) -> bool: ...

    @property
    def deadline(self) -> float: ...

    def start(self) -> None: ...

    def check(self) -> None: ...

    def release(self) -> bool: ...

    def abandon(self) -> None: ...


# Makes an order for the process of this moment, and opens the session for it.
MakeOrder = Callable[[], Order]
Open = Callable[[Order, Listener], SessionLike]


T = TypeVar("T", bound="ForThreads")


class Base:
    """What locks and bundles share, for threads and for coroutines."""

    #: For messages.
    _kind = "lock"

    def __init__(self, key: str, make_order: MakeOrder, open_session: Open) -> None:
        self.key = key
        self._make_order, self._open = make_order, open_session
        self._session: Optional[SessionLike] = None

    def _new(self, listener: Listener, order: Order) -> SessionLike:
        if self._session is not None and self._session.is_held:
            raise RuntimeError(f"the {self._kind} `{self.key}` is held by this object already; use another one")
        self._session = self._open(order, listener)
        return self._session

    def _held(self) -> SessionLike:
        if self._session is None or not self._session.leases:
            raise RuntimeError(f"the {self._kind} `{self.key}` was not acquired")
        return self._session

    @property
    def owner(self) -> str:
        return self._held().leases[0].owner

    @property
    def held(self) -> bool:
        """Whether the lock is held now."""
        try:
            self._held().check()
        except (LockLost, RuntimeError):
            return False
        return True

    @property
    def reason(self) -> Optional[str]:
        """Why the lock is not held any more."""
        return None if self._session is None else self._session.reason

    def check(self) -> None:
        """Raises LockLost unless the lock is held. It sends nothing: call it as often as you like."""
        self._held().check()

    def __del__(self) -> None:
        session = getattr(self, "_session", None)
        # A collector decides when this runs, so it releases nothing; the process's end does.
        if session is not None and session.is_held and not sys.is_finalizing():
            text = "the %s `%s` was forgotten while it is held; it stays held until the process ends: use `with`"
            _log.warning(text, self._kind, self.key, extra={"key": self.key})


class OneKey(Base):
    """What a lock has, and a bundle has for each of its keys."""

    def _lease(self) -> Lease:
        return self._held().leases[0]

    @property
    def token(self) -> int:
        """The fencing token: pass it to the protected resource, which must reject any token lower than the highest of an exclusive
        lock that it has seen."""
        return self._lease().token

    @property
    def mode(self) -> str:
        """"exclusive", or "shared" where others may have the key as well: storage does not keep the token of a shared lock."""
        return self._lease().mode

    @property
    def limit(self) -> Optional[int]:
        """How many may share the key, as this lock was asked for; None: no limit was named."""
        return self._lease().limit


class _Signals:
    """Hears the session. Knows nothing of the lock, which may be forgotten while this lives."""

    def __init__(self, on_lost: Optional[Callable[[str], Any]]) -> None:
        self.settled, self.lost_event = threading.Event(), threading.Event()
        self.error: Optional[BaseException] = None
        self._on_lost = on_lost

    def granted(self) -> None:
        self.settled.set()

    def failed(self, error: BaseException) -> None:
        self.error = error
        self.settled.set()

    def lost(self, reason: str) -> None:
        self.lost_event.set()
        if self._on_lost:
            try:
                self._on_lost(reason)
            except Exception:
                _log.exception("on_lost failed")


class ForThreads(Base):
    """How threads acquire, keep and release."""

    def __init__(
        self, key: str, make_order: MakeOrder, open_session: Open, on_lost: Optional[Callable[[str], Any]] = None
    ) -> None:
        super().__init__(key, make_order, open_session)
        self._on_lost = on_lost
        self._signals = _Signals(on_lost)

    @property
    def lost(self) -> threading.Event:
        """Set when it is lost, before its lease ends: stop the work."""
        return self._signals.lost_event

    def acquire(self: T) -> T:
        """Acquires it, waiting as long as was said. Raises LockHeld, Unavailable, OutcomeUnknown or Refused."""
        signals = _Signals(self._on_lost)
        session = self._new(signals, self._make_order())
        self._signals = signals
        try:
            session.start()
            signals.settled.wait()
        except BaseException:
            session.abandon()
            raise
        error = signals.error
        if error is not None:
            if isinstance(error, GivenUp):
                raise RuntimeError(f"the acquire of `{self.key}` was cancelled by another thread") from None
            # Not kept: it would hold on to the frames of its caller.
            signals.error = None
            raise error
        return self

    def cancel(self) -> None:
        """From another thread: ends an acquire that waits, which raises RuntimeError."""
        if self._session is not None and not self._session.leases:
            self._session.abandon()

    def release(self) -> bool:
        """Releases it; another acquire right after this gets it. False: lockside could not be asked, and it ends with the
        lease at the latest. Raises LockLost if it was lost before."""
        return self._held().release()

    def __enter__(self: T) -> T:
        return self.acquire()

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        try:
            self.release()
        except LockLost:
            # An error of the work says more, and may come of the loss.
            if error is None:
                raise


class Lock(ForThreads, OneKey):
    """A lock that lockside keeps renewed from acquire to release."""

    def __init__(
        self,
        key: str,
        make_order: MakeOrder,
        open_session: Open,
        open_watch: Callable[[], Watch],
        on_lost: Optional[Callable[[str], Any]] = None,
    ) -> None:
        super().__init__(key, make_order, open_session, on_lost)
        self._open_watch = open_watch

    def watch(self) -> Watch:
        """What happens to the key, also while others hold it; see Lockside.watch."""
        return self._open_watch()
