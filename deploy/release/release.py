#!/usr/bin/env python3
"""Makes the files of a release of what make has built: release.py --version V --commit C --cyclonedx PROGRAM DIRECTORY

Of target/image, target/arm64 and target/archives. SOURCE_DATE_EPOCH is the time of what is in the archives. RELEASE_SOURCE,
RELEASE_BUILDER and RELEASE_INVOCATION, where they are set, are URIs in the provenance."""

import argparse
import gzip
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import image
import sbom
from parts import ROOT, TARGETS
from provenance import statement
from tars import sha256, tar, tree

BINARIES = {"amd64": ROOT / "target/image/lockside", "arm64": ROOT / "target/arm64/lockside"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", required=True)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--profile", help="what amd64 was optimized for; empty without one")
    parser.add_argument("--cyclonedx", type=Path, required=True, help="cargo-cyclonedx")
    parser.add_argument("directory", type=Path)
    options = parser.parse_args()
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    profile = Path(options.profile) if options.profile else None
    profiles = _profiles(options.version, options.commit, profile)
    directory = options.directory
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    Release(directory, options.version, options.commit, epoch).write(options.cyclonedx, profile, profiles)


def _profiles(version: str, commit: str, profile: Path | None) -> dict[str, str | None]:
    """What each binary was optimized for, as amd64's says itself; an older build of it is refused."""
    asked = subprocess.run([BINARIES["amd64"], "version", "--json", "--url", "unix:/nowhere"], check=True, stdout=subprocess.PIPE)
    own = json.loads(asked.stdout)
    digest = sha256(profile.read_bytes()) if profile else None
    expected = (version, commit, digest and digest[:12])
    if (own["version"], own["commit"], own["profile"]) != expected:
        raise SystemExit(f"target/image/lockside is not of {expected}, but says {own}; make static")
    return {"amd64": digest, "arm64": None}


class Release:
    """The files of one release."""

    def __init__(self, directory: Path, version: str, commit: str, epoch: int):
        self.directory, self.version, self.commit, self.epoch = directory, version, commit, epoch
        self.subjects: dict[str, str] = {}

    def write(self, cyclonedx: Path, profile: Path | None, profiles: dict[str, str | None]) -> None:
        for target in TARGETS:
            binary, name = BINARIES[target.architecture], f"lockside-{self.version}-linux-{target.architecture}"
            self.archive(name, ROOT / "target/archives" / target.architecture)
            self.subjects[f"{name}/bin/lockside"] = sha256(binary.read_bytes())
            bom = sbom.sbom(cyclonedx, target, self.version, binary)
            self.add(f"{name}.cdx.json", _json(bom))
        if profile:
            # With it the same compiler makes the same decisions.
            self.add(f"lockside-{self.version}-linux-amd64.profdata", profile.read_bytes())
        self.image()
        told = statement(self.version, self.commit, self.subjects, profiles, profile)
        self.add(f"lockside-{self.version}.provenance.json", _json(told))
        self.add("NOTES.md", notes(self.version, profiles).encode())
        sums = [f"{sha256(path.read_bytes())}  {path.name}\n" for path in sorted(self.directory.iterdir())]
        (self.directory / "SHA256SUMS").write_text("".join(sums))

    def add(self, name: str, content: bytes) -> None:
        (self.directory / name).write_bytes(content)
        self.subjects[name] = sha256(content)

    def archive(self, name: str, installed: Path) -> None:
        entries = tree(installed, name) + tree(ROOT / "LICENSE", f"{name}/LICENSE")
        self.add(f"{name}.tar.gz", gzip.compress(tar(entries, self.epoch), 9, mtime=0))

    def image(self) -> None:
        man = ROOT / "target/image/man"
        platforms = [image.Platform(name, {"lockside": binary, "man": man}) for name, binary in BINARIES.items()]
        labels = {
            "org.opencontainers.image.version": self.version,
            "org.opencontainers.image.revision": self.commit,
            **({"org.opencontainers.image.source": source} if (source := os.environ.get("RELEASE_SOURCE")) else {}),
        }
        path = self.directory / f"lockside-{self.version}-image.tar"
        dockerfile = (ROOT / "deploy/Dockerfile").read_text()
        self.subjects["image"] = image.write(path, dockerfile, platforms, labels, self.epoch)
        self.subjects[path.name] = sha256(path.read_bytes())


def notes(version: str, profiles: dict[str, str | None]) -> str:
    """What has changed, and what the binaries are."""
    heading = "[Unreleased]" if version.endswith("-dev") else f"[{version}] - "
    found = re.search(rf"^## {re.escape(heading)}.*?\n(.*?)(?=^## |\Z)", (ROOT / "CHANGELOG.md").read_text(), re.M | re.S)
    if not found:
        raise SystemExit(f"CHANGELOG.md has no section {heading}")
    without = "built without a profile (measured on amd64: slower by a tenth)"
    said = {name: f"optimized for the profile {digest[:12]}" if digest else without for name, digest in profiles.items()}
    lines = [f"- {name}: {text}" for name, text in said.items()]
    return f"# lockside {version}\n\n## Binaries\n\n" + "\n".join(lines) + f"\n\n## Changes\n\n{unlinked(found[1].strip())}\n"


def unlinked(text: str) -> str:
    """Links into the repository as their words and their paths: the notes are read outside of it."""
    return re.sub(r"\[([^\]]*)\]\((?!https?:)([^)#]*)[^)]*\)", r"\1 (`\2`)", text)


def _json(value: dict) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


if __name__ == "__main__":
    main()
