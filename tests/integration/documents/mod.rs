//! What the documents say is what the binary does: README.md, `docs/`, and the other pages of the repository.

mod commands;
mod errors;
mod failures;
mod links;
mod reference;
mod teams;
mod teams_failover;
mod versions;
mod words;

use std::path::{Path, PathBuf};

/// A Markdown file of the repository.
struct Document {
    /// From the root of the repository.
    path: String,
    text: String,
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A file of the repository, as it is now.
fn read(path: &str) -> String {
    std::fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below `directory` whose name ends in `suffix`, from the root of the repository.
fn files(directory: &str, suffix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{directory}/{}", entry.file_name().into_string().unwrap());
        if entry.path().is_dir() {
            found.extend(files(&path, suffix));
        } else if path.ends_with(suffix) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every document.
fn documents() -> Vec<Document> {
    let pages = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/README.md"];
    let paths = pages.map(str::to_owned).into_iter().chain(files("docs", ".md"));
    let documents: Vec<Document> = paths.map(|path| Document { text: read(&path), path }).collect();
    assert!(documents.len() > 25, "docs/ has its pages");
    documents
}

/// What stands between a heading and the next of the same level.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let level = heading.split(' ').next().unwrap();
    let rest = text.split(&format!("\n{heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    rest.split(&format!("\n{level} ")).next().unwrap()
}

/// The blocks of code in one language, in order.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("\n```{language}\n");
    let rest = text.split(&fence).skip(1);
    rest.filter_map(|rest| rest.split("\n```").next()).collect()
}

/// The rows of the tables in a text, by columns.
fn rows(text: &str) -> Vec<Vec<String>> {
    let rows = text.lines().filter(|line| line.starts_with("| "));
    rows.map(|row| {
        row.replace("\\|", "\u{0}").trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    })
    .collect()
}

/// What a text has between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_row_stands_in_a_table() {
    for Document { path, text } in documents() {
        let lines: Vec<&str> = text.lines().collect();
        let is_row = |at: usize| lines.get(at).is_some_and(|line| line.starts_with('|'));
        for at in (0..lines.len()).filter(|at| is_row(*at) && (*at == 0 || !is_row(at - 1))) {
            // Behind the head, which may be empty.
            assert!(lines.get(at + 1).is_some_and(|line| line.starts_with("|---")), "{path}:{}: {}", at + 1, lines[at]);
        }
    }
}

#[test]
fn the_front_page_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 130, "README.md has {lines} lines; the rest belongs into docs/");
}
