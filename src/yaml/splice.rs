//! Changes a document in its text, so that comments and the layout of all that stays are kept.

use std::ops::Range;

use super::emit::in_brackets;
use super::{Document, Node, Quoting, Style, read};

/// Where a node and those within it stand in a text; of a mapping, each key before its value.
#[derive(Debug, Default)]
pub struct Outline {
    pub begin: usize,
    /// Behind the last token.
    pub end: usize,
    pub children: Vec<Outline>,
}

/// The text of a document that is to have another root, from the beginning of its range, and where the old text goes on
/// behind it. `None` where that needs more than lines that are added and values that are replaced.
pub fn splice(text: &str, document: &Document, new: &Node) -> Option<(String, usize)> {
    let old = document.root.as_ref().filter(|root| !root.is_in_brackets())?;
    let mut splicing = Splicing { text, edits: Vec::new() };
    splicing.compare(old, &document.outline, new)?;
    splicing.keep_unfinished(&document.outline);
    let mut edits = splicing.edits;
    // What is added at one place is added from the inside to the outside.
    edits.sort_by_key(|(range, _)| range.start);
    let (mut out, mut copied) = (String::new(), document.range.start);
    for (range, changed) in edits {
        out.push_str(text.get(copied..range.start)?);
        out.push_str(&changed);
        copied = range.end;
    }
    let end = copied.max(document.range.end);
    out.push_str(&text[copied..end]);
    // Whatever the old text looks like, the new one says what it should.
    let mut again = read(&out).ok()?;
    let again_one = again.pop().filter(|document| document.duplicate.is_none())?;
    (again.is_empty() && again_one.root?.to_json() == new.to_json()).then_some((out, end))
}

/// Whether a value that is on one line is to have lines of its own.
fn may_be_laid_out(old: &Node, new: &Node) -> bool {
    let has_lines = match new {
        Node::Map(entries, Style::Block) => !entries.is_empty(),
        Node::List(items, Style::Block) => !items.is_empty(),
        _ => false,
    };
    has_lines && (old.is_in_brackets() || old.is_null())
}

struct Splicing<'a> {
    text: &'a str,
    edits: Vec<(Range<usize>, String)>,
}

