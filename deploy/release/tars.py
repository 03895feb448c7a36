"""Tar archives whose bytes follow from what is in them: sorted, owned by root, of one time."""

import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """A file, or a directory where there is no content."""

    name: str
    content: bytes | None = None
    mode: int = 0o755


def tree(source: Path, target: str) -> list[Entry]:
    """A file or a directory with all that is in it, as `target`, below the directories that this needs."""
    if source.is_file():
        found = [_file(source, target)]
    else:
        inside = list(source.rglob("*"))
        assert inside, f"{source} is empty"
        found = [Entry(target)]
        for path in inside:
            name = f"{target}/{path.relative_to(source)}"
            found.append(Entry(name) if path.is_dir() else _file(path, name))
    above = [Entry(str(path)) for path in Path(target).parents if str(path) != "."]
    return above + found


def _file(path: Path, name: str) -> Entry:
    return Entry(name, path.read_bytes(), 0o755 if path.stat().st_mode & 0o100 else 0o644)


def tar(entries: list[Entry], epoch: int) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for entry in sorted(set(entries), key=lambda entry: entry.name):
            info = tarfile.TarInfo(entry.name)
            info.mode, info.mtime = entry.mode, epoch
            if entry.content is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(entry.content)
                archive.addfile(info, io.BytesIO(entry.content))
    return output.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
