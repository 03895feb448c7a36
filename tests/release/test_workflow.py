"""The workflow that publishes a release. It cannot run here; what can be said of it without a forge is held."""

import json
import re
import sys
import tempfile
import unittest
from pathlib import Path

import yaml
from files import ROOT, run

WORKFLOW = ROOT / "deploy/release/workflow.yaml"


class Workflow(unittest.TestCase):
    def setUp(self):
        self.text = WORKFLOW.read_text()
        self.workflow = yaml.safe_load(self.text)
        self.jobs = self.workflow["jobs"]

    def test_an_auditor_of_workflows_finds_nothing(self):
        self.assertEqual(audited(WORKFLOW), set())
        with tempfile.TemporaryDirectory() as directory:
            moving = Path(directory, "workflow.yaml")
            moving.write_text(re.sub(r"checkout@[0-9a-f]{40}", "checkout@v5", self.text))
            self.assertIn("unpinned-uses", audited(moving), "it would find what is there")

    def test_each_action_is_pinned_to_the_commit_of_a_version(self):
        used = re.findall(r"uses: (\S+)(.*)", self.text)
        self.assertGreaterEqual(len(used), 4)
        for action, comment in used:
            self.assertRegex(action, r"^actions/[a-z-]+@[0-9a-f]{40}$")
            self.assertRegex(comment, r"^ # v\d+\.\d+\.\d+$")

    def test_what_runs_the_repository_may_only_read_and_what_may_write_runs_nothing_of_it(self):
        self.assertEqual(self.workflow["permissions"], {})
        build, publish = self.jobs["build"], self.jobs["publish"]
        self.assertEqual(set(self.jobs), {"build", "publish"})
        self.assertEqual(build["permissions"], {"contents": "read"})
        self.assertNotIn("secrets.", json.dumps(build))
        self.assertEqual(publish["permissions"], {"contents": "write", "id-token": "write", "attestations": "write"})
        self.assertNotRegex(json.dumps(publish), r"checkout|\bmake [a-z]|cargo|python")

    def test_it_makes_targets_that_there_are(self):
        makefile = (ROOT / "Makefile").read_text()
        targets = [name for line in re.findall(r"run: make (.*)", self.text) for name in line.split()]
        self.assertEqual(targets, ["releasable", "test-release"])
        for name in targets:
            self.assertRegex(makefile, rf"(?m)^{name}:")

    def test_its_scripts_are_those_of_a_shell(self):
        scripts = [step["run"] for job in self.jobs.values() for step in job["steps"] if "run" in step]
        self.assertGreaterEqual(len(scripts), 5)
        for script in scripts:
            self.assertNotIn("${{", script, "what a forge puts in comes by variables")
            done = run("bash", "-n", "-c", script)
            self.assertEqual(done.returncode, 0, done.stderr)


def audited(workflow: Path) -> set[str]:
    """What zizmor objects to."""
    zizmor = Path(sys.executable).parent / "zizmor"
    strictly = ["--offline", "--no-config", "--strict-collection", "--persona", "pedantic", "--no-exit-codes"]
    done = run(zizmor, *strictly, "--format", "json", workflow)
    assert done.returncode == 0, done.stderr
    return {one["ident"] for one in json.loads(done.stdout)}


if __name__ == "__main__":
    unittest.main()