impl Splicing<'_> {
    fn compare(&mut self, old: &Node, at: &Outline, new: &Node) -> Option<()> {
        if old.to_json() == new.to_json() {
            return Some(());
        }
        match (old, new) {
            (Node::Map(old, Style::Block), Node::Map(new, _)) => self.entries(old, at, new),
            (Node::List(old, Style::Block), Node::List(new, _)) => self.items(old, at, new),
            (Node::Map(_, Style::Flow), Node::Map(..)) | (Node::List(_, Style::Flow), Node::List(..)) => {
                self.replace(at, new)
            }
            (Node::Scalar(old), Node::Scalar(_)) if old.quoting != Quoting::Lines => self.replace(at, new),
            _ => None,
        }
    }

    fn replace(&mut self, at: &Outline, new: &Node) -> Option<()> {
        self.edits.push((at.begin..at.end, in_brackets(new)));
        (at.begin < at.end).then_some(())
    }

    /// A text behind a `|` that ends with the input has no newline there. One that comes with what is added behind it is
    /// not to be a part of it: then the `|` becomes a `|-`.
    fn keep_unfinished(&mut self, root: &Outline) {
        let mut last = root;
        while let Some(child) = last.children.last() {
            last = child;
        }
        let end = self.text.len();
        let is_unfinished = last.end == end && !self.text.ends_with('\n');
        if is_unfinished && self.edits.iter().any(|(range, _)| range.start == end) {
            let before = self.text[..last.begin].trim_end();
            let line = self.line(before.len());
            if let Some(at) = header(&before[line..]) {
                let is_of_it = |c: char| matches!(c, '|' | '>' | '+' | '-') || c.is_ascii_digit();
                let header: String = before[line + at..].chars().take_while(|c| is_of_it(*c)).collect();
                let place = line + at..line + at + header.len();
                self.edits.push((place, header.replace(['+', '-'], "") + "-"));
            }
        }
    }

    /// Old entries stay in their order, and new ones come behind them.
    fn entries(&mut self, old: &[(Node, Node)], at: &Outline, new: &[(Node, Node)]) -> Option<()> {
        if at.children.len() != old.len() * 2 || new.len() < old.len() {
            return None;
        }
        for (((key, value), (new_key, new_value)), at) in old.iter().zip(new).zip(at.children.chunks(2)) {
            if key.to_json() != new_key.to_json() {
                return None;
            }
            if may_be_laid_out(value, new_value) && value.to_json() != new_value.to_json() {
                self.lay_out(&at[0], &at[1], new_value)?;
            } else {
                self.compare(value, &at[1], new_value)?;
            }
        }
        for entry in &new[old.len()..] {
            let lines = Node::Map(vec![entry.clone()], Style::Block);
            self.write(self.behind(at.end), self.column(at.begin)?, &lines);
        }
        Some(())
    }

    /// Puts lines below a key in the place of the brackets or the null behind it.
    fn lay_out(&mut self, key: &Outline, at: &Outline, new: &Node) -> Option<()> {
        let text = &self.text[at.begin..at.end];
        // A comment within the brackets would be lost.
        if text.contains('#') {
            return None;
        }
        let column = self.column(key.begin)?;
        if !text.is_empty() {
            let before = self.text[..at.begin].trim_end_matches([' ', '\t']).len();
            self.edits.push((before..at.end, String::new()));
        }
        let indent = if new.is_map() { 2 } else { 0 };
        self.write(self.behind(key.end.max(at.end)), column + indent, new);
        Some(())
    }

    /// Old items stay in their order, and new ones come between them.
    fn items(&mut self, old: &[Node], at: &Outline, new: &[Node]) -> Option<()> {
        if at.children.len() != old.len() || new.len() < old.len() {
            return None;
        }
        if old.len() == new.len() {
            return old.iter().zip(&at.children).zip(new).try_for_each(|((old, at), new)| self.compare(old, at, new));
        }
        let column = self.dash(at.begin)?;
        let (mut place, mut taken) = (self.line(at.begin), 0);
        for (old, at) in old.iter().zip(&at.children) {
            let before = new[taken..].iter().position(|new| old.is_state_of(new))?;
            self.add(place, column, &new[taken..taken + before]);
            self.compare(old, at, &new[taken + before])?;
            (place, taken) = (self.behind(at.end), taken + before + 1);
        }
        self.add(place, column, &new[taken..]);
        Some(())
    }

    fn add(&mut self, place: usize, column: usize, items: &[Node]) {
        if !items.is_empty() {
            self.write(place, column, &Node::List(items.to_vec(), Style::Block));
        }
    }

    /// Adds lines at the beginning of a line, or behind a text that does not end its last one.
    fn write(&mut self, place: usize, column: usize, lines: &Node) {
        let newline = if self.text.contains("\r\n") { "\r\n" } else { "\n" };
        let mut added = String::new();
        if !self.text[..place].ends_with('\n') {
            added.push_str(newline);
        }
        for line in lines.to_yaml().lines() {
            if !line.is_empty() {
                added.push_str(&" ".repeat(column));
                added.push_str(line);
            }
            added.push_str(newline);
        }
        self.edits.push((place..place, added));
    }

    /// Where the line begins that a place is in.
    fn line(&self, place: usize) -> usize {
        self.text[..place].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// Where the line begins that comes behind a place. The lines behind a `|` end in the indentation of the next one.
    fn behind(&self, place: usize) -> usize {
        let line = self.line(place);
        if line > 0 && self.text[line..place].bytes().all(|byte| byte == b' ') {
            return line;
        }
        self.text[place..].find('\n').map_or(self.text.len(), |newline| place + newline + 1)
    }

    /// The column of a place that has only dashes before it.
    fn column(&self, place: usize) -> Option<usize> {
        let before = &self.text[self.line(place)..place];
        before.bytes().all(|byte| matches!(byte, b' ' | b'-')).then_some(before.len())
    }

    /// The column of the dashes of a list, which begins at its first one, or behind it where it is in the column of its key.
    fn dash(&self, place: usize) -> Option<usize> {
        let column = self.column(place)?;
        if ["- ", "-\n", "-\r"].iter().any(|dash| self.text[place..].starts_with(dash)) {
            return Some(column);
        }
        self.text[self.line(place)..place].rfind('-')
    }
}

/// Where in its line the `|` or the `>` stands that a text of several lines follows.
fn header(line: &str) -> Option<usize> {
    let is_header = |at: &usize| {
        let rest = line[at + 1..].trim_start_matches(['+', '-']).trim_start_matches(|c: char| c.is_ascii_digit());
        let rest = rest.trim_start_matches(['+', '-']);
        let is_alone = rest.trim().is_empty() || (rest.starts_with([' ', '\t']) && rest.trim_start().starts_with('#'));
        is_alone && (*at == 0 || line[..*at].ends_with([' ', '\t']))
    };
    line.match_indices(['|', '>']).map(|(at, _)| at).find(is_header)
}
