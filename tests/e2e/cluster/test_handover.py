"""The example's lock goes from one pod to the other: rolling restarts, drains, releases."""

import unittest

from cluster.example import AT_ONCE, NAMESPACE, TTL, Example
from cluster.work import longest_gap
from patience import eventually


class Handover(Example):
    def test_one_of_two_pods_works_and_goes_on(self):
        seen = len(self.work.ticks())
        eventually("it works past a renewal or two", 30, lambda: len(self.work.ticks()) >= seen + 3 * 5 * TTL)
        self.assertEqual(self.work.last().token, self.token, "and keeps the lock")

    def test_the_list_names_the_pod_that_has_the_lock(self):
        listed = self.lockside(self.other, "ls")
        self.assertRegex(listed, rf"nightly-report +{self.holder}-[0-9a-f]+ ")

    def test_the_api_is_the_pods_own_and_the_other_port_is_the_clusters(self):
        pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
        get = ["get", "--raw"]
        refused = self.node.try_kubectl(*get, f"{pods}/{self.holder}:7420/proxy/v1/locks")
        self.assertIn("connection refused", refused.stderr)
        absent = self.node.try_kubectl(*get, f"{pods}/{self.holder}:9420/proxy/v1/locks")
        self.assertIn("the server could not find the requested resource", absent.stderr)
        self.assertIn("\nlockside_redis_up 1\n", self.node.kubectl(*get, f"{pods}/{self.holder}:9420/proxy/metrics"))

    def test_a_rolling_restart_hands_over_without_a_gap_of_a_second(self):
        begun, before = self.work.last().when, set(self.pods())
        self.kubectl("rollout", "restart", "deployment/report")
        self.kubectl("rollout", "status", "deployment/report", "--timeout=120s", seconds=130)
        eventually("the old pods have ended", 60, lambda: before.isdisjoint(self.pods()))
        eventually("a new pod works", 30, lambda: self.work.last().pod not in before)
        ticks = self.work.since(begun)
        pods = list(dict.fromkeys(tick.pod for tick in ticks))
        print(f"rolling restart: {len(pods)} pods worked, the longest gap was {longest_gap(ticks):.2f} s", flush=True)
        self.assertLess(longest_gap(ticks), 1)

    def test_a_drained_nodes_holder_hands_over_at_once(self):
        # There is one node only: the other replica is as if on another.
        self.kubectl("label", "pod", self.holder, "drained=yes")
        self.addCleanup(self.node.kubectl, "uncordon", "node")
        drain = ["drain", "node", "--pod-selector=drained=yes", "--delete-emptydir-data", "--timeout=60s"]
        self.assertIn(f"pod/{self.holder} evicted", self.node.kubectl(*drain, seconds=70))
        self.takes_over("drained", 1)

    def test_an_app_that_is_terminated_alone_hands_over_at_once(self):
        self.restart_pods()
        self.signal(self.holder, "report", "TERM")
        self.takes_over("the app terminated", 1)

    def test_a_sidecar_that_is_terminated_alone_hands_over_and_is_back(self):
        self.restart_pods()
        self.signal(self.holder, "lockside", "TERM")
        self.takes_over("the sidecar terminated", AT_ONCE)
        eventually("it is back", 60, lambda: self.is_ready(self.holder))


if __name__ == "__main__":
    unittest.main()
