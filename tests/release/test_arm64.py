"""The binary of arm64, run: by QEMU where this machine is of another kind."""

import base64
import fcntl
import hashlib
import hmac
import http.client
import json
import os
import pty
import shutil
import signal
import subprocess
import tempfile
import termios
import time
import unittest
from pathlib import Path

from files import ROOT, VERSION, commit, run, unpack, version_of

# These are found since `files` is there.
from certificates import Authority
from emulation import Emulation
from world import Process, Rival, World, eventually, free_port, path_of

SECRET = "0123456789abcdef0123456789abcdef"
# What it takes to start under QEMU, with room.
SECONDS = 60


class Arm64(unittest.TestCase):
    """A sidecar of arm64 on a Redis of this machine, and the command line of arm64."""

    @classmethod
    def setUpClass(cls):
        cls.directory = Path(tempfile.mkdtemp(prefix="lockside-release-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.folder = unpack("arm64", cls.directory)
        cls.binary = cls.folder / "bin/lockside"
        cls.emulation = Emulation(cls.binary)
        cls.addClassCleanup(cls.emulation.close)
        cls.lockside = cls.emulation.wrap(cls.binary, cls.directory / "lockside-arm64")

    def setUp(self):
        self.world = World([])
        self.addCleanup(self.world.close)

    def serve(self, *flags):
        sidecar = self.world.sidecar(*flags, start=False)
        sidecar.binary = self.lockside
        return sidecar.start()

    def environment(self, **more) -> dict:
        return {**os.environ, "LOCKSIDE_URL": self.world.sidecar().url, **more}

    def cli(self, *arguments, **more):
        """A command of arm64 to its end."""
        return run(self.lockside, *arguments, env=self.environment(**more), timeout=SECONDS)

    def start(self, *arguments) -> subprocess.Popen:
        process = subprocess.Popen([self.lockside, *map(str, arguments)], env=self.environment(), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(end, process)
        return process


class Binary(Arm64):
    def test_it_says_what_it_is(self):
        told = version_of(self.lockside)
        expected = {"version": VERSION, "commit": commit(), "architecture": "aarch64", "profile": None, "sidecar": None}
        self.assertEqual(told, expected)

    def test_its_pages_and_completions_are_those_of_the_archive(self):
        share = self.folder / "share"
        for shell, name in (("bash", "bash-completion/completions/lockside"), ("zsh", "zsh/site-functions/_lockside"),
                            ("fish", "fish/vendor_completions.d/lockside.fish")):
            printed = run(self.lockside, "completions", shell, check=True).stdout
            self.assertEqual(printed, (share / name).read_text())
        pages = self.directory / "man"
        run(self.lockside, "man", pages, check=True)
        both = [{path.name: path.read_text() for path in folder.iterdir()} for folder in (pages, share / "man/man1")]
        self.assertEqual(*both)

    def test_it_runs_where_the_pages_of_memory_have_64_kib(self):
        """As on some kernels for arm64, where an allocator that was built for pages of 4 KiB ends the process."""
        probe = self.directory / "probe"
        source = '#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf("%ld", sysconf(_SC_PAGESIZE)); }\n'
        subprocess.run(["aarch64-linux-gnu-gcc", "-static", "-xc", "-o", probe, "-"], input=source, text=True, check=True)
        large = {**os.environ, "QEMU_PAGESIZE": "65536"}
        told = run(self.emulation.wrap(probe, self.directory / "run-probe"), env=large)
        self.assertEqual(told.stdout, "65536", "QEMU gives a program pages of that size")
        self.world.sidecar(start=False).binary = self.lockside
        os.environ["QEMU_PAGESIZE"] = "65536"
        self.addCleanup(os.environ.pop, "QEMU_PAGESIZE")
        sidecar = self.world.sidecar().start()
        token = sidecar.take("import")
        self.assertEqual(sidecar.token("import"), token)
        sidecar.release("import", token)

    def test_it_installs_itself(self):
        installed = self.directory / "installed"
        done = run(self.lockside, "install", installed)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((installed / "lockside").read_bytes(), self.binary.read_bytes())


class Serving(Arm64):
    def test_it_acquires_renews_refuses_queues_and_releases(self):
        sidecar = self.serve()
        token = sidecar.take("import", owner="a")
        status, problem = sidecar.acquire("import", owner="b")
        self.assertEqual((status, problem["code"], problem["holder"]["owner"]), (409, "held", "a"))
        status, lease = sidecar.ask("PUT", f"{path_of('import')}?token={token}", {"ttlMs": 45_000})
        self.assertEqual((status, lease["token"]), (200, token))
        self.assertGreater(lease["validForMs"], 30_000)
        rival = Rival(sidecar, "import")
        sidecar.release("import", token)
        rival.granted(10)
        self.assertGreater(sidecar.token("import"), token)

    def test_an_x86_sidecar_and_it_see_the_same_locks(self):
        sidecar = self.serve()
        other = self.world.sidecar(name="amd64", start=False)
        other.binary = ROOT / "target/image/lockside"
        other.start()
        token = sidecar.take("import")
        self.assertEqual(other.token("import"), token)
        self.assertEqual(other.acquire("import", owner="b")[0], 409)
        other.release("import", token)
        self.assertTrue(sidecar.is_free("import"))

    def test_a_hold_ends_with_its_connection(self):
        sidecar = self.serve()
        connection = http.client.HTTPConnection("127.0.0.1", sidecar.port, timeout=SECONDS)
        body = json.dumps({"ttlMs": 3000, "owner": "holder"})
        connection.request("POST", f"{path_of('leader')}/hold", body)
        answer = connection.getresponse()
        self.assertEqual(answer.status, 200)
        first = json.loads(answer.readline())
        self.assertEqual(sidecar.token("leader"), first["token"])
        renewals = 0
        while renewals < 4:
            renewals += json.loads(answer.readline())["event"] == "renewed"
        # Longer than it would last without them.
        self.assertEqual(sidecar.token("leader"), first["token"])
        answer.close()
        connection.close()
        eventually(10, "released", lambda: sidecar.is_free("leader"))

    def test_its_health_and_readiness(self):
        sidecar = self.serve()
        ops = f"unix:{sidecar.ops}"
        for flags in ([], ["--ready"]):
            done = self.cli("health", *flags, LOCKSIDE_OPS_LISTEN=ops)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.world.redis.freeze()
        eventually(SECONDS, "not ready", lambda: self.cli("health", "--ready", LOCKSIDE_OPS_LISTEN=ops).returncode == 69)
        self.assertEqual(self.cli("health", LOCKSIDE_OPS_LISTEN=ops).returncode, 0)
        self.world.redis.thaw()

    def test_it_drains_and_ends_at_sigterm(self):
        sidecar = self.serve()
        sidecar.drain()
        self.assertEqual(sidecar.process.popen.wait(SECONDS), 0)

    def test_it_verifies_signatures_and_refuses_forged_ones(self):
        secret = self.directory / "secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        self.world.credentials = bearer(SECRET)
        sidecar = self.serve("--jwt-secret-file", str(secret))
        for secret_of_token, expected in ((SECRET, 201), ("x" * 32, 401)):
            status, answer = sidecar.ask("POST", path_of("report"), {"ttlMs": 1000}, headers=bearer(secret_of_token))
            self.assertEqual(status, expected, answer)

    def test_it_speaks_tls_with_redis(self):
        authority = Authority(self.directory)
        certificate, key = authority.issue("localhost", "DNS:localhost")
        port, socket = free_port(), self.directory / "ops"
        redis = Process(["redis-server", "--port", "0", "--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file", key,
                         "--tls-auth-clients", "no", "--save", "", "--dir", self.directory], self.directory / "redis.log")
        self.addCleanup(redis.kill)
        sidecar = Process([self.lockside, "serve", "--redis-url", f"rediss://localhost:{port}", "--redis-ca-file", authority.file,
                           "--listen", f"unix:{self.directory}/api", "--ops-listen", f"unix:{socket}"], self.directory / "log")
        self.addCleanup(sidecar.kill)
        ready = ["health", "--ready"]
        ops = {"LOCKSIDE_OPS_LISTEN": f"unix:{socket}", "LOCKSIDE_URL": f"unix:{self.directory}/api"}
        eventually(SECONDS, "ready", lambda: run(self.lockside, *ready, env={**os.environ, **ops}).returncode == 0)
        done = run(self.lockside, "exec", "--try", "key", "--", "true", env={**os.environ, **ops})
        self.assertEqual(done.returncode, 0, done.stderr)


class Exec(Arm64):
    """It starts itself three times: a supervisor, a launcher, and what ends by Ctrl-C."""

    def setUp(self):
        super().setUp()
        self.sidecar = self.serve()

    def test_the_command_runs_under_the_lock_and_its_exit_code_is_passed_on(self):
        command = 'echo "$LOCKSIDE_KEY $LOCKSIDE_TOKEN"; exit 7'
        done = self.cli("exec", "--try", "nightly", "--", "sh", "-c", command)
        self.assertEqual(done.returncode, 7, done.stderr)
        key, token = done.stdout.split()
        self.assertEqual((key, int(token) > 0), ("nightly", True))
        self.assertTrue(self.sidecar.is_free("nightly"))

    def test_it_is_refused_while_another_holds_the_lock(self):
        self.sidecar.take("nightly")
        self.assertEqual(self.cli("exec", "--try", "nightly", "--", "true").returncode, 75)

    def test_a_lost_lock_stops_the_command(self):
        exec_ = self.holding()
        self.sidecar.force("nightly")
        self.assertEqual(exec_.wait(SECONDS), 76)

    def test_a_signal_is_passed_on_and_the_lock_released(self):
        exec_ = self.holding()
        exec_.send_signal(signal.SIGTERM)
        self.assertEqual(exec_.wait(SECONDS), 128 + signal.SIGTERM)
        eventually(10, "released", lambda: self.sidecar.is_free("nightly"))

    def test_of_ctrl_c_on_its_terminal_it_dies_itself(self):
        terminal, its = pty.openpty()
        self.addCleanup(os.close, terminal)
        command = [self.lockside, "exec", "nightly", "--", "sh", "-c", "echo started; exec sleep 600"]
        exec_ = subprocess.Popen(command, env=self.environment(), stdin=its, stdout=its, stderr=its, start_new_session=True,
                                 preexec_fn=lambda: fcntl.ioctl(its, termios.TIOCSCTTY, 0))
        self.addCleanup(end, exec_)
        os.close(its)
        shown = b""
        while b"started" not in shown:
            shown += os.read(terminal, 1000)
        os.write(terminal, b"\x03")
        self.assertEqual(exec_.wait(SECONDS), -signal.SIGINT)
        eventually(10, "released", lambda: self.sidecar.is_free("nightly"))

    def test_a_killed_wrapper_takes_the_command_with_it(self):
        exec_ = self.holding()
        command = int(exec_.stdout.readline())
        exec_.kill()
        eventually(SECONDS, "the command is dead", lambda: not Path(f"/proc/{command}").exists() or state_of(command) == "Z")
        eventually(10, "released", lambda: self.sidecar.is_free("nightly"))

    def holding(self) -> subprocess.Popen:
        """`lockside exec` with a command that says its process number, and lasts."""
        exec_ = self.start("exec", "nightly", "--", "sh", "-c", "echo $$; exec sleep 600")
        eventually(SECONDS, "held", lambda: self.sidecar.holder("nightly"))
        return exec_


def bearer(secret: str) -> dict[str, str]:
    """The header with a JWT, signed by HMAC with SHA-256."""
    claims = {"sub": "u1", "exp": int(time.time()) + 3600}
    parts = [encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signature = hmac.new(secret.encode(), ".".join(parts).encode(), hashlib.sha256).digest()
    return {"Authorization": "Bearer " + ".".join([*parts, encoded(signature)])}


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def end(process: subprocess.Popen):
    if process.poll() is None:
        process.kill()
    process.wait()


if __name__ == "__main__":
    unittest.main()
