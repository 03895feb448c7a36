"""The node itself: what it does to the machine that it runs on."""

import subprocess
import unittest

from cluster import cgroups, shared
from cluster.example import bring_up


class TheNode(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        bring_up()

    def test_it_refuses_to_start_beside_the_pods_of_another_kubelet(self):
        with self.assertRaisesRegex(RuntimeError, "a kubelet already has pods on this machine"):
            cgroups.refuse_another_kubelet()

    def test_the_machines_own_network_and_mounts_have_nothing_of_it(self):
        links = subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout
        self.assertNotIn("pods:", links)
        self.assertIn("pods:", shared.node().run("ip", "link"))
        with open("/proc/mounts") as mounts:
            self.assertNotIn(str(shared.node().directory), mounts.read())


if __name__ == "__main__":
    unittest.main()
