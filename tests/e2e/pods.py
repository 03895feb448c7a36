"""Plays pods of the rendered manifests with `podman kube play`.

podman 4.3 knows less than a cluster does; what it does not know is put otherwise here, and nothing else. The manifests
as they ship are checked by schema.
"""

import copy
import json
import pathlib

import yaml

from manifests import only


class Pods:
    """The pods of a rendered kustomization, on a network."""

    def __init__(self, podman, network, documents, secrets):
        self.podman, self.network = podman, network
        self.documents, self.secrets = documents, secrets
        self.settings = [document for document in documents if document["kind"] == "ConfigMap"]

    def play(self, kind, workload, name, names):
        """Starts a pod, and returns its address; `names` is what its DNS is to know."""
        pod = self._pod(only(self.documents, kind, workload), name)
        text = yaml.safe_dump_all([*self.settings, pod])
        self.podman.run("kube", "play", "--network", "none", "-", stdin=text, seconds=60)
        inspected = json.loads(self.podman.run("pod", "inspect", name))
        return self.network.join(self.podman.pid(inspected["InfraContainerID"]), names)

    def _pod(self, workload, name):
        template = copy.deepcopy(workload["spec"]["template"])
        spec = template["spec"]
        # A native sidecar is started first and outlives the others; podman has no such thing.
        spec["containers"] = spec.pop("initContainers", []) + spec["containers"]
        for container in spec["containers"]:
            container.pop("restartPolicy", None)
            # The tests ask what the kubelet would ask, from where it would.
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                container.pop(probe, None)
            # Ports are of no account without a network of podman's.
            container.pop("ports", None)
        claims = [{"name": claim["metadata"]["name"]} for claim in workload["spec"].get("volumeClaimTemplates", [])]
        spec["volumes"] = [self._volume(volume, name) for volume in spec["volumes"] + claims]
        metadata = {"name": name, "labels": template["metadata"]["labels"]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    def _volume(self, volume, pod):
        """podman mounts secrets in base64, and empty directories that nobody but root can write to."""
        if "configMap" in volume:
            return volume
        directory = pathlib.Path(self.podman.home, "volumes", pod, volume["name"])
        directory.mkdir(parents=True)
        directory.chmod(0o777)
        if "secret" in volume:
            files = self.secrets[volume["secret"]["secretName"]]
            items = volume["secret"].get("items", [{"key": key, "path": key} for key in files])
            for item in items:
                file = directory / item["path"]
                file.write_text(files[item["key"]])
                file.chmod(volume["secret"].get("defaultMode", 0o644))
        return {"name": volume["name"], "hostPath": {"path": str(directory), "type": "Directory"}}
