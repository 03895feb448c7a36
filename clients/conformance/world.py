"""What a behaviour is played against: a real redis-server, real sidecars, the client's driver. Each behaviour has its own."""

import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote

from driver import Driver

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("LOCKSIDE_BINARY") or str(ROOT / "target/debug/lockside")

_ports_lock = threading.Lock()
_ports_given: set = set()


def free_port() -> int:
    """Outside of the ephemeral range: a client that connects to a port without a listener may else reach itself."""
    with _ports_lock:
        while True:
            port = random.randrange(20000, 32000)
            if port in _ports_given:
                continue
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            _ports_given.add(port)
            return port


def eventually(within: float, what: str, look) -> float:
    """Polls until `look()` is true; the seconds that this took. Fails after `within` seconds."""
    start = time.monotonic()
    while True:
        if look():
            return time.monotonic() - start
        if time.monotonic() - start > within:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(0.02)


class Process:
    """A process that we started."""

    def __init__(self, command, log: Path, env=None, cwd=None):
        self.log = log
        with open(log, "ab") as output:
            self.popen = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=cwd
            )

    def send(self, signal_number):
        self.popen.send_signal(signal_number)

    def freeze(self):
        self.send(signal.SIGSTOP)

    def thaw(self):
        self.send(signal.SIGCONT)

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()


class Sidecar:
    """A lockside at an address of its own, which it keeps over restarts."""

    def __init__(self, world: "World", name: str, flags, unix: bool):
        self.world, self.name, self.flags = world, name, list(flags)
        self.binary = BINARY
        self.port = None if unix else free_port()
        self.path = world.directory / f"{name}.sock" if unix else None
        self.url = f"unix:{self.path}" if unix else f"http://127.0.0.1:{self.port}"
        self.ops = None
        self.process = None

    def start(self):
        listen = f"unix:{self.path}" if self.path else f"127.0.0.1:{self.port}"
        self.ops = self.world.directory / f"{self.name}-{time.monotonic_ns()}.ops"
        command = [
            self.binary, "serve", "--redis-url", f"redis+unix://{self.world.redis_socket}", "--listen", listen,
            "--ops-listen", f"unix:{self.ops}", *self.flags,
        ]
        env = {name: value for name, value in os.environ.items() if not name.startswith("LOCKSIDE_")}
        self.process = Process(command, self.world.directory / f"{self.name}.log", env)
        eventually(20, f"{self.name} answers", self.answers)
        return self

    def answers(self) -> bool:
        """Whether it serves, and its Redis answers."""
        try:
            status, _ = self.ask("GET", path_of("whether-it-answers"), timeout=5)
        except OSError:
            return False
        return status == 200

    def ask(self, method: str, path: str, body=None, timeout: float = 20, headers=None):
        """The runner's own view: one request, its status and its JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port or 80, timeout=timeout)
        if self.path:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(timeout)
            connection.sock.connect(str(self.path))
        try:
            text = None if body is None else json.dumps(body)
            headers = {**self.world.credentials, **(headers or {})}
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
            content = answer.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()
        return answer.status, json.loads(content) if content else None

    def state(self, key: str) -> dict:
        status, state = self.ask("GET", path_of(key))
        assert status == 200, f"GET {path_of(key)}: {status} {state}"
        return state

    def holder(self, key: str):
        return self.state(key).get("holder")

    def token(self, key: str):
        return (self.holder(key) or {}).get("token")

    def is_free(self, key: str) -> bool:
        return self.state(key)["state"] == "free"

    def acquire(self, key: str, ttl_ms: int = 30_000, wait_ms: int = 0, owner: str = "rival", **more):
        body = {"ttlMs": ttl_ms, "waitMs": wait_ms, "owner": owner, **more}
        return self.ask("POST", path_of(key), body, timeout=wait_ms / 1000 + 20)

    def take(self, key: str, ttl_ms: int = 30_000, owner: str = "rival", **more) -> int:
        status, lease = self.acquire(key, ttl_ms, owner=owner, **more)
        assert status in (200, 201), f"the rival was refused: {status} {lease}"
        return lease["token"]

    def release(self, key: str, token: int):
        status, problem = self.ask("DELETE", f"{path_of(key)}?token={token}")
        assert status == 204, f"not released: {status} {problem}"

    def force(self, key: str, token=None):
        """Force-releases a key, or the lease of it that has this token."""
        status, problem = self.ask("DELETE", f"{path_of(key)}?force=true" + (f"&token={token}" if token else ""))
        assert status == 204, f"not forced: {status} {problem}"

    def metric(self, name: str) -> float:
        """The sum over all labels; 0 where there is no such sample yet."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(self.ops))
            client.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
            text = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        samples = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in samples)

    def freeze(self):
        self.process.freeze()

    def thaw(self):
        self.process.thaw()

    def kill(self):
        self.process.kill()

    def drain(self):
        self.process.send(signal.SIGTERM)


