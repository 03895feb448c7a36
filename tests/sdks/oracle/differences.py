"""Every answer that differs from daprd's, and why."""

from dataclasses import dataclass

WORDS = "the same code; the words are those of the library that reads the message"
GIVEN = ("OK", b"\x08\x01")
GIVEN_HTTP = (200, {"success": True})


@dataclass(frozen=True)
class Difference:
    daprd: tuple
    lockside: tuple
    reason: str


def malformed(message: str) -> tuple:
    return (400, {"errorCode": "ERR_MALFORMED_REQUEST", "message": message})


def limit(name: str, message: str) -> dict:
    """A limit that daprd lacks, over gRPC and over HTTP."""
    reason = "lockside's names are printed, logged and listed, and its leases end within --max-ttl: it has limits"
    return {
        f"grpc {name}": Difference(GIVEN, ("INVALID_ARGUMENT", message), reason),
        f"http {name}": Difference(GIVEN_HTTP, malformed(message), reason),
    }


def separator(name: str, code: str, says: str) -> dict:
    reason = "the caller's mistake: lockside does not call it an internal error, after which a caller may try again"
    message = f"{says}: input key/keyPrefix 'a||b' can't contain '||'"
    ours = "resourceId: expected a text without `||`"
    return {
        f"grpc {name}": Difference(("INTERNAL", message), ("INVALID_ARGUMENT", ours), reason),
        f"http {name}": Difference((500, {"errorCode": code, "message": message}), malformed(ours), reason),
    }


def words(name: str, daprd: tuple, lockside: tuple) -> dict:
    return {name: Difference(daprd, lockside, WORDS)}


def unknown(name: str, says: str) -> dict:
    ours = ("UNIMPLEMENTED", "lockside serves TryLockAlpha1, UnlockAlpha1 and GetMetadata")
    return {name: Difference(("UNKNOWN", says), ours, "daprd proxies what it does not know to other apps")}


def turned_away(name: str) -> dict:
    reason = "the same status; the body has the shape of the other errors, which SDKs can read"
    ours = {"errorCode": "ERR_UNAUTHORIZED", "message": "Authentication required."}
    return {f"http {name}": Difference((401, "invalid api token\n"), (401, ours), reason)}


def no_path(name: str, status: int, code: str, message: str) -> dict:
    theirs = "failed getting app id either from the URL path or the header dapr-app-id"
    reason = "daprd passes paths that it does not know on to other apps; lockside does not"
    ours = (status, {"errorCode": code, "message": message})
    return {name: Difference((404, {"errorCode": "ERR_DIRECT_INVOKE", "message": theirs}), ours, reason)}


HANGS = "failed to try acquiring lock: i/o timeout"
HANGS_HERE = "Outcome unknown: Redis did not reply in time. Check the lock before retrying."
HANGS_WHY = "the same code, and lockside says what the caller must know: the outcome"
OWNER = "lockOwner: expected 1 to 256 bytes without control characters"
NO_PROTOBUF = ("INTERNAL", "the message is no protobuf of this call")
UNMARSHAL = "grpc: error unmarshalling request: "

DIFFERENCES: dict[str, Difference] = {
    **separator("a separator in the resource", "ERR_TRY_LOCK", "failed to try acquiring lock"),
    **separator("a separator in the resource of an unlock", "ERR_UNLOCK", "failed to release lock"),
    **limit("a control character in the resource", "key: a control character at byte 12; expected none"),
    **limit("a control character in the owner", OWNER),
    **limit("a long owner", OWNER),
    **limit("a long resource", "key: 611 bytes; expected at most 512"),
    **limit("the longest expiry", "expiryInSeconds: expected 1 to 86400 seconds"),
    "grpc a message of 20 KiB": Difference(
        GIVEN, ("RESOURCE_EXHAUSTED", "The request is too large."), "a lock has two names: 16 KiB, as over HTTP"
    ),
    "grpc metadata of 10 KiB": Difference(
        GIVEN, ("UNKNOWN", "Received http2 header with status: 431"), "a call has a token at most: 8 KiB, by HTTP/2 itself"
    ),
    "grpc a compressed message": Difference(
        GIVEN,
        ("UNIMPLEMENTED", "the message is compressed; lockside takes `identity` alone"),
        "no SDK compresses; gRPC's code for it",
    ),
    **words("grpc no protobuf", ("INTERNAL", UNMARSHAL + "proto: cannot parse invalid wire-format data"), NO_PROTOBUF),
    **words("grpc no UTF-8", ("INTERNAL", UNMARSHAL + "string field contains invalid UTF-8"), NO_PROTOBUF),
    **words(
        "http no JSON",
        malformed("failed deserializing HTTP body: proto: unexpected EOF"),
        malformed("EOF while parsing an object at line 1 column 1"),
    ),
    **unknown(
        "grpc an unknown method",
        "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found",
    ),
    **unknown(
        "grpc an unknown service", "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata"
    ),
    **no_path("http a method that is none", 405, "ERR_METHOD_NOT_ALLOWED", "The method is not allowed here."),
    **no_path("http a path that is none", 404, "ERR_NOT_FOUND", "No such endpoint; see /openapi.json."),
    **turned_away("no token"),
    **turned_away("a wrong token"),
    **turned_away("a wrong token before every check"),
    **turned_away("unlock without a token"),
    **turned_away("metadata without a token"),
    **turned_away("a path that is none without a token"),
    "grpc lock while Redis hangs": Difference(
        ("INTERNAL", HANGS), ("INTERNAL", f"failed to try acquiring lock: {HANGS_HERE}"), HANGS_WHY
    ),
    "http lock while Redis hangs": Difference(
        (500, {"errorCode": "ERR_TRY_LOCK", "message": HANGS}),
        (500, {"errorCode": "ERR_TRY_LOCK", "message": HANGS_HERE}),
        HANGS_WHY,
    ),
}
