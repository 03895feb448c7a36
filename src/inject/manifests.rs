//! YAML in, YAML out: every document that does not change passes byte for byte.

use serde_json::Value;

use super::{INJECT, Injector, Present, Report};
use crate::yaml::{self, Document, Node};

/// What became of a text.
#[derive(Debug)]
pub struct Injected {
    pub text: String,
    pub warnings: Vec<String>,
}

impl Injector {
    /// Puts the sidecar into the manifests of a text; an error for each thing that is wrong with them.
    pub fn manifests(&self, text: &str) -> Result<Injected, Vec<String>> {
        let documents = yaml::read(text).map_err(|fault| vec![format!("no YAML: {fault}")])?;
        let (mut out, mut copied, mut report) = (String::with_capacity(text.len()), 0, Report::default());
        let mut changes: Vec<Option<Value>> = Vec::new();
        for (at, document) in documents.iter().enumerate() {
            let changed = self.changed(document, at + 1, &mut report);
            changes.push(changed.as_ref().map(Node::to_json));
            let Some(changed) = changed else { continue };
            out.push_str(&text[copied..document.range.start]);
            copied = match yaml::splice(text, document, &changed) {
                Some((made, end)) => {
                    out.push_str(&made);
                    end
                }
                None => {
                    if loses_its_layout(text, document) {
                        report.warnings.push(format!(
                            "document {}: written from scratch, without its comments, since it cannot be changed in its \
                             place",
                            at + 1
                        ));
                    }
                    write(&mut out, &changed, text, document.range.end)
                }
            };
        }
        out.push_str(&text[copied..]);
        if changes.iter().any(Option::is_some) {
            check(&out, &documents, &changes, &mut report);
        }
        let Report { warnings, mistakes } = report;
        if mistakes.is_empty() { Ok(Injected { text: out, warnings }) } else { Err(mistakes) }
    }

    /// What a document becomes; `None` where it stays as it is.
    fn changed(&self, document: &Document, number: usize, report: &mut Report) -> Option<Node> {
        let root = document.root.as_ref()?;
        if let Some(fault) = &document.duplicate {
            // One of the values would be lost where the document is read.
            if root.has_key(INJECT) {
                report.mistakes.push(fault.to_string());
                return None;
            }
            report.warnings.push(format!("{fault}; the document is left as it is"));
        }
        if !root.is_map() {
            return None;
        }
        let mut changed = root.clone();
        let said = self.inject(&mut changed, Present::Updated);
        let place = |line: String| format!("document {number}: {line}");
        let is_sound = said.mistakes.is_empty();
        report.add(Report {
            warnings: said.warnings.into_iter().map(place).collect(),
            mistakes: said.mistakes.into_iter().map(place).collect(),
        });
        (is_sound && changed.to_json() != root.to_json()).then_some(changed)
    }
}

/// Whatever the text looks like that has been made, it says what it should.
fn check(made: &str, documents: &[Document], changes: &[Option<Value>], report: &mut Report) {
    let again = match yaml::read(made) {
        Ok(again) if again.len() == documents.len() => again,
        other => {
            let why = other.err().map_or_else(|| "it has other documents".to_owned(), |fault| fault.to_string());
            report.mistakes.push(format!("cannot write this layout: the output would not be read back: {why}"));
            return;
        }
    };
    let says = |document: &Document| document.root.as_ref().map_or(Value::Null, Node::to_json);
    for (at, ((before, change), after)) in documents.iter().zip(changes).zip(&again).enumerate() {
        let is_as_it_should = change.as_ref().map_or_else(|| says(after) == says(before), |is| says(after) == *is);
        let is_sound = change.is_none() || after.duplicate.is_none();
        if !is_as_it_should || !is_sound {
            report
                .mistakes
                .push(format!("document {}: cannot write this layout: the output would have other values", at + 1));
        }
    }
}

/// Whether there is something to lose: what is all in brackets, as JSON is, has no layout.
fn loses_its_layout(text: &str, document: &Document) -> bool {
    let has_comments = || {
        let mut lines = text[document.range.clone()].lines();
        lines.any(|line| line.starts_with('#') || line.contains(" #") || line.contains("\t#"))
    };
    document.root.as_ref().is_some_and(|root| !root.is_in_brackets()) || has_comments()
}

/// Writes a document from scratch in the place of the one that ends at `end`; returns where the text goes on.
fn write(out: &mut String, root: &Node, text: &str, end: usize) -> usize {
    // Behind a `---` of the same line.
    if !out.is_empty() && !out.ends_with(['\n', '\u{feff}']) {
        out.push('\n');
    }
    let is_windows = text.contains("\r\n");
    let yaml = root.to_yaml();
    out.push_str(&if is_windows { yaml.replace('\n', "\r\n") } else { yaml });
    let rest = &text[end..];
    let is_at_line = text[..end].ends_with('\n');
    // The line ends that the document had is the one that it has now.
    match rest {
        _ if is_at_line => end,
        _ if rest.starts_with("\r\n") => end + 2,
        _ if rest.starts_with('\n') => end + 1,
        _ => end,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_output_that_does_not_say_what_it_should_is_a_mistake() {
        let documents = yaml::read("a: 1\n---\nb: 2\n---\nd: 1\nd: 2\n").expect("YAML");
        let changes = [Some(json!({"a": "x, y"})), None, None];
        let said = |made: &str| {
            let mut report = Report::default();
            check(made, &documents, &changes, &mut report);
            report.mistakes
        };
        assert_eq!(said("a: x, y\n---\nb: 2\n---\nd: 2\nd: 2\n"), [""; 0]);
        let other = |at| vec![format!("document {at}: cannot write this layout: the output would have other values")];
        assert_eq!(said("a: x\n---\nb: 2\n---\nd: 2\n"), other(1));
        assert_eq!(said("a: 1\na: x, y\n---\nb: 2\n---\nd: 2\n"), other(1));
        assert_eq!(said("a: x, y\n---\nb: 3\n---\nd: 2\n"), other(2));
        for made in ["a: x, y\n---\nb: 2\n", "a: [x\n"] {
            assert!(
                said(made)[0].starts_with("cannot write this layout: the output would not be read back: "),
                "{made}"
            );
        }
    }
}
