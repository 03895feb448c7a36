"""The SDKs: the command of each one's driver, and what of the table it can do."""

import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = HERE.parents[1] / "target/sdks"
NODE = Path(os.environ.get("SDKS_NODE") or shutil.which("node") or "node")
NODE_MODULES = HERE.parents[1] / "target/clients/node_modules"


@dataclass(frozen=True)
class Sdk:
    name: str
    version: str
    command: tuple
    # What must be there for the driver to run.
    needs: tuple = ()
    env: dict = field(default_factory=dict)
    # Locks over HTTP, not over gRPC.
    is_http: bool = False
    # Refuses an empty name by itself, before it calls, and an expiry below this.
    validates: bool = False
    least_expiry: int = -(2**31)
    # DAPR_GRPC_ENDPOINT of a unix socket; None: the SDK has no unix sockets. gRPC's C core, which Python uses, sends the
    # path as `:authority`, with `%2F` for a slash, and the h2 library resets such a call: so it has none there, and the
    # app's working directory is the socket's.
    unix: str | None = None
    # How a call ends before its answer: by the driver's `withinMs`, or by a variable of this name, whose value is half a
    # second.
    # None: the SDK has no deadline.
    deadline: tuple | None = ("", "")
    # Has a lock that is released at the end of a block.
    guards: bool = False

    def missing(self) -> list[str]:
        """What of it this machine lacks."""
        needs = (self.command[0], *self.needs)
        return [str(path) for path in needs if not shutil.which(path) and not Path(path).exists()]


# The suite starts many: a JVM that starts fast.
JAVA = ("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def python(driver: str, name: str, version: str, **more) -> Sdk:
    # Each call of the SDK warns that the API is an alpha version.
    return Sdk(name, version, (sys.executable, "-B", "-W", "ignore", str(HERE / "python" / driver)), **more)


def node(name: str, protocol: str, **more) -> Sdk:
    return Sdk(
        name,
        "@dapr/dapr 3.18.0",
        (str(NODE), str(HERE / "node/driver.js"), protocol),
        needs=(NODE_MODULES / "@dapr/dapr",),
        env={"NODE_PATH": str(NODE_MODULES)},
        deadline=None,
        **more,
    )


SDKS = (
    python("sync.py", "python", "dapr 1.19.0", unix="unix:{name}", validates=True, least_expiry=1, guards=True,
           deadline=("DAPR_API_TIMEOUT_SECONDS", "0.5")),
    python("aio.py", "python-aio", "dapr 1.19.0", unix="unix:{name}", validates=True, least_expiry=1, guards=True),
    Sdk("go", "github.com/dapr/go-sdk 1.11.0", (str(BUILT / "go/driver"),), unix="unix://{path}"),
    Sdk(
        "java",
        "io.dapr:dapr-sdk 1.16.0",
        (*JAVA, "-cp", f"{BUILT}/java/classes:{BUILT}/java/lib/*", "Driver"),
        needs=(BUILT / "java/classes/Driver.class", BUILT / "java/lib/dapr-sdk-1.16.0.jar"),
        validates=True,
        least_expiry=0,
        deadline=("DAPR_API_TIMEOUT_MILLISECONDS", "500"),
    ),
    node("node-http", "HTTP", is_http=True),
    node("node-grpc", "GRPC"),
    Sdk("rust", "dapr 0.20.0, the generated stub", (str(BUILT / "rust/debug/driver"),), unix="unix://{path}"),
    python("replay_dotnet.py", "dotnet-replayed", "Dapr.DistributedLock 1.16.0: its calls are replayed, it is not run"),
)
