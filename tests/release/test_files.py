"""The files of a release: their checksums, and what is in the archives."""

import gzip
import io
import os
import stat
import tarfile
import tempfile
import unittest
from pathlib import Path

from files import ARCHITECTURES, BINARIES, DIST, IMAGE, ROOT, VERSION, commit, largest, name_of, run, unpack, version_of

MACHINES = {"amd64": "Advanced Micro Devices X86-64", "arm64": "AArch64"}


class Checksums(unittest.TestCase):
    def test_they_are_those_of_every_file(self):
        done = run("sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS", cwd=DIST)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        listed = {line.split("  ")[1] for line in (DIST / "SHA256SUMS").read_text().splitlines()}
        self.assertEqual(listed | {"SHA256SUMS"}, {path.name for path in DIST.iterdir()})

    def test_every_promised_file_is_there(self):
        promised = {"NOTES.md", IMAGE.name, f"lockside-{VERSION}.provenance.json"}
        for architecture in ARCHITECTURES:
            promised |= {f"{name_of(architecture)}.tar.gz", f"{name_of(architecture)}.cdx.json"}
        if version_of(BINARIES["amd64"])["profile"]:
            promised.add(f"{name_of('amd64')}.profdata")
        self.assertEqual({path.name for path in DIST.iterdir()}, promised | {"SHA256SUMS"})

    def test_a_changed_byte_is_found(self):
        name = f"{name_of('arm64')}.tar.gz"
        with tempfile.TemporaryDirectory() as directory:
            content = bytearray((DIST / name).read_bytes())
            content[1000] ^= 1
            Path(directory, name).write_bytes(content)
            done = run("sha256sum", "--check", "--strict", "--ignore-missing", DIST / "SHA256SUMS", cwd=directory)
        self.assertEqual((done.returncode, done.stdout), (1, f"{name}: FAILED\n"))


class Archives(unittest.TestCase):
    def test_each_has_the_static_binary_of_its_architecture_and_what_is_installed_with_it(self):
        for architecture in ARCHITECTURES:
            with self.subTest(architecture), tempfile.TemporaryDirectory() as directory:
                folder = unpack(architecture, Path(directory))
                binary = folder / "bin/lockside"
                self.assertEqual(binary.read_bytes(), BINARIES[architecture].read_bytes())
                self.assertEqual(stat.S_IMODE(binary.stat().st_mode), 0o755)
                self.assertLess(binary.stat().st_size, largest(architecture))
                self.assertIn(MACHINES[architecture], run("readelf", "--file-header", binary, check=True).stdout)
                segments = run("readelf", "--wide", "--program-headers", binary, check=True).stdout
                self.assertNotIn("INTERP", segments, "it needs no dynamic linker")
                sections = run("readelf", "--wide", "--section-headers", binary, check=True).stdout
                self.assertNotIn(".eh_frame ", sections, "deploy/static.ld")
                self.assertEqual((folder / "LICENSE").read_bytes(), (ROOT / "LICENSE").read_bytes())
                pages = sorted(path.name for path in (folder / "share/man/man1").iterdir())
                self.assertIn("lockside.1", pages)
                self.assertIn("lockside-exec.1", pages)
                for shell in ("bash-completion/completions/lockside", "zsh/site-functions/_lockside",
                              "fish/vendor_completions.d/lockside.fish"):
                    self.assertIn("lockside", (folder / "share" / shell).read_text())

    def test_all_belongs_to_root_and_is_of_the_time_of_the_commit(self):
        epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or run("git", "log", "-1", "--format=%ct", cwd=ROOT).stdout)
        for architecture in ARCHITECTURES:
            with tarfile.open(DIST / f"{name_of(architecture)}.tar.gz") as archive:
                for entry in archive:
                    self.assertEqual((entry.uid, entry.gid, entry.mtime), (0, 0, epoch), entry.name)
                    self.assertFalse(entry.mode & 0o7022, f"{entry.name}: {entry.mode:o}")

    def test_the_binary_of_this_machine_says_of_which_version_and_commit_it_is(self):
        with tempfile.TemporaryDirectory() as directory:
            told = version_of(unpack("amd64", Path(directory)) / "bin/lockside")
        self.assertEqual((told["version"], told["commit"], told["architecture"]), (VERSION, commit(), "x86_64"))

    def test_below_a_prefix_the_shells_and_man_find_what_is_in_it(self):
        with tempfile.TemporaryDirectory() as directory:
            prefix = Path(directory)
            archive = DIST / f"{name_of('amd64')}.tar.gz"
            unpacked = run("tar", "-xzf", archive, "--strip-components", 1, "-C", prefix)
            self.assertEqual(unpacked.returncode, 0, unpacked.stderr)
            installed = {str(path.relative_to(prefix)) for path in prefix.rglob("*") if path.is_file()}
            run("make", "--no-print-directory", "install-files", f"BINARY={BINARIES['amd64']}", f"DESTDIR={prefix}/other",
                "PREFIX=", cwd=ROOT, check=True)
            other = {str(path.relative_to(prefix / "other")) for path in (prefix / "other").rglob("*") if path.is_file()}
            self.assertEqual(installed, other | {"LICENSE"})


