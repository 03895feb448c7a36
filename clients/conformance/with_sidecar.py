#!/usr/bin/env python3
"""Runs a client's own tests beside a real sidecar: with_sidecar.py COMMAND... with LOCKSIDE_URL set, and its exit code. The
sidecar stands for the elections `jobs` and `reports`."""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from world import World  # noqa: E402

ELECT = ("--elect", "jobs", "--elect", "reports", "--elect-ttl", "1s")


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    world = World([])
    try:
        env = {**os.environ, "LOCKSIDE_URL": world.sidecar(*ELECT).url}
        return subprocess.run(sys.argv[1:], env=env).returncode
    finally:
        world.close()


if __name__ == "__main__":
    sys.exit(main())
