"""The image as `make image` builds it: what is in it, and that it runs with nothing but itself."""

import json
import os
import pathlib
import signal
import tarfile
import unittest

from patience import eventually
from podman import Podman

# What a locked-down host grants: a root that is read-only, no capability, and no way to gain one.
HARDENED = ["--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
# The pod's name stands in its /etc/hosts: the static binary must find it there, with no DNS to ask.
REDIS_URL = "redis://locks:6379"


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.podman = Podman()
        cls.addClassCleanup(cls.podman.close)
        cls.image = cls.podman.make_image()
        cls.podman.redis_image("redis")
        cls.podman.run("pod", "create", "--name", "locks", "--network", "none")
        cls.podman.run("run", "--detach", "--pod", "locks", "redis", "/bin/redis-server", "--save", "")

    def test_it_is_one_binary_and_its_man_pages_below_10_megabytes(self):
        archive = self.podman.home / "image.tar"
        container = self.podman.run("create", "--network", "none", self.image)
        self.podman.run("export", "--output", archive, container)
        with tarfile.open(archive) as tar:
            files = [entry for entry in tar.getmembers() if entry.isfile() and entry.size > 0]
        self.assertEqual(files[0].name, "lockside")
        others = [entry.name for entry in files[1:]]
        self.assertEqual([name for name in others if not name.startswith("usr/share/man/man1/lockside")], [])
        self.assertEqual((files[0].uid, files[0].mode & 0o7777), (0, 0o755), "no setuid, and only root's to write")
        size = int(self.podman.run("inspect", "--format", "{{.Size}}", self.image))
        print(f"the image has {size / 1e6:.2f} MB")
        self.assertLess(size, 10_000_000)

    def test_it_runs_as_nobody_in_particular_and_says_how_to_ask_for_its_health(self):
        inspected = json.loads(self.podman.run("inspect", self.image))[0]
        self.assertEqual(inspected["User"], "65532:65532")
        self.assertEqual(inspected["Healthcheck"]["Test"], ["CMD", "/lockside", "health"])
        self.assertEqual(inspected["Config"]["Cmd"], ["serve"])

    def test_hardened_it_serves_is_healthy_and_ends_at_sigterm(self):
        podman = self.podman
        start = ["run", "--detach", "--name", "hardened", "--pod", "locks", *HARDENED]
        podman.run(*start, "--env", f"LOCKSIDE_REDIS_URL={REDIS_URL}", self.image)
        ready = ["exec", "hardened", "/lockside", "health", "--ready"]
        eventually("ready", 10, lambda: podman.try_run(*ready).returncode == 0)
        # The HEALTHCHECK itself, which a systemd would run on its timer.
        podman.run("healthcheck", "run", "hardened")
        under_a_lock = ["exec", "hardened", "/lockside", "exec", "--try", "key", "--", "/lockside", "show", "key"]
        self.assertIn("held", podman.run(*under_a_lock))
        inspected = json.loads(podman.run("inspect", "hardened"))[0]
        self.assertTrue(inspected["HostConfig"]["ReadonlyRootfs"])
        status = pathlib.Path(f"/proc/{podman.pid('hardened')}/status").read_text()
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        self.assertEqual(facts["Uid"].split(), ["65532"] * 4)
        self.assertEqual({facts[name] for name in ("CapEff", "CapPrm", "CapInh", "CapBnd")}, {"0" * 16})
        self.assertEqual(facts["NoNewPrivs"], "1")
        self.assertNotEqual(podman.try_run("exec", "hardened", "/bin/sh", "-c", "true").returncode, 0, "no shell")
        podman.run("stop", "--time", 10, "hardened")
        self.assertEqual(podman.run("inspect", "--format", "{{.State.ExitCode}}", "hardened"), "0")

    def test_its_health_follows_the_process_and_its_readiness_redis(self):
        podman = self.podman
        start = ["run", "--detach", "--name", "alone", "--network", "none", *HARDENED]
        podman.run(*start, "--env", "LOCKSIDE_REDIS_URL=redis://127.0.0.1:1", self.image)
        eventually("alive", 10, lambda: podman.try_run("healthcheck", "run", "alone").returncode == 0)
        ready = podman.try_run("exec", "alone", "/lockside", "health", "--ready")
        self.assertEqual(ready.returncode, 69, ready.stderr)
        # Frozen, it is not healthy: the probe has a deadline of its own.
        os.kill(podman.pid("alone"), signal.SIGSTOP)
        self.assertNotEqual(podman.try_run("healthcheck", "run", "alone").returncode, 0)
        os.kill(podman.pid("alone"), signal.SIGCONT)
        podman.run("healthcheck", "run", "alone")


if __name__ == "__main__":
    unittest.main()
