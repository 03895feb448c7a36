"""The provenance: an in-toto statement of SLSA, whose digests are those of the files, the commit and what was built of."""

import hashlib
import json
import os
import tomllib
import unittest
from unittest import mock

from files import ARCHITECTURES, BINARIES, DIST, IMAGE, ROOT, VERSION, commit, json_of, name_of, run, version_of
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage


class Statements(unittest.TestCase):
    def setUp(self):
        self.told = json_of(f"lockside-{VERSION}.provenance.json")
        self.predicate = self.told["predicate"]
        self.parts = {part["name"]: part for part in self.predicate["buildDefinition"]["resolvedDependencies"]}

    def test_it_is_a_statement_of_in_toto_with_the_provenance_of_slsa(self):
        # A field that the types do not have is an error.
        statement = Statement.copy_from_pb(json_format.Parse(json.dumps(self.told), StatementMessage()))
        statement.validate()
        self.assertEqual(statement.pb.predicate_type, "https://slsa.dev/provenance/v1")
        provenance = json_format.Parse(json.dumps(self.predicate), Provenance())
        for part in provenance.build_definition.resolved_dependencies:
            ResourceDescriptor.copy_from_pb(part).validate()
        # What SLSA requires.
        self.assertTrue(provenance.build_definition.build_type.startswith("urn:lockside:make-release:"))
        self.assertTrue(provenance.build_definition.external_parameters)
        self.assertTrue(provenance.run_details.builder.id)

    def test_its_subjects_are_the_files_the_binaries_and_the_image(self):
        subjects = {one["name"]: one["digest"]["sha256"] for one in self.told["subject"]}
        expected = {path.name: digest(path) for path in DIST.iterdir()}
        for name in ("SHA256SUMS", "NOTES.md", f"lockside-{VERSION}.provenance.json"):
            del expected[name]
        for architecture in ARCHITECTURES:
            expected[f"{name_of(architecture)}/bin/lockside"] = digest(BINARIES[architecture])
        raw = run("skopeo", "inspect", "--raw", f"oci-archive:{IMAGE}:{VERSION}", check=True).stdout
        expected["image"] = hashlib.sha256(raw.encode()).hexdigest()
        self.assertEqual(subjects, expected)

    def test_it_names_the_commit_and_whether_files_were_changed(self):
        described = commit()
        source = self.parts["source"]
        self.assertEqual(source["digest"], {"gitCommit": described.removesuffix("-dirty")})
        self.assertEqual("annotations" in source, described.endswith("-dirty"))
        parameters = self.predicate["buildDefinition"]["externalParameters"]
        self.assertEqual(parameters, {"target": "make release", "version": VERSION, "source": source})

    def test_it_names_what_was_built_of(self):
        rust = dict(line.split(": ") for line in run("rustc", "-vV").stdout.splitlines() if ": " in line)
        self.assertEqual(self.parts["rustc"]["digest"], {"gitCommit": rust["commit-hash"]})
        for architecture in ARCHITECTURES:
            for library in ("libc", "libgcc"):
                self.assertRegex(self.parts[f"{library}.a of {architecture}"]["uri"], r"^pkg:deb/debian/lib.*@.*\?arch=")
            self.assertIn("pkg:deb/debian/gcc-", self.parts[f"C compiler for {architecture}"]["uri"])
        locked = {(package["name"], package["version"]): package.get("checksum")
                  for package in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]}
        crates = [part for part in self.predicate["buildDefinition"]["resolvedDependencies"]
                  if part.get("uri", "").startswith("pkg:cargo/")]
        for crate in crates:
            version = crate["uri"].split("@")[1]
            self.assertEqual(crate["digest"]["sha256"], locked[crate["name"], version], crate["uri"])
        materials = {(component["name"], component["version"])
                     for architecture in ARCHITECTURES
                     for component in json_of(f"{name_of(architecture)}.cdx.json")["components"]
                     if component["bom-ref"].startswith("registry+")}
        self.assertEqual({(crate["name"], crate["uri"].split("@")[1]) for crate in crates}, materials)

    def test_it_says_which_profile_each_binary_has(self):
        profiles = self.predicate["buildDefinition"]["internalParameters"]["profiles"]
        self.assertIsNone(profiles["arm64"])
        own = version_of(BINARIES["amd64"])["profile"]
        if own is None:
            self.assertIsNone(profiles["amd64"])
        else:
            file = DIST / f"{name_of('amd64')}.profdata"
            self.assertEqual(profiles["amd64"], digest(file))
            self.assertTrue(profiles["amd64"].startswith(own))
            self.assertEqual(self.parts["lockside.profdata"]["digest"], {"sha256": digest(file)})

    def test_a_workflow_tells_who_it_is_and_where_the_source_is(self):
        from provenance import statement

        environment = {"RELEASE_SOURCE": "git+https://forge.example/lockside@refs/tags/v1", "RELEASE_BUILDER": "https://b.example",
                       "RELEASE_INVOCATION": "https://b.example/7"}
        with mock.patch.dict(os.environ, environment):
            told = statement(VERSION, "1" * 40 + "-dirty", {}, {}, None)["predicate"]
        self.assertEqual(told["runDetails"]["builder"], {"id": "https://b.example"})
        self.assertEqual(told["runDetails"]["metadata"]["invocationId"], "https://b.example/7")
        source = told["buildDefinition"]["resolvedDependencies"][0]
        expected = {"name": "source", "uri": environment["RELEASE_SOURCE"], "digest": {"gitCommit": "1" * 40},
                    "annotations": {"changedSinceCommit": True}}
        self.assertEqual(source, expected)
        here = self.predicate["runDetails"]["builder"]["id"]
        self.assertEqual(here, os.environ.get("RELEASE_BUILDER", "urn:lockside:a-machine-of-a-maintainer"))


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    unittest.main()
