"""What make needs for a release, and says where it does not have it."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from files import ROOT, run
from test_files import clean_environment

ARM64 = "aarch64-unknown-linux-gnu"
NEEDED = ("aarch64", "cyclonedx", "qemu", "skopeo", "deploy/release")


def programs(directory: str, **scripts: str) -> dict[str, str]:
    """An environment in which these shell scripts come before the machine's own programs."""
    for name, script in scripts.items():
        path = Path(directory, name)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return {**clean_environment(), "PATH": f"{directory}:{os.environ['PATH']}"}


class Target(unittest.TestCase):
    """A toolchain without the target, whose server is out of reach."""

    rustc = f'case "$*" in *"--target {ARM64}"*) echo /nowhere ;; *) exec {{rustc}} "$@" ;; esac'

    def make(self, *targets: str, **scripts: str) -> subprocess.CompletedProcess:
        rustc = run("rustup", "which", "rustc", check=True).stdout.strip()
        with tempfile.TemporaryDirectory() as directory:
            scripts = {"rustc": self.rustc.format(rustc=rustc), "cargo": f"echo built >>{directory}/built", **scripts}
            done = run("make", "--no-print-directory", *targets, "ALLOW_DIRTY=1", cwd=ROOT, env=programs(directory, **scripts))
            self.assertFalse(Path(directory, "built").exists(), "nothing is built")
        return done

    def test_where_it_cannot_be_added_a_release_names_it_and_fails_before_anything_is_built(self):
        done = self.make("release", rustup="echo 'error: could not download' >&2; exit 1")
        self.assertEqual(done.returncode, 2, done.stdout)
        self.assertIn("error: could not download", done.stderr)
        self.assertIn(f"The Rust target {ARM64} cannot be added", done.stderr)
        self.assertIn(f"rustup target add {ARM64}", done.stderr)

    def test_it_is_added_where_it_is_missing(self):
        with tempfile.TemporaryDirectory() as directory:
            asked = Path(directory, "asked")
            done = self.make("arm64-target", rustup=f'echo "$*" >{asked}')
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(asked.read_text(), f"target add {ARM64}\n")

    def test_neither_the_tests_nor_what_is_required_before_merging_needs_it(self):
        required = [line.removeprefix("make ") for line in (ROOT / ".ci/run").read_text().splitlines() if line.startswith("make ")]
        self.assertIn("test", required)
        for target in required:
            done = run("make", "--dry-run", target, cwd=ROOT, env=clean_environment(), check=True)
            for name in NEEDED:
                self.assertNotIn(name, done.stdout, target)


class Refusals(unittest.TestCase):
    def test_changed_files_are_named(self):
        with tempfile.TemporaryDirectory() as directory:
            environment = programs(directory, git='case "$1" in status) echo " M src/main.rs" ;; *) echo 0 ;; esac')
            done = run("make", "--no-print-directory", "releasable", cwd=ROOT, env=environment)
            self.assertEqual(done.returncode, 2)
            self.assertIn("A release is built of a commit; commit or stash these first:\n M src/main.rs\n", done.stderr)
            allowed = run("make", "--no-print-directory", "releasable", "ALLOW_DIRTY=1", cwd=ROOT, env=environment)
            self.assertEqual(allowed.returncode, 0, allowed.stderr)

    def test_another_machine_is_named(self):
        done = run("make", "releasable", "ALLOW_DIRTY=1", f"HOST={ARM64}", cwd=ROOT, env=clean_environment())
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"this is {ARM64}", done.stderr)

    def test_an_older_binary_is_not_released(self):
        with tempfile.TemporaryDirectory() as directory:
            done = run("python3", "-B", "deploy/release/release.py", "--version", "9.9.9", "--commit", "0", "--cyclonedx", "none",
                       f"{directory}/dist", cwd=ROOT, env={**os.environ, "SOURCE_DATE_EPOCH": "0"})
            self.assertEqual(done.returncode, 1)
            self.assertIn("target/image/lockside is not of ('9.9.9', '0', None)", done.stderr)
            self.assertFalse(Path(directory, "dist").exists())


if __name__ == "__main__":
    unittest.main()
