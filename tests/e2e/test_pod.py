"""The example as real pods: app → lockside on the pod's loopback → Redis with a password, on a network with a DNS."""

import json
import os
import signal
import time
import unittest

from manifests import KUBERNETES, render
from network import Network
from patience import eventually
from podman import Podman
from pods import Pods

SECRETS = {
    "redis-password": "swordfish",
    "jwt-secret": "0123456789abcdef0123456789abcdef",
    "api-token": "correct horse battery staple",
}
OPS = 9420
REPLICAS = ("report-0", "report-1")
# What the example asks for, in seconds, and how much later a slow machine may be.
TTL = 5
SLACK = 4
# Well below the ttl: it did not run out.
AT_ONCE = 2.5


class Example(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.podman = podman = Podman()
        cls.addClassCleanup(podman.close)
        podman.run("tag", podman.make_image(), "docker.io/library/lockside:0.2.0-dev")
        podman.redis_image("docker.io/library/redis:7.4-alpine")
        podman.busybox_image("docker.io/library/busybox:1.37")
        cls.network = Network()
        cls.addClassCleanup(cls.network.close)
        pods = Pods(podman, cls.network, render(KUBERNETES / "example"), {"lockside": SECRETS})
        begun = time.monotonic()
        redis = pods.play("StatefulSet", "redis", "redis-0", {})
        cls.addresses = {name: pods.play("Deployment", "report", name, {"redis": redis}) for name in REPLICAS}
        cls.logs = {name: podman.log(f"{name}-report") for name in REPLICAS}
        eventually("both pods are ready", 15, lambda: all(cls.ready(name) for name in REPLICAS))
        print(f"three pods are ready after {time.monotonic() - begun:.1f} s")

    def setUp(self):
        eventually("both pods are ready", 15, lambda: all(self.ready(name) for name in REPLICAS))
        self.holder, self.other = eventually("one works and the other is in the queue", 15, self.holder_and_waiter)

    def tearDown(self):
        self.check_that_they_exclude_each_other()

    @classmethod
    def ready(cls, name):
        return cls.network.get(cls.addresses[name], OPS, "/readyz")[0] == 200

    def ticks(self):
        """What the apps did, in the order of time: (when, pod, token)."""
        ticks = []
        for name, log in self.logs.items():
            for line in log.read_text().splitlines():
                when, _, _, said = line.split(" ", 3)
                if said.startswith("working with token "):
                    ticks.append((when, name, int(said.split()[-1])))
        return sorted(ticks)

    def holder_and_waiter(self):
        """The pod that works, and the one that waits for its lock; nothing while there are not both."""
        ticks = self.ticks()
        if not ticks:
            return None
        _, holder, token = ticks[-1]
        other = next(name for name in REPLICAS if name != holder)
        shown = self.podman.try_run("exec", f"{other}-lockside", "/lockside", "show", "--json", "nightly-report")
        if shown.returncode != 0:
            return None
        lock = json.loads(shown.stdout)
        both = lock["state"] == "held" and lock["holder"]["token"] == token and lock["waiters"] == 1
        return (holder, other) if both else None

    def check_that_they_exclude_each_other(self):
        highest = 0
        for when, name, token in self.ticks():
            self.assertGreaterEqual(token, highest, f"{name} worked at {when} with a lock that another had by then")
            highest = token

    def takes_over(self, above, seconds=TTL + SLACK):
        """Waits for work with a token above that one: (pod, token)."""

        def newest():
            ticks = self.ticks()
            return ticks[-1][1:] if ticks and ticks[-1][2] > above else None

        return eventually(f"somebody works with a token above {above}", seconds, newest)

    def signal(self, container, number):
        os.kill(self.podman.pid(container), number)

    def token(self):
        return self.ticks()[-1][2]

    def handover(self, what, begun, token, seconds=TTL + SLACK):
        name, _ = self.takes_over(above=token, seconds=seconds)
        print(f"{what}: another works after {time.monotonic() - begun:.1f} s", flush=True)
        self.assertEqual(name, self.other)

    def test_one_of_two_pods_works_and_goes_on(self):
        token, seen = self.token(), len(self.ticks())
        eventually("it works past a renewal or two", 15, lambda: len(self.ticks()) >= seen + 3 * TTL)
        self.assertEqual(self.token(), token, "and keeps the lock")
        locks = self.podman.run("exec", f"{self.other}-lockside", "/lockside", "ls")
        self.assertIn("nightly-report", locks, "the other sees who has it")

    def test_the_api_is_the_pods_own_and_the_ops_port_the_clusters(self):
        for name in REPLICAS:
            self.assertEqual(self.network.get(self.addresses[name], 7420, "/v1/locks")[0], 0)
            self.assertEqual(self.network.get(self.addresses[name], OPS, "/v1/locks")[0], 404)
            status, metrics = self.network.get(self.addresses[name], OPS, "/metrics")
            self.assertEqual(status, 200)
            self.assertIn("lockside_redis_up 1", metrics)

    def test_a_killed_sidecar_hands_over_when_the_lease_ends_and_is_back(self):
        token, begun = self.token(), time.monotonic()
        self.signal(f"{self.holder}-lockside", signal.SIGKILL)
        self.handover("killed", begun, token)
        eventually("it is back", 15, lambda: self.ready(self.holder))

    def test_a_frozen_sidecar_hands_over_when_the_lease_ends(self):
        token, begun = self.token(), time.monotonic()
        self.signal(f"{self.holder}-lockside", signal.SIGSTOP)
        self.addCleanup(self.signal, f"{self.holder}-lockside", signal.SIGCONT)
        self.handover("frozen", begun, token)
        self.assertFalse(self.ready(self.holder))

    def test_a_drained_sidecar_hands_over_at_once_and_is_back(self):
        token, begun = self.token(), time.monotonic()
        sidecar = f"{self.holder}-lockside"
        self.signal(sidecar, signal.SIGTERM)
        self.handover("drained", begun, token, seconds=AT_ONCE)
        eventually("it is back", 15, lambda: self.ready(self.holder))

    def test_an_app_that_is_terminated_first_as_in_a_rolling_restart_hands_over_at_once(self):
        token, begun = self.token(), time.monotonic()
        self.signal(f"{self.holder}-report", signal.SIGTERM)
        self.handover("app terminated", begun, token, seconds=AT_ONCE)

    def test_a_lock_that_is_taken_away_goes_to_the_other_at_once(self):
        token, begun = self.token(), time.monotonic()
        release = ["/lockside", "release", "nightly-report", "--force"]
        release += ["--token-file", "/run/secrets/lockside/api-token"]
        self.podman.run("exec", f"{self.other}-lockside", *release)
        self.handover("taken away", begun, token, seconds=AT_ONCE)

    def test_a_paused_redis_turns_readiness_off_stops_the_work_and_comes_back(self):
        token, begun = self.token(), time.monotonic()
        self.signal("redis-0-redis", signal.SIGSTOP)
        try:
            eventually("no pod is ready", 10, lambda: not any(self.ready(name) for name in REPLICAS))
            print(f"redis paused: not ready after {time.monotonic() - begun:.1f} s", flush=True)

            def stopped():
                seen = len(self.ticks())
                time.sleep(1)
                return len(self.ticks()) == seen

            eventually("nobody works any more", TTL + SLACK, stopped)
            print(f"redis paused: nobody works after {time.monotonic() - begun:.1f} s at most", flush=True)
        finally:
            self.signal("redis-0-redis", signal.SIGCONT)
        begun = time.monotonic()
        eventually("both pods are ready", 15, lambda: all(self.ready(name) for name in REPLICAS))
        print(f"redis back: ready after {time.monotonic() - begun:.1f} s", flush=True)
        self.takes_over(above=token)


if __name__ == "__main__":
    unittest.main()
