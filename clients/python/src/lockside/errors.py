"""What a lock may fail with. Each error says whether it was done: `outcome`."""

from dataclasses import dataclass
from typing import Any, Dict, Optional


@dataclass(frozen=True)
class Holder:
    """Who holds a key. Of another program than lockside only the expiry is known. `mode` is "exclusive" or "shared", and `limit`
    is how many may share the key, as this holder asked for it. `state` of one that shares the key is "held", or "resting" where
    it has released it, and its terms keep it taken."""

    owner: Optional[str]
    kind: Optional[str] = None
    token: Optional[int] = None
    since: Optional[str] = None
    valid_for: Optional[float] = None
    valid_until: Optional[str] = None
    meta: Any = None
    mode: Optional[str] = None
    limit: Optional[int] = None
    state: Optional[str] = None

    @staticmethod
    def of(view: Dict[str, Any]) -> "Holder":
        left = view.get("validForMs")
        return Holder(
            owner=view.get("owner"),
            kind=view.get("kind"),
            token=view.get("token"),
            since=view.get("since"),
            valid_for=None if left is None else left / 1000,
            valid_until=view.get("validUntil"),
            meta=view.get("meta"),
            mode=view.get("mode"),
            limit=view.get("limit"),
            state=view.get("state"),
        )


class LocksideError(Exception):
    """`code` is the sidecar's, or None where it said none; `outcome` is not-applied, applied or unknown."""

    def __init__(
        self,
        message: str,
        *,
        key: str = "",
        code: Optional[str] = None,
        outcome: str = "not-applied",
        status: Optional[int] = None,
        request_id: Optional[str] = None,
        retry_after: Optional[float] = None,
    ) -> None:
        super().__init__(message)
        self.key = key
        self.code = code
        self.outcome = outcome
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after


class LockHeld(LocksideError):
    """Another owner holds the lock, and it was not free in time: skip the work, or retry. `state` is "held", or "resting" where
    `holder` has released it and its terms keep it taken; None where the sidecar did not say. Where others share it, `mode` is
    "shared", `shared_by` is how many they are, and `holder` is one of them."""

    def __init__(
        self,
        message: str,
        *,
        holder: Optional[Holder] = None,
        waiters: Optional[int] = None,
        state: Optional[str] = None,
        mode: Optional[str] = None,
        shared_by: Optional[int] = None,
        **more: Any,
    ) -> None:
        super().__init__(message, **more)
        self.holder = holder
        self.state = state
        self.waiters = waiters
        self.mode = mode
        self.shared_by = shared_by


class Unavailable(LocksideError):
    """The sidecar or its Redis cannot do it now, and it was not done: try again later."""


class OutcomeUnknown(LocksideError):
    """No answer, also to repetitions. A lock that was granted so is rolled back by the sidecar."""

    def __init__(self, message: str, **more: Any) -> None:
        super().__init__(message, **{**more, "outcome": "unknown"})


class Refused(LocksideError):
    """The request is not valid, or not allowed: repeating it does not help."""


class LockLost(LocksideError):
    """The lock is not held any more: stop the work. `reason` says why; see the documentation for the words."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"the lock `{key}` was lost: {reason}", key=key, code="lost", outcome="applied")
        self.reason = reason

    def __reduce__(self) -> Any:
        return LockLost, (self.key, self.reason)


_UNAVAILABLE = frozenset(
    (
        "too-many-waiters too-many-requests quota-exceeded overloaded draining keys-unavailable "
        "redis-unavailable redis-refused too-late"
    ).split()
)


def held_by(key: str, holder: Optional[Holder], state: Optional[str], shared_by: Optional[int]) -> Optional[str]:
    """The message of a LockHeld; None: the holder is not known."""
    if holder is None or not holder.owner:
        return None
    if shared_by:
        others = f" and {shared_by - 1} more" if shared_by > 1 else ""
        return f"`{key}` is shared by {holder.owner}{others}"
    return f"`{key}` was released by {holder.owner} and rests" if state == "resting" else f"`{key}` is held by {holder.owner}"


def of_problem(key: str, status: int, problem: Any, retry_after: Optional[str] = None) -> LocksideError:
    """The error for an answer that is no success."""
    problem = problem if isinstance(problem, dict) else {}
    # Of several keys the one that is in the way.
    key = problem.get("key") or key
    code = problem.get("code")
    detail = problem.get("detail") or f"status {status}; does the URL name lockside's API?"
    message = f"`{key}`: {detail}"
    outcome = problem.get("outcome") or ("unknown" if status >= 500 else "not-applied")
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    more: Dict[str, Any] = {
        "key": key,
        "code": code,
        "outcome": outcome,
        "status": status,
        "request_id": problem.get("requestId"),
        "retry_after": seconds,
    }
    if code in ("held", "wait-timeout"):
        view = problem.get("holder")
        holder = Holder.of(view) if isinstance(view, dict) else None
        state, shared_by = problem.get("state"), problem.get("sharedBy")
        message = held_by(key, holder, state, shared_by) or message
        said = {name: problem.get(name) for name in ("waiters", "state", "mode")}
        return LockHeld(message, holder=holder, shared_by=shared_by, **said, **more)
    if outcome == "unknown":
        return OutcomeUnknown(message, **more)
    if code in _UNAVAILABLE:
        return Unavailable(message, **more)
    return Refused(message, **more)
