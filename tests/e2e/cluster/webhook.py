"""The webhook on the node, installed as docs/operations/injection.md prints it, and pods that ask it for a sidecar."""

import base64
import json
import shlex
import ssl
import threading

import yaml

from cluster import shared
from cluster.images import BUSYBOX
from cluster.pages import block, play
from cluster.workloads import workload
from manifests import pod_template
from patience import eventually

# Its release, and the namespace of that.
NAME = "lockside"
LABEL = "lockside/inject"
SECRET = f"{NAME}-tls"
INSTALL = block("injection.md", "helm install lockside").strip()
UNINSTALL = block("injection.md", "helm uninstall lockside")


def kubectl(*arguments, **options):
    return shared.node().kubectl("--namespace", NAME, *arguments, **options)


def install(*flags, helm=3):
    """Installs the chart, and waits until labelled pods get a sidecar."""
    play(f"{INSTALL} {shlex.join(flags)}", helm=helm)
    rolled_out()
    eventually("the API server knows the webhook", 30, lambda: is_injected(ask("default")))


def rolled_out():
    kubectl("rollout", "status", f"deployment/{NAME}", "--timeout=120s", seconds=130)


def remove(helm=3):
    """Uninstalls the chart, if it still is installed, as the page prints it."""
    if NAME in play(f"helm list --namespace {NAME} --short", helm=helm):
        play(UNINSTALL, helm=helm)


def scale(replicas):
    kubectl("scale", f"deployment/{NAME}", f"--replicas={replicas}")
    if replicas:
        return rolled_out()
    eventually("no replica is left", 60, lambda: not pods())
    return eventually("its Service has none", 30, lambda: not endpoints())


def endpoints():
    """What its Service leads to."""
    slices = ["endpointslices", "--namespace", NAME, f"--selector=kubernetes.io/service-name={NAME}"]
    return [found for part in shared.node().get(*slices)["items"] for found in part.get("endpoints") or []]


def pods():
    """Those of the webhook."""
    return shared.node().get("pods", "--namespace", NAME, f"--selector=app.kubernetes.io/instance={NAME}")["items"]


def secret():
    """The Secret with the certificate that the chart makes: its texts, and its annotations."""
    found = shared.node().get("secret", SECRET, "--namespace", NAME)
    data = {name: base64.b64decode(text).decode() for name, text in found["data"].items()}
    return data, found["metadata"]["annotations"]


def is_presented(certificate):
    """Whether each replica presents this certificate, PEM, and the API server would trust it at a new connection."""
    (configured,) = shared.node().get("mutatingwebhookconfigurations", f"{NAME}.{NAME}")["webhooks"]
    bundle = shared.node().directory / "webhook.pem"
    bundle.write_bytes(base64.b64decode(configured["clientConfig"]["caBundle"]))
    expected = ssl.PEM_cert_to_DER_cert(certificate.strip())
    return all(_presented(pod["status"]["podIP"], bundle, configured["name"]) == expected for pod in pods())


def _presented(address, bundle, name):
    """The certificate at an address, DER, if it is trusted there."""
    trust = ["-CAfile", bundle, "-verify_hostname", name]
    said = shared.node().run("openssl", "s_client", "-connect", f"{address}:8443", *trust, stdin="")
    if "Verify return code: 0 (ok)" not in said:
        return None
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(begin + said.split(begin, 1)[1].split(end, 1)[0] + end)


def look_now():
    """Has the kubelet bring the Secret into the pods at once, which else takes it about a minute."""
    kubectl("annotate", "pods", "--all", "looked=now", "--overwrite")
    kubectl("annotate", "pods", "--all", "looked-")


def pod(name="app", script="true", labels=None, annotations=None):
    """A pod that asks for a sidecar, unless `labels` say otherwise, as YAML."""
    labels = {LABEL: "true"} if labels is None else labels
    metadata = {"name": name, "labels": labels, "annotations": annotations or {}}
    container = {"name": "app", "image": BUSYBOX, "command": ["sh", "-c", script]}
    spec = {"terminationGracePeriodSeconds": 0, "restartPolicy": "Never", "containers": [container]}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def asking(kind, script, annotations=None):
    """A workload whose pods ask for a sidecar, as YAML."""
    made = yaml.safe_load(workload(kind, script))
    metadata = pod_template(made)["metadata"]
    metadata["labels"][LABEL] = "true"
    metadata["annotations"] = annotations or {}
    return yaml.safe_dump(made)


def ask(namespace, asked=None):
    """Asks the API server for a pod, which it would admit or refuse, and makes none; returns the finished process."""
    create = ["--namespace", namespace, "create", "--dry-run=server", "--output=json", "--filename", "-"]
    return shared.node().try_kubectl(*create, stdin=asked or pod())


def is_injected(done):
    """Whether the pod was admitted, with a sidecar."""
    return done.returncode == 0 and has_sidecar(json.loads(done.stdout))


def has_sidecar(made):
    return "lockside" in [container["name"] for container in made["spec"].get("initContainers", [])]


class Asking:
    """While it is entered, labelled pods are asked for without a pause."""

    def __init__(self):
        self.asked, self.refused = 0, []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        # However soon what it accompanies was over.
        until = self.asked + 3
        eventually("some are asked for", 60, lambda: self.asked >= until)
        self.ended.set()
        self.thread.join()

    def _ask(self):
        while not self.ended.is_set():
            done = ask("default")
            self.asked += 1
            if not is_injected(done):
                self.refused.append(done.stderr or "admitted without a sidecar")
