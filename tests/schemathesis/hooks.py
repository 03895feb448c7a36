"""What schemathesis cannot know of lockside's API."""

import json

import requests
import schemathesis
from schemathesis.core import NotSet
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.openapi.checks import UseAfterFree

# Milliseconds. A wait that is allowed is cut down to this: keys are few, nobody lets go, and a run would take minutes.
LONGEST_WAIT = 20
# Milliseconds, in the same way.
SHORTEST_TERM = 20
SHORTEST_CAP = 2_000
LONGEST_TTL = 86_400_000
# Bytes.
LONGEST_REASON = 200
# Milliseconds. A shorter lease may have ended before it can be handed out.
SHORT = 1000


@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.body, dict):
        repair_body(case)
        repair_entries(case)
    if "Idempotency-Key" in (case.headers or {}) and case.meta and case.meta.generation.mode.is_positive:
        repair_attempt(case)
    if case.meta and case.meta.generation.mode.is_positive:
        repair_query(case)
    if case.path.endswith(("/hold", "/events")):
        # These last as long as their connection: one line, and hang up.
        kwargs["stream"] = True
        kwargs["hooks"] = {"response": first_line}


def repair_body(case):
    body = case.body
    for field in ("ttlMs", "waitMs", "leasePeriod", "delayMs", "minHoldMs", "maxHoldMs", "limit"):
        # JSON Schema takes 60000.0 for an integer. lockside takes only what is written as one.
        if isinstance(body.get(field), float) and body[field].is_integer():
            body[field] = int(body[field])
    if type(body.get("waitMs")) is int and LONGEST_WAIT < body["waitMs"] <= 600_000:
        body["waitMs"] = LONGEST_WAIT
    repair_terms(body)
    # A user needs no `owner` to come again; who is no user does, and a schema does not know who asks.
    if body.get("reentrant") is True and body.get("owner") is None:
        body["owner"] = "schemathesis"


def repair_entries(case):
    """No schema says that no two entries have the same key."""
    for field in ("keys", "leases"):
        entries = case.body.get(field)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            continue
        for entry in entries:
            for number in ("limit", "token"):
                if isinstance(entry.get(number), float) and entry[number].is_integer():
                    entry[number] = int(entry[number])
        if case.meta and case.meta.generation.mode.is_positive:
            case.body[field] = list({entry.get("key"): entry for entry in entries}.values())


def repair_terms(body):
    """No schema compares two fields. And keys are few: none is to stay taken for long."""
    for field in ("delayMs", "minHoldMs"):
        if type(body.get(field)) is int and SHORTEST_TERM < body[field] <= LONGEST_TTL:
            body[field] = SHORTEST_TERM
    ttl = body.get("ttlMs")
    if type(ttl) is int and 0 < ttl <= LONGEST_TTL:
        if type(body.get("delayMs")) is int and ttl + max(body["delayMs"], 0) > LONGEST_TTL:
            body["ttlMs"] = LONGEST_TTL - SHORTEST_TERM
        if type(body.get("maxHoldMs")) is int and SHORTEST_CAP <= body["maxHoldMs"] < ttl:
            body["maxHoldMs"] = ttl


def repair_attempt(case):
    """A service caller who names an attempt names its owner, too: no schema says that of a header and a body."""
    if isinstance(case.body, NotSet):
        case.body = {}
        case.media_type = "application/json"
    if isinstance(case.body, dict) and case.body.get("owner") is None:
        case.body["owner"] = "schemathesis"


def repair_query(case):
    """One of two ways to say a thing, and not both or neither: no schema of parameters can say so."""
    if case.operation.label == "DELETE /v1/locks/{key}":
        if str(case.query.get("force")).lower() == "true":
            case.query.pop("token", None)
            case.query.pop("restMs", None)
        elif "token" in case.query:
            case.query.pop("reason", None)
        else:
            case.query["force"] = "true"
            case.query.pop("restMs", None)
        rest = str(case.query.get("restMs", ""))
        if rest.isdigit() and SHORTEST_TERM < int(rest) <= LONGEST_TTL:
            case.query["restMs"] = SHORTEST_TERM
    if case.operation.label == "GET /v1/locks/{key}" and "waitMs" in case.query:
        wait = str(case.query["waitMs"])
        if wait.isdigit() and LONGEST_WAIT < int(wait) <= 600_000:
            case.query["waitMs"] = LONGEST_WAIT
        case.headers.setdefault("If-None-Match", '"0"')
    if str(case.query.get("cursor", "")).startswith("s"):
        # Sealed by a sidecar, which no other than a page's own is.
        case.query.pop("cursor")
    if isinstance(case.query.get("reason"), str):
        # JSON Schema counts characters, lockside bytes.
        case.query["reason"] = case.query["reason"].encode()[:LONGEST_REASON].decode(errors="ignore")
    if case.operation.label == "DELETE /admin/remove-lock" and isinstance(case.body, NotSet):
        case.query.setdefault("route", "volume")
        case.query.setdefault("id", "1234")


@schemathesis.hook
def filter_failure(context, failure, case, response):
    if case.operation.label == "GET /v1/locks/{key}" and isinstance(failure, UseAfterFree):
        # A key is no resource that comes and goes: after its DELETE it is still there, and free, or other leases share it.
        return response.status_code == 200 and response.json()["state"] != "free" and "sharedBy" not in response.json()
    if isinstance(failure, AcceptedNegativeData):
        return not (is_taken_in_another_type(case.body) or is_query_beside_body(case))
    if response.status_code == 503 and response.json()["code"] == "too-late":
        # The truth: on a busy machine nothing is left of a lease that was to last for some milliseconds.
        return case.body.get("ttlMs", SHORT) >= SHORT
    return True


def is_taken_in_another_type(body):
    """The schemas have one type a field, because generated clients handle no other; the descriptions name the second."""
    if not isinstance(body, dict):
        return False
    is_number = any(type(body.get(field)) is int for field in ("route", "id"))
    return is_number or isinstance(body.get("expiryInSeconds"), str)


def is_query_beside_body(case):
    """With both a body and a query, the body is used."""
    return case.operation.label == "DELETE /admin/remove-lock" and not isinstance(case.body, NotSet)


def first_line(response: requests.Response, **_):
    if response.headers["content-type"] == "application/x-ndjson":
        response._content = next(response.iter_lines())
        response.close()


@schemathesis.deserializer("application/x-ndjson")
def line(context, response):
    return json.loads(response.content)