class Again(unittest.TestCase):
    def test_equal_sources_give_equal_files(self):
        """All but the provenance, which says when it was made."""
        with tempfile.TemporaryDirectory() as directory:
            again = Path(directory)
            done = run("make", "--no-print-directory", "release", "ALLOW_DIRTY=1", f"DIST={again / 'dist'}", cwd=ROOT,
                       env=clean_environment())
            self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr[-3000:])
            sums = [(DIST / "SHA256SUMS").read_text(), (again / "dist/SHA256SUMS").read_text()]
        first, second = ({line for line in text.splitlines() if "provenance" not in line} for text in sums)
        self.assertEqual(first, second)
        self.assertGreaterEqual(len(first), 6)

    def test_the_order_in_which_a_folder_is_listed_does_not_matter(self):
        from tars import Entry, tar

        entries = [Entry("b"), Entry("b/c", b"text", 0o644), Entry("a", b"", 0o755)]
        archive = tar(entries, 1_000_000_000)
        self.assertEqual(archive, tar(entries[::-1], 1_000_000_000))
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(gzip.compress(archive)))) as read:
            self.assertEqual([entry.name for entry in read], ["a", "b", "b/c"])


class Notes(unittest.TestCase):
    def test_they_say_which_binary_has_a_profile_and_what_has_changed(self):
        text = (DIST / "NOTES.md").read_text()
        profile = version_of(BINARIES["amd64"])["profile"]
        without = "built without a profile (measured on amd64: slower by a tenth)"
        said = f"optimized for the profile {profile}" if profile else without
        self.assertIn(f"- amd64: {said}\n", text)
        self.assertIn(f"- arm64: {without}\n", text)
        self.assertIn("### Added\n", text)
        self.assertNotIn("\n## [", text, "of this version alone")

    def test_a_version_that_the_changelog_does_not_have_is_refused(self):
        from release import notes

        with self.assertRaisesRegex(SystemExit, r"CHANGELOG.md has no section \[99.0.0\]"):
            notes("99.0.0", {})
        self.assertIn("## Changes", notes("0.1.0", {}))

    def test_links_into_the_repository_are_words_and_paths(self):
        from release import notes, unlinked

        text = "see [shared\n  locks](docs/shared.md#the-rules), [SemVer](https://semver.org)"
        self.assertEqual(unlinked(text), "see shared\n  locks (`docs/shared.md`), [SemVer](https://semver.org)")
        for version in (VERSION, "0.1.0"):
            self.assertNotRegex(notes(version, {}), r"\]\((?!https?:)")


def clean_environment() -> dict[str, str]:
    """Without what this make tells another one."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


if __name__ == "__main__":
    unittest.main()
