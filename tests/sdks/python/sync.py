"""The driver of the Python SDK's DaprClient."""

import lines
from dapr.clients import DaprClient


class Driver:
    client: DaprClient

    def call(self, op: str, request: dict) -> dict | None:
        if op == "connect":
            self.client = DaprClient()
            return None
        names = request["store"], request["resource"], request["owner"]
        if op == "unlock":
            return {"status": self.client.unlock(*names).status.value}
        if op == "guard":
            with self.client.try_lock(*names, request["seconds"]) as lock:
                return {"success": bool(lock)}
        # A deadline comes from DAPR_API_TIMEOUT_SECONDS.
        return {"success": self.client.try_lock(*names, request["seconds"]).success}


lines.serve(Driver().call)
