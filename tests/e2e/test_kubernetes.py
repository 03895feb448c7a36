"""deploy/kubernetes: what it renders to, against the schemas of three Kubernetes versions and a cluster's own rules."""

import copy
import json
import subprocess
import sys
import unittest

import kubernetes_validate
import yaml

from manifests import KUBERNETES, ROOT, kustomization, only, pod_template, render
from schemas import VERSIONS, validate

# Custom resources, whose schemas are not Kubernetes's.
CUSTOM = {"PodMonitor", "PrometheusRule"}

APP = """
apiVersion: apps/v1
kind: {kind}
metadata:
  name: {name}
  labels: {{{label}}}
spec:
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      initContainers:
        - {{name: migrate, image: app}}
      containers:
        - {{name: app, image: app}}
"""


CRON_JOB = """
apiVersion: batch/v1
kind: CronJob
metadata:
  name: nightly
  labels: {lockside: sidecar}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        metadata:
          labels: {app: nightly}
        spec:
          restartPolicy: Never
          initContainers:
            - {name: migrate, image: app}
          containers:
            - {name: app, image: app}
"""


def rendered(text, **files):
    with kustomization(text, **files) as directory:
        return render(directory)


class Example(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.documents = render(KUBERNETES / "example")

    def test_every_document_is_valid_strictly_in_three_versions(self):
        checked = [document for document in self.documents if document["kind"] not in CUSTOM]
        self.assertGreaterEqual(len(checked), 9)
        for version in VERSIONS:
            for document in checked:
                with self.subTest(version=version, kind=document["kind"], name=document["metadata"]["name"]):
                    validate(document, version)

    def test_the_check_is_strict(self):
        wrong = copy.deepcopy(only(self.documents, "Deployment"))
        pod_template(wrong)["spec"]["initContainers"][0]["restartpolicy"] = "Always"
        for version in VERSIONS:
            with self.assertRaises(kubernetes_validate.ValidationError):
                validate(wrong, version)

    def test_every_pod_is_of_the_restricted_standard(self):
        for document in self.documents:
            if document["kind"] not in ("Deployment", "StatefulSet"):
                continue
            pod = pod_template(document)["spec"]
            for container in pod["containers"] + pod.get("initContainers", []):
                with self.subTest(container=container["name"]):
                    own = container["securityContext"]
                    both = {**pod.get("securityContext", {}), **own}
                    self.assertIs(both["runAsNonRoot"], True)
                    self.assertGreater(both["runAsUser"], 0)
                    self.assertEqual(both["seccompProfile"], {"type": "RuntimeDefault"})
                    self.assertIs(own["allowPrivilegeEscalation"], False)
                    self.assertIs(own["readOnlyRootFilesystem"], True)
                    self.assertEqual(own["capabilities"], {"drop": ["ALL"]})
                    self.assertIn("memory", container["resources"]["limits"])
                    self.assertIn("cpu", container["resources"]["requests"])

    def test_whatever_a_pod_mounts_or_reads_is_there(self):
        there = {(document["kind"], document["metadata"]["name"]) for document in self.documents}
        # The one thing that the user makes by hand.
        there.add(("Secret", "lockside"))
        for document in self.documents:
            if document["kind"] not in ("Deployment", "StatefulSet"):
                continue
            pod = pod_template(document)["spec"]
            volumes = {volume["name"] for volume in pod["volumes"]}
            volumes |= {claim["metadata"]["name"] for claim in document["spec"].get("volumeClaimTemplates", [])}
            for volume in pod["volumes"]:
                for source in volume.get("projected", {"sources": [volume]})["sources"]:
                    if "configMap" in source:
                        self.assertIn(("ConfigMap", source["configMap"]["name"]), there)
                if "secret" in volume:
                    self.assertIn(("Secret", volume["secret"]["secretName"]), there)
            for container in pod["containers"] + pod.get("initContainers", []):
                self.assertLessEqual({mount["name"] for mount in container.get("volumeMounts", [])}, volumes)
                for source in container.get("envFrom", []):
                    self.assertIn(("ConfigMap", source["configMapRef"]["name"]), there)

    def test_no_container_but_lockside_sees_its_secrets(self):
        pod = pod_template(only(self.documents, "Deployment"))["spec"]
        for container in pod["containers"]:
            self.assertNotIn("lockside-secrets", [mount["name"] for mount in container["volumeMounts"]])

    def test_the_network_policies_speak_of_labels_and_ports_that_are_there(self):
        app = pod_template(only(self.documents, "Deployment"))
        redis = pod_template(only(self.documents, "StatefulSet"))
        lockside = only(self.documents, "NetworkPolicy", "lockside")["spec"]
        of_redis = only(self.documents, "NetworkPolicy", "redis")["spec"]

        def selects(selector, template):
            return selector["matchLabels"].items() <= template["metadata"]["labels"].items()

        self.assertTrue(selects(lockside["podSelector"], app))
        self.assertTrue(selects(of_redis["podSelector"], redis))
        self.assertTrue(selects(lockside["egress"][0]["to"][0]["podSelector"], redis))
        self.assertTrue(selects(of_redis["ingress"][0]["from"][0]["podSelector"], app))
        ops = app["spec"]["initContainers"][0]["ports"][0]["containerPort"]
        self.assertEqual(lockside["ingress"][0]["ports"][0]["port"], ops)
        of_server = redis["spec"]["containers"][0]["ports"][0]["containerPort"]
        self.assertEqual(lockside["egress"][0]["ports"][0]["port"], of_server)


    def test_the_documented_patch_lets_lockside_reach_a_redis_in_another_namespace(self):
        page = (ROOT / "docs/operations/kubernetes.md").read_text()
        (patch,) = [block for block in page.split("```")[1::2] if "namespaceSelector" in block]
        documents = rendered(
            "components: [../../deploy/kubernetes/network-policy]\n" + patch.removeprefix("yaml\n")
        )
        (redis,) = only(documents, "NetworkPolicy")["spec"]["egress"][0]["to"]
        self.assertEqual(redis["namespaceSelector"], {"matchLabels": {"kubernetes.io/metadata.name": "shared"}})
        self.assertEqual(redis["podSelector"], {"matchLabels": {"app": "redis"}})
        for version in VERSIONS:
            validate(only(documents, "NetworkPolicy"), version)


class Component(unittest.TestCase):
    def test_it_goes_into_any_workload_that_asks_and_stands_before_its_other_init_containers(self):
        kinds = {"Deployment": "one", "StatefulSet": "two", "DaemonSet": "three", "Job": "job"}
        apps = {name: APP.format(kind=kind, name=name, label="lockside: sidecar") for kind, name in kinds.items()}
        kinds["CronJob"], apps["nightly"] = "nightly", CRON_JOB
        apps["four"] = APP.format(kind="Deployment", name="four", label="app: four")
        documents = rendered(
            """
            resources: [one.yaml, two.yaml, three.yaml, job.yaml, nightly.yaml, four.yaml]
            components: [../../deploy/kubernetes/sidecar]
            images:
              - {name: lockside, newName: registry.example.com/lockside, newTag: 9.9.9}
            """,
            **apps,
        )
        for kind, name in kinds.items():
            template = pod_template(only(documents, kind, name))
            first, second = template["spec"]["initContainers"]
            self.assertEqual((first["name"], second["name"]), ("lockside", "migrate"))
            self.assertEqual(first["restartPolicy"], "Always")
            self.assertEqual(first["image"], "registry.example.com/lockside:9.9.9")
            self.assertEqual(template["metadata"]["labels"], {"app": name, "lockside": "sidecar"})
            self.assertEqual(template["spec"]["volumes"][0]["secret"]["secretName"], "lockside")
        untouched = pod_template(only(documents, "Deployment", "four"))
        self.assertEqual([container["name"] for container in untouched["spec"]["initContainers"]], ["migrate"])

    def test_readiness_depends_on_redis_only_for_a_workload_that_asks_for_it(self):
        asking = "lockside: sidecar, lockside/readiness: \"true\""
        apps = {
            "one": APP.format(kind="Deployment", name="one", label="lockside: sidecar"),
            "two": APP.format(kind="Deployment", name="two", label=asking),
            "three": CRON_JOB.replace("nightly", "three"),
            "four": CRON_JOB.replace("nightly", "four").replace("lockside: sidecar", asking),
        }
        resources = ", ".join(f"{name}.yaml" for name in apps)
        text = f"resources: [{resources}]\ncomponents: [../../deploy/kubernetes/sidecar]\n"
        documents = {document["metadata"]["name"]: document for document in rendered(text, **apps)}
        for name, is_asking in [("one", False), ("two", True), ("three", False), ("four", True)]:
            sidecar, migrate = pod_template(documents[name])["spec"]["initContainers"]
            self.assertEqual((sidecar["name"], migrate["name"]), ("lockside", "migrate"))
            self.assertEqual("readinessProbe" in sidecar, is_asking, name)
            self.assertLessEqual({"lifecycle", "livenessProbe"}, set(sidecar))

    def test_the_patch_for_cron_jobs_is_the_one_for_all_others(self):
        for component, patch in [("sidecar", "container.yaml"), ("cli", "install.yaml")]:
            patches = [KUBERNETES / component / name for name in (patch, "cronjob.yaml")]
            others, cron_job = (yaml.safe_load(patch.read_text()) for patch in patches)
            self.assertEqual(pod_template(cron_job), pod_template(others), "run `make generate`")

    def test_with_the_command_line_every_container_can_mount_it(self):
        documents = rendered(
            """
            resources: [one.yaml, job.yaml, nightly.yaml]
            components: [../../deploy/kubernetes/sidecar, ../../deploy/kubernetes/cli]
            images:
              - {name: lockside, newName: registry.example.com/lockside, newTag: 9.9.9}
            configMapGenerator:
              - {name: lockside, literals: [LOCKSIDE_ANONYMOUS=lock]}
            """,
            one=APP.format(kind="Deployment", name="one", label="lockside: sidecar"),
            job=APP.format(kind="Job", name="job", label="lockside: sidecar").replace("apps/v1", "batch/v1"),
            nightly=CRON_JOB,
        )
        for kind in ("Deployment", "Job", "CronJob"):
            workload = only(documents, kind)
            pod = pod_template(workload)["spec"]
            names = [container["name"] for container in pod["initContainers"]]
            self.assertEqual(names, ["lockside-install", "lockside", "migrate"])
            install, sidecar, _ = pod["initContainers"]
            self.assertEqual(install["image"], sidecar["image"])
            self.assertEqual(install["securityContext"], sidecar["securityContext"])
            self.assertEqual(install["args"], ["install", install["volumeMounts"][0]["mountPath"]])
            self.assertIn("lockside-cli", [volume["name"] for volume in pod["volumes"]])
            for version in VERSIONS:
                validate(workload, version)

    def test_a_change_of_a_setting_rolls_the_pods(self):
        before, after = (
            rendered(
                f"""
                resources: [one.yaml]
                components: [../../deploy/kubernetes/sidecar]
                configMapGenerator:
                  - name: lockside
                    literals: ["LOCKSIDE_REDIS_URL={url}"]
                """,
                one=APP.format(kind="Deployment", name="one", label="lockside: sidecar"),
            )
            for url in ("redis://here:6379", "redis://there:6379")
        )
        for documents in (before, after):
            sidecar = pod_template(only(documents, "Deployment"))["spec"]["initContainers"][0]
            settings = sidecar["envFrom"][0]["configMapRef"]["name"]
            self.assertEqual(settings, only(documents, "ConfigMap")["metadata"]["name"])
        self.assertNotEqual(*(only(documents, "ConfigMap")["metadata"]["name"] for documents in (before, after)))


class Monitoring(unittest.TestCase):
    def test_what_is_made_of_something_else_is_as_that_says(self):
        rule = only(render(ROOT / "deploy/prometheus"), "PrometheusRule")
        source = yaml.safe_load((ROOT / "deploy/prometheus/rules.yaml").read_text())
        self.assertEqual(rule["spec"], source, "run `make generate`")
        command = [sys.executable, ROOT / "deploy/grafana/lockside.py"]
        made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        self.assertEqual(made, (ROOT / "deploy/grafana/lockside.json").read_text(), "run `make generate`")

    def test_grafana_finds_the_dashboard_in_a_config_map(self):
        config_map = only(render(ROOT / "deploy/grafana"), "ConfigMap")
        self.assertEqual(config_map["metadata"]["labels"], {"grafana_dashboard": "1"})
        self.assertEqual(json.loads(config_map["data"]["lockside.json"])["title"], "lockside")
        for version in VERSIONS:
            validate(config_map, version)

    def test_the_pod_monitor_names_a_label_and_a_port_of_the_rendered_pods(self):
        monitor = only(render(ROOT / "deploy/prometheus"), "PodMonitor")["spec"]
        app = pod_template(only(render(KUBERNETES / "example"), "Deployment"))
        self.assertLessEqual(monitor["selector"]["matchLabels"].items(), app["metadata"]["labels"].items())
        self.assertIn(monitor["jobLabel"], app["metadata"]["labels"])
        ports = {port["name"]: port["containerPort"] for port in app["spec"]["initContainers"][0]["ports"]}
        self.assertEqual(ports[monitor["podMetricsEndpoints"][0]["port"]], 9420)


if __name__ == "__main__":
    unittest.main()
