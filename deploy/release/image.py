"""The image of deploy/Dockerfile for several platforms, as an archive with an OCI image layout.

Of the Dockerfile only the last stage is read. It is FROM scratch, copies files and says how to run them, so that neither a
registry nor a container engine nor the other platform's machine is needed, and equal input gives equal bytes. An instruction
that would need one of these is refused."""

import gzip
import json
import re
import shlex
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from tars import Entry, sha256, tar, tree

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

# What engines give an image that names none.
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Stage:
    """What the last stage of a Dockerfile copies from the stage `build`, and how the image is run."""

    copies: list[tuple[str, str]] = field(default_factory=list)
    config: dict = field(default_factory=dict)


def last_stage(dockerfile: str) -> Stage:
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    instructions = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    begins = max(at for at, (word, _) in enumerate(instructions) if word == "FROM")
    base = instructions[begins][1]
    if base != "scratch":
        raise ValueError(f"the last stage is FROM {base}; only scratch needs no registry")
    stage = Stage(config={"Env": [PATH], "Labels": {}, "ExposedPorts": {}})
    for word, rest in instructions[begins + 1 :]:
        _read(stage, word, rest)
    return stage


def _read(stage: Stage, word: str, rest: str) -> None:
    config = stage.config
    match word:
        case "COPY" if rest.startswith("--from=build "):
            _, source, target = rest.split()
            stage.copies.append((source.lstrip("/"), target.lstrip("/")))
        case "LABEL":
            config["Labels"].update(pair.split("=", 1) for pair in shlex.split(rest))
        case "USER":
            config["User"] = rest
        case "EXPOSE":
            config["ExposedPorts"][f"{rest}/tcp"] = {}
        case "ENTRYPOINT" | "CMD":
            config[word.capitalize()] = json.loads(rest)
        case "HEALTHCHECK":
            config["Healthcheck"] = _health(rest)
        case _:
            raise ValueError(f"the last stage has an instruction that is not copied into the layout: {word} {rest}")


def _health(rest: str) -> dict:
    flags, command = rest.split(" CMD ", 1)
    check: dict = {"Test": ["CMD", *json.loads(command)]}
    for flag in flags.split():
        name, value = flag.removeprefix("--").split("=")
        key = "".join(part.capitalize() for part in name.split("-"))
        # OCI has no health check; its readers take Docker's, in nanoseconds.
        check[key] = int(value) if name == "retries" else int(value.removesuffix("s")) * 1_000_000_000
    return check


@dataclass(frozen=True)
class Platform:
    """What is copied, by its name in the stage `build`."""

    architecture: str
    files: dict[str, Path]

    def names(self) -> dict:
        variant = {"variant": "v8"} if self.architecture == "arm64" else {}
        return {"architecture": self.architecture, "os": "linux", **variant}


class Layout:
    """Blobs, each found by its digest."""

    def __init__(self, epoch: int):
        self.epoch = epoch
        self.blobs: dict[str, bytes] = {}

    def add(self, media_type: str, content: bytes | dict) -> dict:
        """Keeps a blob; its descriptor."""
        if isinstance(content, dict):
            content = json.dumps(content, indent=2, sort_keys=True).encode()
        digest = sha256(content)
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def image(self, stage: Stage, platform: Platform, labels: dict[str, str]) -> dict:
        """The descriptor of one platform's manifest."""
        created = datetime.fromtimestamp(self.epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        layers, history, digests = [], [], []
        for source, target in stage.copies:
            unpacked = tar(tree(platform.files[source], target), self.epoch)
            layers.append(self.add(LAYER, gzip.compress(unpacked, 9, mtime=0)))
            digests.append(f"sha256:{sha256(unpacked)}")
            history.append({"created": created, "created_by": f"COPY --from=build /{source} /{target}"})
        config = {
            "created": created,
            **platform.names(),
            "config": {**stage.config, "Labels": {**stage.config["Labels"], **labels}},
            "rootfs": {"type": "layers", "diff_ids": digests},
            "history": history,
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.add(CONFIG, config),
            "layers": layers,
            "annotations": config["config"]["Labels"],
        }
        return {**self.add(MANIFEST, manifest), "platform": platform.names()}

    def archive(self, index: dict, tag: str) -> bytes:
        """The layout as a tar archive, in which the index has a name."""
        named = {**index, "annotations": {"org.opencontainers.image.ref.name": tag}}
        top = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]}
        entries = [
            Entry("oci-layout", b'{"imageLayoutVersion": "1.0.0"}', 0o644),
            Entry("index.json", json.dumps(top, indent=2).encode(), 0o644),
            Entry("blobs"),
            Entry("blobs/sha256"),
            *(Entry(f"blobs/sha256/{digest}", content, 0o644) for digest, content in self.blobs.items()),
        ]
        return tar(entries, self.epoch)


def write(path: Path, dockerfile: str, platforms: list[Platform], labels: dict[str, str], epoch: int) -> str:
    """Writes the archive, its image named by the version; the digest of its index, which a registry knows it by, too."""
    stage, layout = last_stage(dockerfile), Layout(epoch)
    manifests = [layout.image(stage, platform, labels) for platform in platforms]
    annotations = {**stage.config["Labels"], **labels}
    index = layout.add(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "annotations": annotations})
    path.write_bytes(layout.archive(index, labels["org.opencontainers.image.version"]))
    return index["digest"].removeprefix("sha256:")
