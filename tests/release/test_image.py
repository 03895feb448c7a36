"""The image: one index for two platforms, the same as `make image` makes of the same Dockerfile, and it runs."""

import gzip
import io
import json
import tarfile
import tempfile
import unittest
from pathlib import Path

from files import ARCHITECTURES, BINARIES, IMAGE, ROOT, VERSION, commit, largest, run
from image import last_stage
from patience import eventually
from podman import Podman

REFERENCE = f"oci-archive:{IMAGE}:{VERSION}"


def inspected(architecture: str, *flags: str) -> dict:
    done = run("skopeo", "--override-arch", architecture, "inspect", *flags, REFERENCE)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Layout(unittest.TestCase):
    def test_one_index_has_both_platforms(self):
        index = json.loads(run("skopeo", "inspect", "--raw", REFERENCE, check=True).stdout)
        self.assertEqual(index["mediaType"], "application/vnd.oci.image.index.v1+json")
        platforms = [manifest["platform"] for manifest in index["manifests"]]
        self.assertEqual(platforms, [{"architecture": "amd64", "os": "linux"},
                                     {"architecture": "arm64", "os": "linux", "variant": "v8"}])
        self.assertEqual(index["annotations"]["org.opencontainers.image.version"], VERSION)
        self.assertEqual(index["annotations"]["org.opencontainers.image.revision"], commit())

    def test_a_registry_would_get_each_blob_as_its_digest_says(self):
        # As `skopeo copy` to a registry does: it looks at every digest and size.
        with tempfile.TemporaryDirectory() as directory:
            target = f"oci:{directory}/there:copy"
            copied = run("skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", REFERENCE, target)
            self.assertEqual(copied.returncode, 0, copied.stderr)
            there = {path.name for path in Path(directory, "there/blobs/sha256").iterdir()}
        with tarfile.open(IMAGE) as archive:
            here = {Path(entry.name).name for entry in archive if entry.name.startswith("blobs/sha256/")}
        self.assertEqual(there, here, "nothing more, and nothing that no manifest names")

    def test_each_platform_has_the_binary_of_its_archive(self):
        for architecture in ARCHITECTURES:
            files = {entry.name: entry for entry, _ in self.files(architecture)}
            contents = {entry.name: content for entry, content in self.files(architecture)}
            self.assertEqual(contents["lockside"], BINARIES[architecture].read_bytes())
            self.assertEqual((files["lockside"].mode, files["lockside"].uid), (0o755, 0))
            pages = ROOT / "target/image/man"
            names = {f"usr/share/man/man1/{path.name}" for path in pages.iterdir()}
            self.assertEqual({name for name, content in contents.items() if content is not None}, {"lockside", *names})
            config = inspected(architecture, "--config")
            self.assertEqual(config["architecture"], architecture)
            self.assertEqual(config["config"]["Labels"]["org.opencontainers.image.title"], "lockside")

    def test_each_is_below_10_megabytes_unpacked(self):
        for architecture in ARCHITECTURES:
            size = sum(len(content or b"") for _, content in self.files(architecture))
            print(f"{architecture}: {size / 1e6:.2f} MB")
            self.assertLess(size, largest(architecture))

    def files(self, architecture: str):
        """What the layers of a platform have, with the contents of files."""
        layers = inspected(architecture)["Layers"]
        with tarfile.open(IMAGE) as archive:
            for layer in layers:
                blob = archive.extractfile(f"blobs/sha256/{layer.removeprefix('sha256:')}").read()
                with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob))) as unpacked:
                    for entry in unpacked:
                        yield entry, unpacked.extractfile(entry).read() if entry.isfile() else None


