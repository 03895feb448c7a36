"""deploy/helm, rendered by Helm without a cluster: against the schemas of three Kubernetes versions, and its own rules."""

import os
import pathlib
import subprocess
import tempfile
import textwrap
import unittest

import yaml

from manifests import PROGRAM, ROOT, only, pod_template
from schemas import VERSIONS, validate

CHART = ROOT / "deploy" / "helm"
VERSION_FLAGS = {version: ["--kube-version", version] for version in VERSIONS}
EVERYTHING = """
image: {repository: registry.example.com/lockside, tag: 9.9.9, pullPolicy: Always}
sidecarImage: mirror.example.com/lockside:9.9.8
imagePullSecrets: [{name: registry}]
replicas: 3
certificate: {secretName: lockside-webhook-tls}
webhookAnnotations: {cert-manager.io/inject-ca-from: lockside/lockside-webhook}
failurePolicy: Ignore
timeoutSeconds: 5
excludedNamespaces: [one, two]
nodeSelector: {disk: fast}
tolerations: [{key: dedicated, operator: Exists, effect: NoSchedule}]
priorityClassName: system-cluster-critical
"""
APP = """
apiVersion: {version}
kind: {kind}
metadata: {{name: app}}
spec:
{spec}
"""
TEMPLATE = """
template:
  metadata:
    labels: {app: app, lockside/inject: "true"}
    annotations: {lockside/cli: "true", lockside/readiness: "true", lockside/listen: "127.0.0.1:7000"}
  spec:
    restartPolicy: %s
    containers: [{name: app, image: busybox:1.37, command: [/lockside/bin/lockside, exec, key, --, "true"]}]
"""


class Helm(unittest.TestCase):
    """Helm, in both versions, with files of each test's own."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)

    def helm(self, helm, *arguments):
        """Runs Helm with a home of its own; returns the finished process."""
        homes = {f"HELM_{home}_HOME": f"{self.directory}/{home}" for home in ("CACHE", "CONFIG", "DATA")}
        program = PROGRAM.parent / f"helm{helm}" / "helm"
        environment = {**os.environ, **homes, "KUBECONFIG": "/dev/null"}
        return subprocess.run([program, *arguments], capture_output=True, text=True, env=environment)

    def template(self, helm, *flags, chart=CHART):
        done = self.helm(helm, "template", "lockside", chart, "--namespace", "lockside", *flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def values(self, text):
        (self.directory / "values.yaml").write_text(text)
        return ["--values", self.directory / "values.yaml"]

    def test_it_has_no_fault_that_helm_lint_finds(self):
        for helm in (3, 4):
            for flags in ([], self.values(EVERYTHING)):
                done = self.helm(helm, "lint", "--strict", CHART, *flags)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertIn("1 chart(s) linted, 0 chart(s) failed", done.stdout)
                for bad in ("[WARNING]", "[ERROR]"):
                    self.assertNotIn(bad, done.stdout)

    def test_what_it_renders_is_valid_strictly_in_three_versions(self):
        kinds = {"Deployment", "MutatingWebhookConfiguration", "PodDisruptionBudget", "Service"}
        for helm in (3, 4):
            for flags, expected in [([], kinds | {"Secret"}), (self.values(EVERYTHING), kinds)]:
                for version in VERSIONS:
                    documents = list(yaml.safe_load_all(self.template(helm, *VERSION_FLAGS[version], *flags)))
                    self.assertEqual({document["kind"] for document in documents}, expected)
                    for document in documents:
                        with self.subTest(helm=helm, version=version, kind=document["kind"]):
                            validate(document, version)

    def test_it_refuses_an_older_kubernetes_and_a_certificate_that_is_always_too_old(self):
        too_short = "certificate.days (300) must be more than certificate.renewBeforeDays (365)"
        for flags, says in [
            (["--kube-version", "1.28"], "incompatible with Kubernetes v1.28"),
            (["--set", "certificate.days=300"], too_short),
        ]:
            done = self.helm(3, "template", "lockside", CHART, *flags)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(says, done.stderr)

    def test_the_replicas_end_late_where_kubernetes_can_wait_and_do_not_see_the_key_of_the_ca(self):
        for version in VERSIONS:
            documents = list(yaml.safe_load_all(self.template(3, *VERSION_FLAGS[version])))
            pod = pod_template(only(documents, "Deployment"))["spec"]
            (container,), (volume,) = pod["containers"], pod["volumes"]
            self.assertEqual("lifecycle" in container, version != "1.29")
            self.assertEqual([item["key"] for item in volume["secret"]["items"]], ["tls.crt", "tls.key"])

    def test_what_lockside_inject_makes_of_a_chart_is_valid_strictly_in_three_versions(self):
        chart = self.directory / "chart"
        (chart / "templates").mkdir(parents=True)
        (chart / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 0.1.0\n")
        always, never = (textwrap.indent(TEMPLATE % policy, "  ") for policy in ("Always", "Never"))
        nested = textwrap.indent(never, "    ")
        specs = {
            "Deployment": ("apps/v1", "  selector: {matchLabels: {app: app}}" + always),
            "Job": ("batch/v1", never),
            "CronJob": ("batch/v1", f'  schedule: "0 3 * * *"\n  jobTemplate:\n    spec:{nested}'),
        }
        for kind, (version, spec) in specs.items():
            (chart / "templates" / f"{kind}.yaml").write_text(APP.format(version=version, kind=kind, spec=spec))
        rendered = self.template(3, chart=chart)
        inject = [ROOT / "target" / "image" / "lockside", "inject"]
        made = subprocess.run(inject, input=rendered, capture_output=True, text=True, check=True)
        self.assertEqual(made.stderr, "")
        documents = list(yaml.safe_load_all(made.stdout))
        self.assertEqual({document["kind"] for document in documents}, set(specs))
        for document in documents:
            containers = pod_template(document)["spec"]["initContainers"]
            self.assertEqual([container["name"] for container in containers], ["lockside", "lockside-install"])
            for version in VERSIONS:
                with self.subTest(version=version, kind=document["kind"]):
                    validate(document, version)


if __name__ == "__main__":
    unittest.main()
