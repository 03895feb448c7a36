//! From a text to its documents. Aliases and merge keys are resolved; comments are left to the text.

use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, StructureStyle};

use super::{Document, Node, Outline, Quoting, Scalar, Style};

/// Most nodes that the aliases of a stream may repeat, so that a few of them cannot become millions.
const MOST_REPEATED: usize = 1_000_000;

/// Why a text is not YAML, or what is wrong with one of its documents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("document {document}, line {line}: {problem}")]
pub struct Fault {
    /// From 1.
    pub document: usize,
    pub line: usize,
    pub problem: String,
}

/// The documents of a text, in their order. One that is empty and has no `---` either is left out.
pub fn read(text: &str) -> Result<Vec<Document>, Fault> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let (mut documents, mut building) = (Vec::new(), Building::default());
    for next in Parser::new_from_str_with_options(text, options) {
        let document = documents.len() + 1;
        let (event, span) = next.map_err(|error| fault(document, &error))?;
        if matches!(event, Event::DocumentEnd) {
            documents.push(std::mem::take(&mut building).finished(text, bytes(&span).start, document));
        } else {
            let line = span.start.line();
            building.take(event, &span, text).map_err(|problem| Fault { document, line, problem })?;
        }
    }
    Ok(documents)
}

fn fault(document: usize, error: &ScanError) -> Fault {
    Fault { document, line: error.marker().line(), problem: error.info().to_owned() }
}

fn bytes(span: &Span) -> std::ops::Range<usize> {
    span.byte_range().expect("a text has offsets in bytes")
}

/// A document that is being read.
#[derive(Default)]
struct Building {
    root: Option<(Node, Outline)>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    repeated: usize,
    /// The line of the first duplicate key, and what is told of it.
    duplicate: Option<(usize, String)>,
    /// Where the first node begins.
    begin: Option<usize>,
    /// Where the last token of a node ends.
    end: usize,
}

/// A collection whose end has not come.
struct Open {
    node: Node,
    outline: Outline,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<Node>,
    /// On which line each key of a mapping is.
    lines: HashMap<String, usize>,
}

impl Open {
    fn new(node: Node, outline: Outline, anchor: usize) -> Open {
        Open { node, outline, anchor, key: None, lines: HashMap::new() }
    }

    /// Notes the line of a key; returns what is told of one that the mapping has already. Merge keys are resolved, all of
    /// them.
    fn note(&mut self, key: &Node, line: usize) -> Option<String> {
        let Node::Scalar(Scalar { text, .. }) = key else { return None };
        if is_merge(key) {
            return None;
        }
        let first = self.lines.insert(text.clone(), line)?;
        Some(format!("duplicate key `{text}`, first on line {first}"))
    }
}

