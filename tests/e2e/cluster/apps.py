"""Apps of other people on the node, each test's in a namespace of its own, with the component of deploy/kubernetes."""

import itertools
import unittest

from cluster import images, shared
from manifests import kustomization
from patience import eventually

NUMBERS = itertools.count(1)

SETTINGS = """
components: [../../deploy/kubernetes/sidecar]
configMapGenerator:
  - name: lockside
    literals: ["LOCKSIDE_REDIS_URL=redis://redis:6379"]
"""

REDIS = f"""
apiVersion: v1
kind: Service
metadata: {{name: redis}}
spec: {{selector: {{app: redis}}, ports: [{{port: 6379}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: redis, labels: {{app: redis}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - {{name: redis, image: "{images.REDIS}", command: [redis-server, --save, "", --protected-mode, "no"]}}
"""


class Apps(unittest.TestCase):
    """A namespace with a Redis, in which `run` starts workloads with the label of the component."""

    def setUp(self):
        self.node = shared.node()
        self.namespace = f"apps-{next(NUMBERS)}"
        self.node.kubectl("create", "namespace", self.namespace)
        self.addCleanup(self.node.kubectl, "delete", "namespace", self.namespace, "--wait=false")
        known = ["--namespace", self.namespace, "get", "serviceaccount", "default"]
        eventually("pods may be made", 30, lambda: self.node.try_kubectl(*known).returncode == 0)
        self.kubectl("apply", "--filename", "-", stdin=REDIS)
        self.kubectl("wait", "--for=condition=Ready", "pod/redis", "--timeout=60s", seconds=70)

    def kubectl(self, *arguments, **options):
        return self.node.kubectl("--namespace", self.namespace, *arguments, **options)

    def run_app(self, app, settings=SETTINGS):
        """Applies a workload with the component, as a user's kustomization has it."""
        text = f"namespace: {self.namespace}\nresources: [app.yaml]\n{settings}"
        with kustomization(text, app=app) as directory:
            self.kubectl("apply", "--kustomize", directory)

    def becomes_available(self, seconds):
        """Whether the app's Deployment does within that time."""
        wait = ["wait", "--for=condition=Available", "deployment/app", f"--timeout={seconds}s"]
        return self.node.try_kubectl("--namespace", self.namespace, *wait).returncode == 0

    def pod(self, selector):
        """The one pod with these labels."""
        (pod,) = eventually("a pod", 60, lambda: self.pods(selector))
        return pod

    def pods(self, selector):
        return self.node.get("pods", "--namespace", self.namespace, "--selector", selector)["items"]


def containers(pod):
    """The status of each container, by its name."""
    status = pod["status"]
    return {found["name"]: found for found in status.get("initContainerStatuses", []) + status["containerStatuses"]}
