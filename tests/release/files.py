"""Where the files of the release are, which `make test-release` has made."""

import json
import os
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "target/dist"
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
ARCHITECTURES = ["amd64", "arm64"]
TRIPLES = {"amd64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}
BINARIES = {"amd64": ROOT / "target/image/lockside", "arm64": ROOT / "target/arm64/lockside"}
IMAGE = DIST / f"lockside-{VERSION}-image.tar"

# Last, since there are modules of the same names as these tests.
sys.path += [str(ROOT / folder) for folder in ("deploy/release", "clients/conformance", "tests/e2e")]


def name_of(architecture: str) -> str:
    return f"lockside-{VERSION}-linux-{architecture}"


def json_of(name: str) -> dict:
    return json.loads((DIST / name).read_text())


def unpack(architecture: str, directory: Path) -> Path:
    """The folder that is in an archive, unpacked."""
    with tarfile.open(DIST / f"{name_of(architecture)}.tar.gz") as archive:
        archive.extractall(directory, filter="data")
    return directory / name_of(architecture)


def run(*command, **options) -> subprocess.CompletedProcess:
    """A finished process with what it printed."""
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)


def version_of(*command) -> dict:
    """What a binary says of itself."""
    done = run(*command, "version", "--json", "--url", "unix:/nowhere", check=True)
    return json.loads(done.stdout)


def largest(architecture: str) -> int:
    """How many bytes a binary with its pages may have. Without a profile nothing in that of amd64 is known to run rarely."""
    is_larger = architecture == "amd64" and not version_of(BINARIES["amd64"])["profile"]
    return 12_500_000 if is_larger else 10_000_000


def commit() -> str:
    """As the Makefile names it."""
    if given := os.environ.get("COMMIT"):
        return given
    described = run("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*", cwd=ROOT, check=True)
    return described.stdout.strip()