impl Building {
    fn take(&mut self, event: Event<'_>, span: &Span, whole: &str) -> Result<(), String> {
        let (range, line) = (bytes(span), span.start.line());
        let outline = Outline { begin: range.start, end: range.end, children: Vec::new() };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.stands_at(&range);
                // What is missing comes as `~`.
                let mut text =
                    if range.is_empty() && style == ScalarStyle::Plain { String::new() } else { text.into_owned() };
                if quoting(style) == Quoting::Lines
                    && ends_unfinished(&text, &whole[range.clone()], &whole[range.end..])
                {
                    text.truncate(text.strip_suffix('\n').unwrap_or(&text).len());
                }
                let tag = tag.map(|tag| tag.original());
                self.complete(Node::Scalar(Scalar { text, quoting: quoting(style), tag }), outline, anchor, line)
            }
            Event::SequenceStart(style, anchor, _) => {
                self.stands_at(&range);
                self.open.push(Open::new(Node::List(Vec::new(), of(style)), outline, anchor));
                Ok(())
            }
            Event::MappingStart(style, anchor, _) => {
                self.stands_at(&range);
                self.open.push(Open::new(Node::Map(Vec::new(), of(style)), outline, anchor));
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.stands_at(&range);
                let Open { mut node, mut outline, anchor, .. } = self.open.pop().ok_or("an end without a beginning")?;
                if !range.is_empty() {
                    outline.end = range.end;
                }
                merge(&mut node);
                self.complete(node, outline, anchor, line)
            }
            Event::Alias(anchor) => {
                self.stands_at(&range);
                let node = self.anchors.get(&anchor).ok_or("an alias within what it stands for")?.clone();
                self.repeated += size(&node);
                if self.repeated > MOST_REPEATED {
                    return Err(format!("the aliases repeat more than {MOST_REPEATED} nodes"));
                }
                self.complete(node, outline, 0, line)
            }
            _ => Ok(()),
        }
    }

    fn stands_at(&mut self, range: &std::ops::Range<usize>) {
        self.begin.get_or_insert(range.start);
        if !range.is_empty() {
            self.end = range.end;
        }
    }

    fn complete(&mut self, node: Node, outline: Outline, anchor: usize, line: usize) -> Result<(), String> {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some((node, outline));
            return Ok(());
        };
        parent.outline.end = parent.outline.end.max(outline.end);
        parent.outline.children.push(outline);
        match &mut parent.node {
            Node::List(items, _) => items.push(node),
            Node::Map(entries, _) => match parent.key.take() {
                None => {
                    let problem = parent.note(&node, line);
                    self.duplicate = self.duplicate.take().or(problem.map(|problem| (line, problem)));
                    parent.key = Some(node);
                }
                Some(name) => entries.push((name, node)),
            },
            Node::Scalar(_) => {}
        }
        Ok(())
    }

    /// The document, of which `limit` is behind all, and which is the `number`th.
    fn finished(self, text: &str, limit: usize, number: usize) -> Document {
        let begin = self.begin.unwrap_or(limit);
        let mut end = self.end.max(begin);
        // Behind the last token may stand the `:` or the `-` of a node that is missing.
        let mut at = end;
        for line in text[end..limit.max(end)].split_inclusive('\n') {
            at += line.len();
            let bare = line.trim();
            if !bare.is_empty() && !bare.starts_with('#') {
                end = at - (line.len() - line.trim_end().len());
            }
        }
        let line = text[..begin].rfind('\n').map_or(0, |newline| newline + 1);
        let is_indented = text[line..begin].chars().all(|c| c == ' ');
        let duplicate = self.duplicate.map(|(line, problem)| Fault { document: number, line, problem });
        let (root, outline) = self.root.unzip();
        let range = if is_indented { line } else { begin }..end;
        Document { root: root.filter(|root| !root.is_null()), range, duplicate, outline: outline.unwrap_or_default() }
    }
}

fn of(style: StructureStyle) -> Style {
    match style {
        StructureStyle::Block => Style::Block,
        StructureStyle::Flow => Style::Flow,
    }
}

fn quoting(style: ScalarStyle) -> Quoting {
    match style {
        ScalarStyle::Plain => Quoting::Plain,
        ScalarStyle::SingleQuoted => Quoting::Single,
        ScalarStyle::DoubleQuoted => Quoting::Double,
        ScalarStyle::Literal | ScalarStyle::Folded => Quoting::Lines,
    }
}

/// Whether the last line of a text behind a `|` ends with the input. Then its value has no newline there, as other parsers
/// read it.
fn ends_unfinished(value: &str, lines: &str, rest: &str) -> bool {
    let last_of = |text: &str| text.rsplit('\n').next().unwrap_or_default().to_owned();
    let (value, last) = (last_of(value.trim_end_matches('\n')), last_of(lines));
    // Spaces alone are a line of it only beyond its column.
    rest.is_empty() && (!last.trim().is_empty() || (!value.is_empty() && last.ends_with(&value)))
}

fn size(node: &Node) -> usize {
    match node {
        Node::Scalar(_) => 1,
        Node::List(items, _) => 1 + items.iter().map(size).sum::<usize>(),
        Node::Map(entries, _) => 1 + entries.iter().map(|(key, value)| size(key) + size(value)).sum::<usize>(),
    }
}

fn is_merge(key: &Node) -> bool {
    matches!(key, Node::Scalar(Scalar { text, quoting: Quoting::Plain, .. }) if text == "<<")
}

/// Puts in the place of a `<<` what it merges: the keys that the mapping has not got itself.
fn merge(node: &mut Node) {
    let Node::Map(entries, _) = node else { return };
    while let Some(at) = entries.iter().position(|(key, _)| is_merge(key)) {
        let (_, merged) = entries.remove(at);
        let sources = match merged {
            Node::List(items, _) => items,
            other => vec![other],
        };
        let mut place = at;
        for (key, value) in sources.into_iter().filter_map(entries_of).flatten() {
            let is_there = matches!(&key, Node::Scalar(key) if entries.iter().any(|(name, _)| name.is_key(&key.text)));
            if !is_there {
                entries.insert(place, (key, value));
                place += 1;
            }
        }
    }
}

fn entries_of(node: Node) -> Option<Vec<(Node, Node)>> {
    if let Node::Map(entries, _) = node { Some(entries) } else { None }
}
