"""What the .NET SDK sends, replayed: its DistributedLock client's calls, made of the published .proto by raw gRPC.

The SDK itself is not run. Its channel is lazy and asks nothing before the first lock; its token is the metadata
`dapr-api-token`, and its deadline is gRPC's.
"""

import os

import grpc
import lines
from dapr.proto.runtime.v1 import dapr_pb2_grpc, lock_pb2


class Driver:
    stub: dapr_pb2_grpc.DaprStub
    metadata: list = []

    def call(self, op: str, request: dict) -> dict | None:
        if op == "connect":
            target = os.environ.get("DAPR_GRPC_ENDPOINT") or "127.0.0.1:" + os.environ["DAPR_GRPC_PORT"]
            self.stub = dapr_pb2_grpc.DaprStub(grpc.insecure_channel(target))
            self.metadata = [("user-agent", "dapr-sdk-dotnet/1.16.0")]
            if token := os.environ.get("DAPR_API_TOKEN"):
                self.metadata.append(("dapr-api-token", token))
            return None
        names = {"store_name": request["store"], "resource_id": request["resource"], "lock_owner": request["owner"]}
        if op == "unlock":
            answer = self.stub.UnlockAlpha1(lock_pb2.UnlockRequest(**names), metadata=self.metadata)
            return {"status": answer.status}
        message = lock_pb2.TryLockRequest(**names, expiry_in_seconds=request["seconds"])
        within = request.get("withinMs")
        answer = self.stub.TryLockAlpha1(message, within / 1000 if within else None, metadata=self.metadata)
        return {"success": answer.success}


lines.serve(Driver().call)
