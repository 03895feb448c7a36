"""Namespaces of the standard `restricted`: the component's pods are admitted there, of every kind of workload."""

import unittest

import yaml

from cluster import shared
from cluster.apps import SETTINGS
from cluster.images import BUSYBOX
from cluster.workloads import KINDS, workload
from manifests import kustomization, render

NAMESPACE = "restricted"
LABEL = "pod-security.kubernetes.io/enforce=restricted"
COMPONENT = f"resources: [app.yaml]\n{SETTINGS}"
# What the standard asks of an app.
POD = {"securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}}
OWN = {"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}


class Restricted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = shared.node()
        cls.node.kubectl("create", "namespace", NAMESPACE)
        cls.node.kubectl("label", "namespace", NAMESPACE, LABEL)

    def create(self, template):
        """Asks the API server for a pod, which it would admit or refuse, and makes none."""
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        pod["metadata"] = {**pod["metadata"], "name": "app", "namespace": NAMESPACE}
        arguments = ["create", "--dry-run=server", "--validate=strict", "--filename", "-"]
        return self.node.try_kubectl(*arguments, stdin=yaml.safe_dump(pod))

    def test_pods_of_every_kind_of_workload_are_admitted_with_the_sidecar(self):
        for kind in KINDS:
            app = workload(kind, "true", pod=POD, own=OWN)
            with self.subTest(kind=kind), kustomization(COMPONENT, app=app) as directory:
                (made,) = [document for document in render(directory) if document["kind"] == kind]
                spec = made["spec"]
                template = spec.get("jobTemplate", {"spec": spec})["spec"]["template"]
                self.assertEqual(template["spec"]["initContainers"][0]["name"], "lockside")
                done = self.create(template)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_pod_that_is_not_restricted_is_refused(self):
        done = self.create({"metadata": {}, "spec": {"containers": [{"name": "app", "image": BUSYBOX}]}})
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('violates PodSecurity "restricted', done.stderr)


if __name__ == "__main__":
    unittest.main()
