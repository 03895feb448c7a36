//! The version, wherever it is named, and the form of the changelog.

use std::collections::BTreeSet;

use super::{documents, files, read};

/// The version as cargo, npm, Maven, Helm and the images spell it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A file, the text before the version in it, and the spelling of its ecosystem.
type Place = (&'static str, &'static str, fn() -> String);

/// Where the version stands, besides those of images.
const PLACES: [Place; 16] = [
    ("fuzz/Cargo.lock", "name = \"lockside\"\nversion = \"", semver),
    ("src/api/openapi/openapi.json", "\n    \"version\": \"", semver),
    ("src/api/openapi/openapi.json", "\"runtimeVersion\": \"", semver),
    ("src/api/openapi/openapi.json", "\"title\": \"lockside\", \"version\": \"", semver),
    ("deploy/helm/Chart.yaml", "\nversion: ", semver),
    ("deploy/helm/Chart.yaml", "\nappVersion: ", semver),
    ("deploy/helm-post-renderer/plugin.yaml", "\nversion: ", semver),
    ("docs/cli.md", "\nversion  ", semver),
    ("docs/cli.md", "\nsidecar  ", semver),
    ("clients/java/pom.xml", "<artifactId>lockside</artifactId>\n  <version>", semver),
    ("docs/clients/java.md", "<artifactId>lockside</artifactId>\n  <version>", semver),
    ("clients/node/package.json", "\n  \"version\": \"", semver),
    ("clients/node/README.md", "npm install …/lockside-", semver),
    ("docs/clients/node.md", "npm install …/lockside-", semver),
    ("clients/python/pyproject.toml", "\nversion = \"", pep440),
    ("clients/python/src/lockside/__init__.py", "\n__version__ = \"", pep440),
];

fn semver() -> String {
    VERSION.to_owned()
}

/// As Python spells it: `0.2.0-dev` is `0.2.0.dev0`.
fn pep440() -> String {
    VERSION.replace("-dev", ".dev0")
}

/// The version that a text begins with; empty if it begins with none.
fn version(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !".-".contains(c)).unwrap_or(text.len());
    let version = text[..end].trim_end_matches(['.', '-']).trim_end_matches(".tgz");
    if version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.') { version } else { "" }
}

#[test]
fn every_image_has_the_version() {
    let (mut others, mut count) = (Vec::new(), 0);
    let shipped = ["", ".yaml", ".md"].iter().flat_map(|suffix| files("deploy", suffix));
    let pages = documents().into_iter().map(|document| document.path).filter(|path| path != "CHANGELOG.md");
    for path in shipped.chain(pages).collect::<BTreeSet<_>>() {
        let text = read(&path);
        let named = text.split("lockside:").skip(1).chain(text.split("newTag: ").skip(1)).map(version);
        for named in named.filter(|named| !named.is_empty()) {
            count += 1;
            if named != VERSION {
                others.push(format!("{path}: {named}"));
            }
        }
    }
    assert!(others.is_empty(), "not {VERSION}: {others:?}");
    assert!(count > 5, "{count}");
}

#[test]
fn one_version_is_named_everywhere() {
    let mut others = Vec::new();
    for (path, before, spelled) in PLACES {
        let text = read(path);
        let named: Vec<&str> = text.split(before).skip(1).map(version).collect();
        if named != [spelled()] {
            others.push(format!("{path}: {named:?}, not {}", spelled()));
        }
    }
    assert!(others.is_empty(), "{others:#?}");
}

/// While the version ends in `-dev`, no other text is equal to it by chance.
#[test]
fn no_place_of_the_version_is_unknown() {
    let known: BTreeSet<&str> = PLACES.iter().map(|(path, ..)| *path).collect();
    let clients = [("go", ".go"), ("java/src", ".java"), ("node/src", ".ts"), ("python/src", ".py")];
    let clients = clients.map(|(directory, suffix)| (format!("clients/{directory}"), suffix));
    let whole =
        [("src", ".rs"), ("docs", ""), ("deploy", "")].map(|(directory, suffix)| (directory.to_owned(), suffix));
    let readmes = ["go", "java", "node", "python"].map(|client| format!("clients/{client}/README.md"));
    let sources = clients.into_iter().chain(whole).flat_map(|(directory, suffix)| files(&directory, suffix));
    for path in sources.chain(readmes).filter(|path| VERSION.ends_with("-dev") && !known.contains(&**path)) {
        // Not text, such as a compiled module.
        let Ok(text) = std::fs::read_to_string(super::root(&path)) else { continue };
        for (spelled, is_image) in [(semver(), true), (pep440(), false)] {
            for (at, _) in text.match_indices(&spelled) {
                let before = &text[..at];
                let is_held = is_image && (before.ends_with("lockside:") || before.ends_with("newTag: "));
                // Data of a test, which may be of any version.
                let is_test = path.ends_with("tests.rs") || before.contains("#[cfg(test)]");
                assert!(is_held || is_test, "{path}: a version that PLACES does not name");
            }
        }
    }
}

#[test]
fn the_changelog_has_the_form_of_keep_a_changelog() {
    let text = read("CHANGELOG.md");
    let releases: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(releases[0], "[Unreleased]");
    for release in &releases[1..] {
        let (version, date) = release.split_once(" - ").expect("version and date");
        assert!(version.starts_with('[') && version.ends_with(']') && date.len() == 10, "{release}");
    }
    for kind in text.lines().filter_map(|line| line.strip_prefix("### ")) {
        assert!(["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"].contains(&kind), "{kind}");
    }
}
