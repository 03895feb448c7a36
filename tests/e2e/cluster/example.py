"""The example of deploy/kubernetes on the node, as a user brings it up, for the tests of what happens to it."""

import functools
import json
import shutil
import tempfile
import time
import unittest

from cluster import shared
from cluster.apps import containers
from cluster.pages import blocks, play
from cluster.work import Work
from manifests import ROOT
from patience import eventually

NAMESPACE = "lockside-example"
# What the example asks for, in seconds, and how much later a slow machine may be.
TTL = 5
SLACK = 4
# Well below the ttl: it did not run out.
AT_ONCE = 2.5


# The commands of the page's first section: the image, the example, a look at it, a force-release.
_, ROLL_OUT, LOOK, FORCE_RELEASE = blocks("kubernetes.md")[:4]


@functools.cache
def bring_up():
    """Rolls the example out by the quick start, and returns the work of its apps. It stays for all tests of this run."""
    work = Work(shared.node(), NAMESPACE, "report")
    begun = time.monotonic()
    # A copy, since the quick start writes the image's name into it.
    with tempfile.TemporaryDirectory() as directory:
        shutil.copytree(ROOT / "deploy", f"{directory}/deploy")
        play(ROLL_OUT, directory)
    print(f"the example is rolled out after {time.monotonic() - begun:.1f} s", flush=True)
    return work


class Example(unittest.TestCase):
    """The example runs: `holder` works, `other` is in the queue. No two of its pods ever work at once."""

    @classmethod
    def setUpClass(cls):
        cls.node, cls.work = shared.node(), bring_up()

    def setUp(self):
        self.kubectl("rollout", "status", "deployment/report", "--timeout=120s", seconds=130)
        self.find_pods()

    def tearDown(self):
        self.check_that_they_exclude_each_other()

    def restart_pods(self):
        """Replaces the pods, since the kubelet waits longer each time before it starts a container again."""
        self.kubectl("rollout", "restart", "deployment/report")
        self.kubectl("rollout", "status", "deployment/report", "--timeout=120s", seconds=130)
        self.find_pods()

    def find_pods(self):
        self.holder, self.other = eventually("one works and the other is in the queue", 30, self.holder_and_waiter)
        self.token = self.work.last().token

    def kubectl(self, *arguments, **options):
        return self.node.kubectl("--namespace", NAMESPACE, *arguments, **options)

    def lockside(self, pod, *arguments):
        return self.kubectl("exec", pod, "--container", "lockside", "--", "/lockside", *arguments)

    def signal(self, pod, container, name):
        self.node.signal(NAMESPACE, pod, container, name)

    def pod(self, name):
        return self.node.get("pod", name, "--namespace", NAMESPACE)

    def pods(self):
        """The names of the app's pods that are not being deleted."""
        found = self.node.get("pods", "--namespace", NAMESPACE, "--selector=app=report")["items"]
        return [pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def is_ready(self, name):
        conditions = self.pod(name)["status"]["conditions"]
        return any(found["type"] == "Ready" and found["status"] == "True" for found in conditions)

    def holder_and_waiter(self):
        """The pod that works, and the one that waits for its lock; nothing while there are not both."""
        pods, last = self.pods(), self.work.last()
        others = [name for name in pods if name != last.pod]
        if last.pod not in pods or len(others) != 1:
            return None
        show = ["exec", others[0], "--container", "lockside", "--", "/lockside", "show", "--json", "nightly-report"]
        done = self.node.try_kubectl("--namespace", NAMESPACE, *show)
        # Its sidecar is just being started again.
        if done.returncode != 0:
            return None
        shown = json.loads(done.stdout)
        # A killed sidecar's place in the queue is counted, too, until its turn comes.
        both = shown["state"] == "held" and shown["holder"]["token"] == last.token and shown["waiters"] >= 1
        return (last.pod, others[0]) if both else None

    def force_release(self, pod):
        token = ["--token-file", "/run/secrets/lockside/api-token"]
        self.lockside(pod, "release", "nightly-report", "--force", *token)

    def check_that_they_exclude_each_other(self):
        highest = 0
        for when, name, token in self.work.ticks():
            self.assertGreaterEqual(token, highest, f"{name} worked at {when} with a lock that another had by then")
            highest = token

    def takes_over(self, what, seconds):
        """The other works within so many seconds of the holder's last sign of work."""
        taken = self.work.above(self.token, seconds + SLACK)
        last = [tick for tick in self.work.ticks() if tick.token <= self.token][-1]
        print(f"{what}: another works {taken.when - last.when:.2f} s after the last work", flush=True)
        self.assertEqual(taken.pod, self.other)
        self.assertLess(taken.when - last.when, seconds)
        return taken


def restarts(pod):
    """How often each container of a pod has been started again."""
    return {name: container["restartCount"] for name, container in containers(pod).items()}
