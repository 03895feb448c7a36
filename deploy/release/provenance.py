"""How the files of a release were made: an in-toto statement with SLSA's predicate, version 1. It is not signed here."""

import os
import shutil
from datetime import datetime, timezone
from pathlib import Path

from parts import TARGETS, built, c_libraries, locked, package_of, rustc
from tars import sha256

# docs/internals/release.md has what it means.
BUILD_TYPE = "urn:lockside:make-release:1"


def statement(version: str, commit: str, subjects: dict[str, str], profiles: dict[str, str | None], profile: Path | None) -> dict:
    """`subjects` are digests by name; `profiles` are what each architecture was optimized for."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(subjects.items())],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"target": "make release", "version": version, "source": _source(commit)},
                "internalParameters": {"profiles": profiles},
                "resolvedDependencies": [_source(commit), *_tools(), *_profile(profile), *_crates()],
            },
            "runDetails": {
                "builder": {"id": os.environ.get("RELEASE_BUILDER") or "urn:lockside:a-machine-of-a-maintainer"},
                "metadata": {
                    **_of_environment("invocationId", "RELEASE_INVOCATION"),
                    "finishedOn": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
                },
            },
        },
    }


def _source(commit: str) -> dict:
    clean = commit.removesuffix("-dirty")
    # With changes it is not what the commit says.
    changed = {} if clean == commit else {"annotations": {"changedSinceCommit": True}}
    return {"name": "source", **_of_environment("uri", "RELEASE_SOURCE"), "digest": {"gitCommit": clean}, **changed}


def _of_environment(key: str, variable: str) -> dict:
    value = os.environ.get(variable)
    return {key: value} if value else {}


def _tools() -> list[dict]:
    rust = rustc()
    tools = [{
        "name": "rustc",
        "uri": f"pkg:generic/rust@{rust['release']}",
        "digest": {"gitCommit": rust["commit-hash"]},
    }]
    for target in TARGETS:
        for name, archive in c_libraries(target.compiler).items():
            package, digest = package_of(archive), sha256(archive.read_bytes())
            tools.append({"name": f"{name}.a of {target.architecture}", "uri": package.purl, "digest": {"sha256": digest}})
        compiler = Path(shutil.which(target.compiler)).resolve()
        package, digest = package_of(compiler), sha256(compiler.read_bytes())
        tools.append({"name": f"C compiler for {target.architecture}", "uri": package.purl, "digest": {"sha256": digest}})
    return tools


def _profile(profile: Path | None) -> list[dict]:
    return [{"name": profile.name, "digest": {"sha256": sha256(profile.read_bytes())}}] if profile else []


def _crates() -> list[dict]:
    """The archives of crates.io that the build took, for either architecture."""
    names = sorted(set().union(*(built(target.triple) for target in TARGETS)))
    return [
        {"name": name.split("@")[0], "uri": f"pkg:cargo/{name}", "digest": {"sha256": locked()[name]}}
        for name in names
    ]
