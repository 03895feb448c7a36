"""`lockside exec` in containers of busybox: by the webhook's annotation, and by the component of deploy/kubernetes/cli."""

import unittest

import yaml

from cluster import webhook
from cluster.apps import SETTINGS, Apps
from cluster.pages import block
from cluster.workloads import workload
from manifests import pod_template
from patience import eventually

EXEC = "/lockside/bin/lockside exec nightly-report --"
# Has the lock until a file says that it is done.
HOLD = f"{EXEC} sh -c 'echo holding; until [ -e /data/end ]; do sleep 0.1; done'"
CLI = SETTINGS.replace("sidecar]", "sidecar, ../../deploy/kubernetes/cli]")
ANNOTATION = {"lockside/cli": "true"}
SAID = "one at a time"


class Exec(Apps):
    def apply(self, manifest):
        self.kubectl("apply", "--filename", "-", stdin=manifest)

    def said(self, job):
        """What its containers have said, of those that have started."""
        return self.node.try_kubectl("--namespace", self.namespace, "logs", f"job/{job}", "--all-containers").stdout

    def holds(self, job):
        eventually("it has the lock", 60, lambda: "holding" in self.said(job))

    def waits_and_completes(self, holder, cron_job):
        """The next minute's job waits for the lock, runs once the holder has ended, and both complete."""
        jobs = ["jobs", "--namespace", self.namespace]

        def others():
            return [name for job in self.node.get(*jobs)["items"] if (name := job["metadata"]["name"]) != holder]

        job = eventually("the next minute's job", 70, others)[0]
        self.assertTrue(job.startswith(cron_job))
        waiting = "waiting for `nightly-report`: held by "
        eventually("it waits", 60, lambda: waiting in self.said(job))
        self.assertNotIn(SAID, self.said(job).splitlines())
        self.assertFalse(self.node.get("job", job, "--namespace", self.namespace)["status"].get("succeeded"))
        pod = self.pod(f"batch.kubernetes.io/job-name={holder}")["metadata"]["name"]
        self.kubectl("exec", pod, "--container=app", "--", "touch", "/data/end")
        for name in (holder, job):
            self.kubectl("wait", "--for=condition=complete", f"job/{name}", "--timeout=60s", seconds=70)
        self.assertIn(SAID, self.said(job).splitlines())

    def test_the_cron_job_of_the_page_runs_its_command_when_another_has_ended(self):
        self.addCleanup(webhook.remove)
        webhook.install()
        self.kubectl("create", "configmap", "lockside", "--from-literal=LOCKSIDE_REDIS_URL=redis://redis:6379")
        self.apply(webhook.asking("Job", HOLD, ANNOTATION))
        self.holds("app")
        nightly = yaml.safe_load(block("injection.md", "kind: CronJob", "yaml"))
        nightly["spec"]["schedule"] = "* * * * *"
        self.apply(yaml.safe_dump(nightly))
        self.waits_and_completes("app", nightly["metadata"]["name"])

    def test_with_the_component_a_cron_job_does_so_too(self):
        mounted = {"name": "lockside-cli", "mountPath": "/lockside/bin", "readOnly": True}
        for kind, script in [("Job", HOLD), ("CronJob", f"{EXEC} echo {SAID}")]:
            made = yaml.safe_load(workload(kind, script))
            made["metadata"]["name"] = kind.lower()
            pod_template(made)["spec"]["containers"][0]["volumeMounts"].append(mounted)
            self.run_app(yaml.safe_dump(made), CLI)
            if kind == "Job":
                self.holds("job")
        self.waits_and_completes("job", "cronjob")


if __name__ == "__main__":
    unittest.main()
