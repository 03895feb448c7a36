"""How this machine runs programs of arm64: itself, or by QEMU.

`lockside exec` starts itself again, so that a program of arm64 must be one that the kernel can start. The handler for that is
registered in a user namespace, which has a table of its own since Linux 6.7; the machine's is left as it is."""

import shlex
import shutil
import subprocess
from pathlib import Path

QEMU = "qemu-aarch64-static"
# The first bytes of a program for 64-bit ARM, which part of them counts, and that QEMU is opened when it is registered.
HANDLER = (
    r":lockside-arm64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:{qemu}:OCF"
)
TABLE = "/proc/sys/fs/binfmt_misc"
# It lasts until its input ends, with whatever process holds that.
NAMESPACE = f'mount -t binfmt_misc binfmt_misc {TABLE} && printf %s "$1" >{TABLE}/register && echo ready && exec cat'


class Unavailable(AssertionError):
    """Programs of arm64 do not run here; says why."""


class Emulation:
    """Runs programs of arm64 until `close`."""

    def __init__(self, program: Path):
        """`program` is one, by which it is seen whether the machine runs them itself."""
        self.holder = None
        self.prefix: list[str] = []
        if self._starts(program):
            return
        qemu = shutil.which(QEMU)
        if not qemu:
            raise Unavailable(f"this machine does not run arm64, and there is no {QEMU}: apt-get install qemu-user-static")
        command = ["unshare", "--user", "--map-root-user", "--mount", "--", "sh", "-c", NAMESPACE, "sh", HANDLER.format(qemu=qemu)]
        self.holder = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if self.holder.stdout.readline() != "ready\n":
            _, why = self.holder.communicate()
            raise Unavailable(
                f"this machine does not run arm64, and {QEMU} cannot be registered in a user namespace, "
                f"which needs Linux 6.7 and binfmt_misc: {why.strip()}"
            )
        enter = ["nsenter", "--target", self.holder.pid, "--user", "--mount", "--preserve-credentials", "--"]
        self.prefix = list(map(str, enter))
        if not self._starts(program):
            self.close()
            raise Unavailable(f"{QEMU} is registered, but does not start {program}")

    def _starts(self, program: Path) -> bool:
        try:
            return subprocess.run([*self.prefix, program, "--version"], capture_output=True).returncode == 0
        except OSError:
            return False

    def wrap(self, program: Path, wrapper: Path) -> Path:
        """A program of this machine that becomes `program`, with the same process number and arguments."""
        wrapper.write_text(f'#!/bin/sh\nexec {shlex.join([*self.prefix, str(program)])} "$@"\n')
        wrapper.chmod(0o755)
        return wrapper

    def close(self):
        if self.holder:
            self.holder.communicate()
