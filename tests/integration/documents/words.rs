//! The words of the field: what the documents never say.

use super::documents;

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
