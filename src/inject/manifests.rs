//! YAML in, YAML out: every document that does not change passes byte for byte.

use super::{Injector, Present, Report};
use crate::yaml::{self, Node};

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
        for (at, document) in documents.iter().enumerate() {
            let Some(root) = document.root.as_ref().filter(|root| root.is_map()) else { continue };
            let mut changed = root.clone();
            let said = self.inject(&mut changed, Present::Updated);
            let place = |line: String| format!("document {}: {line}", at + 1);
            let is_sound = said.mistakes.is_empty();
            report.add(Report {
                warnings: said.warnings.into_iter().map(place).collect(),
                mistakes: said.mistakes.into_iter().map(place).collect(),
            });
            if is_sound && changed.to_json() != root.to_json() {
                out.push_str(&text[copied..document.range.start]);
                copied = match yaml::splice(text, document, &changed) {
                    Some((made, end)) => {
                        out.push_str(&made);
                        end
                    }
                    None => write(&mut out, &changed, text, document.range.end),
                };
            }
        }
        out.push_str(&text[copied..]);
        let Report { warnings, mistakes } = report;
        if mistakes.is_empty() { Ok(Injected { text: out, warnings }) } else { Err(mistakes) }
    }
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
