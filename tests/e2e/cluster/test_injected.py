"""Workloads that the webhook gives their sidecar, and pods that it leaves alone."""

import unittest

from cluster import webhook
from cluster.apps import Apps, containers
from cluster.workloads import ONE_LOCK
from manifests import ROOT
from patience import eventually

SETTINGS = "--from-literal=LOCKSIDE_REDIS_URL=redis://redis:6379"


class Injected(Apps):
    """The namespace has the settings of its sidecars, and nothing else of lockside."""

    @classmethod
    def setUpClass(cls):
        cls.addClassCleanup(webhook.remove)
        webhook.install()

    def setUp(self):
        super().setUp()
        self.kubectl("create", "configmap", "lockside", SETTINGS)

    def apply(self, manifest):
        self.kubectl("apply", "--filename", "-", stdin=manifest)

    def check_sidecar(self, pod):
        metadata, (sidecar, *others) = pod["metadata"], pod["spec"]["initContainers"]
        version = (ROOT / "Cargo.toml").read_text().split('version = "')[1].split('"')[0]
        self.assertEqual((sidecar["name"], sidecar["restartPolicy"], others), ("lockside", "Always", []))
        self.assertEqual(sidecar["image"], f"registry.example.com/lockside:{version}")
        self.assertEqual(metadata["labels"]["lockside"], "sidecar")
        self.assertEqual(metadata["annotations"]["lockside/injected"], version)

    def check_done(self, job):
        """The job completes by itself, with a lock that it took, and its sidecar ends after it."""
        self.kubectl("wait", "--for=condition=complete", f"job/{job}", "--timeout=60s", seconds=70)
        pod = self.pod(f"batch.kubernetes.io/job-name={job}")
        self.check_sidecar(pod)
        self.assertEqual(containers(pod)["lockside"]["state"]["terminated"]["exitCode"], 0)
        said = self.kubectl("logs", f"job/{job}", "--container=app")
        self.assertIn('"token"', said)
        self.assertIn("done", said)

    def test_a_labelled_deployment_gets_its_sidecar_and_takes_a_lock(self):
        self.apply(webhook.asking("Deployment", f"{ONE_LOCK}; sleep 600"))
        self.kubectl("rollout", "status", "deployment/app", "--timeout=60s", seconds=70)
        self.check_sidecar(self.pod("app=app"))
        logs = ["logs", "deployment/app", "--container=app"]
        self.assertIn('"token"', eventually("its lock", 30, lambda: "done" in (said := self.kubectl(*logs)) and said))

    def test_a_labelled_job_gets_its_sidecar_takes_a_lock_and_completes(self):
        self.apply(webhook.asking("Job", ONE_LOCK))
        self.check_done("app")

    def test_a_labelled_cron_job_gets_its_sidecar_takes_a_lock_and_completes(self):
        self.apply(webhook.asking("CronJob", ONE_LOCK))
        jobs = ["jobs", "--namespace", self.namespace]
        job = eventually("the next minute's job", 70, lambda: self.node.get(*jobs)["items"])[0]
        self.check_done(job["metadata"]["name"])

    def test_a_pod_without_the_label_or_with_false_is_left_alone(self):
        for name, labels in [("plain", {}), ("declined", {webhook.LABEL: "false"})]:
            self.apply(webhook.pod(name, "sleep 600", labels=labels))
            self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s", seconds=70)
            made = self.node.get("pod", name, "--namespace", self.namespace)
            self.assertNotIn("initContainers", made["spec"])
            self.assertEqual(made["metadata"].get("labels", {}), labels)
            self.assertNotIn("lockside/injected", made["metadata"].get("annotations", {}))

    def test_a_wrong_annotation_is_refused_with_its_name(self):
        done = webhook.ask(self.namespace, webhook.pod(annotations={"lockside/opsport": "9421"}))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f'webhook "{webhook.NAME}.{webhook.NAME}.svc" denied the request: lockside: ', done.stderr)
        self.assertIn("lockside/opsport", done.stderr)
        done = webhook.ask(self.namespace, webhook.pod(labels={webhook.LABEL: "yes"}))
        self.assertIn(f"label `{webhook.LABEL}`: `yes`", done.stderr)


if __name__ == "__main__":
    unittest.main()
