"""The loop of a driver: requests and answers as lines of JSON, see ../README.md."""

import json
import sys

import grpc


def answer_to(error: BaseException) -> dict:
    """An SDK's error: its gRPC code as a number, or `local` for one that the SDK raised by itself."""
    if isinstance(error, grpc.RpcError):
        return {"code": error.code().value[0], "message": error.details()}
    return {"code": "local", "message": f"{type(error).__name__}: {error}"}


def serve(call):
    """Answers each line by `call(op, request)`."""
    output, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"ok": True, **(call(request["op"], request) or {})}
        except Exception as error:
            answer = {"ok": False, "error": answer_to(error)}
        print(json.dumps({"id": request["id"], **answer}), file=output, flush=True)
