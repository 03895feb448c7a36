"""Every sample in the documents and every example runs, against a real sidecar."""

import os
import re
import subprocess
import sys
import unittest

from sidecar import HERE, ROOT, SidecarTest, lockside

PACKAGE = HERE.parent


class Documents(SidecarTest):
    flags = ("--elect", "jobs", "--elect-ttl", "1s")

    def test_every_sample_runs(self):
        for page in (ROOT / "docs/clients/python.md", PACKAGE / "README.md"):
            samples = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
            self.assertTrue(samples, page)
            for sample in samples:
                with self.subTest(page.name, sample=sample.splitlines()[0]):
                    self.run_python("-c", sample)

    def test_every_example_runs(self):
        examples = sorted((PACKAGE / "examples").glob("*.py"))
        self.assertTrue(examples)
        for example in examples:
            with self.subTest(example.name):
                self.run_python(str(example))

    def run_python(self, *arguments):
        env = {**os.environ, "PYTHONPATH": str(PACKAGE / "src")}
        command = [sys.executable, "-B", "-W", "error", *arguments]
        ended = subprocess.run(command, env=env, text=True, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(ended.returncode, 0, ended.stdout)


class Pages(unittest.TestCase):
    def test_the_page_names_everything_that_the_package_has(self):
        page = (ROOT / "docs/clients/python.md").read_text()
        missing = [name for name in lockside.__all__ if name not in ("AsyncLock", "Holder", "Lock") and name not in page]
        self.assertEqual(missing, [])

    def test_no_file_is_above_300_lines(self):
        long = {path.name: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
        self.assertEqual({name: lines for name, lines in long.items() if lines > 300}, {})

    def test_the_version_is_that_of_lockside(self):
        version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)
        version = version.replace("-dev", ".dev0")  # as PyPI spells it
        self.assertEqual(lockside.__version__, version)
        self.assertIn(f'\nversion = "{version}"\n', (PACKAGE / "pyproject.toml").read_text())


if __name__ == "__main__":
    unittest.main()
