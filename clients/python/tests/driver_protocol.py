"""What the driver says: one JSON object a line."""

import json
import sys
import threading

import lockside

_printing = threading.Lock()


def say(message):
    with _printing:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def error_of(error):
    kinds = {
        lockside.LockHeld: "held",
        lockside.Unavailable: "unavailable",
        lockside.OutcomeUnknown: "unknown",
        lockside.LockLost: "lost",
        lockside.Refused: "refused",
    }
    if not isinstance(error, lockside.LocksideError):
        return {"type": "other", "detail": repr(error)}
    answer = {"type": kinds[type(error)], "code": error.code, "outcome": error.outcome, "key": error.key, "detail": str(error)}
    if isinstance(error, lockside.LockLost):
        answer["reason"] = error.reason
    if isinstance(error, lockside.LockHeld) and error.holder:
        answer["holder"] = holder_of(error.holder)
    if isinstance(error, lockside.LockHeld):
        answer.update(state=error.state, waiters=error.waiters, mode=error.mode, sharedBy=error.shared_by)
    return answer


def holder_of(holder):
    known = {"mode": holder.mode, "limit": holder.limit, "state": holder.state}
    return {"owner": holder.owner, "token": holder.token, **known}
