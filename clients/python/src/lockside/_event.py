"""What a watcher is told."""

import json
from dataclasses import dataclass
from typing import Optional, Tuple

from .errors import Holder

_TYPES = frozenset("state synced granted released expired forced waiting gap".split())


@dataclass(frozen=True)
class LockEvent:
    """A state or a change. `type` is "state", "synced", "granted", "released", "expired", "forced", "waiting" or "gap"."""

    type: str
    #: The lock; None in `synced` and `gap`.
    key: Optional[str] = None
    #: The fencing token of the lease that began or ended; in `state` and `waiting` the holder's, 0 without one.
    token: Optional[int] = None
    #: Who holds the lock; in `state` of a lock that is not free, in `granted`, and in `released` of a lock that rests.
    holder: Optional[Holder] = None
    #: How many wait for the lock; in `state`, `granted` and `waiting`.
    waiters: Optional[int] = None
    #: "free", "held" or "resting"; in `state`, and in `released` of a lock that rests.
    state: Optional[str] = None
    #: "shared" where others may have the key as well; in `state`.
    mode: Optional[str] = None
    #: How many share the lock; in `state` of a lock that is shared. `holders` has the first hundred of them, oldest grant first,
    #: and `holder` is the first.
    shared_by: Optional[int] = None
    holders: Tuple[Holder, ...] = ()

    @staticmethod
    def of(name: str, data: str) -> "Optional[LockEvent]":
        """None for what a later version may tell."""
        if name not in _TYPES:
            return None
        view = json.loads(data)
        if not isinstance(view, dict):
            raise ValueError("the data of an event is no object")
        holder = view.get("holder")
        return LockEvent(
            type=name,
            key=view.get("key"),
            token=view.get("token"),
            holder=Holder.of(holder) if isinstance(holder, dict) else None,
            waiters=view.get("waiters"),
            state=view.get("state"),
            mode=view.get("mode"),
            shared_by=view.get("sharedBy"),
            holders=tuple(Holder.of(each) for each in view.get("holders") or ()),
        )
