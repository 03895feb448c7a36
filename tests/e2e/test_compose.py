"""The compose file, brought up for real."""

import pathlib
import shutil
import subprocess
import sys
import unittest

from manifests import ROOT
from patience import eventually
from podman import Podman

COMPOSE = pathlib.Path(sys.executable).parent / "podman-compose"


class Composition(unittest.TestCase):
    def setUp(self):
        self.podman = podman = Podman()
        self.addCleanup(podman.close)
        podman.make_image()
        podman.redis_image("docker.io/library/redis:7.4-alpine")
        podman.busybox_image("docker.io/library/busybox:1.37")
        # A copy, so that the secrets are not written into the repository.
        shutil.copytree(ROOT / "deploy", podman.home / "deploy")
        self.directory = podman.home / "deploy" / "compose"
        secrets = self.directory / "secrets"
        secrets.mkdir(exist_ok=True)
        (secrets / "redis-password").write_text("swordfish")
        (secrets / "jwt-secret").write_text("0123456789abcdef0123456789abcdef")
        self.addCleanup(self.compose, "down", "--volumes")

    def compose(self, *arguments):
        command = ["timeout", "--kill-after=5", "60", COMPOSE, *arguments]
        done = subprocess.run(command, cwd=self.directory, env=self.podman.environment, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_the_app_works_under_a_lock_with_lockside_beside_it(self):
        self.compose("up", "--detach")
        ready = ["exec", "lockside_lockside_1", "/lockside", "health", "--ready"]
        eventually("lockside is ready", 20, lambda: self.podman.try_run(*ready).returncode == 0)
        log = self.podman.log("lockside_report_1")
        eventually("the app works", 20, lambda: "working with token" in log.read_text())
        self.assertIn("nightly-report", self.podman.run("exec", "lockside_lockside_1", "/lockside", "ls"))
        started = [
            self.podman.run("inspect", "--format", "{{.State.StartedAt.UnixNano}}", f"lockside_{name}_1")
            for name in ("redis", "lockside", "report")
        ]
        self.assertEqual(sorted(started, key=int), started, "the app comes last")
        for container, capabilities in [("lockside_lockside_1", "0" * 16), ("lockside_report_1", "0" * 16)]:
            status = pathlib.Path(f"/proc/{self.podman.pid(container)}/status").read_text()
            self.assertIn(f"CapBnd:\t{capabilities}", status)
            self.assertIn("NoNewPrivs:\t1", status)
        command_lines = self.podman.run("top", "lockside_redis_1", "args")
        self.assertNotIn("swordfish", command_lines)


if __name__ == "__main__":
    unittest.main()
