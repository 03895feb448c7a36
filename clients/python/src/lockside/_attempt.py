"""The attempt to acquire a key: one Idempotency-Key and one owner, sent as often as it takes to know the outcome."""

import json
import math
import time
import uuid
from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional
from urllib.parse import quote

from ._address import Sidecar
from ._clock import now
from ._sharing import EXCLUSIVE, Sharing
from ._terms import Terms
from ._wire import Broken, Connection
from .errors import Holder, LockHeld, LocksideError, OutcomeUnknown, Refused, Unavailable, of_problem

# How long one request waits; a longer wait is made of several.
_LONGEST_WAIT = 600.0
_PAUSE = 0.1


@dataclass(frozen=True)
class Order:
    """What is asked for. `wait` is infinite where it is bounded by nothing."""

    key: str
    ttl: float
    wait: float
    owner: str
    meta: Any = None
    on_wait: Optional[Callable[[Optional[int], Optional[Holder]], None]] = None
    terms: Terms = Terms()
    sharing: Sharing = Sharing()


@dataclass(frozen=True)
class Lease:
    """What was granted. `valid_until` is by the clock of this process; `mode` and `limit` are as the sidecar says them."""

    key: str
    token: int
    owner: str
    valid_until: float
    mode: str = EXCLUSIVE
    limit: Optional[int] = None


@dataclass(frozen=True)
class Grant:
    """A lease, and the connection that holds it."""

    lease: Lease
    connection: Connection


class GivenUp(Exception):
    """The caller no longer wants the lock."""


class Attempt:
    def __init__(self, sidecar: Sidecar, order: Order) -> None:
        self._sidecar, self._order = sidecar, order
        self._name = uuid.uuid4().hex
        self._path = f"/v1/locks/{quote(order.key, safe='')}"
        self._connection: Optional[Connection] = None
        self._is_given_up = False

    def give_up(self) -> None:
        """Breaks off what is being sent, from another thread."""
        self._is_given_up = True
        connection = self._connection
        if connection is not None:
            connection.shut()

    def acquire(self, sleep: Callable[[float], object]) -> Grant:
        """Sends the attempt until it is granted, refused, or its time has passed."""
        start = now()
        patience = start + self._order.wait
        # An unknown outcome is asked for again for a while, also where nothing was to be waited for.
        asking = max(patience, start + self._sidecar.timeout)
        longest = _LONGEST_WAIT
        unknown: Optional[OutcomeUnknown] = None
        while True:
            left = max(patience - now(), 0)
            wait = min(left, longest)
            pause, until = _PAUSE, patience
            try:
                return self.send(wait, self._sidecar.timeout)
            except LockHeld as held:
                error: LocksideError = held
                unknown = None
                pause = 0 if held.code == "wait-timeout" else held.retry_after or 1
            except OutcomeUnknown as failure:
                error = unknown = unknown or failure
                until = asking
            except Unavailable as failure:
                error, until = unknown or failure, asking if unknown else patience
                pause = failure.retry_after or _PAUSE
            except Refused as refused:
                if not (str(refused).startswith(f"`{self._order.key}`: waitMs") and wait > 1):
                    raise
                # The sidecar's --max-wait is shorter.
                error, longest, pause = refused, wait / 2, 0
            if self._is_given_up:
                raise GivenUp
            if until - now() < 0.02:
                raise error
            sleep(min(pause, until - now()))
            if self._is_given_up:
                raise GivenUp

    def send(self, wait: float, silence: float, until: float = math.inf) -> Grant:
        """Sends it once; `silence` is how long the sidecar may say nothing, and `until` when it must have granted it."""
        connection = Connection(self._sidecar.address)
        self._connection = connection
        try:
            if self._is_given_up:
                raise GivenUp
            grant = self._send(connection, wait, silence, until)
        except BaseException:
            connection.close()
            raise
        finally:
            self._connection = None
        return grant

    def _send(self, connection: Connection, wait: float, silence: float, until: float) -> Grant:
        order = self._order
        try:
            credential = self._sidecar.headers()
        except (OSError, ValueError) as error:
            raise Refused(f"`{order.key}`: the token file: {error}", key=order.key) from error
        headers = {**credential, "Content-Type": "application/json", "Idempotency-Key": self._name}
        body: Dict[str, Any] = {"ttlMs": round(order.ttl * 1000), "owner": order.owner}
        body.update(order.sharing.fields(), **order.terms.fields())
        if wait > 0:
            body.update(waitMs=math.ceil(wait * 1000), progress=True)
        if order.meta is not None:
            body["meta"] = order.meta
        try:
            connection.open(min(silence, until - now()))
        except OSError as error:
            raise Unavailable(
                f"cannot connect to lockside at {self._sidecar.address}: {error}; is it running?", key=order.key
            ) from error
        try:
            connection.send("POST", f"{self._path}/hold", headers, body)
            status, answered = connection.head(min(now() + silence, until))
            if status != 200:
                text = connection.rest(min(now() + silence, until))
                raise of_problem(order.key, status, _json(text), answered.get("retry-after"))
            return self._listen(connection, silence, until)
        except (OSError, ValueError) as error:
            message = f"`{order.key}`: no answer from lockside at {self._sidecar.address}: {error}"
            raise OutcomeUnknown(message, key=order.key) from error

    def _listen(self, connection: Connection, silence: float, until: float) -> Grant:
        while True:
            events = connection.lines(min(silence, until - now()))
            if not events:
                raise Broken("no answer in time")
            event, since = events[0]
            kind = event.get("event")
            if kind == "acquired":
                # What came with it is heard by who holds the lock.
                connection.unread(events[1:])
                lease = _lease(self._order.key, event, since)
                if now() < lease.valid_until:
                    return Grant(lease, connection)
                self.release(lease.token, silence)
                raise Unavailable(f"`{lease.key}` was granted too late to be of use", key=lease.key, code="too-late")
            if kind == "refused":
                raise of_problem(self._order.key, event.get("status", 503), event)
            if kind == "waiting" and self._order.on_wait:
                holder = event.get("holder")
                self._order.on_wait(event.get("position"), Holder.of(holder) if holder else None)
            connection.unread(events[1:])

    def release(self, token: int, within: float, query: str = "") -> Optional[bool]:
        """Releases a lease by its token. `query` stands behind it. True: it is released. False: it had ended. None: not confirmed."""
        until, was_sent = now() + within, False
        while True:
            connection = Connection(self._sidecar.address)
            try:
                connection.open(until - now())
                was_asked = was_sent
                was_sent = True
                connection.send("DELETE", f"{self._path}?token={token}{query}", self._sidecar.headers(), None)
                status, _ = connection.head(until)
            except (ConnectionRefusedError, FileNotFoundError):
                return None
            except (OSError, ValueError):
                status = 0
            finally:
                connection.close()
            if status == 204:
                return True
            if status == 410:
                # What a request without an answer did is not a loss.
                return True if was_asked else False
            if 400 <= status < 500 or until - now() < 2 * _PAUSE:
                return None
            time.sleep(_PAUSE)


def _lease(key: str, event: Dict[str, Any], since: float) -> Lease:
    valid_until = since + event["validForMs"] / 1000
    return Lease(key, event["token"], event["owner"], valid_until, event.get("mode", EXCLUSIVE), event.get("limit"))


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
