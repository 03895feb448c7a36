"""`lockside inject` as Helm's post-renderer, in both of its versions, by the commands of docs/operations/injection.md."""

import pathlib
import shutil
import tempfile
import unittest

from cluster import webhook
from cluster.apps import Apps
from cluster.pages import block, play
from cluster.workloads import ONE_LOCK
from manifests import ROOT

HELM_4 = block("injection.md", "helm plugin install")
HELM_3 = block("injection.md", "--post-renderer-args")


class PostRenderer(Apps):
    def setUp(self):
        super().setUp()
        self.kubectl("create", "configmap", "lockside", "--from-literal=LOCKSIDE_REDIS_URL=redis://redis:6379")
        self.directory = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)
        (self.directory / "deploy").symlink_to(ROOT / "deploy")
        self.write("Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n")
        self.write("templates/app.yaml", webhook.asking("Deployment", f"{ONE_LOCK}; sleep 600"))

    def write(self, name, text):
        file = self.directory / "charts" / "web" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def helm(self, commands, version):
        return play(commands, self.directory, helm=version, HELM_NAMESPACE=self.namespace)

    def check(self, commands, version):
        self.helm(commands, version)
        self.kubectl("rollout", "status", "deployment/app", "--timeout=60s", seconds=70)
        self.assertTrue(webhook.has_sidecar(self.pod("app=app")))
        self.assertIn("name: lockside", self.helm("helm get manifest web", version), "it is part of the release")
        # The last line of the page's commands, again: nothing changes.
        generation = ["get", "deployment", "app", "--output=jsonpath={.metadata.generation}"]
        before = self.kubectl(*generation)
        self.helm(commands.strip().splitlines()[-1], version)
        self.assertEqual(self.kubectl(*generation), before)
        self.helm("helm uninstall web --wait", version)
        self.assertEqual(self.kubectl("get", "deployments", "--output=name"), "")

    def test_with_helm_3(self):
        self.check(HELM_3, 3)

    def test_with_helm_4_as_a_plug_in(self):
        self.addCleanup(self.helm, "helm plugin uninstall lockside", 4)
        self.check(HELM_4, 4)

    def test_what_it_refuses_installs_nothing(self):
        self.write("templates/app.yaml", webhook.asking("Deployment", "true", {"lockside/opsport": "9421"}))
        with self.assertRaisesRegex(AssertionError, "lockside/opsport"):
            self.helm(HELM_3, 3)
        self.assertEqual(self.kubectl("get", "deployments", "--output=name"), "")


if __name__ == "__main__":
    unittest.main()
