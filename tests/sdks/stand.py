"""What a case is played on: a Redis, a sidecar with the Dapr API over HTTP and gRPC, an SDK's driver."""

import http.client
import json
import os
import sys
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "clients/conformance"))

from driver import Driver, Refusal  # noqa: E402
from world import BINARY, Process, World, eventually, free_port  # noqa: E402

__all__ = ["BINARY", "DAPRD", "STORE", "Daprd", "Refusal", "Stand", "eventually", "free_port"]

DAPRD = Path(__file__).resolve().parents[2] / "target/sdks/daprd/daprd"
STORE = "lockstore"
COMPONENT = Path(__file__).resolve().parent / "daprd/lockstore.yaml"


class Stand(World):
    """A world whose sidecar is `lockside`, or `daprd` to see what Dapr itself does."""

    def __init__(self, on: str = "lockside"):
        self.on, self.redis_port = on, free_port()
        self.http_port, self.grpc_port = free_port(), free_port()
        self.drivers, self.token = 0, {}
        super().__init__([])
        self.grpc_socket = self.directory / "grpc.sock"

    def start_redis(self) -> Process:
        redis = Process(
            ["redis-server", "--port", str(self.redis_port), "--unixsocket", self.redis_socket, "--save", "",
             "--appendonly", "no", "--dir", self.directory],
            self.directory / "redis.log",
        )
        eventually(20, "redis-server answers", lambda: self.command_redis("PING") == b"+PONG")
        return redis

    def serve(self, *flags, token: str | None = None):
        """Starts the sidecar; `token` is the API token that it has."""
        self.token = {"dapr-api-token": token} if token else {}
        if self.on == "daprd":
            self.server = Daprd(self, self.http_port, self.grpc_port, token).start()
            return self
        if token:
            file = self.directory / "token"
            file.write_text(token)
            flags = (*flags, "--api-token-file", str(file))
            self.credentials = {"authorization": f"Bearer {token}"}
        listen = f"127.0.0.1:{self.grpc_port},unix:{self.grpc_socket}"
        self.server = self.sidecar(*flags, "--dapr-grpc-listen", listen, start=False)
        self.server.port = self.http_port
        self.server.start()
        return self

    def connect(self, sdk, unix: bool = False, **env) -> "App":
        """An app that uses the SDK, told where its sidecar is as Dapr's apps are: by the environment."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("DAPR_", "LOCKSIDE_"))}
        where = {"DAPR_HTTP_PORT": str(self.http_port), "DAPR_GRPC_PORT": str(self.grpc_port)}
        if unix:
            where["DAPR_GRPC_ENDPOINT"] = sdk.unix.format(path=self.grpc_socket, name=self.grpc_socket.name)
        self.drivers += 1
        log = self.directory / f"driver-{self.drivers}.log"
        command = ("env", "-C", str(self.directory), *sdk.command)
        app = App(sdk, Driver(command, {**clean, **where, **sdk.env, **env}, log))
        self.closers.append(app.driver.kill)
        return app

    def ask_dapr(self, action: str, body: dict) -> dict:
        """A call of the Dapr API over HTTP, that needs to be answered with 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=20)
        headers = {"content-type": "application/json", **self.token}
        connection.request("POST", f"/v1.0-alpha1/{action}/{STORE}", json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        assert answer.status == 200, f"{action}: {answer.status} {content!r}"
        return json.loads(content)

    def is_free(self, resource: str) -> bool:
        """Whether another owner gets it, who then releases it."""
        body = {"resourceId": resource, "lockOwner": "the test", "expiryInSeconds": 30}
        if not self.ask_dapr("lock", body)["success"]:
            return False
        assert self.ask_dapr("unlock", body) == {"status": 0}
        return True

    def stays_free(self, resource: str):
        """What was asked for it is undone, and for good: at once, or where no answer of Redis comes once the call's deadline
        has passed, the 20 s of --redis-timeout."""
        eventually(25, f"{resource} is free", lambda: self.is_free(resource))
        rounds = iter(range(20))
        eventually(10, "twenty looks", lambda: not self.is_free(resource) or next(rounds, None) is None)
        assert self.is_free(resource), f"{resource} was free, and is held again"

    def restart(self, by):
        """Ends the sidecar by `by`, and starts it again at the same addresses."""
        by(self.server)
        self.server.process.popen.wait(20)
        self.server.start()

    def close(self, keep: bool = False):
        if self.on == "daprd" and hasattr(self, "server"):
            self.server.kill()
        # One that is stopped would not end.
        self.redis.thaw()
        super().close(keep)


class Daprd:
    """The real daprd, with its Redis lock store."""

    def __init__(self, stand: Stand, http_port: int, grpc_port: int, token: str | None = None, has_store: bool = True):
        self.stand, self.port, self.grpc_port, self.token = stand, http_port, grpc_port, token
        self.internal_port, self.metrics_port = free_port(), free_port()
        self.resources = stand.directory / f"resources-{http_port}"
        self.resources.mkdir()
        if has_store:
            component = COMPONENT.read_text().replace("REDIS_PORT", str(stand.redis_port))
            (self.resources / "lockstore.yaml").write_text(component)

    def start(self):
        env = {name: value for name, value in os.environ.items() if not name.startswith("DAPR_")}
        if self.token:
            env["DAPR_API_TOKEN"] = self.token
        command = [
            DAPRD, "--app-id", "app", "--mode", "standalone", "--resources-path", self.resources,
            "--dapr-http-port", self.port, "--dapr-grpc-port", self.grpc_port,
            "--dapr-internal-grpc-port", self.internal_port, "--metrics-port", self.metrics_port,
            "--dapr-listen-addresses", "127.0.0.1", "--log-level", "warn",
            "--dapr-graceful-shutdown-seconds", "1",
        ]
        self.process = Process(command, self.stand.directory / f"daprd-{self.port}.log", env)
        eventually(60, "daprd answers", self.answers)
        return self

    def answers(self) -> bool:
        assert self.process.popen.poll() is None, f"daprd has ended: {self.process.log.read_text()}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/v1.0/healthz")
            return connection.getresponse().status == 204
        except OSError:
            return False
        finally:
            connection.close()

    def kill(self):
        self.process.kill()

    def drain(self):
        self.process.popen.terminate()


