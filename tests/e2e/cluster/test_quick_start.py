"""The quick start of docs/operations/kubernetes.md, as it is printed; `bring_up` plays its first half."""

import unittest

from cluster.example import AT_ONCE, FORCE_RELEASE, LOOK, Example
from cluster.pages import play


class QuickStart(Example):
    def test_its_look_shows_the_replica_that_works_and_its_lock(self):
        said = play(LOOK)
        self.assertIn(f"[pod/{self.holder}/report] working with token {self.token}", said)
        self.assertRegex(said, rf"nightly-report +{self.holder}-")

    def test_its_force_release_has_the_other_replica_take_over(self):
        self.assertIn("nightly-report", play(FORCE_RELEASE))
        self.takes_over("force-released", AT_ONCE)

    def test_the_sidecar_alone_sees_the_secrets(self):
        mounted = self.kubectl("exec", self.holder, "--container", "report", "--", "cat", "/proc/mounts")
        self.assertIn(" /app ", mounted)
        self.assertNotIn("/run/secrets", mounted)


if __name__ == "__main__":
    unittest.main()
