"""The webhook's chart by Helm, from install to uninstall, while labelled pods are created all the time."""

import unittest

from cluster import shared, webhook
from cluster.pages import block, play
from patience import eventually

UPGRADE = f"helm upgrade {webhook.NAME} deploy/helm --namespace {webhook.NAME} --reuse-values"
RENEW = block("injection.md", "lockside/certificate-expires-\n")
RENEW_CA = block("injection.md", "lockside/ca-expires-")
ROLLBACK = f"helm rollback {webhook.NAME} --namespace {webhook.NAME}"
# The kubelet looks after a Secret once a minute, and lockside each few seconds.
READ = 150
# They come and go by themselves.
FLEETING = {"events", "events.events.k8s.io"}


class Chart(unittest.TestCase):
    def setUp(self):
        self.addCleanup(webhook.remove)
        webhook.install()

    def check(self, asking, what):
        print(f"{what}: {asking.asked} labelled pods, {len(asking.refused)} of them refused", flush=True)
        self.assertEqual(asking.refused, [])

    def test_an_upgrade_keeps_the_certificate_and_replaces_restricted_replicas_while_pods_are_admitted(self):
        first, _ = webhook.secret()
        before = replicas()
        shared.node().kubectl("label", "namespace", webhook.NAME, "pod-security.kubernetes.io/enforce=restricted")
        with webhook.Asking() as asking:
            play(f"{UPGRADE} --set resources.requests.memory=24Mi")
            webhook.rolled_out()
            eventually("the old replicas have ended", 60, lambda: before.isdisjoint(replicas()))
        self.check(asking, "upgrade")
        self.assertEqual(webhook.secret()[0], first)
        self.assertEqual(len(webhook.pods()), 2)
        with webhook.Asking() as asking:
            play(f"{ROLLBACK} 1")
            webhook.rolled_out()
        self.check(asking, "rollback")
        requests = {pod["spec"]["containers"][0]["resources"]["requests"]["memory"] for pod in webhook.pods()}
        self.assertIn("16Mi", requests)

    def test_a_renewal_and_a_rollback_across_it_refuse_no_pod(self):
        first, of_first = webhook.secret()
        self.assertTrue(webhook.is_presented(first["tls.crt"]))
        with webhook.Asking() as asking:
            play(RENEW)
            renewed, of_renewed = webhook.secret()
            self.assertNotEqual(renewed["tls.crt"], first["tls.crt"])
            self.assertEqual((renewed["ca.crt"], renewed["ca.key"]), (first["ca.crt"], first["ca.key"]))
            self.assertEqual(of_renewed["lockside/ca-expires"], of_first["lockside/ca-expires"])
            eventually("every replica has it", READ, lambda: webhook.is_presented(renewed["tls.crt"]))
        self.check(asking, "renewal")
        with webhook.Asking() as asking:
            play(f"{ROLLBACK} 1")
            self.assertEqual(webhook.secret()[0], first)
            webhook.look_now()
            eventually("every replica has the first", READ, lambda: webhook.is_presented(first["tls.crt"]))
        self.check(asking, "rollback across a renewal")

    def test_a_new_ca_refuses_no_pod_and_after_a_rollback_across_it_replicas_are_untrusted_until_they_have_read_it(self):
        first, _ = webhook.secret()
        with webhook.Asking() as asking:
            play(RENEW_CA)
            renewed, annotations = webhook.secret()
            self.assertTrue(renewed["ca.crt"].endswith(first["ca.crt"]), "the earlier CA stays trusted")
            self.assertEqual(renewed["ca.crt"].count("BEGIN CERTIFICATE"), 2)
            self.assertNotEqual(renewed["ca.key"], first["ca.key"])
            self.assertEqual(annotations["lockside/ca-expires"].count(","), 1)
            webhook.look_now()
            eventually("every replica has it", READ, lambda: webhook.is_presented(renewed["tls.crt"]))
        self.check(asking, "a new CA")
        play(f"{ROLLBACK} 1")
        # New connections fail, and the API server may have open ones.
        self.assertFalse(webhook.is_presented(renewed["tls.crt"]))
        webhook.look_now()
        eventually("every replica has the first", READ, lambda: webhook.is_presented(first["tls.crt"]))
        eventually("pods are admitted again", 30, lambda: webhook.is_injected(webhook.ask("default")))
        with webhook.Asking() as asking:
            play(UPGRADE)
        self.check(asking, "the next upgrade")

    def test_uninstalled_it_leaves_nothing(self):
        webhook.remove()
        before = everything()
        webhook.install()
        added = everything() - before
        kinds = {kind for kind, *_ in added}
        self.assertLessEqual({"Deployment", "Secret", "Service", "MutatingWebhookConfiguration", "Namespace"}, kinds)
        webhook.remove()
        eventually("what the controllers remove has gone", 60, lambda: everything() <= before)
        print(f"uninstall: {len(added)} objects of {len(kinds)} kinds have gone", flush=True)
        self.assertTrue(shared.node().try_kubectl("get", "namespace", webhook.NAME).returncode)

    def test_helm_4_installs_upgrades_and_uninstalls_it_too(self):
        webhook.remove()
        before = everything()
        webhook.install(helm=4)
        first, _ = webhook.secret()
        with webhook.Asking() as asking:
            play(f"{UPGRADE} --set resources.requests.memory=24Mi", helm=4)
            webhook.rolled_out()
            play(RENEW, helm=4)
            self.assertNotEqual(webhook.secret()[0]["tls.crt"], first["tls.crt"])
            play(f"{ROLLBACK} 1", helm=4)
            webhook.rolled_out()
        self.check(asking, "Helm 4: upgrade, renewal, rollback")
        self.assertEqual(webhook.secret()[0], first)
        webhook.remove(helm=4)
        eventually("nothing is left", 60, lambda: everything() <= before)


def replicas():
    """The names of the webhook's pods."""
    return {pod["metadata"]["name"] for pod in webhook.pods()}


def everything():
    """Every object of the cluster, of whatever kind: its kind, namespace and name. Not those of other tests' namespaces."""
    node = shared.node()
    kinds = set(node.kubectl("api-resources", "--verbs=list", "--output=name").split()) - FLEETING
    found = {
        (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"])
        for item in node.get(",".join(sorted(kinds)), "--all-namespaces")["items"]
    }
    own = {"", "default", "kube-system", "kube-public", "kube-node-lease", webhook.NAME}
    return {(kind, namespace, name) for kind, namespace, name in found if namespace in own}


if __name__ == "__main__":
    unittest.main()
