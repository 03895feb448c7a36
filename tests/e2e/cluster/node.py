"""One Kubernetes node, in namespaces of its own: what it starts, mounts and routes ends with its first process.

The machine's own network, mounts and processes are not touched; only the cgroups of pods are the machine's, and `close`
removes them. Images are brought in with `load`, since nothing is pulled; pods have no way to the outside.
"""

import json
import pathlib
import shlex
import shutil
import string
import subprocess
import tempfile

from cluster import cgroups
from patience import eventually

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAMS = ROOT / "target" / "e2e" / "cluster"
CONFIGURATION = pathlib.Path(__file__).parent / "configuration"
# The node, and the DNS of its pods.
ADDRESSES = ["10.89.0.1", "10.90.0.10"]
SERVICES = "10.90.0.0/24"
# Where programs would leave files on the machine.
OWN_DIRECTORIES = ["/run", "/var/log", "/var/lib/cni"]
# `unshare` starts the node's first process, and neither outlives these tests, even if they are killed.
UNSHARE = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--mount-proc", "--fork"]


class Failed(Exception):
    """A command ended with an error; what it said is the message."""


class Node:
    def __init__(self):
        cgroups.refuse_another_kubelet()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="lockside-e2e-"))
        self.processes = []
        self.first = self._start_first()
        # Not with `ip netns exec`, which mounts a /sys without the cgroups.
        self.reach = ["nsenter", "--target", str(self._first_pid()), "--net"]
        self.enter = [*self.reach, "--mount", "--pid"]
        try:
            self._prepare()
            self._start_all()
        except BaseException:
            self.close()
            raise

    def _start_first(self):
        return self._popen("first", *UNSHARE, "--kill-child", PROGRAMS / "pause")

    def _popen(self, name, *command):
        with (self.directory / f"{name}.log").open("w") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _first_pid(self):
        children = pathlib.Path(f"/proc/{self.first.pid}/task/{self.first.pid}/children")

        def started():
            pids = children.read_text().split()
            # Until then it is still `unshare`, which has mounted nothing yet.
            return pids and pathlib.Path(f"/proc/{pids[0]}/comm").read_text() == "pause\n" and int(pids[0])

        return eventually("the first process of the node", 10, started)

    def _prepare(self):
        for name in ("cni", "run", "logs", "volume", "kubelet"):
            (self.directory / name).mkdir()
        # Any user of a pod may write there: nothing gives the volume to its group.
        (self.directory / "volume").chmod(0o777)
        (self.directory / "resolv.conf").write_text("")
        self._write_command("kubectl", *self.reach, *self._kubectl())
        self._write_command("kustomize", PROGRAMS / "kubernetes", "kustomize")
        for version in (3, 4):
            (self.directory / f"helm{version}").mkdir()
            self._write_command(f"helm{version}/helm", *self.reach, "env", *self._helm(version))
        self._write_command("load", *self.enter, *self._ctr("images", "import", "-"))
        for file in CONFIGURATION.rglob("*"):
            if file.is_file():
                text = string.Template(file.read_text()).substitute(directory=self.directory)
                (self.directory / file.relative_to(CONFIGURATION)).write_text(text)
        for directory in OWN_DIRECTORIES:
            pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
            self.run("mount", "-t", "tmpfs", "tmpfs", directory)
        self.run("ip", "link", "set", "lo", "up")
        for address in ADDRESSES:
            self.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        # For the API server, which asks webhooks at the address of their Service: kube-proxy leads it from there.
        self.run("ip", "route", "add", SERVICES, "dev", "lo", "src", ADDRESSES[0])

    def _write_command(self, name, *command):
        """A command for people, in the node's directory."""
        file = self.directory / name
        file.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, command))} "$@"\n')
        file.chmod(0o755)

    def _start_all(self):
        at, kubeconfig = self.directory, f"--kubeconfig={self.directory}/kubeconfig"
        kubernetes = PROGRAMS / "kubernetes"
        self._start("apiserver", kubernetes, "apiserver", at / "api")
        self._start("containerd", "containerd", "--config", at / "containerd.toml")
        self._eventually("containerd serves", lambda: self.try_run(*self._ctr("version")).returncode == 0)
        self._eventually("the API is ready", lambda: self.try_kubectl("get", "--raw", "/readyz").returncode == 0)
        alone = ["--leader-elect=false", "--secure-port=0"]
        accounts = f"--service-account-private-key-file={at}/api/service-accounts.pem"
        authority = f"--root-ca-file={at}/api/certificates/apiserver.crt"
        self._start("controllers", kubernetes, "controllers", kubeconfig, *alone, accounts, authority)
        self._start("scheduler", kubernetes, "scheduler", kubeconfig, *alone)
        own = [f"--root-dir={at}/kubelet", f"--cert-dir={at}/kubelet/certificates"]
        own += ["--hostname-override=node", f"--node-ip={ADDRESSES[0]}"]
        self._start("kubelet", kubernetes, "kubelet", kubeconfig, f"--config={at}/kubelet.yaml", *own)
        self._start("proxy", kubernetes, "proxy", f"--config={at}/proxy.yaml")
        self._start("dns", PROGRAMS / "dns", "-conf", at / "Corefile")
        self._eventually("the node is known", lambda: self.try_kubectl("get", "node/node").returncode == 0)
        self.kubectl("wait", "--for=condition=Ready", "node/node", "--timeout=60s")
        self.kubectl("apply", "--filename", at / "volume.yaml")

    def _start(self, name, *command):
        self.processes.append((name, self._popen(name, *self.enter, *command)))

    def _eventually(self, what, condition):
        """As `eventually`, but a program of the node that has ended says why at once."""

        def checked():
            for name, process in self.processes:
                if process.poll() is not None:
                    raise Failed(f"{name} has ended:\n{self.log(name)}")
            return condition()

        return eventually(what, 60, checked)

    def log(self, name):
        """The last lines that a program of the node has written."""
        return "\n".join((self.directory / f"{name}.log").read_text().splitlines()[-20:])

    def try_run(self, *command, **options):
        """Runs a command inside to its end, at most `seconds`, and returns the finished process."""
        return _try(*self.enter, *command, **options)

    def run(self, *command, **options):
        """As `try_run`, for a command that must succeed; returns what it printed."""
        return _successful(self.try_run(*command, **options))

    def try_kubectl(self, *arguments, **options):
        return _try(*self.reach, *self._kubectl(), *arguments, **options)

    def kubectl(self, *arguments, **options):
        """Runs kubectl, which must succeed; returns what it printed."""
        return _successful(self.try_kubectl(*arguments, **options))

    def get(self, *arguments):
        """What `kubectl get` finds."""
        return json.loads(self.kubectl("get", *arguments, "--output=json"))

    def _kubectl(self):
        return [PROGRAMS / "kubernetes", "kubectl", "--kubeconfig", self.directory / "kubeconfig"]

    def _ctr(self, *arguments):
        return ["ctr", "--address", self.directory / "containerd.sock", "--namespace", "k8s.io", *arguments]

    def _helm(self, version):
        """Of this node, and with its files there: none of the machine's own Helm."""
        at = self.directory / f"helm{version}"
        homes = [f"HELM_{home}_HOME={at}/{home.lower()}" for home in ("CACHE", "CONFIG", "DATA")]
        return [f"KUBECONFIG={self.directory}/kubeconfig", *homes, PROGRAMS / f"helm{version}" / "helm"]

    def signal(self, namespace, pod, container, name):
        """Sends a signal to the first process of a container."""
        status = self.get("pod", pod, "--namespace", namespace)["status"]
        containers = status.get("initContainerStatuses", []) + status["containerStatuses"]
        (identity,) = [found["containerID"] for found in containers if found["name"] == container]
        self.run(*self._ctr("tasks", "kill", "--signal", name, identity.removeprefix("containerd://")))

    def load(self, archive):
        """Brings images in: the file is what `podman save` or `docker save` wrote."""
        self.run(*self._ctr("images", "import", archive))

    def close(self):
        """Ends the node with all its pods, and leaves nothing behind."""
        self.first.kill()
        self.first.wait()
        for _, process in self.processes:
            process.wait()
        cgroups.remove()
        shutil.rmtree(self.directory)


def _try(*command, seconds=60, stdin=None):
    whole = ["timeout", "--kill-after=5", str(seconds), *map(str, command)]
    return subprocess.run(whole, capture_output=True, text=True, input=stdin)


def _successful(done):
    if done.returncode != 0:
        command = " ".join(map(str, done.args))
        raise Failed(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
