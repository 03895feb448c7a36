//! The words of the field: what the documents, `--help` and messages never say.

use super::{documents, files, read};
use crate::harness::{lockside, subcommands};

/// Words that are the language of no other project of this kind; the glossary in `docs/concepts.md` has those to use.
const REFUSED: [&str; 18] = [
    "nobody",
    "somebody",
    "whoever",
    "anew",
    "mend",
    "mends",
    "taken back",
    "taken away",
    "take it away",
    "let go",
    "lets go",
    "is away",
    "surely not",
    "lock space",
    "guardian",
    "worth less",
    "lock spaces",
    "take a lock away",
];

/// Each refused word in a text, with what is around it.
fn refused(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let found = (0..words.len()).flat_map(|at| {
        let words = &words;
        REFUSED.iter().filter_map(move |refused| {
            let parts: Vec<&str> = refused.split(' ').collect();
            let here = &words[at..(at + parts.len()).min(words.len())];
            (here == &parts[..]).then(|| {
                format!("`{refused}` in: {}", words[at.saturating_sub(4)..(at + 6).min(words.len())].join(" "))
            })
        })
    });
    found.collect()
}

#[test]
fn the_documents_use_the_fields_terms() {
    let found: Vec<String> = documents()
        .iter()
        .flat_map(|document| refused(&document.text).into_iter().map(|found| format!("{}: {found}", document.path)))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test]
async fn every_help_uses_the_fields_terms() {
    let mut found = refused(&lockside(&["--help"]).await.stdout);
    for command in subcommands().await {
        let help = lockside(&[&command, "--help"]).await.stdout;
        found.extend(refused(&help).into_iter().map(|found| format!("{command}: {found}")));
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The literals of a source, without its comments and its unit tests.
fn literals(source: &str) -> Vec<String> {
    let source = source.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    let (mut found, mut rest) = (Vec::new(), source);
    while let Some(at) = rest.find(['"', '/', '\'']) {
        let (before, here) = rest.split_at(at);
        if here.starts_with("//") {
            rest = here.split_once('\n').map_or("", |(_, rest)| rest);
        } else if here.starts_with('"') && before.ends_with('#') {
            let (raw, after) = here[1..].split_once("\"#").unwrap();
            found.push(raw.to_owned());
            rest = after;
        } else if let Some(inside) = here.strip_prefix('"') {
            let mut is_escaped = false;
            let end = inside.find(|c| {
                let ends = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                ends
            });
            let (literal, after) = inside.split_at(end.expect("a literal ends"));
            found.push(literal.replace("\\n", " ").replace("\\\n", " "));
            rest = &after[1..];
        } else if here.starts_with('\'') {
            // A character, or a lifetime.
            let literal = ["'\"'", "'\\''", "'\\\\'", "'/'"].into_iter().find(|literal| here.starts_with(literal));
            rest = &here[literal.map_or(1, str::len)..];
        } else {
            rest = &here[1..];
        }
    }
    found
}

#[test]
fn every_message_uses_the_fields_terms() {
    let mut found = Vec::new();
    let mut look = |path: &str, text: &str| {
        found.extend(refused(text).into_iter().map(|found| format!("{path}: {found}")));
    };
    let mut count = 0;
    let is_ours =
        |path: &&String| !path.ends_with("tests.rs") && !path.contains("/tests/") && !path.starts_with("src/fuzz/");
    for path in files("src", ".rs").iter().filter(is_ours) {
        // A word alone is a name.
        for literal in literals(&read(path)).iter().filter(|literal| literal.contains(' ')) {
            look(path, literal);
            count += 1;
        }
    }
    // Their comments are read by people, too: help of metrics, headers of scripts.
    let whole = [("src", "openapi.json"), ("src", "metrics.rs"), ("lua", ".lua"), ("deploy", "")];
    for path in whole.iter().flat_map(|(directory, suffix)| files(directory, suffix)) {
        look(&path, &read(&path));
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(count > 500, "{count} literals");
}

#[test]
fn every_comment_uses_the_fields_terms() {
    let (mut found, mut count) = (Vec::new(), 0);
    for (directory, suffix, begin) in [("src", ".rs", "//"), ("src", ".lua", "--"), ("lua", ".lua", "--")] {
        for path in files(directory, suffix) {
            let text = read(&path);
            let comments = text.lines().filter_map(|line| line.split_once(begin)).map(|(_, comment)| comment);
            let comments: Vec<&str> = comments.collect();
            count += comments.len();
            found.extend(refused(&comments.join(" ")).into_iter().map(|found| format!("{path}: {found}")));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(count > 2000, "{count} lines");
}

#[test]
fn literals_are_found_and_comments_are_not() {
    let source = "let a = \"one \\\" two\"; // \"three\"\nlet c = '\"'; let d: &'static str = r#\"four\"#;\n\
                  \n#[cfg(test)]\nmod tests {\n\"five\"}";
    assert_eq!(literals(source), ["one \\\" two", "four"]);
}
