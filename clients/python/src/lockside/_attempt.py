"""The attempt to acquire a key: one Idempotency-Key and one owner, sent as often as it takes to know the outcome."""

import json
import math
import time
import uuid
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Tuple
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
class Lease:
    """What was granted of one key. `valid_until` is by the clock of this process; `mode` and `limit` are as the sidecar says them."""

    key: str
    token: int
    owner: str
    valid_until: float
    mode: str = EXCLUSIVE
    limit: Optional[int] = None


Leases = Tuple[Lease, ...]
# The method, the path and the content of a request.
Request = Tuple[str, str, Optional[Dict[str, Any]]]


@dataclass(frozen=True)
class Order:
    """What is asked for: one key; a `BundleOrder` has several. `wait` is infinite where it is bounded by nothing."""

    key: str
    ttl: float
    wait: float
    owner: str
    meta: Any = None
    on_wait: Optional[Callable[..., None]] = None
    terms: Terms = Terms()
    sharing: Sharing = Sharing()

    @property
    def path(self) -> str:
        return f"/v1/locks/{quote(self.key, safe='')}"

    def fields(self) -> Dict[str, Any]:
        """What an acquire says beside the owner and the times."""
        return {**self.sharing.fields(), **self.terms.fields()}

    def leases(self, event: Dict[str, Any], since: float) -> Leases:
        """What a line grants that was written after `since`."""
        return (lease_of(self.key, event, event["validForMs"], since),)

    def release(self, leases: Leases, rests: bool) -> Request:
        """The request that releases them; `rests`: and leaves the rest that the terms say."""
        (lease,) = leases
        return "DELETE", f"{self.path}?token={lease.token}{self.terms.query() if rests else ''}", None

    def names(self) -> Tuple[str, ...]:
        """The keys that are asked for."""
        return (self.key,)

    def shares(self, key: str) -> bool:
        return self.sharing.is_shared

    def waits(self, event: Dict[str, Any]) -> None:
        """A line told what it waits for."""
        if self.on_wait:
            holder = event.get("holder")
            self.on_wait(event.get("position"), Holder.of(holder) if holder else None)


@dataclass(frozen=True)
class Grant:
    """The leases, which end together, and the connection that holds them."""

    leases: Leases
    connection: Connection

    @property
    def valid_until(self) -> float:
        return min(lease.valid_until for lease in self.leases)


@dataclass(frozen=True)
class Released:
    """What a release came to: `lost` are the keys whose leases had ended before."""

    is_confirmed: bool
    lost: Tuple[str, ...] = ()


class GivenUp(Exception):
    """The caller no longer wants the lock."""


class Attempt:
    def __init__(self, sidecar: Sidecar, order: Order) -> None:
        self._sidecar, self._order = sidecar, order
        self._name = uuid.uuid4().hex
        self._connection: Optional[Connection] = None
        self._is_given_up = False
        # Whether a sending was broken off: the sidecar rolls back what it told of.
        self._is_broken_off = False

    def give_up(self) -> None:
        """Breaks off what is being sent, from another thread."""
        self._is_given_up = True
        connection = self._connection
        if connection is not None:
            self._is_broken_off = True
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
        body.update(order.fields())
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
            connection.send("POST", f"{order.path}/hold", headers, body)
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
                grant = Grant(self._granted(event, since, silence), connection)
                if now() < grant.valid_until:
                    return grant
                self.release(grant.leases, silence)
                key = self._order.key
                raise Unavailable(f"`{key}` was granted too late to be of use", key=key, code="too-late")
            if kind == "refused":
                raise of_problem(self._order.key, event.get("status", 503), event)
            if kind == "waiting":
                self._order.waits(event)
            connection.unread(events[1:])

    def _granted(self, event: Dict[str, Any], since: float, silence: float) -> Leases:
        """The leases, which are of the keys that were asked for. Closing the connection releases what else it may hold."""
        order = self._order
        try:
            leases = order.leases(event, since)
        except (KeyError, TypeError, ValueError):
            leases = ()
        if sorted(lease.key for lease in leases) == sorted(order.names()):
            return leases
        if leases:
            self.release(leases, silence)
        message = f"`{order.key}`: the answer grants other keys than were asked for; does the URL name lockside's API?"
        raise Refused(message, key=order.key)

    def release(self, leases: Leases, within: float, rests: bool = False) -> Released:
        """Releases them by their tokens."""
        method, path, content = self._order.release(leases, rests)
        until, keys = now() + within, [lease.key for lease in leases]
        was_sent = was_answered = self._is_broken_off
        lost: Tuple[str, ...] = ()
        while True:
            connection, problem = Connection(self._sidecar.address), None
            was_asked = was_sent
            try:
                connection.open(until - now())
                was_sent = True
                headers = self._sidecar.headers() if content is None else {**self._sidecar.headers(), "Content-Type": "application/json"}
                connection.send(method, path, headers, content)
                status, _ = connection.head(until)
                if status in (410, 504):
                    problem = _json(connection.rest(until))
            except (ConnectionRefusedError, FileNotFoundError):
                return Released(False, lost)
            except (OSError, ValueError):
                status = 0
            finally:
                connection.close()
            if status == 204:
                return Released(True, lost)
            ended = _ended(keys, status, problem)
            # What an earlier request of ours did is not a loss. A release without an answer did all that, or nothing.
            if not was_asked or (status == 410 and not was_answered and len(ended) < len(keys)):
                lost += ended
            if status == 410:
                return Released(True, lost)
            was_answered = was_answered or status != 0
            if 400 <= status < 500 or until - now() < 2 * _PAUSE:
                return Released(False, lost)
            time.sleep(_PAUSE)


def _ended(keys: List[str], status: int, problem: Any) -> Tuple[str, ...]:
    """The keys that an answer to a release says had ended: of one key without saying its name."""
    said = problem.get("lost") if isinstance(problem, dict) else None
    if isinstance(said, list):
        return tuple(key for key in keys if key in said)
    return tuple(keys) if status == 410 else ()


def lease_of(key: str, view: Dict[str, Any], valid_for_ms: float, since: float) -> Lease:
    valid_until = since + valid_for_ms / 1000
    return Lease(key, view["token"], view["owner"], valid_until, view.get("mode", EXCLUSIVE), view.get("limit"))


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
