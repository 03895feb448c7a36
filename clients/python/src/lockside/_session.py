"""One lock, or one bundle, from acquire to release: a thread of its own reads what the sidecar says, takes the hold up again where its
connection breaks, and tells when the lock is lost: by the clock of this process, so also if the sidecar is silent."""

import math
import threading
from typing import Any, Dict, Optional, Protocol

from . import _fork
from ._address import Sidecar
from ._attempt import Attempt, GivenUp, Grant, Leases, Order, Released
from ._clock import now
from ._wire import Connection
from .errors import LockHeld, LockLost, LocksideError, Refused

# A sidecar writes at least every two seconds.
_SILENT = 2.5
# Between two tries to take a hold up again.
_PAUSE = 0.1
# The longest that a release is asked for.
_RELEASE = 3.0


class Listener(Protocol):
    """Hears what becomes of a lock, from the session's thread."""

    def granted(self) -> None: ...

    def failed(self, error: BaseException) -> None: ...

    def lost(self, reason: str) -> None: ...


class Session:
    def __init__(self, sidecar: Sidecar, order: Order, listener: Listener) -> None:
        self._order, self._listener = order, listener
        self._timeout = sidecar.timeout
        self._attempt = Attempt(sidecar, order)
        self._connection: Optional[Connection] = None
        # acquiring, held, releasing, over
        self._state = "acquiring"
        self._change = threading.Lock()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lockside {order.key}", daemon=True)
        self._margin = min(max(order.ttl / 20, 0.005), 1.0)
        # How long the socket is waited for at once; so much of the validity may be given away.
        self._step = min(max(order.ttl / 10, 0.02), 1.0)
        self.leases: Leases = ()
        self.reason: Optional[str] = None
        # Which key of several was lost first, where that is known.
        self.lost_key: Optional[str] = None
        self._valid_until = 0.0
        # When a sidecar that is being stopped releases it.
        self._leave_by = math.inf
        self._heard_at = self._renewed_at = 0.0
        # A validity that ends later is the last one.
        self._cap = math.inf
        self._is_in_child = self._is_done = False
        # Whether the hold of this connection was repeated, which may have superseded it.
        self._is_repeated = False
        _fork.enter(self)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_held(self) -> bool:
        """Whether it may be held, for all that has been heard."""
        return self._state == "held"

    @property
    def deadline(self) -> float:
        """When the work must have stopped."""
        return min(self._valid_until, self._leave_by) - self._margin

    def check(self) -> None:
        """Raises LockLost unless the lock is held."""
        if self._state == "held" and now() >= self.deadline:
            self._lose(self._why())
        if self._state != "held":
            raise self._loss()

    def abandon(self) -> None:
        """The caller no longer waits for it."""
        with self._change:
            was, self._state = self._state, "over" if self._state == "acquiring" else self._state
        self._attempt.give_up()
        self._wake.set()
        if was == "held":
            self.release()
        elif was == "acquiring" and self._thread.is_alive():
            # What may have been granted meanwhile is released before this returns.
            self._thread.join(_RELEASE)

    def release(self) -> bool:
        """Releases the lock: it is free when this returns, if it is confirmed. Raises LockLost if it was lost."""
        with self._change:
            was, self._state = self._state, "releasing" if self._state == "held" else self._state
        if self._is_in_child or not self.leases:
            raise self._loss()
        if self._is_done:
            return True
        # A hold that is just being taken up again would be a new lease after the release.
        self._attempt.give_up()
        self._wake.set()
        released = Released(False)
        try:
            released = self._attempt.release(self.leases, min(_RELEASE, self._timeout), rests=True)
        finally:
            with self._change:
                connection, self._connection = self._connection, None
            if connection is not None:
                connection.shut()
        if self._thread is not threading.current_thread():
            self._thread.join(_RELEASE)
        # Not before, because the thread may be about to wait for it.
        if connection is not None:
            connection.close()
        with self._change:
            self._state = "over"
            if self.reason is None:
                self.reason = "expired" if released.lost else "released"
                if 0 < len(released.lost) < len(self.leases):
                    self.lost_key = released.lost[0]
        if self.reason != "released" or was == "over":
            raise self._loss()
        self._is_done = True
        return released.is_confirmed

    def _run(self) -> None:
        try:
            grant = self._attempt.acquire(self._wake.wait)
        except BaseException as error:
            with self._change:
                self._state = "over"
            self._listener.failed(error)
            return
        with self._change:
            is_wanted = self._state == "acquiring"
            if is_wanted:
                self._state, self.leases = "held", grant.leases
                self._cap = self._order.terms.cap(grant.valid_until, self._order.ttl)
                self._take(grant)
        if not is_wanted:
            self._give_back(grant)
            self._listener.failed(GivenUp())
            return
        self._listener.granted()
        while self._state == "held":
            self._keep()
        self._leave()

    def _keep(self) -> None:
        """Hears or does one thing."""
        left = self.deadline - now()
        if left <= 0:
            self._lose(self._why())
            return
        connection = self._connection
        if connection is None or self._leave_by < math.inf:
            self._take_up_again()
            connection = self._connection
        if connection is None:
            self._wake.wait(min(_PAUSE, left))
            return
        try:
            is_leaving = self._leave_by < math.inf
            for event, since in connection.lines(min(_PAUSE if is_leaving else self._step, left)):
                self._hear(event, since)
        except OSError:
            if self._connection is connection and self._state == "held":
                self._connection = None
                connection.close()

    def _leave(self) -> None:
        """After a loss: keeps the connection while the lease may last, since the work is yet to stop, and no longer: a
        sidecar that can renew again would keep the key for a holder that has gone."""
        while self._state == "over" and not self._is_done:
            left = min(self._valid_until, self._leave_by) - now()
            if left <= 0 or self._wake.wait(left):
                break
        with self._change:
            connection = self._connection if self._state == "over" else None
            if connection is not None:
                self._connection = None
        if connection is not None:
            connection.shut()
            connection.close()

    def _hear(self, event: Dict[str, Any], since: float) -> None:
        kind = event.get("event")
        self._heard_at = now()
        if kind == "renewed":
            self._valid_until = since + event["validForMs"] / 1000
            self._renewed_at = self._heard_at
        elif kind == "ping":
            left = event["validForMs"] / 1000
            # Its owner shortened it by its token.
            if self._heard_at + left < self._valid_until:
                self._valid_until = since + left
        elif kind == "draining":
            grace = event["graceMs"] / 1000
            self._leave_by = since + grace - min(grace / 10, 1.0)
        elif kind == "lost":
            self._hear_loss(event["reason"], event.get("key"))
        elif kind == "released":
            self._lose("released", event.get("key"))

    def _take(self, grant: Grant) -> None:
        self._connection, self._valid_until, self._leave_by = grant.connection, grant.valid_until, math.inf
        self._heard_at = self._renewed_at = now()
        self._is_repeated = False

    def _take_up_again(self) -> None:
        """Repeats the hold under its Idempotency-Key, at the same or at the next sidecar. An answer is waited for as long as
        there is time: a repetition that was told of the lease and is then broken off would release it."""
        deadline = self.deadline
        self._is_repeated = True
        try:
            grant = self._attempt.send(0, max(deadline - now(), 0), deadline)
        except LockHeld as held:
            is_ours = held.holder is not None and held.holder.token == _tokens(self.leases).get(held.key)
            # Of those who share a key its holder is any, which says nothing of our lease. That would have been told again.
            is_among_others = self._order.shares(held.key) and held.mode == "shared"
            if not is_among_others and not is_ours:
                self._lose_with("superseded", held.key)
            elif self._connection is None and (is_among_others or self._order.terms.outlast):
                # The sidecar met the end of the connection first, and the key stays taken for no longer than the terms say.
                self._lose_with("expired", held.key)
        except Refused as refused:
            if refused.status in (401, 403) and self._connection is None:
                self._lose("unauthorized")
        except (LocksideError, GivenUp):
            pass
        else:
            old = self._connection
            with self._change:
                is_same = _tokens(grant.leases) == _tokens(self.leases)
                is_taken = is_same and self._state == "held"
                if is_taken:
                    self._take(grant)
            if is_taken:
                if old is not None:
                    old.close()
            elif is_same:
                # It is being released.
                grant.connection.close()
            else:
                tokens = _tokens(self.leases)
                self._lose("expired", next(lease.key for lease in grant.leases if lease.token != tokens.get(lease.key)))
                self._give_back(grant)

    def _give_back(self, grant: Grant) -> None:
        self._attempt.release(grant.leases, min(_RELEASE, self._timeout))
        grant.connection.close()

    def _why(self) -> str:
        """What kept the lease from being renewed."""
        if self._leave_by < self._valid_until:
            return "draining"
        if self._valid_until >= self._cap:
            return "max-hold"
        if self._connection is None or now() - self._heard_at > _SILENT:
            return "sidecar"
        return "redis" if self._heard_at > self._renewed_at else "expired"

    def _hear_loss(self, reason: str, key: Optional[str]) -> None:
        """Says why during a release, unless our release, at another sidecar, or a repetition may be why: its answer decides."""
        with self._change:
            is_by_us = reason == "expired" or (reason == "superseded" and self._is_repeated)
            if self._state == "releasing" and self.reason is None and not is_by_us:
                self.reason, self.lost_key = reason, key
        self._lose(reason, key)

    def _lose_with(self, reason: str, key: str) -> None:
        """A repetition found that this key is lost: no sidecar releases the others at once."""
        others = tuple(lease for lease in self.leases if lease.key != key)
        if self._lose(reason, key) and others:
            self._attempt.release(others, min(_RELEASE, self._timeout))

    def _lose(self, reason: str, key: Optional[str] = None) -> bool:
        """Whether it was held."""
        with self._change:
            if self._state != "held":
                return False
            self._state, self.reason, self.lost_key = "over", reason, key
        self._listener.lost(reason)
        return True

    def _loss(self) -> LockLost:
        return LockLost(self.lost_key or self._order.key, self.reason or "released")

    def in_child(self) -> None:
        self._is_in_child = True
        self._change, self._wake = threading.Lock(), threading.Event()
        if self._state in ("acquiring", "held", "releasing"):
            self._state, self.reason = "over", "forked"


def _tokens(leases: Leases) -> Dict[str, int]:
    return {lease.key: lease.token for lease in leases}
