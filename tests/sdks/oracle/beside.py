"""daprd and lockside on one Redis: an application that moves over one instance at a time."""

import grpc
from dapr.proto.runtime.v1 import dapr_pb2_grpc, lock_pb2

from stand import STORE, Daprd, Stand, eventually, free_port


class Caller:
    def __init__(self, grpc_port: int):
        self.stub = dapr_pb2_grpc.DaprStub(grpc.insecure_channel(f"127.0.0.1:{grpc_port}"))

    def lock(self, resource: str, owner: str, seconds: int = 60) -> bool:
        message = lock_pb2.TryLockRequest(
            store_name=STORE, resource_id=resource, lock_owner=owner, expiry_in_seconds=seconds
        )
        return self.stub.TryLockAlpha1(message, 20).success

    def unlock(self, resource: str, owner: str) -> int:
        message = lock_pb2.UnlockRequest(store_name=STORE, resource_id=resource, lock_owner=owner)
        return self.stub.UnlockAlpha1(message, 20).status


def beside(stand: Stand):
    """With --raw-keys and the store's prefix each excludes the other, both ways, and neither ends the other's."""
    stand.serve("--raw-keys", "--dapr-stores", f"{STORE}=lock||app")
    daprd = Daprd(stand, free_port(), free_port()).start()
    stand.closers.append(daprd.kill)
    pair = Caller(stand.grpc_port), Caller(daprd.grpc_port)
    for number, (one, other) in enumerate((pair, pair[::-1])):
        resource = f"beside {number}"
        assert one.lock(resource, "web-1") is True
        assert other.lock(resource, "web-2") is False
        assert other.lock(resource, "web-1") is False
        # Neither knows the other's value, though it is the same owner: an app that moves while it holds waits.
        assert other.unlock(resource, "web-1") == 2
        assert other.unlock(resource, "web-2") == 2
        assert one.unlock(resource, "web-1") == 0
        assert other.lock(resource, "web-2") is True
        assert one.lock(resource, "web-1") is False
        assert other.unlock(resource, "web-2") == 0
        assert (one.unlock(resource, "web-1"), other.unlock(resource, "web-2")) == (1, 1)
        assert one.lock(resource, "web-1", seconds=1) is True
        eventually(10, "what expires is free for the other one", lambda: other.lock(resource, "web-2"))
        assert one.unlock(resource, "web-1") == 2
        assert other.unlock(resource, "web-2") == 0