class Rival(threading.Thread):
    """Another caller, at another sidecar, who waits for a key; `at` is when it was granted."""

    def __init__(self, sidecar: Sidecar, key: str, wait_ms: int = 60_000):
        super().__init__(daemon=True)
        self.sidecar, self.key, self.wait_ms = sidecar, key, wait_ms
        self.at = None
        self.problem = None
        self.start()
        eventually(10, "the rival waits", lambda: self.at or self.problem or sidecar.state(key)["waiters"] > 0)

    def run(self):
        try:
            status, answer = self.sidecar.acquire(self.key, wait_ms=self.wait_ms)
        except OSError as error:
            self.problem = str(error)
            return
        if status == 201:
            self.at = time.monotonic()
        else:
            self.problem = f"{status} {answer}"

    def granted(self, within: float) -> float:
        self.join(within)
        assert self.at, f"the rival was not granted the key within {within} s: {self.problem}"
        return self.at


class World:
    """All that one behaviour needs, gone when it ends."""

    def __init__(self, command):
        self.command = command
        self.directory = Path(tempfile.mkdtemp(prefix="lockside-conformance-"))
        self.redis_socket = self.directory / "redis.sock"
        self.credentials: dict = {}
        self.closers: list = []
        self.sidecars: dict = {}
        self.strays: list = []
        self.redis = self.start_redis()

    def start_redis(self) -> Process:
        redis = Process(
            ["redis-server", "--port", "0", "--unixsocket", self.redis_socket, "--save", "", "--appendonly", "no",
             "--dir", self.directory],
            self.directory / "redis.log",
        )
        eventually(20, "redis-server answers", lambda: self.command_redis("PING") == b"+PONG")
        return redis

    def command_redis(self, line: str) -> bytes:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(5)
                client.connect(str(self.redis_socket))
                client.sendall(line.encode() + b"\r\n")
                return client.recv(4096).split(b"\r\n")[0]
        except OSError:
            return b""

    def sidecar(self, *flags, name: str = "sidecar", unix: bool = False, start: bool = True) -> Sidecar:
        """The one that the client talks to, unless named otherwise."""
        if name not in self.sidecars:
            self.sidecars[name] = Sidecar(self, name, flags, unix)
            if start:
                self.sidecars[name].start()
        return self.sidecars[name]

    def other(self) -> Sidecar:
        """A second sidecar on the same Redis, for what is seen and done while the first one is not there."""
        return self.sidecar(name="other")

    def driver(self, url=None, env=None, settings=None) -> Driver:
        """A client's driver, which finds the sidecar by LOCKSIDE_URL."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LOCKSIDE_")}
        url = url or self.sidecar().url
        driver = Driver(self.command, {**clean, "LOCKSIDE_URL": url, **(env or {})}, self.directory / "driver.log")
        self.closers.append(driver.kill)
        driver.configure(**(settings or {}))
        return driver

    def stray(self, pid: int):
        """A process that a driver left behind, which is ended with the world."""
        self.strays.append(pid)

    def close(self, keep: bool = False):
        for close in self.closers:
            close()
        for pid in self.strays:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for sidecar in self.sidecars.values():
            if sidecar.process:
                sidecar.kill()
        self.redis.kill()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)


def path_of(key: str) -> str:
    return "/v1/locks/" + quote(key, safe="")
