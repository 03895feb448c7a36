"""lockside as a native sidecar beside apps of several kinds: when it starts and ends, and what it outlives."""

import json
import statistics
import unittest

from cluster.apps import SETTINGS, Apps, containers
from cluster.logs import Logs
from cluster.workloads import ACQUIRE, ONE_LOCK, workload
from patience import eventually

MIGRATED = f"echo start; {ACQUIRE}/migration && echo; sleep 0.2"
# Its end takes a while, and needs a lock.
ENDING = f"""
echo start
ending() {{
    sleep 2
    {ACQUIRE}/ending && echo
    echo end
    exit
}}
trap ending TERM
while :; do sleep 0.1; done
"""
# What it is answered, again and again.
ASKING = """
while :; do
    wget -q -O - --post-data '{"ttlMs":1000}' http://127.0.0.1:7420/v1/locks/a 2>&1
    sleep 1
done
"""
# The first time it eats more than its limit while it holds the lock.
HUNGRY = """
rm -f /data/lines
wget -q -O /data/lines --post-data '{"ttlMs":60000,"waitMs":60000}' http://127.0.0.1:7420/v1/locks/hungry/hold &
until grep -s acquired /data/lines; do sleep 0.1; done
[ -e /data/ate ] || { touch /data/ate; exec tail /dev/zero; }
wait
"""


class Sidecar(Apps):
    def test_it_starts_before_init_containers_and_the_app_and_ends_after_the_app(self):
        logs = Logs(self.node, self.namespace, "app-")
        self.run_app(workload("Deployment", ENDING, migrate=MIGRATED))
        self.kubectl("rollout", "status", "deployment/app", "--timeout=60s", seconds=70)
        self.kubectl("delete", "deployment", "app", "--timeout=60s", seconds=70)
        eventually("the pod has ended", 60, lambda: not self.pods("app=app"))
        lockside, migrate, app = (logs.lines(name) for name in ("lockside", "migrate", "app"))
        self.assertLess(lockside[0].when, migrate[0].when, "it is there for init containers")
        self.assertIn("token", migrate[1].text)
        self.assertLess(migrate[-1].when, app[0].when)
        self.assertIn("token", app[1].text, "it still serves the app that is being stopped")
        self.assertEqual(app[-1].text, "end")
        self.assertLess(app[-1].when, lockside[-1].when, "it ends last")

    def test_it_delays_a_pods_start_by_less_than_half_a_second(self):
        logs = Logs(self.node, self.namespace, "app-")
        self.run_app(workload("Deployment", "echo start; sleep 1000"))
        delays = {}
        for _ in range(5):
            further = lambda: next((line for line in logs.lines("app") if line.pod not in delays), None)
            app = eventually("a further pod's app", 60, further)
            lockside = next(line for line in logs.lines("lockside") if line.pod == app.pod)
            delays[app.pod] = app.when - lockside.when
            self.kubectl("delete", "pod", app.pod, "--force", "--grace-period=0")
        print("the sidecar delays its pod's start by", *(f"{delay:.2f}" for delay in delays.values()), "s", flush=True)
        # Now and then by one more: the kubelet looks once a second for what has started.
        self.assertLess(statistics.median(delays.values()), 0.5)

    def test_a_job_completes(self):
        self.run_app(workload("Job", ONE_LOCK))
        self.kubectl("wait", "--for=condition=complete", "job/app", "--timeout=60s", seconds=70)
        ended = containers(self.pod("app=app"))
        self.assertEqual(ended["lockside"]["state"]["terminated"]["exitCode"], 0)
        self.assertIn("done", self.kubectl("logs", "job/app", "--container=app"))

    def test_a_cron_job_completes(self):
        self.run_app(workload("CronJob", ONE_LOCK))
        jobs = ["jobs", "--namespace", self.namespace]
        (job,) = eventually("the next minute's job", 70, lambda: self.node.get(*jobs)["items"])
        name = job["metadata"]["name"]
        self.kubectl("wait", "--for=condition=complete", f"job/{name}", "--timeout=60s", seconds=70)
        self.assertIn("done", self.kubectl("logs", f"job/{name}", "--container=app"))

    def test_without_redis_the_app_starts_and_is_ready_but_where_readiness_was_asked_for(self):
        logs = Logs(self.node, self.namespace, "app-")
        settings = SETTINGS.replace("redis://redis:6379", "redis://127.0.0.1:1")
        self.run_app(workload("Deployment", ASKING), settings)
        self.kubectl("rollout", "status", "deployment/app", "--timeout=60s", seconds=70)
        eventually("its app is told", 30, lambda: any(" 503 " in line.text for line in logs.lines("app")))
        self.kubectl("delete", "deployment", "app", "--timeout=60s", seconds=70)
        eventually("the pod has ended", 60, lambda: not self.pods("app=app"))
        self.run_app(workload("Deployment", ASKING, labels={"lockside/readiness": "true"}), settings)
        eventually("its app runs", 60, lambda: "running" in containers(self.pod("app=app"))["app"]["state"])
        # Three probes may have failed by then.
        self.assertFalse(self.becomes_available(seconds=6))
        found = containers(self.pod("app=app"))
        self.assertEqual((found["lockside"]["ready"], found["app"]["ready"]), (False, True))

    def test_it_survives_an_app_that_reaches_its_memory_limit_and_frees_its_lock(self):
        logs = Logs(self.node, self.namespace, "app-")
        self.run_app(workload("Deployment", HUNGRY))
        acquired = eventually("it has the lock again", 90, lambda: len(logs.lines("app")) >= 2 and logs.lines("app"))
        self.assertNotEqual(*(json.loads(line.text)["token"] for line in acquired))
        # The kubelet reports it a moment later.
        eventually("its restart", 30, lambda: containers(self.pod("app=app"))["app"]["restartCount"] == 1)
        found = containers(self.pod("app=app"))
        self.assertEqual(found["app"]["lastState"]["terminated"]["reason"], "OOMKilled")
        self.assertEqual(found["lockside"]["restartCount"], 0)
        # The lease of a minute did not keep it: it ended with the app's connection.
        self.assertLess(acquired[1].when - acquired[0].when, 30)


if __name__ == "__main__":
    unittest.main()
