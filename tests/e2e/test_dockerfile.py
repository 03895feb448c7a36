"""The build stage of the Dockerfile: that the files which .dockerignore lets in are enough for it."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


class BuildStage(unittest.TestCase):
    def test_what_dockerignore_lets_in_builds_the_binary(self):
        ignored, *allowed = [
            line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
        ]
        self.assertEqual(ignored, "*", "everything is left out but what is named")
        lines = (ROOT / "deploy/Dockerfile").read_text().splitlines()
        build, move = [line.removeprefix("RUN ") for line in lines if line.startswith("RUN ")]
        context = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, context)
        for name in allowed:
            source, target = ROOT / name.removeprefix("!"), context / name.removeprefix("!")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
        # Without what another build has left beside the files.
        clean = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "CARGO_TARGET_DIR")}
        built = subprocess.run(["sh", "-c", build], cwd=context, env=clean, capture_output=True, text=True)
        self.assertEqual(built.returncode, 0, built.stdout[-4000:] + built.stderr[-4000:])
        self.assertNotIn("WITHOUT A PROFILE", built.stdout)
        *names, where = move.removeprefix("mv ").split()
        self.assertEqual((where, sorted(names)), ("/", ["target/image/lockside", "target/image/man"]))
        for name in names:
            self.assertTrue((context / name).exists(), name)
        said = subprocess.run([context / "target/image/lockside", "version"], capture_output=True, text=True, check=True)
        self.assertIn("lockside", said.stdout)
        size = sum(file.stat().st_size for file in (context / "target/image").rglob("*") if file.is_file())
        self.assertLess(size, 10_000_000)


if __name__ == "__main__":
    unittest.main()
