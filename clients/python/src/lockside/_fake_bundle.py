"""A bundle of a fake: one session for each key, in the order of their bytes, as the sidecar acquires them."""

import math
from typing import TYPE_CHECKING, List, Optional

from ._attempt import GivenUp, Leases, Order
from ._bundle import BundleKey, BundleOrder
from ._clock import now
from ._fake_session import FakeSession
from ._session import Listener
from .errors import Holder, LockLost, LocksideError, Refused

if TYPE_CHECKING:
    from .testing import FakeLockside

_MOST_KEYS = 16


class FakeBundleSession:
    """A bundle from acquire to release, as the sidecar's session is one."""

    def __init__(self, fake: "FakeLockside", order: BundleOrder, listener: Listener) -> None:
        self._fake, self._order, self._listener = fake, order, listener
        self._patience = now() + order.wait
        self._legs: List[FakeSession] = []
        self._rest = sorted(order.keys, key=lambda each: each.key.encode())
        self._is_over = self._has_failed = False
        self.reason: Optional[str] = None
        self.lost_key: Optional[str] = None

    @property
    def leases(self) -> Leases:
        granted = {leg.order.key: leg.lease for leg in self._legs if leg.lease is not None}
        if len(granted) < len(self._order.keys):
            return ()
        return tuple(granted[each.key] for each in self._order.keys)

    @property
    def is_held(self) -> bool:
        return not self._is_over and bool(self.leases) and all(leg.is_held for leg in self._legs)

    @property
    def deadline(self) -> float:
        return math.inf if self.is_held else now()

    def start(self) -> None:
        refusal = self._refused()
        if refusal is None and self._order.wait == 0:
            with self._fake._change:
                refusal = self._fake._failures.pop(0) if self._fake._failures else self._in_the_way()
                if refusal is None:
                    self._grant_all()
        if refusal is not None:
            self._fail(refusal)
        elif self._order.wait == 0:
            self._listener.granted()
        else:
            self._next()

    def check(self) -> None:
        for leg in self._legs:
            leg.check()
        if not self.is_held:
            raise LockLost(self.lost_key or self._order.key, self.reason or "released")

    def release(self) -> bool:
        lost = self.reason is not None and self.reason != "released"
        self._is_over, self.reason = True, self.reason or "released"
        self._release_all()
        if lost:
            raise LockLost(self.lost_key or self._order.key, self.reason)
        return True

    def abandon(self) -> None:
        if self.leases:
            self.release()
            return
        self._fail(GivenUp())
        for leg in list(self._legs):
            leg.abandon()

    # What its legs tell.

    def leg_granted(self) -> None:
        if self._is_over:
            self._release_all()
        elif self._rest:
            self._next()
        else:
            self._listener.granted()

    def leg_failed(self, error: BaseException) -> None:
        self._fail(error)

    def leg_lost(self, key: str, reason: str) -> None:
        if self._is_over:
            return
        self._is_over, self.reason, self.lost_key = True, reason, key
        if self.leases:
            # The loss is told before another one has a key.
            self._listener.lost(reason)
            self._release_all()
            return
        # It was lost while another key is waited for.
        (leg,) = (leg for leg in self._legs if leg.order.key == key)
        self._fail(leg.refusal("held"))
        for other in list(self._legs):
            other.abandon()

    def _refused(self) -> Optional[LocksideError]:
        keys = [each.key for each in self._order.keys]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            text = f"keys: `{twice}` is there twice"
        elif 1 <= len(keys) <= _MOST_KEYS:
            return None
        else:
            text = f"keys: expected 1 to {_MOST_KEYS} entries"
        return Refused(f"`{self._order.key}`: {text}", key=self._order.key, code="bad-request", status=400)

    def _in_the_way(self) -> Optional[LocksideError]:
        for each in self._rest:
            leg = self._leg(each)
            if self._fake.waiters(each.key) or not self._fake._may_have(leg.order):
                return leg.refusal("held")
        return None

    def _grant_all(self) -> None:
        self._legs = [self._leg(each) for each in self._rest]
        self._rest = []
        for leg in self._legs:
            self._fake._grant(leg)

    def _next(self) -> None:
        leg = self._leg(self._rest.pop(0))
        self._legs.append(leg)
        leg.start()
        if self._is_over:
            # It was given up before the key was queued for.
            leg.abandon()

    def _leg(self, each: BundleKey) -> FakeSession:
        order, told = self._order, self._order.on_wait
        # Above 0, so that what is over by then is a wait that timed out.
        wait = 0 if order.wait == 0 else max(self._patience - now(), 0.001)

        def on_wait(position: Optional[int], holder: Optional[Holder]) -> None:
            if told is not None:
                told(each.key, position, holder)

        alone = Order(each.key, order.ttl, wait, order.owner, order.meta, on_wait, sharing=each.sharing)
        return FakeSession(self._fake, alone, _Leg(self, each.key))

    def _fail(self, error: BaseException) -> None:
        self._is_over = True
        self._release_all()
        if not self._has_failed:
            self._has_failed = True
            self._listener.failed(error)

    def _release_all(self) -> None:
        for leg in self._legs:
            if leg.is_held:
                leg.release()


class _Leg:
    """Hears one key for its bundle."""

    def __init__(self, bundle: FakeBundleSession, key: str) -> None:
        self._bundle, self._key = bundle, key

    def granted(self) -> None:
        self._bundle.leg_granted()

    def failed(self, error: BaseException) -> None:
        self._bundle.leg_failed(error)

    def lost(self, reason: str) -> None:
        self._bundle.leg_lost(self._key, reason)
