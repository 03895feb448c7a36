"""The bill of materials of one binary, in CycloneDX 1.5: what cargo-cyclonedx finds, sorted by whether it is in the binary, and
what it cannot know: the C libraries that are linked statically, and Rust's standard library."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from parts import ROOT, Target, built, c_libraries, linked, package_of, rustc
from tars import sha256

# As Debian's copyright files have them.
LICENSES = {"libc": "LGPL-2.1-or-later", "libgcc": "GPL-3.0-or-later WITH GCC-exception-3.1"}
DESCRIPTIONS = {"libc": "The GNU C library, linked statically", "libgcc": "The compiler's own functions, linked statically"}


def sbom(cyclonedx: Path, target: Target, version: str, binary: Path) -> dict:
    bom = _of_cargo(cyclonedx, target)
    own = bom["metadata"]["component"]
    # Its reference and its purl name a directory of this machine, and crates.io does not have it.
    reference, renamed = own["bom-ref"], f"lockside@{version}"
    own["bom-ref"] = renamed
    own["purl"] = f"pkg:generic/lockside@{version}"
    own["hashes"] = [{"alg": "SHA-256", "content": sha256(binary.read_bytes())}]

    in_binary, in_build = linked(target.triple), built(target.triple)
    kept = []
    for component in bom["components"]:
        name = f"{component['name']}@{component['version']}"
        if name in in_build:
            # Excluded: of what runs.
            component["scope"] = "required" if name in in_binary else "excluded"
            kept.append(component)
    others = [*_of_c(target), _of_rust()]
    bom["components"] = sorted(kept, key=lambda component: component["bom-ref"]) + others

    names = {renamed, *(component["bom-ref"] for component in bom["components"])}
    edges = {}
    for edge in bom["dependencies"]:
        below = edge.get("dependsOn", [])
        edges[renamed if edge["ref"] == reference else edge["ref"]] = sorted(one for one in below if one in names)
    edges[renamed] = sorted({*edges[renamed], *(component["bom-ref"] for component in others)})
    edges.update((component["bom-ref"], []) for component in others)
    bom["dependencies"] = [{"ref": name, "dependsOn": edges[name]} for name in sorted(edges) if name in names]
    return bom


def _of_cargo(cyclonedx: Path, target: Target) -> dict:
    """It writes beside Cargo.toml, so that it is given one elsewhere."""
    with tempfile.TemporaryDirectory() as directory:
        aside = Path(directory)
        for name in ("Cargo.toml", "Cargo.lock"):
            shutil.copy(ROOT / name, aside)
        for name in ("src", "tests"):
            (aside / name).symlink_to(ROOT / name)
        command = [cyclonedx.resolve(), "cyclonedx", "--format", "json", "--spec-version", "1.5", "--describe", "binaries",
                   "--target", target.triple, "--quiet"]
        subprocess.run(command, cwd=aside, check=True)
        assert (aside / "Cargo.lock").read_bytes() == (ROOT / "Cargo.lock").read_bytes(), "other versions than were built"
        (written,) = aside.glob("*.json")
        return json.loads(written.read_text())


def _of_c(target: Target) -> list[dict]:
    components = []
    for name, archive in c_libraries(target.compiler).items():
        package = package_of(archive)
        components.append({
            "type": "library",
            "bom-ref": package.purl,
            "name": package.name,
            "version": package.version,
            "description": DESCRIPTIONS[name],
            "scope": "required",
            "hashes": [{"alg": "SHA-256", "content": sha256(archive.read_bytes())}],
            "licenses": [{"expression": LICENSES[name]}],
            "purl": package.purl,
        })
    return components


def _of_rust() -> dict:
    version = rustc()["release"]
    return {
        "type": "library",
        "bom-ref": f"rust-std@{version}",
        "name": "rust-std",
        "version": version,
        "description": "Rust's standard library",
        "scope": "required",
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
        "purl": f"pkg:generic/rust-std@{version}",
    }
