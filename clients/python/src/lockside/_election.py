"""Leader election: what the sidecar says of an election, and how its own candidate resigns."""

import json
import math
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Optional, Tuple
from urllib.parse import quote

from ._address import Sidecar
from ._clock import now
from ._terms import Seconds, seconds
from ._wire import Connection
from .errors import OutcomeUnknown, Refused, Unavailable, of_problem


@dataclass(frozen=True)
class Leader:
    """The leader of an election, as the sidecar saw it when it was asked. Only `is_leader` changes by itself."""

    #: The name of the leader; None if there is none, or it is not known.
    name: Optional[str]
    #: The fencing token of the leader: pass it to the storage, which must reject any token lower than the highest it has seen.
    token: Optional[int]
    #: Since when it leads.
    since: Optional[str]
    #: When the lead was last renewed; at a standby, when its sidecar last looked. None before the first look.
    last_update: Optional[str]
    #: How many stand for election, with the leader.
    candidates: Optional[int]
    #: The sidecar has not seen Redis for longer than the ttl of the election, and so names no leader.
    is_stale: bool
    _leads: Callable[[], bool] = field(repr=False, compare=False)

    @property
    def is_leader(self) -> bool:
        """Whether the sidecar's own candidate leads now. It compares the clock and sends nothing: once true, it turns false by
        itself when the validity has passed. Ask for the leader again before that."""
        return self._leads()


def leader(sidecar: Sidecar, name: str) -> Leader:
    try:
        view, sent = _ask(sidecar, "GET", name)
    except OutcomeUnknown as error:
        # Nothing is done by looking.
        raise Unavailable(
            str(error),
            key=name,
            code=error.code,
            status=error.status,
            request_id=error.request_id,
            retry_after=error.retry_after,
        ) from error.__cause__
    left = view.get("validForMs") if view.get("leader") is True else None
    valid_until = sent + left / 1000 if isinstance(left, (int, float)) else -math.inf
    return Leader(
        name=view.get("name"),
        token=view.get("token"),
        since=view.get("since"),
        last_update=view.get("last_update"),
        candidates=view.get("candidates"),
        is_stale=view.get("stale") is True,
        _leads=lambda: now() < valid_until,
    )


def resign(sidecar: Sidecar, name: str, for_: Seconds) -> None:
    span = seconds("for_", for_)
    if not 0 <= span < math.inf:
        raise ValueError("for_: expected seconds from 0")
    _ask(sidecar, "DELETE", name, f"?for={math.ceil(span * 1000)}ms" if span > 0 else "")


def _ask(sidecar: Sidecar, method: str, name: str, query: str = "") -> Tuple[Dict[str, Any], float]:
    """What the sidecar answers, and when it was asked."""
    if not isinstance(name, str) or not name:
        raise ValueError("name: expected text that is not empty")
    try:
        headers = sidecar.headers()
    except (OSError, ValueError) as error:
        raise Refused(f"`{name}`: the token file: {error}", key=name) from error
    connection, until = Connection(sidecar.address), now() + sidecar.timeout
    try:
        try:
            connection.open(until - now())
        except OSError as error:
            message = f"cannot connect to lockside at {sidecar.address}: {error}; is it running?"
            raise Unavailable(message, key=name) from error
        sent = now()
        try:
            connection.send(method, f"/v1/elections/{quote(name, safe='')}{query}", headers, None)
            status, answered = connection.head(until)
            # A 204 has no body, and no length that says so.
            view = {} if status == 204 else _object(connection.rest(until), status)
        except (OSError, ValueError) as error:
            message = f"`{name}`: no answer from lockside at {sidecar.address}: {error}"
            raise OutcomeUnknown(message, key=name) from error
    finally:
        connection.close()
    if status not in (200, 204):
        raise of_problem(name, status, view, answered.get("retry-after"))
    return view, sent


def _object(text: bytes, status: int) -> Dict[str, Any]:
    try:
        view = json.loads(text)
    except ValueError:
        view = None
    view = view if isinstance(view, dict) else {}
    if status == 200 and "leader" not in view:
        raise ValueError("what came is not an election; does the URL name lockside's API?")
    return view
