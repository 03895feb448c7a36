//! Every link of the documents leads somewhere, and every page can be reached.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use super::{documents, files, quoted, read, root};

/// The lines of a document that are not in a block of code.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The text without what is between backticks.
fn unquoted(text: &str) -> String {
    text.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// The anchors of the headings, as forges and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let headings = prose(text);
    let headings =
        headings.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchors = headings.map(|heading| {
        let words = heading.to_lowercase().replace(' ', "-");
        let anchor: String = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect();
        let count = seen.entry(anchor.clone()).or_default();
        *count += 1;
        if *count > 1 { format!("{anchor}-{}", *count - 1) } else { anchor }
    });
    anchors.collect()
}

/// The targets of links and pictures.
fn targets(text: &str) -> Vec<String> {
    let text = unquoted(&prose(text));
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

/// `path` from the root, of what `from` calls `target`.
fn resolved(from: &str, target: &str) -> String {
    let mut path = PathBuf::new();
    for part in Path::new(from).parent().unwrap().join(target).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{from}: {target} leaves the repository"),
            part => path.push(part),
        }
    }
    path.to_str().unwrap().to_owned()
}

fn section_of<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    text.split(begin).nth(1).and_then(|rest| rest.split(end).next()).unwrap()
}

#[test]
fn every_link_and_every_anchor_exists() {
    let documents = documents();
    let anchors: BTreeMap<_, _> = documents.iter().map(|one| (one.path.clone(), anchors(&one.text))).collect();
    // What the site of the documents has of the repository.
    let site = read("docs/site.py");
    let linked: Vec<&str> = section_of(&site, "LINKED = [", "]").split('"').skip(1).step_by(2).collect();
    let (mut dead, mut count) = (Vec::new(), 0);
    for document in &documents {
        for target in targets(&document.text) {
            count += 1;
            if target.starts_with("https://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').map_or((&*target, None), |(path, anchor)| (path, Some(anchor)));
            let path = if path.is_empty() { document.path.clone() } else { resolved(&document.path, path) };
            let is_alive = match anchor {
                Some(anchor) => anchors.get(&path).is_some_and(|anchors| anchors.contains(anchor)),
                None => root(&path).is_file(),
            };
            let is_on_the_site = linked.iter().any(|name| path == *name || path.starts_with(&format!("{name}/")));
            if !is_alive || !is_on_the_site {
                dead.push(format!("{}: {target}", document.path));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
    assert!(count > 150, "{count} links");
}

#[test]
fn the_table_of_contents_has_every_page_once() {
    let listed: Vec<String> =
        targets(&read("docs/SUMMARY.md")).iter().map(|target| resolved("docs/SUMMARY.md", target)).collect();
    let unique: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(unique.len(), listed.len(), "{listed:?}");
    let pages = documents().into_iter().map(|document| document.path).filter(|path| path != "docs/SUMMARY.md");
    assert_eq!(unique, pages.collect());
}

#[test]
fn every_anchor_of_the_documents_that_the_code_and_the_alerts_name_exists() {
    let mut count = 0;
    let sources = [("src", ".rs"), ("deploy", ".yaml"), ("deploy", ".py")];
    for path in sources.iter().flat_map(|(directory, suffix)| files(directory, suffix)) {
        let text = read(&path);
        let named = text.split(|c: char| c.is_whitespace() || "\"'`(),;{}".contains(c));
        for target in named.filter(|word| word.starts_with("docs/") && word.contains(".md")) {
            let target = target.trim_end_matches(['.', ':']);
            let (page, anchor) = target.split_once('#').map_or((target, None), |(page, anchor)| (page, Some(anchor)));
            // Where the anchor is put in when it is said, the page must exist.
            let is_alive = match anchor {
                Some(anchor) if !anchor.is_empty() => anchors(&read(page)).contains(anchor),
                _ => root(page).is_file(),
            };
            assert!(is_alive, "{path}: {target}");
            count += 1;
        }
    }
    assert!(count > 0, "nothing names a page");
}

#[test]
fn every_path_of_the_repository_in_the_documents_exists() {
    let mut count = 0;
    for document in documents().iter().filter(|document| document.path != "CHANGELOG.md") {
        for code in quoted(&document.text) {
            let is_path =
                ["src/", "lua/", "docs/", "deploy/", "tests/", "fuzz/"].iter().any(|top| code.starts_with(top));
            if is_path && !code.contains([' ', '<', '\n']) {
                assert!(root(code).exists(), "{}: {code}", document.path);
                count += 1;
            }
        }
    }
    assert!(count > 20, "{count} paths");
}

#[test]
fn every_picture_is_drawn_from_its_source_and_follows_the_readers_mode() {
    let sources = files("docs/pictures", ".dot");
    assert!(sources.len() >= 5, "{sources:?}");
    for source in sources {
        let checksum = Command::new("bash")
            .args(["-c", "cat \"$1\" \"$2\" | sha256sum", "bash"])
            .args([root(&source), root("docs/pictures/style.css")])
            .output()
            .unwrap();
        let checksum = String::from_utf8(checksum.stdout).unwrap();
        let checksum = checksum.split(' ').next().unwrap();
        let name = source.replace(".dot", ".svg");
        let picture = read(&name);
        assert!(picture.contains(&format!("sources: {checksum} ")), "{source} has changed: make docs");
        assert!(picture.contains("prefers-color-scheme:dark"), "{name}");
        let is_shown = documents().iter().any(|document| {
            targets(&document.text).iter().any(|target| {
                !target.starts_with("https:") && target.ends_with(".svg") && resolved(&document.path, target) == name
            })
        });
        assert!(is_shown, "{name} is on no page");
    }
}

#[test]
fn anchors_are_made_as_forges_make_them() {
    let text = "# A `code-1` title\n\n## Holds: a lock, tied\n```sh\n# no heading\n```\n## Same\n## Same\n";
    let expected = ["a-code-1-title", "holds-a-lock-tied", "same", "same-1"];
    assert_eq!(anchors(text), expected.map(str::to_owned).into());
}
