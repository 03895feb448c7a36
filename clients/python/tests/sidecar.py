"""A real sidecar for a test: the conformance suite's world."""

import os
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT / "clients/conformance"))
try:
    import lockside
except ImportError:
    sys.path.insert(0, str(HERE.parent / "src"))
    import lockside

from world import Sidecar, World, eventually  # noqa: E402


class SidecarTest(unittest.TestCase):
    """Each test has a Redis and a sidecar of its own, at LOCKSIDE_URL."""

    sidecar: Sidecar
    flags: tuple = ()

    def setUp(self):
        self.world = World([])
        self.addCleanup(self.world.close)
        self.sidecar = self.world.sidecar(*self.flags)
        before = os.environ.get("LOCKSIDE_URL")
        os.environ["LOCKSIDE_URL"] = self.sidecar.url
        self.addCleanup(lockside.use, lockside.use(None))
        self.addCleanup(os.environ.pop, "LOCKSIDE_URL") if before is None else self.addCleanup(
            os.environ.__setitem__, "LOCKSIDE_URL", before
        )

    def assert_none_waits(self):
        eventually(2, "the queue is empty", lambda: self.sidecar.state("x")["waiters"] == 0)
