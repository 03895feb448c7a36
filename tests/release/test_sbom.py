"""The bills of materials: valid CycloneDX, and of what is in the binary, no more and no less."""

import hashlib
import tomllib
import unittest

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from files import ARCHITECTURES, BINARIES, DIST, ROOT, TRIPLES, VERSION, json_of, name_of, run

# What the Makefile links beside the crates.
OTHERS = {"amd64": {"libc6-dev", "libgcc-12-dev", "rust-std"},
          "arm64": {"libc6-dev-arm64-cross", "libgcc-12-dev-arm64-cross", "rust-std"}}


def crates_of_cargo(architecture: str, edges: str) -> set[str]:
    """By cargo's own word, `name version`, without ours."""
    shown = run("cargo", "tree", "--locked", "--target", TRIPLES[architecture], "--edges", edges, "--prefix", "none",
                "--format", "{p}", cwd=ROOT, check=True).stdout
    names = {" ".join(line.split()[:2]).replace(" v", " ") for line in shown.splitlines() if line}
    return {name for name in names if not name.startswith("lockside ")}


class Materials(unittest.TestCase):
    def each(self):
        for architecture in ARCHITECTURES:
            yield architecture, json_of(f"{name_of(architecture)}.cdx.json")

    def test_they_are_cyclonedx(self):
        validator = JsonStrictValidator(SchemaVersion.V1_5)
        for architecture, bom in self.each():
            self.assertEqual((bom["bomFormat"], bom["specVersion"]), ("CycloneDX", "1.5"))
            error = validator.validate_str((DIST / f"{name_of(architecture)}.cdx.json").read_text())
            self.assertIsNone(error)

    def test_they_are_of_the_binary(self):
        for architecture, bom in self.each():
            own = bom["metadata"]["component"]
            digest = hashlib.sha256(BINARIES[architecture].read_bytes()).hexdigest()
            self.assertEqual(own["hashes"], [{"alg": "SHA-256", "content": digest}])
            self.assertEqual((own["name"], own["version"], own["type"]), ("lockside", VERSION, "application"))
            triple = {"name": "cdx:rustc:sbom:target:triple", "value": TRIPLES[architecture]}
            self.assertIn(triple, bom["metadata"]["properties"])

    def test_required_are_exactly_the_crates_that_are_linked_and_excluded_those_that_build(self):
        locked = {f"{package['name']} {package['version']}": package.get("checksum")
                  for package in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]}
        for architecture, bom in self.each():
            scopes = {"required": set(), "excluded": set()}
            for component in bom["components"]:
                name = f"{component['name']} {component['version']}"
                if component["name"] in OTHERS[architecture]:
                    continue
                scopes[component["scope"]].add(name)
                self.assertEqual(component["hashes"], [{"alg": "SHA-256", "content": locked[name]}], name)
                self.assertEqual(component["purl"], f"pkg:cargo/{name.replace(' ', '@')}")
            linked = crates_of_cargo(architecture, "normal,no-proc-macro")
            self.assertEqual(scopes["required"], linked)
            self.assertEqual(scopes["excluded"], crates_of_cargo(architecture, "normal,build") - linked)
            self.assertGreater(len(linked), 100)
            required = {name.split()[0] for name in scopes["required"]}
            self.assertLessEqual({"aws-lc-sys", "tikv-jemalloc-sys", "tokio", "fred"}, required)
            self.assertFalse({"cc", "serde_derive", "mlua", "windows-sys"} & required)

    def test_the_c_libraries_and_rusts_own_are_there_with_the_versions_of_their_packages(self):
        for architecture, bom in self.each():
            others = {part["name"]: part for part in bom["components"] if part["name"] in OTHERS[architecture]}
            self.assertEqual(set(others), OTHERS[architecture])
            for name, part in others.items():
                if name != "rust-std":
                    installed = run("dpkg-query", "--show", "--showformat", "${Version}", name, check=True).stdout
                    self.assertEqual(part["version"], installed)
                self.assertEqual(part["scope"], "required")
                self.assertEqual(len(part["licenses"]), 1)

    def test_every_dependency_leads_somewhere_and_no_path_of_the_machine_is_told(self):
        for architecture, bom in self.each():
            own = bom["metadata"]["component"]["bom-ref"]
            names = {own, *(component["bom-ref"] for component in bom["components"])}
            self.assertEqual(len(names), len(bom["components"]) + 1)
            edges = {edge["ref"]: edge["dependsOn"] for edge in bom["dependencies"]}
            self.assertEqual(set(edges), names)
            seen, rest = set(), [own]
            while rest:
                name = rest.pop()
                if name not in seen:
                    seen.add(name)
                    rest.extend(edges[name])
            self.assertEqual(seen, names, "all is reached from ours")
            self.assertNotIn("file:", (DIST / f"{name_of(architecture)}.cdx.json").read_text())


if __name__ == "__main__":
    unittest.main()
