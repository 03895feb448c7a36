//! From a tree to its text, as kubectl lays it out: two columns a level, lists at the column of their key.

use std::fmt::Write;

use serde_json::Value;

use super::json::plain;
use super::{Node, Quoting, Scalar, Style};

impl Node {
    /// The text of a document, without its `---`. What is all in brackets, as JSON is, stays so.
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        match self {
            Node::Map(_, Style::Flow) | Node::List(_, Style::Flow) => flow(&mut out, self, Brackets::Json),
            _ => block(&mut out, self, 0),
        }
        if !out.ends_with('\n') {
            out.push('\n');
        }
        out.trim_start_matches('\n').to_owned()
    }
}

/// The text of a value on one line, as a part of a document with lines.
pub fn in_brackets(node: &Node) -> String {
    let mut out = String::new();
    flow(&mut out, node, Brackets::Line);
    out
}

/// What a text on one line is to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Brackets {
    /// A part of a document with lines, which may have brackets of its own.
    Line,
    /// A part of a text in brackets.
    Yaml,
    /// JSON, which is YAML, too.
    Json,
}

impl Brackets {
    /// That of the parts of a collection.
    fn within(self) -> Brackets {
        if self == Brackets::Json { Brackets::Json } else { Brackets::Yaml }
    }
}

/// Whether a string may stand without quotes wherever it is.
pub fn may_be_plain(text: &str) -> bool {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || "/_.:-$()".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '.' || c == '$')
        && text.chars().all(is_fit)
        && !text.ends_with(':')
        && plain(text).is_string()
}

/// Longest text of a key without a `?` before it, bytes: parsers look for its `:` in the next 1024 characters.
const LONGEST_KEY: usize = 1000;

/// Writes a node behind its key or dash.
fn block(out: &mut String, node: &Node, column: usize) {
    match node {
        Node::Map(entries, Style::Block) if !entries.is_empty() => {
            for (at, (key, value)) in entries.iter().enumerate() {
                begin_line(out, column, at == 0);
                let begin = out.len();
                flow(out, key, Brackets::Line);
                if out.len() - begin > LONGEST_KEY {
                    out.insert_str(begin, "? ");
                    begin_line(out, column, false);
                }
                out.push(':');
                behind_key(out, value, column);
            }
        }
        Node::List(items, Style::Block) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                begin_line(out, column, at == 0);
                out.push('-');
                if !matches!(item, Node::Scalar(scalar) if scalar.is_nothing()) {
                    out.push(' ');
                    block(out, item, column + 2);
                }
            }
        }
        Node::Scalar(scalar) if scalar.quoting == Quoting::Lines => lines(out, scalar, column),
        other => flow(out, other, Brackets::Line),
    }
}

/// Begins a line, but for the first entry behind a dash, which has begun.
fn begin_line(out: &mut String, column: usize, is_first: bool) {
    if is_first && out.ends_with("- ") {
        return;
    }
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out.push_str(&" ".repeat(column));
}

fn behind_key(out: &mut String, value: &Node, column: usize) {
    match value {
        Node::Scalar(scalar) if scalar.is_nothing() => {}
        Node::Scalar(scalar) if scalar.quoting == Quoting::Lines => {
            out.push(' ');
            lines(out, scalar, column + 2);
        }
        Node::Map(entries, Style::Block) if !entries.is_empty() => block(out, value, column + 2),
        Node::List(items, Style::Block) if !items.is_empty() => block(out, value, column),
        other => {
            out.push(' ');
            flow(out, other, Brackets::Line);
        }
    }
}

/// A text of several lines behind a `|`, or in quotes where that could not be read back.
fn lines(out: &mut String, scalar: &Scalar, column: usize) {
    let text = &scalar.text;
    let body = text.trim_end_matches('\n');
    let is_fit = !body.is_empty()
        && !body.starts_with([' ', '\t', '\n'])
        && body.chars().all(|c| c == '\n' || c == '\t' || is_printable(c));
    if !is_fit {
        tag(out, scalar);
        return double_quoted(out, text);
    }
    tag(out, scalar);
    out.push_str(match text.len() - body.len() {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&" ".repeat(column));
            out.push_str(line);
        }
    }
    out.push_str(&text[body.len()..]);
}

/// Whether a text that was plain may be so on its line: within `[…]` and `{…}` fewer characters may be, and parsers that
/// know YAML 1.1 alone take fewer still. What is quoted for them is a string either way.
fn may_stay_plain(text: &str, brackets: Brackets) -> bool {
    let is_key = || text.starts_with(':') || text.ends_with(':') || text.contains(": ") || text.contains(":\t");
    let is_fit = || !is_key() && !text.contains([',', '[', ']', '{', '}', '#', '?']);
    !text.contains('\n') && !matches!(text, "?" | "-" | ":") && (brackets != Brackets::Yaml || is_fit())
}

/// Writes a node on one line.
fn flow(out: &mut String, node: &Node, brackets: Brackets) {
    match node {
        Node::Scalar(scalar) => one_line(out, scalar, brackets),
        Node::List(items, _) => {
            let brackets = brackets.within();
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                flow(out, item, brackets);
            }
            out.push(']');
        }
        Node::Map(entries, _) => {
            let brackets = brackets.within();
            out.push('{');
            for (at, (key, value)) in entries.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                let begin = out.len();
                match key {
                    Node::Scalar(key) if brackets == Brackets::Json => {
                        double_quoted(out, if key.is_nothing() { "null" } else { &key.text });
                    }
                    key => flow(out, key, brackets),
                }
                if out.len() - begin > LONGEST_KEY {
                    out.insert_str(begin, "? ");
                }
                out.push_str(": ");
                flow(out, value, brackets);
            }
            out.push('}');
        }
    }
}

fn one_line(out: &mut String, scalar: &Scalar, brackets: Brackets) {
    let text = &scalar.text;
    if brackets == Brackets::Json {
        return match scalar.to_json() {
            Value::String(text) => double_quoted(out, &text),
            // A number of JSON keeps its text; `0444` is none.
            _ if serde_json::from_str::<Value>(text).is_ok() => out.push_str(text),
            other => out.push_str(&other.to_string()),
        };
    }
    tag(out, scalar);
    match scalar.quoting {
        Quoting::Plain if scalar.is_nothing() => out.push_str("null"),
        Quoting::Plain if may_stay_plain(text, brackets) => out.push_str(text),
        Quoting::Single if text.chars().all(is_printable) => {
            out.push('\'');
            out.push_str(&text.replace('\'', "''"));
            out.push('\'');
        }
        _ => double_quoted(out, text),
    }
}

fn tag(out: &mut String, scalar: &Scalar) {
    if let Some(tag) = &scalar.tag {
        out.push_str(tag);
        out.push(' ');
    }
}

fn double_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_printable(c) => out.push(c),
            c => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    write!(out, "\\u{unit:04x}").expect("a String takes any text");
                }
            }
        }
    }
    out.push('"');
}

/// Whether a character can stand in a text as it is, without a meaning for lines.
fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}')
}

impl Scalar {
    /// Whether nothing is written.
    pub fn is_nothing(&self) -> bool {
        self.text.is_empty() && self.quoting == Quoting::Plain && self.tag.is_none()
    }
}
