"""Pods of a namespace while no replica of the webhook is there, with both of its failure policies."""

import unittest

from cluster import webhook
from cluster.apps import Apps
from patience import eventually


class WebhookDown(Apps):
    def go_down(self, policy):
        self.addCleanup(webhook.remove)
        webhook.install("--set", f"failurePolicy={policy}")
        webhook.scale(0)

    def runs(self, name, labels):
        self.kubectl("create", "--filename", "-", stdin=webhook.pod(name, "sleep 600", labels=labels))
        self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s", seconds=70)
        return self.node.get("pod", name, "--namespace", self.namespace)

    def test_with_fail_labelled_pods_are_refused_by_name_and_created_once_it_is_back_and_others_run(self):
        self.go_down("Fail")
        done = webhook.ask(self.namespace)
        self.assertNotEqual(done.returncode, 0)
        print(f"the webhook down, Fail: {done.stderr.strip()}", flush=True)
        self.assertIn(f'failed calling webhook "{webhook.NAME}.{webhook.NAME}.svc"', done.stderr)
        self.runs("plain", {})
        # A Deployment waits for it, and says why.
        self.kubectl("create", "configmap", "lockside", "--from-literal=LOCKSIDE_REDIS_URL=redis://redis:6379")
        self.kubectl("apply", "--filename", "-", stdin=webhook.asking("Deployment", "sleep 600"))
        events = ["get", "events", "--field-selector=reason=FailedCreate", "--output=jsonpath={.items[*].message}"]
        eventually("an event", 30, lambda: "failed calling webhook" in self.kubectl(*events))
        self.assertEqual(self.pods("app=app"), [])
        webhook.scale(2)
        self.kubectl("rollout", "status", "deployment/app", "--timeout=120s", seconds=130)
        self.assertTrue(webhook.has_sidecar(self.pod("app=app")))

    def test_with_ignore_labelled_pods_run_without_their_sidecar(self):
        self.go_down("Ignore")
        made = self.runs("labelled", {webhook.LABEL: "true"})
        self.assertFalse(webhook.has_sidecar(made))
        self.assertNotIn("lockside/injected", made["metadata"].get("annotations", {}))
        self.runs("plain", {})


if __name__ == "__main__":
    unittest.main()
