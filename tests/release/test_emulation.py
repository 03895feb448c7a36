"""Where the binary of arm64 cannot run, the tests say why, and fail."""

import tempfile
import unittest
from pathlib import Path
from unittest import mock

import emulation
from files import BINARIES


class Unavailable(unittest.TestCase):
    def setUp(self):
        # As on a machine that does not run arm64 itself.
        starts = emulation.Emulation._starts

        def only_by_qemu(one, program):
            return bool(one.prefix) and starts(one, program)

        patched = mock.patch.object(emulation.Emulation, "_starts", only_by_qemu)
        patched.start()
        self.addCleanup(patched.stop)

    def test_without_qemu_its_package_is_named(self):
        with mock.patch("emulation.QEMU", "qemu-of-no-machine"):
            with self.assertRaisesRegex(emulation.Unavailable, "there is no qemu-of-no-machine: apt-get install qemu-user-static"):
                emulation.Emulation(BINARIES["arm64"])

    def test_where_no_handler_can_be_registered_the_reason_is_told(self):
        with mock.patch("emulation.NAMESPACE", "mount -t binfmt_misc none /nowhere"):
            with self.assertRaisesRegex(emulation.Unavailable, "needs Linux 6.7 and binfmt_misc: mount: /nowhere"):
                emulation.Emulation(BINARIES["arm64"])

    def test_a_program_that_does_not_start_is_named(self):
        with tempfile.TemporaryDirectory() as directory:
            # The header of a program for arm64, and no program.
            program = Path(directory, "program")
            program.write_bytes(BINARIES["arm64"].read_bytes()[:64])
            program.chmod(0o755)
            with self.assertRaisesRegex(emulation.Unavailable, f"is registered, but does not start {program}"):
                emulation.Emulation(program)

    def test_the_machines_own_handlers_are_left_as_they_are(self):
        table = Path("/proc/sys/fs/binfmt_misc")
        before = sorted(path.name for path in table.iterdir())
        one = emulation.Emulation(BINARIES["arm64"])
        self.addCleanup(one.close)
        self.assertEqual(sorted(path.name for path in table.iterdir()), before)


if __name__ == "__main__":
    unittest.main()
