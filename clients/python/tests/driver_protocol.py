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
    answer = {"type": kinds[type(error)], "code": error.code, "outcome": error.outcome, "detail": str(error)}
    if isinstance(error, lockside.LockLost):
        answer["reason"] = error.reason
    if isinstance(error, lockside.LockHeld) and error.holder:
        answer["holder"] = {"owner": error.holder.owner, "token": error.holder.token}
    if isinstance(error, lockside.LockHeld):
        answer["state"] = error.state
    return answer
