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
from typing import Callable, Deque, Dict, Iterator, List, Optional

from . import _client
from ._attempt import Lease, Order
from ._awatch import AsyncWatch
from ._bundle import BundleOrder
from ._client import Lockside
from ._election import Leader
from ._event import LockEvent
from ._fake_bundle import FakeBundleSession
from ._fake_session import FakeSession, state_of
from ._fake_watch import LoopFeed, ThreadFeed, Watchers
from ._lock import SessionLike
from ._session import Listener
from ._sharing import MOST, SHARED, Sharing
from ._terms import Seconds
from ._watch import Watch
from .errors import Holder, LocksideError, Refused, Unavailable


class FakeLockside(Lockside):
    """Takes orders as `Lockside` does. Keys are granted first come, first served, shared or not; tokens rise; nothing expires. A
    lock with a minimum or a rest leaves its key resting when it is released, until `free`."""

    def __init__(self, *, owner: Optional[str] = None) -> None:
        super().__init__("http://127.0.0.1:7420", owner=owner)
        self._change = threading.RLock()
        # Who has a key, oldest grant first.
        self._holders: Dict[str, "List[FakeSession]"] = {}
        self._queues: Dict[str, "Deque[FakeSession]"] = {}
        self._token = 0
        self._failures: List[LocksideError] = []
        self._leaders: Dict[str, Leader] = {}
        self._watchers = Watchers(self._change, self._states)
        #: The keys that were acquired, in the order of their grants.
        self.acquired: List[str] = []

    def hold(self, key: str, owner: str = "another owner", *, shared: bool = False, limit: Optional[int] = None) -> None:
        """Another owner holds the key, until `free`."""
        order = Order(key, 30.0, 0.0, owner, sharing=Sharing.of(shared, limit))
        self._open(order, _Silent()).start()

    def free(self, key: str) -> None:
        """The other owner releases it, or its rest ends; the first in the queue gets it. Of those who share it: the oldest."""
        with self._change:
            session = self._holders[key][0]
            heirs = self._end(session) if session.is_resting else []
        if not session.is_resting:
            session.release()
        for heir in heirs:
            heir.granted()

    def lose(self, key: str, reason: str = "forced") -> None:
        """The holder of the key loses it, or all who share it. A bundle loses its other keys, too."""
        with self._change:
            sessions = list(self._holders[key])
        for session in sessions:
            session.lose(reason)

    def fail(self, error: Optional[LocksideError] = None) -> None:
        """The next acquire fails with this error, by default with Unavailable."""
        self._failures.append(error or Unavailable("the fake is told to fail", code="redis-unavailable"))

    def holder(self, key: str) -> Optional[Holder]:
        """Who holds the key; of those who share it the oldest."""
        return next(iter(self.holders(key)), None)

    def holders(self, key: str) -> List[Holder]:
        """Who share the key, oldest grant first."""
        with self._change:
            return [session.view() for session in self._holders.get(key, ())]

    def waiters(self, key: str) -> int:
        with self._change:
            return len(self._queues.get(key, ()))

    def watch(self, key: Optional[str] = None, *, prefix: Optional[str] = None) -> Watch:
        return Watch(ThreadFeed(self._watchers, key, prefix))

    def awatch(self, key: Optional[str] = None, *, prefix: Optional[str] = None) -> AsyncWatch:
        return AsyncWatch(LoopFeed(self._watchers, key, prefix))

    def gap(self) -> None:
        """Those who watch are told that changes may have been missed, and then the state."""
        self._watchers.gap()

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
        if isinstance(order, BundleOrder):
            return FakeBundleSession(self, order, listener)
        return FakeSession(self, order, listener)

    # What sessions ask for, under `_change`.

    def _grant(self, session: "FakeSession") -> None:
        self._token += 1
        key, sharing = session.order.key, session.order.sharing
        self._holders.setdefault(key, []).append(session)
        session.lease = Lease(key, self._token, session.order.owner, math.inf, sharing.mode, sharing.limit)
        self.acquired.append(key)
        self._watchers.tell(LockEvent("granted", key, self._token, session.view(), len(self._queues.get(key, ()))))

    def _enter(self, session: "FakeSession") -> None:
        self._queues.setdefault(session.order.key, deque()).append(session)
        self._tell_waiters(session.order.key)

    def _leave(self, session: "FakeSession") -> "Optional[List[FakeSession]]":
        """Who waited behind it alone; None: it does not wait."""
        queue = self._queues.get(session.order.key, deque())
        if session not in queue:
            return None
        queue.remove(session)
        self._tell_waiters(session.order.key)
        return self._serve(session.order.key)

    def _may_have(self, order: Order) -> bool:
        """Whether those who hold the key let it be granted."""
        holders = self._holders.get(order.key, [])
        is_shared = order.sharing.is_shared and all(each.order.sharing.is_shared for each in holders)
        return not holders or (is_shared and len(holders) < (order.sharing.limit or MOST))

    def _tell_waiters(self, key: str) -> None:
        newest = self._holders[key][-1].view()
        self._watchers.tell(LockEvent("waiting", key, newest.token, waiters=len(self._queues[key])))

    def _states(self, matches: Callable[[str], bool]) -> List[LockEvent]:
        return [self._state(key) for key in sorted(self._holders) if matches(key)]

    def _state(self, key: str) -> LockEvent:
        """What a watcher is told of a key that is taken first."""
        holders, views, waiters = self._holders[key], self.holders(key), self.waiters(key)
        if not holders[0].order.sharing.is_shared:
            return LockEvent("state", key, views[0].token, views[0], waiters, state_of(holders))
        newest = views[-1].token
        return LockEvent("state", key, newest, views[0], waiters, state_of(holders), SHARED, len(views), tuple(views))

    def _rest(self, session: "FakeSession") -> None:
        view = session.view()
        self._watchers.tell(LockEvent("released", session.order.key, view.token, view, state="resting"))

    def _end(self, session: "FakeSession") -> "List[FakeSession]":
        """Ends a hold, or its rest. Those that have the key now instead."""
        key = session.order.key
        self._watchers.tell(session.ended())
        self._holders[key].remove(session)
        if not self._holders[key]:
            del self._holders[key]
        return self._serve(key)

    def _serve(self, key: str) -> "List[FakeSession]":
        """Grants the key to those in the queue that may have it, none before one that came earlier."""
        queue, heirs = self._queues.get(key, deque()), []
        while queue and self._may_have(queue[0].order):
            heirs.append(queue.popleft())
            self._grant(heirs[-1])
        return heirs


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