class Dockerfile(unittest.TestCase):
    def test_a_stage_that_needs_a_registry_or_an_engine_is_refused(self):
        refused = {
            "FROM debian:12\nCMD [\"x\"]": "FROM debian:12",
            "FROM scratch\nRUN make": "RUN make",
            "FROM scratch\nCOPY a /b": "COPY a /b",
        }
        for text, why in refused.items():
            with self.assertRaisesRegex(ValueError, why):
                last_stage(text)

    def test_both_stages_stand_on_what_cannot_change(self):
        lines = (ROOT / "deploy/Dockerfile").read_text().splitlines()
        bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
        self.assertEqual(len(bases), 2)
        self.assertRegex(bases[0], r"^docker\.io/library/rust:1\.\d+-bookworm@sha256:[0-9a-f]{64}$")
        self.assertEqual(bases[1], "scratch")
        self.assertIn(bases[0], (ROOT / "deploy/release/workflow.yaml").read_text(), "the workflow builds in the same image")


class Running(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.podman = Podman()
        cls.addClassCleanup(cls.podman.close)
        cls.image = cls.podman.run("pull", "--quiet", REFERENCE)

    def test_the_one_of_this_machine_serves_and_is_healthy(self):
        podman = self.podman
        start = ["run", "--detach", "--name", "alone", "--network", "none", "--read-only", "--cap-drop", "all"]
        podman.run(*start, "--env", "LOCKSIDE_REDIS_URL=redis://127.0.0.1:1", self.image)
        eventually("alive", 10, lambda: podman.try_run("exec", "alone", "/lockside", "health").returncode == 0)
        ready = podman.try_run("exec", "alone", "/lockside", "health", "--ready")
        self.assertEqual(ready.returncode, 69, ready.stderr)
        told = json.loads(podman.run("exec", "alone", "/lockside", "version", "--json"))
        self.assertEqual((told["version"], told["sidecar"], told["commit"]), (VERSION, VERSION, commit()))
        podman.run("stop", "--time", 10, "alone")
        self.assertEqual(podman.run("inspect", "--format", "{{.State.ExitCode}}", "alone"), "0")

    def test_it_locks_beside_a_redis(self):
        podman = self.podman
        podman.redis_image("redis")
        podman.run("pod", "create", "--name", "locks", "--network", "none")
        podman.run("run", "--detach", "--pod", "locks", "redis", "/bin/redis-server", "--save", "")
        start = ["run", "--detach", "--name", "locking", "--pod", "locks", "--read-only", "--cap-drop", "all"]
        podman.run(*start, "--env", "LOCKSIDE_REDIS_URL=redis://locks:6379", self.image)
        ready = ["exec", "locking", "/lockside", "health", "--ready"]
        eventually("ready", 10, lambda: podman.try_run(*ready).returncode == 0)
        shown = podman.run("exec", "locking", "/lockside", "exec", "--try", "key", "--", "/lockside", "show", "key")
        self.assertIn("held", shown)

    def test_it_is_configured_as_the_one_that_podman_builds_of_the_same_file(self):
        built = json.loads(self.podman.run("inspect", self.podman.make_image()))[0]
        ours = inspected("amd64", "--config", "--raw")["config"]
        for key in ("User", "Cmd", "Entrypoint", "ExposedPorts", "Env"):
            self.assertEqual(ours[key], built["Config"][key], key)
        self.assertEqual(ours["Healthcheck"], built["Healthcheck"])
        # Engines add labels of their own.
        labels = {name: value for name, value in built["Labels"].items() if name.startswith("org.opencontainers.image.")}
        for name, value in labels.items():
            self.assertEqual(ours["Labels"][name], value)
        self.assertGreaterEqual(len(labels), 3)

        files = [self.exported(image) for image in (self.image, built["Id"])]
        self.assertEqual(*files)
        self.assertIn("lockside", files[0])

    def exported(self, image: str) -> dict:
        """The files of an image with content, and their owners and modes."""
        container = self.podman.run("create", "--network", "none", image)
        archive = self.podman.home / f"{container}.tar"
        self.podman.run("export", "--output", archive, container)
        with tarfile.open(archive) as tar:
            return {entry.name: (entry.size, entry.uid, entry.gid, entry.mode) for entry in tar if entry.isfile() and entry.size}


if __name__ == "__main__":
    unittest.main()
