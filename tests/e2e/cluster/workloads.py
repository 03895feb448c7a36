"""Workloads of busybox's shell, of every kind that the component of deploy/kubernetes knows, as YAML."""

import yaml

from cluster.images import BUSYBOX

KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")
JOBS = ("Job", "CronJob")
# Scripts: what is followed by the name of a lock, and one that needs a lock, and ends.
ACQUIRE = "wget -q -O - --post-data '{\"ttlMs\":60000}' http://127.0.0.1:7420/v1/locks"
ONE_LOCK = f"{ACQUIRE}/nightly && echo && echo done"


def container(name, script):
    """A container that runs a script, may keep files, and may use 32 MiB."""
    return {
        "name": name,
        "image": BUSYBOX,
        "command": ["sh", "-c", script],
        "resources": {"limits": {"memory": "32Mi"}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }


def workload(kind, app, migrate=None, labels=(), pod=None, own=None):
    """A workload named `app` with scripts as its app and its init container.

    It has the label of the component and those of `labels`; its pod and its containers have the fields of `pod` and `own`,
    too.
    """
    spec = {
        "terminationGracePeriodSeconds": 10,
        "restartPolicy": "Never" if kind in JOBS else "Always",
        "volumes": [{"name": "data", "emptyDir": {}}],
        "containers": [{**container("app", app), **(own or {})}],
        **(pod or {}),
    }
    if migrate:
        spec["initContainers"] = [{**container("migrate", migrate), **(own or {})}]
    template = {"template": {"metadata": {"labels": {"app": "app"}}, "spec": spec}}
    if kind == "CronJob":
        template = {"schedule": "* * * * *", "jobTemplate": {"spec": template}}
    elif kind != "Job":
        template["selector"] = {"matchLabels": {"app": "app"}}
    metadata = {"name": "app", "labels": {"lockside": "sidecar", **dict(labels)}}
    version = "batch/v1" if kind in JOBS else "apps/v1"
    return yaml.safe_dump({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": template})
