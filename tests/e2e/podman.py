"""Podman with a storage and a configuration of the tests' own, and images made without a registry.

Nothing of the machine's own podman is seen or touched, and nothing is left behind.
"""

import os
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Debian's crun fails on hybrid cgroups, and there may be no systemd to ask for anything.
CONTAINERS_CONF = """
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=16384:16384", "nproc=16384:16384"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_config_dir = "{home}/networks"
"""

STORAGE_CONF = """
[storage]
driver = "overlay"
runroot = "{home}/run"
graphroot = "{home}/graph"
"""


class Podman:
    """A podman of its own; `close` removes every container and image and all storage."""

    def __init__(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="lockside-e2e-"))
        (self.home / "containers.conf").write_text(CONTAINERS_CONF.format(home=self.home))
        (self.home / "storage.conf").write_text(STORAGE_CONF.format(home=self.home))
        self.environment = dict(
            os.environ,
            CONTAINERS_CONF=str(self.home / "containers.conf"),
            CONTAINERS_STORAGE_CONF=str(self.home / "storage.conf"),
        )

    def try_run(self, *arguments, seconds=30, stdin=None):
        """Runs a podman command to its end, at most `seconds`, and returns the finished process."""
        command = ["timeout", "--kill-after=5", str(seconds), "podman", *map(str, arguments)]
        return subprocess.run(command, env=self.environment, input=stdin, capture_output=True, text=True)

    def run(self, *arguments, **options):
        """As `try_run`, for a command that must succeed; returns what it printed."""
        done = self.try_run(*arguments, **options)
        if done.returncode != 0:
            command = " ".join(map(str, arguments))
            raise AssertionError(f"podman {command}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def make_image(self):
        """`make image`, as a user would; returns the image's name."""
        command = ["timeout", "1200", "make", "--no-print-directory", "image"]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        version = done.stdout.split("Successfully tagged localhost/lockside:")[1].split()[0]
        return f"localhost/lockside:{version}"

    def image_of_programs(self, name, programs, links=()):
        """An image FROM scratch of the machine's own programs with the libraries that they need."""
        with tempfile.TemporaryDirectory(dir=self.home) as context:
            tree = pathlib.Path(context, "tree")
            for program in programs:
                _copy(program, tree)
                for library in _libraries(program):
                    _copy(library, tree)
            for link in links:
                (tree / "bin" / link).symlink_to("busybox")
            pathlib.Path(context, "Dockerfile").write_text("FROM scratch\nCOPY tree /\n")
            self.run("build", "--tag", name, context)

    def redis_image(self, name):
        programs = ["redis-server", "redis-cli", "busybox"]
        self.image_of_programs(name, [shutil.which(program) for program in programs], links=["sh", "cat"])

    def busybox_image(self, name):
        busybox = shutil.which("busybox")
        applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
        self.image_of_programs(name, [busybox], links=[applet for applet in applets if applet != "busybox"])

    def pid(self, container):
        """The process of a container, as this machine numbers it."""
        return int(self.run("inspect", "--format", "{{.State.Pid}}", container))

    def log(self, container):
        """The file with what a container says: a time, a stream, a tag and a text in each line."""
        return pathlib.Path(self.run("inspect", "--format", "{{.HostConfig.LogConfig.Path}}", container))

    def close(self):
        self.try_run("pod", "rm", "--all", "--force", "--time", 0)
        self.try_run("rm", "--all", "--force", "--time", 0)
        self.try_run("network", "prune", "--force")
        self.try_run("rmi", "--all", "--force")
        left = self.try_run("ps", "--all", "--quiet").stdout.strip()
        for mount in ("graph/overlay", "graph"):
            subprocess.run(["umount", self.home / mount], capture_output=True)
        shutil.rmtree(self.home)
        assert left == "", f"containers are left: {left}"


def _libraries(program):
    said = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    return [word for line in said.splitlines() for word in line.split() if word.startswith("/")]


def _copy(path, tree):
    inside = tree / str(path).lstrip("/")
    # As in the images that these stand for: programs are in /bin, and libraries where the loader looks.
    if "/lib" not in str(path):
        inside = tree / "bin" / pathlib.Path(path).name
    inside.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(os.path.realpath(path), inside)
