"""The driver of the Python SDK's asynchronous DaprClient."""

import asyncio

import lines
from dapr.aio.clients import DaprClient


class Driver:
    client: DaprClient

    async def call(self, op: str, request: dict) -> dict | None:
        if op == "connect":
            self.client = DaprClient()
            return None
        names = request["store"], request["resource"], request["owner"]
        if op == "unlock":
            return {"status": (await self.client.unlock(*names)).status.value}
        if op == "guard":
            async with await self.client.try_lock(*names, request["seconds"]) as lock:
                return {"success": bool(lock)}
        call = self.client.try_lock(*names, request["seconds"])
        # The task is cancelled when its time is over.
        within = request.get("withinMs")
        lock = await asyncio.wait_for(call, within / 1000 if within else None)
        return {"success": lock.success}


driver, runner = Driver(), asyncio.Runner()
lines.serve(lambda op, request: runner.run(driver.call(op, request)))
