"""One raw call over gRPC or HTTP, and what is compared of its answer."""

import http.client
import json
from dataclasses import dataclass

import grpc
from dapr.proto.runtime.v1 import lock_pb2

LOCK = "/v1.0-alpha1/lock/lockstore"
UNLOCK = "/v1.0-alpha1/unlock/lockstore"
SERVICE = "/dapr.proto.runtime.v1.Dapr/"


@dataclass(frozen=True)
class Grpc:
    method: str
    body: bytes
    metadata: tuple = ()
    compression: grpc.Compression = grpc.Compression.NoCompression

    def play(self, http_port: int, grpc_port: int) -> tuple:
        """The code's name, the message, and the body of an answer without an error."""
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            call = channel.unary_unary(self.method if "/" in self.method else SERVICE + self.method)
            try:
                return ("OK", call(self.body, 30, metadata=self.metadata, compression=self.compression))
            except grpc.RpcError as error:
                # Go's protobuf writes one of two spaces, by chance of the build.
                return (error.code().name, error.details().replace("\xa0", " "))


@dataclass(frozen=True)
class Http:
    method: str
    path: str
    body: bytes = b""
    headers: tuple = ()

    def play(self, http_port: int, grpc_port: int) -> tuple:
        """The status, and the JSON of the answer or its text."""
        connection = http.client.HTTPConnection("127.0.0.1", http_port, timeout=30)
        headers = {"content-type": "application/json", **dict(self.headers)}
        connection.request(self.method, self.path, self.body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        try:
            content = json.loads(content.decode().replace("\xa0", " "))
        except ValueError:
            content = content.decode()
        return (answer.status, content)


def lock(resource="r", owner="web-1", seconds=60, store="lockstore", **more) -> Grpc:
    message = lock_pb2.TryLockRequest(
        store_name=store, resource_id=resource, lock_owner=owner, expiry_in_seconds=seconds
    )
    return Grpc("TryLockAlpha1", message.SerializeToString(), **more)


def unlock(resource="r", owner="web-1", store="lockstore", **more) -> Grpc:
    message = lock_pb2.UnlockRequest(store_name=store, resource_id=resource, lock_owner=owner)
    return Grpc("UnlockAlpha1", message.SerializeToString(), **more)


def http_lock(resource="r", owner="web-1", seconds=60, store="lockstore", **more) -> Http:
    body = {"resourceId": resource, "lockOwner": owner, "expiryInSeconds": seconds}
    return Http("POST", f"/v1.0-alpha1/lock/{store}", json.dumps(body).encode(), **more)


def http_unlock(resource="r", owner="web-1", store="lockstore", **more) -> Http:
    body = {"resourceId": resource, "lockOwner": owner}
    return Http("POST", f"/v1.0-alpha1/unlock/{store}", json.dumps(body).encode(), **more)


def both(name: str, grpc_call: Grpc, http_call: Http) -> dict:
    return {f"grpc {name}": grpc_call, f"http {name}": http_call}


BITS_33 = b"\x80\x80\x80\x80\x10"

# In this order, on one Redis each: a call meets what those before it left.
PLAIN = {
    **both("lock", lock("a"), http_lock("b")),
    **both("lock of another owner", lock("a", "web-2"), http_lock("b", "web-2")),
    **both("lock of the same owner", lock("a"), http_lock("b")),
    **both("unlock of another owner", unlock("a", "web-2"), http_unlock("b", "web-2")),
    **both("unlock", unlock("a"), http_unlock("b")),
    **both("unlock again", unlock("a"), http_unlock("b")),
    **both("expiry 0", lock(seconds=0), http_lock(seconds=0)),
    **both("expiry below 0", lock(seconds=-1), http_lock(seconds=-1)),
    **both("expiry 0 and everything else wrong", lock("", "", 0, "no"), http_lock("", "", 0, "no")),
    **both("empty resource", lock(""), http_lock("")),
    **both("empty resource and owner", lock("", ""), http_lock("", "")),
    **both("empty owner", lock("r", ""), http_lock("r", "")),
    **both("empty owner, unknown store", lock("r", "", store="no"), http_lock("r", "", store="no")),
    **both("unknown store", lock(store="no"), http_lock(store="no")),
    **both("unlock of an empty resource", unlock(""), http_unlock("")),
    **both("unlock by an empty owner", unlock("r", ""), http_unlock("r", "")),
    **both("unlock in an unknown store", unlock(store="no"), http_unlock(store="no")),
    **both("a separator in the resource", lock("a||b"), http_lock("a||b")),
    **both("a separator in the resource of an unlock", unlock("a||b"), http_unlock("a||b")),
    **both("a control character in the resource", lock("a\nb"), http_lock("c\nd")),
    **both("a control character in the owner", lock("c", "a\nb"), http_lock("d", "a\nb")),
    **both("a long owner", lock("e", "x" * 257), http_lock("f", "x" * 257)),
    **both("a long resource", lock("x" * 600), http_lock("y" * 600)),
    **both("the longest expiry", lock("g", seconds=2**31 - 1), http_lock("h", seconds=2**31 - 1)),
    **both(
        "a token that is not asked for",
        lock("t", metadata=(("dapr-api-token", "x"),)),
        http_lock("u", headers=(("dapr-api-token", "x"),)),
    ),
    "grpc an empty message": Grpc("TryLockAlpha1", b""),
    "grpc a field of another number": Grpc("UnlockAlpha1", unlock("nothing").body + b"\x7a\x01x"),
    "grpc a field twice": Grpc("UnlockAlpha1", unlock("nothing").body + b"\x12\x05other"),
    # 2^32: 0, as an int32.
    "grpc an int32 with more than 32 bits": Grpc("TryLockAlpha1", lock("i", seconds=1).body[:-1] + BITS_33),
    "grpc a message of 20 KiB": lock("j", "x" * 20_480),
    "grpc metadata of 10 KiB": lock("k", metadata=(("x-filler", "x" * 10_240),)),
    "grpc a compressed message": lock("l" * 100, compression=grpc.Compression.Gzip),
    "grpc no protobuf": Grpc("TryLockAlpha1", b"\xff"),
    "grpc no UTF-8": Grpc("UnlockAlpha1", b"\x0a\x01\xff"),
    "grpc an unknown method": Grpc("NoSuchMethod", b""),
    "grpc an unknown service": Grpc("/other.Service/Method", b""),
    "http no JSON": Http("POST", LOCK, b"{"),
    "http no body": Http("POST", LOCK),
    "http a field of another name": Http("POST", UNLOCK, b'{"resourceId":"n","lockOwner":"o","x":1}'),
    "http names in snake_case": Http("POST", UNLOCK, b'{"resource_id":"n","lock_owner":"o"}'),
    "http a number as text": Http("POST", LOCK, b'{"resourceId":"n","lockOwner":"o","expiryInSeconds":"1"}'),
    "http a method that is none": Http("GET", LOCK),
    "http a path that is none": Http("POST", "/v1.0-alpha1/locks"),
    "http health": Http("GET", "/v1.0/healthz"),
    "http health outbound": Http("GET", "/v1.0/healthz/outbound"),
}

TOKEN = "the API token of the tests, 32+ bytes"
RIGHT, WRONG = (("dapr-api-token", TOKEN),), (("dapr-api-token", TOKEN[:-1] + "!"),)

WITH_TOKEN = {
    **both("no token", lock("a"), http_lock("b")),
    **both("a wrong token", lock("a", metadata=WRONG), http_lock("b", headers=WRONG)),
    **both(
        "a wrong token before every check",
        lock("", seconds=0, metadata=WRONG),
        http_lock("", seconds=0, headers=WRONG),
    ),
    **both("the token", lock("a", metadata=RIGHT), http_lock("b", headers=RIGHT)),
    **both("unlock without a token", unlock("a"), http_unlock("b")),
    **both("unlock with the token", unlock("a", metadata=RIGHT), http_unlock("b", headers=RIGHT)),
    "grpc the right token first": lock("c", metadata=RIGHT + WRONG),
    "grpc the wrong token first": lock("d", metadata=WRONG + RIGHT),
    "grpc metadata without a token": Grpc("GetMetadata", b""),
    "grpc an unknown method without a token": Grpc("NoSuchMethod", b""),
    "http metadata without a token": Http("GET", "/v1.0/metadata"),
    "http a path that is none without a token": Http("POST", "/v1.0-alpha1/locks"),
    "http health without a token": Http("GET", "/v1.0/healthz"),
    "http health outbound without a token": Http("GET", "/v1.0/healthz/outbound"),
}

STORELESS = {
    **both("no store", lock(), http_lock()),
    **both("expiry 0 before no store", lock(seconds=0), http_lock(seconds=0)),
    **both("no store before an empty resource", lock(""), http_lock("")),
    **both("unlock without a store", unlock(), http_unlock()),
}

FROZEN = both("lock while Redis hangs", lock("a"), http_lock("b"))
