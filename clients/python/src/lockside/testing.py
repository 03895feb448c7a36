"""A lockside in memory, for the tests of an application: the same locks, without a sidecar.

    from lockside.testing import FakeLockside, fake

    with fake() as locks:               # lockside.lock and @locked use it
        locks.hold("volume/7", owner="importer-7")
        with pytest.raises(LockHeld):
            edit_volume(7)
"""

import contextlib
import math
import threading
from collections import deque
from typing import Deque, Dict, Iterator, List, Optional

from . import _client
from ._attempt import GivenUp, Lease, Order
from ._client import Lockside
from ._clock import now
from ._election import Leader
from ._lock import SessionLike
from ._session import Listener
from ._terms import Seconds
from .errors import Holder, LockHeld, LockLost, LocksideError, Refused, Unavailable


class FakeLockside(Lockside):
    """Takes orders as `Lockside` does. Keys are granted first come, first served; tokens rise; nothing expires. A lock with a
    minimum or a rest leaves its key resting when it is released, until `free`."""

    def __init__(self, *, owner: Optional[str] = None) -> None:
        super().__init__("http://127.0.0.1:7420", owner=owner)
        self._change = threading.RLock()
        self._holders: Dict[str, "_FakeSession"] = {}
        self._queues: Dict[str, "Deque[_FakeSession]"] = {}
        self._token = 0
        self._failures: List[LocksideError] = []
        self._leaders: Dict[str, Leader] = {}
        #: The keys that were acquired, in the order of their grants.
        self.acquired: List[str] = []

    def hold(self, key: str, owner: str = "another owner") -> None:
        """Another owner holds the key, until `free`."""
        order = Order(key, 30.0, 0.0, owner)
        self._open(order, _Silent()).start()

    def free(self, key: str) -> None:
        """The other owner releases it, or its rest ends; the first in the queue gets it."""
        with self._change:
            session = self._holders[key]
            heir = self._next(key) if session.is_resting else None
        if not session.is_resting:
            session.release()
        elif heir is not None:
            heir.granted()

    def lose(self, key: str, reason: str = "forced") -> None:
        """The holder of the key loses it."""
        with self._change:
            session = self._holders[key]
        session.lose(reason)

    def fail(self, error: Optional[LocksideError] = None) -> None:
        """The next acquire fails with this error, by default with Unavailable."""
        self._failures.append(error or Unavailable("the fake is told to fail", code="redis-unavailable"))

    def holder(self, key: str) -> Optional[Holder]:
        with self._change:
            session = self._holders.get(key)
            return None if session is None or session.lease is None else session.view()

    def waiters(self, key: str) -> int:
        with self._change:
            return len(self._queues.get(key, ()))

    def lead(self, election: str) -> None:
        """This pod leads the election, until `follow` or `resign`."""
        self._set_leader(election, "this pod", leads=True)

    def follow(self, election: str, leader: Optional[str] = "another pod") -> None:
        """Another pod leads the election; None: there is no leader. What said that this pod leads says so no longer."""
        self._set_leader(election, leader, leads=False)

    def leader(self, name: str) -> Leader:
        with self._change:
            if name not in self._leaders:
                raise Refused(f"`{name}`: no such election", key=name, code="no-such-election", status=404)
            return self._leaders[name]

    def resign(self, name: str, for_: Seconds = 0) -> None:
        if self.leader(name).is_leader:
            self.follow(name, None)

    def _set_leader(self, election: str, name: Optional[str], leads: bool) -> None:
        with self._change:
            self._token += 1
            token = None if name is None else self._token
            candidates = 1 if leads or name is None else 2
            known = Leader(name, token, None, None, candidates, False, lambda: leads and self._leaders[election] is known)
            self._leaders[election] = known

    def _open(self, order: Order, listener: Listener) -> SessionLike:
        return _FakeSession(self, order, listener)

    # What sessions ask for, under `_change`.

    def _grant(self, session: "_FakeSession") -> None:
        self._token += 1
        key = session.order.key
        self._holders[key] = session
        session.lease = Lease(key, self._token, session.order.owner, math.inf)
        self.acquired.append(key)

    def _enter(self, session: "_FakeSession") -> None:
        self._queues.setdefault(session.order.key, deque()).append(session)

    def _leave(self, session: "_FakeSession") -> bool:
        queue = self._queues.get(session.order.key, deque())
        if session in queue:
            queue.remove(session)
            return True
        return False

    def _next(self, key: str) -> "Optional[_FakeSession]":
        del self._holders[key]
        queue = self._queues.get(key)
        if not queue:
            return None
        session = queue.popleft()
        self._grant(session)
        return session


class _FakeSession:
    """A lock from acquire to release, as the sidecar's session is one."""

    def __init__(self, fake: FakeLockside, order: Order, listener: Listener) -> None:
        self.order = order
        self._fake, self._listener = fake, listener
        self._timer: Optional[threading.Timer] = None
        self.lease: Optional[Lease] = None
        self.reason: Optional[str] = None
        self._is_released = False

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
            is_free = order.key not in fake._holders
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
                failure = self._refusal("held")
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
            was, heir = self.reason, None
            if self.is_held:
                self.reason, self._is_released = "released", True
                heir = None if self.is_resting else self._fake._next(self.order.key)
        if heir is not None:
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
            heir = self._fake._next(self.order.key)
        if heir is not None:
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
        return Holder(owner=self.lease.owner, kind="system", token=self.lease.token, meta=self.order.meta)

    def _give_up(self, error: Optional[BaseException]) -> None:
        with self._fake._change:
            if not self._fake._leave(self):
                return
            refusal = error or self._refusal("wait-timeout")
        if self._timer is not None:
            self._timer.cancel()
        self._listener.failed(refusal)

    def _refusal(self, code: str) -> LockHeld:
        key = self.order.key
        with self._fake._change:
            session = self._fake._holders.get(key)
        holder = None if session is None else session.view()
        owner = "another owner" if holder is None else holder.owner
        is_resting = session is not None and session.is_resting
        state = "resting" if is_resting else "held"
        message = f"`{key}` was released by {owner} and rests" if is_resting else f"`{key}` is held by {owner}"
        return LockHeld(message, key=key, code=code, status=409, holder=holder, state=state)


class _Silent:
    """Hears for `FakeLockside.hold`, which has no caller to tell."""

    def granted(self) -> None:
        pass

    def failed(self, error: BaseException) -> None:
        raise error

    def lost(self, reason: str) -> None:
        pass


@contextlib.contextmanager
def fake(owner: Optional[str] = None) -> Iterator[FakeLockside]:
    """A fake that `lockside.lock`, `alock` and `@locked` use as long as the block lasts."""
    made = FakeLockside(owner=owner)
    before = _client.use(made)
    try:
        yield made
    finally:
        _client.use(before)