class App:
    """A driver, and what an app asks of it."""

    def __init__(self, sdk, driver: Driver):
        self.sdk, self.driver = sdk, driver

    def ready(self) -> "App":
        self.driver.call("connect", within=60)
        return self

    def lock(self, resource: str, owner: str = "web-1", seconds: int = 60, store: str = STORE, **more) -> bool:
        return self.start_lock(resource, owner, seconds, store, **more).result(30)["success"]

    def start_lock(self, resource: str, owner: str = "web-1", seconds: int = 60, store: str = STORE, op="lock", **more):
        return self.driver.send(op, store=store, resource=resource, owner=owner, seconds=seconds, **more)

    def unlock(self, resource: str, owner: str = "web-1", store: str = STORE) -> int:
        return self.driver.call("unlock", within=30, store=store, resource=resource, owner=owner)["status"]


# How lockside's HTTP answers where it would over gRPC with a code.
HTTP = {
    "INVALID_ARGUMENT": (400, "ERR_MALFORMED_REQUEST"),
    "UNAUTHENTICATED": (401, "ERR_UNAUTHORIZED"),
    "INTERNAL": (500, "ERR_TRY_LOCK"),
    "FAILED_PRECONDITION": (500, "ERR_LOCK_STORE_NOT_CONFIGURED"),
}


def refused(app: App, call, code: str, message: str | None = None, http=None) -> str:
    """That the call ends with this error, as the SDK's own protocol has it; the message."""
    try:
        answer = call()
    except Refusal as refusal:
        error = refusal.error
    else:
        raise AssertionError(f"expected {code}, and the answer is {answer}")
    if app.sdk.is_http:
        status, name = http or HTTP[code]
        assert (error.get("status"), error["code"]) == (status, name), error
    else:
        assert error["code"] == getattr(grpc.StatusCode, code).value[0], error
    # Some SDKs put their own words before it.
    assert message is None or error["message"].endswith(message), error
    return error["message"]


def refused_by_itself(call):
    """That the SDK refuses without asking the sidecar."""
    try:
        answer = call()
    except Refusal as refusal:
        assert refusal.code == "local", refusal
    else:
        raise AssertionError(f"expected the SDK to refuse, and the answer is {answer}")
