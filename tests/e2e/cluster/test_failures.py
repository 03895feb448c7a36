"""The example while its sidecar, its app or its Redis fails."""

import time
import unittest

from cluster.example import SLACK, TTL, Example, restarts
from cluster.work import longest_gap
from patience import eventually


class Failures(Example):
    def test_a_killed_sidecar_is_back_at_once_and_later_after_ten_seconds_while_its_app_runs_on(self):
        self.restart_pods()
        self.assertEqual(restarts(self.pod(self.holder)), {"lockside": 0, "report": 0})
        self.signal(self.holder, "lockside", "KILL")
        self.takes_over("the sidecar killed", TTL + SLACK)
        eventually("the sidecar is back", 30, lambda: self.is_restarted(1))
        begun = time.monotonic()
        self.signal(self.holder, "lockside", "KILL")
        eventually("the sidecar is back", 60, lambda: self.is_restarted(2))
        took = time.monotonic() - begun
        print(f"a sidecar that was killed again is back after {took:.1f} s", flush=True)
        self.assertGreater(took, 8, "the kubelet's back-off")
        # Its app has found it again by itself.
        token = self.work.last().token
        self.force_release(self.other)
        self.assertEqual(self.work.above(token, 30).pod, self.holder)

    def is_restarted(self, times):
        """The holder's sidecar alone has been started again so often, and its pod is ready."""
        pod = self.pod(self.holder)
        return restarts(pod) == {"lockside": times, "report": 0} and self.is_ready(self.holder)

    def test_a_frozen_sidecar_is_restarted_by_its_liveness_probe(self):
        self.restart_pods()
        begun = time.monotonic()
        self.signal(self.holder, "lockside", "STOP")
        self.takes_over("the sidecar frozen", TTL + SLACK)
        eventually("its pod is not ready", 30, lambda: not self.is_ready(self.holder))
        # Three probes fail, 5 s apart; then SIGTERM, and after the pod's 30 s of grace SIGKILL.
        eventually("the sidecar is back", 90, lambda: self.is_restarted(1))
        print(f"a frozen sidecar was replaced after {time.monotonic() - begun:.1f} s", flush=True)

    def test_a_deleted_redis_pod_stops_no_work_for_longer_than_a_lease(self):
        begun = self.work.last().when
        self.kubectl("delete", "pod", "redis-0", "--timeout=60s", seconds=70)
        self.kubectl("rollout", "status", "statefulset/redis", "--timeout=60s", seconds=70)
        back = time.time()
        eventually("an app works", TTL + SLACK, lambda: self.work.since(back))
        what = "the lease went on" if self.work.last().token == self.token else "the lock was granted again"
        print(f"redis deleted: {what}, the longest gap was {longest_gap(self.work.since(begun)):.2f} s", flush=True)
        eventually("both pods are ready", 30, lambda: all(self.is_ready(name) for name in self.pods()))

    def test_a_frozen_redis_turns_readiness_off_and_stops_the_work_until_it_is_back(self):
        begun = time.time()
        self.signal("redis-0", "redis", "STOP")
        try:
            eventually("no pod is ready", 30, lambda: not any(self.is_ready(name) for name in self.pods()))
            unready = time.time() - begun
            eventually("work has stopped", TTL + SLACK, lambda: self.work.last().when < time.time() - 1)
            worked = self.work.last().when - begun
            self.assertLess(worked, TTL)
        finally:
            self.signal("redis-0", "redis", "CONT")
        begun = time.time()
        again = self.work.above(self.token, TTL + SLACK).when - begun
        eventually("both pods are ready", 30, lambda: all(self.is_ready(name) for name in self.pods()))
        frozen = f"no pod is ready after {unready:.1f} s, no work after {worked:.1f} s"
        print(f"redis frozen: {frozen}; work goes on {again:.1f} s after it is back", flush=True)


if __name__ == "__main__":
    unittest.main()
