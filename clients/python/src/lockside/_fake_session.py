"""A lock of a fake."""

import math
import threading
from typing import TYPE_CHECKING, Optional, Sequence

from ._attempt import GivenUp, Lease, Leases, Order
from ._clock import now
from ._event import LockEvent
from ._session import Listener
from ._sharing import SHARED
from .errors import Holder, LockHeld, LockLost, held_by

if TYPE_CHECKING:
    from .testing import FakeLockside


class FakeSession:
    """A lock from acquire to release, as the sidecar's session is one."""

    def __init__(self, fake: "FakeLockside", order: Order, listener: Listener) -> None:
        self.order = order
        self._fake, self._listener = fake, listener
        self._timer: Optional[threading.Timer] = None
        self.lease: Optional[Lease] = None
        self.reason: Optional[str] = None
        self.lost_key: Optional[str] = None
        self._is_released = False

    @property
    def leases(self) -> Leases:
        return () if self.lease is None else (self.lease,)

    @property
    def is_held(self) -> bool:
        return self.lease is not None and self.reason is None

    @property
    def is_resting(self) -> bool:
        return self._is_released and self.order.terms.leave_a_rest

    @property
    def deadline(self) -> float:
        return math.inf if self.is_held else now()

    def start(self) -> None:
        order, fake = self.order, self._fake
        with fake._change:
            failure = fake._failures.pop(0) if fake._failures else None
            is_free = not fake.waiters(order.key) and fake._may_have(order)
            if failure is None and is_free:
                fake._grant(self)
            elif failure is None and order.wait > 0:
                fake._enter(self)
                if order.wait < math.inf:
                    self._timer = threading.Timer(order.wait, self._give_up, [None])
                    self._timer.daemon = True
                    self._timer.start()
                is_free = False
            elif failure is None:
                failure = self.refusal("held")
        if failure is not None:
            self._listener.failed(failure)
        elif is_free:
            self._listener.granted()
        elif order.on_wait is not None:
            order.on_wait(fake.waiters(order.key), fake.holder(order.key))

    def check(self) -> None:
        if not self.is_held:
            raise LockLost(self.order.key, self.reason or "released")

    def release(self) -> bool:
        if self._is_released:
            return True
        with self._fake._change:
            was, heirs = self.reason, []
            if self.is_held:
                self.reason, self._is_released = "released", True
                if self.is_resting:
                    self._fake._rest(self)
                else:
                    heirs = self._fake._end(self)
        for heir in heirs:
            heir.granted()
        if was is not None:
            raise LockLost(self.order.key, was)
        return True

    def lose(self, reason: str) -> None:
        with self._fake._change:
            if not self.is_held:
                return
            self.reason = reason
        # The loss is told before another one has the key.
        self._listener.lost(reason)
        with self._fake._change:
            heirs = self._fake._end(self)
        for heir in heirs:
            heir.granted()

    def abandon(self) -> None:
        self._give_up(GivenUp())
        if self.is_held:
            self.release()

    def granted(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._listener.granted()

    def view(self) -> Holder:
        assert self.lease is not None
        lease, meta = self.lease, self.order.meta
        state = state_of([self]) if self.order.sharing.is_shared else None
        return Holder(lease.owner, "system", lease.token, meta=meta, mode=lease.mode, limit=lease.limit, state=state)

    def ended(self) -> LockEvent:
        """What a watcher is told when it ends, or its rest does."""
        how = "released" if self.reason == "released" and not self.is_resting else "expired"
        return LockEvent("forced" if self.reason == "forced" else how, self.order.key, self.view().token)

    def _give_up(self, error: Optional[BaseException]) -> None:
        with self._fake._change:
            heirs = self._fake._leave(self)
            if heirs is None:
                return
            refusal = error or self.refusal("wait-timeout")
        if self._timer is not None:
            self._timer.cancel()
        self._listener.failed(refusal)
        for heir in heirs:
            heir.granted()

    def refusal(self, code: str) -> LockHeld:
        key = self.order.key
        with self._fake._change:
            sessions = list(self._fake._holders.get(key, ()))
            waiters = self._fake.waiters(key)
        holder = sessions[0].view() if sessions else None
        shared_by = len(sessions) if sessions and sessions[0].order.sharing.is_shared else None
        state = state_of(sessions)
        message = held_by(key, holder, state, shared_by) or f"`{key}` is held by another owner"
        return LockHeld(
            message,
            key=key,
            code=code,
            status=409,
            holder=holder,
            waiters=waiters,
            state=state,
            mode=SHARED if shared_by else None,
            shared_by=shared_by,
        )


def state_of(sessions: "Sequence[FakeSession]") -> str:
    """How a key is taken: where it is shared it rests if all of them do."""
    return "resting" if sessions and all(session.is_resting for session in sessions) else "held"
