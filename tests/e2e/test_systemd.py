"""The systemd unit: what systemd says of it, and that its command runs under what it forbids.

There may be no systemd running here; so the command is started as the unit says, by other means: its environment, its
credentials, a user who owns nothing, no capabilities, a /proc of processes only. What it asks of the kernel is compared
with what the unit's filters let through.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

from manifests import ROOT
from patience import eventually

UNIT = ROOT / "deploy" / "systemd" / "lockside.service"
BINARY = ROOT / "target" / "image" / "lockside"
# Of 10; systemd calls up to 2 "OK", and most units it ships have more than 9.
MOST_EXPOSED = 1.3
NOBODY = "--reuid=65534 --regid=65534 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all"


def settings(name):
    return [line.split("=", 1)[1] for line in UNIT.read_text().splitlines() if line.startswith(f"{name}=")]


def calls_of(group):
    """The system calls of a group such as @timer, and of the groups in it."""
    command = ["systemd-analyze", "syscall-filter", group]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    names = [line.strip() for line in said[1:] if line.strip() and not line.strip().startswith("#")]
    return {call for name in names for call in (calls_of(name) if name.startswith("@") else [name])}


def calls_let_through():
    """What the unit's filters allow, in their order; a `~` takes away."""
    allowed = set()
    for groups in settings("SystemCallFilter"):
        calls = {call for group in groups.lstrip("~").split() for call in calls_of(group)}
        allowed = allowed - calls if groups.startswith("~") else allowed | calls
    # Always let through, see systemd.exec(5).
    return allowed | {"execve", "exit", "exit_group", "getrlimit", "rt_sigreturn", "sigreturn", "time", "nanosleep"}


class Unit(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        subprocess.run(["make", "static"], cwd=ROOT, check=True, capture_output=True, timeout=1200)

    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="lockside-e2e-"))
        self.addCleanup(shutil.rmtree, self.home)
        self.home.chmod(0o777)

    def test_systemd_finds_no_mistake_in_it(self):
        # A machine on which it is installed, as its commands install it.
        for place, file in [("usr/local/bin", BINARY), ("etc/systemd/system", UNIT)]:
            (self.home / place).mkdir(parents=True)
            shutil.copy(file, self.home / place)
        shutil.copytree("/lib/systemd/system", self.home / "usr/lib/systemd/system", symlinks=True)
        (self.home / "lib").symlink_to("usr/lib")
        verify = ["systemd-analyze", "verify", f"--root={self.home}", "lockside.service"]
        done = subprocess.run(verify, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_systemd_calls_it_little_exposed(self):
        threshold = f"--threshold={round(10 * MOST_EXPOSED)}"
        command = ["systemd-analyze", "security", "--offline=true", threshold, UNIT]
        done = subprocess.run(command, capture_output=True, text=True)
        print(done.stdout.splitlines()[-1])
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_its_command_needs_nothing_that_it_forbids(self):
        credentials = self.home / "credentials"
        credentials.mkdir()
        (credentials / "redis-password").write_text("swordfish\n")
        (credentials / "jwt-secret").write_text("0123456789abcdef0123456789abcdef\n")
        redis = self.start_redis()
        sockets = {name: f"unix:{self.home}/{name}.sock" for name in ("api", "ops")}
        environment = {
            "LOCKSIDE_REDIS_URL": f"redis+unix://{redis}",
            "LOCKSIDE_LISTEN": sockets["api"],
            "LOCKSIDE_OPS_LISTEN": sockets["ops"],
        }
        for setting in settings("Environment"):
            name, value = setting.replace("%d", str(credentials)).split("=", 1)
            environment[name] = value
        command = settings("ExecStart")[0].replace("/usr/local/bin/lockside", str(BINARY))
        trace = self.home / "trace"
        inside = f"mount -t proc -o subset=pid,hidepid=invisible proc /proc && exec setpriv {NOBODY} "
        inside += f"strace -D -f -qq -o {trace} {command}"
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", inside]
        process = subprocess.Popen(unshare, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def lockside(*arguments):
            where = {**os.environ, **environment, "LOCKSIDE_URL": sockets["api"]}
            return subprocess.run([BINARY, *arguments], env=where, capture_output=True, text=True)

        eventually("ready", 20, lambda: lockside("health", "--ready").returncode == 0)
        held = lockside("exec", "--try", "key", "--", str(BINARY), "show", "key")
        self.assertIn("held", held.stdout, held.stderr)
        scrape = ["curl", "-sS", "--unix-socket", f"{self.home}/ops.sock", "http://localhost/metrics"]
        metrics = subprocess.run(scrape, capture_output=True, text=True).stdout
        self.assertRegex(metrics, r"process_resident_memory_bytes [1-9]", "also with no more of /proc than processes")
        (child,) = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGTERM)
        self.assertEqual(process.wait(timeout=15), 0, process.stderr.read())

        # The first lines are setpriv's and strace's own.
        traced = trace.read_text()
        used = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", traced, re.MULTILINE))
        self.assertIn("epoll_wait", used)
        self.assertEqual(used - calls_let_through(), set(), "system calls that the filter forbids")
        families = set(re.findall(r"socket\((AF_[A-Z0-9]+)", traced))
        self.assertLessEqual(families, set(settings("RestrictAddressFamilies")[0].split()))

    def start_redis(self):
        socket = self.home / "redis.sock"
        command = ["redis-server", "--port", "0", "--save", "", "--requirepass", "swordfish"]
        command += ["--unixsocket", socket, "--unixsocketperm", "777", "--dir", self.home]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        eventually("redis listens", 10, socket.exists)
        return socket


if __name__ == "__main__":
    unittest.main()
