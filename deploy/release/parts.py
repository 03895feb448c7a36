"""What a binary is made of: the crates of Cargo.lock, the C libraries of Debian, and Rust's standard library."""

import functools
import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Target:
    """A platform as OCI calls it, as Rust does, and the C compiler for it."""

    architecture: str
    triple: str
    compiler: str


TARGETS = [
    Target("amd64", "x86_64-unknown-linux-gnu", "cc"),
    Target("arm64", "aarch64-unknown-linux-gnu", "aarch64-linux-gnu-gcc"),
]


def said(*command) -> str:
    """What a command prints; its failure is ours."""
    return subprocess.run(list(map(str, command)), cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


@functools.cache
def locked() -> dict[str, str | None]:
    """Each crate of Cargo.lock, as `name@version`, with the checksum of its archive; ours has none."""
    packages = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    return {f"{package['name']}@{package['version']}": package.get("checksum") for package in packages}


def crates(triple: str, edges: str) -> set[str]:
    """The crates that cargo reaches from ours by these edges, without ours."""
    shown = said("cargo", "tree", "--locked", "--target", triple, "--edges", edges, "--prefix", "none", "--format", "{p}")
    found = {f"{name}@{version}" for name, version in re.findall(r"^(\S+) v(\S+)", shown, re.MULTILINE)}
    ours = {name for name in found if locked()[name] is None}
    assert [name.split("@")[0] for name in ours] == ["lockside"], ours
    return found - ours


def linked(triple: str) -> set[str]:
    """The crates whose code is in the binary."""
    return crates(triple, "normal,no-proc-macro")


def built(triple: str) -> set[str]:
    """These, and the crates that only the build runs."""
    return crates(triple, "normal,build")


@dataclass(frozen=True)
class Package:
    """A package of Debian, as it is installed here."""

    name: str
    version: str
    architecture: str

    @property
    def purl(self) -> str:
        return f"pkg:deb/debian/{self.name}@{quote(self.version, safe='')}?arch={self.architecture}"


def package_of(file: str | Path) -> Package:
    """The package that a file belongs to."""
    owner = said("dpkg-query", "--search", Path(file).resolve()).split(": ")[0]
    shown = said("dpkg-query", "--show", "--showformat", "${Package} ${Version} ${Architecture}", owner)
    return Package(*shown.split())


def c_libraries(compiler: str) -> dict[str, Path]:
    """The archives of C code that the linker takes: glibc's, and the compiler's own."""
    libc = said(compiler, "-print-file-name=libc.a").strip()
    libgcc = said(compiler, "-print-libgcc-file-name").strip()
    return {"libc": Path(libc).resolve(), "libgcc": Path(libgcc).resolve()}


@functools.cache
def rustc() -> dict[str, str]:
    """What `rustc -vV` says, such as `release` and `commit-hash`."""
    return dict(line.split(": ", 1) for line in said("rustc", "-vV").splitlines() if ": " in line)
