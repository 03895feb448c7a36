"""The resources for the Prometheus Operator, against the definitions that it installs in a cluster."""

import unittest

from cluster import shared
from cluster.node import PROGRAMS
from manifests import ROOT

NAMESPACE = "monitoring"


class Monitoring(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = node = shared.node()
        # Their text is too long for the annotation of an `apply` by the client.
        node.kubectl("apply", "--server-side", "--filename", PROGRAMS / "operator")
        for name in ("podmonitors", "prometheusrules"):
            definition = f"customresourcedefinition/{name}.monitoring.coreos.com"
            node.kubectl("wait", "--for=condition=Established", definition, "--timeout=30s")
        node.kubectl("create", "namespace", NAMESPACE)

    def kubectl(self, *arguments, **options):
        return self.node.kubectl("--namespace", NAMESPACE, *arguments, **options)

    def test_the_operators_definitions_accept_the_monitor_and_the_rules(self):
        said = self.kubectl("apply", "--validate=strict", "--kustomize", ROOT / "deploy" / "prometheus")
        self.assertIn("podmonitor.monitoring.coreos.com/lockside created", said)
        self.assertIn("prometheusrule.monitoring.coreos.com/lockside created", said)

    def test_they_refuse_a_field_that_the_operator_does_not_know(self):
        monitor = (ROOT / "deploy" / "prometheus" / "podmonitor.yaml").read_text()
        wrong = monitor.replace("jobLabel:", "jobLable:")
        self.assertNotEqual(wrong, monitor)
        arguments = ["--namespace", NAMESPACE, "apply", "--validate=strict", "--dry-run=server", "--filename", "-"]
        done = self.node.try_kubectl(*arguments, stdin=wrong)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("jobLable", done.stderr)

    def test_the_dashboard_is_accepted(self):
        said = self.kubectl("apply", "--server-side", "--kustomize", ROOT / "deploy" / "grafana")
        self.assertIn("configmap/lockside-dashboard", said)


if __name__ == "__main__":
    unittest.main()
