"""What the kustomizations in deploy/kubernetes make."""

import contextlib
import pathlib
import subprocess
import tempfile
import textwrap

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
# Built by `make node`, with kustomize in it.
PROGRAM = ROOT / "target" / "e2e" / "cluster" / "kubernetes"


def render(directory):
    """The documents that a kustomization makes, as a user's `kubectl apply -k` would send them."""
    done = subprocess.run([PROGRAM, "kustomize", "build", directory], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@contextlib.contextmanager
def kustomization(text, **files):
    """The directory of a user's own kustomization, which takes ours by relative paths."""
    (ROOT / "target").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as directory:
        for name, content in files.items():
            pathlib.Path(directory, f"{name}.yaml").write_text(content)
        pathlib.Path(directory, "kustomization.yaml").write_text(textwrap.dedent(text))
        yield directory


def pod_template(workload):
    """The template of a workload's pods, of whatever kind it is."""
    spec = workload["spec"]
    return spec.get("jobTemplate", {"spec": spec})["spec"]["template"]


def only(documents, kind, name=None):
    """The one document of a kind; `name` may lack the hash that kustomize adds."""
    found = [
        document
        for document in documents
        if document["kind"] == kind and (name is None or document["metadata"]["name"].startswith(name))
    ]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]
