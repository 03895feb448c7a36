"""Runs the tests of each module in a process of its own, some at once: they wait most of the time."""

import concurrent.futures
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# They begin first, so that none is left alone at the end.
LONGEST = ("test_page_many", "test_edit_page")


def run(module: str) -> bool:
    """Prints what it says at its end, so that no two are mixed up."""
    start = time.monotonic()
    command = [sys.executable, "-B", "-m", "unittest", module]
    ended = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(f"{module}, {time.monotonic() - start:.0f} s:\n{ended.stdout}", flush=True)
    return ended.returncode == 0


def main() -> int:
    """All of them, or the named modules, classes or tests."""
    modules = [module.stem for module in HERE.glob("test_*.py")]
    named = sys.argv[1:] or sorted(modules, key=lambda module: (module not in LONGEST, module))
    with concurrent.futures.ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:
        return 0 if all(list(pool.map(run, named))) else 1


if __name__ == "__main__":
    sys.exit(main())
