//! YAML as people and tools write Kubernetes objects in it: a stream of documents, each a tree in its order, whose scalars
//! keep their text, so that `0444` is not turned into another number. Knows no Kubernetes.

mod emit;
mod json;
mod read;
mod splice;

use std::ops::Range;

pub use read::{Fault, read};
use splice::Outline;
pub use splice::splice;

/// A document of a stream.
#[derive(Debug)]
pub struct Document {
    /// `None` where it is empty.
    pub root: Option<Node>,
    /// Where the root stands in the text: from the beginning of its first line to the end of its last one.
    pub range: Range<usize>,
    /// The first key that a mapping of it has twice, of which all values are kept in the root.
    pub duplicate: Option<Fault>,
    outline: Outline,
}

#[derive(Clone, Debug)]
pub enum Node {
    Scalar(Scalar),
    List(Vec<Node>, Style),
    Map(Vec<(Node, Node)>, Style),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// An entry a line.
    Block,
    /// In brackets.
    Flow,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// Without its quotes; empty and plain where nothing is written.
    pub text: String,
    pub quoting: Quoting,
    /// As it is written, such as `!!str`.
    pub tag: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quoting {
    /// What it is depends on its text.
    Plain,
    Single,
    Double,
    /// Lines behind a `|`.
    Lines,
}

impl Node {
    pub fn map() -> Node {
        Node::Map(Vec::new(), Style::Block)
    }

    pub fn list() -> Node {
        Node::List(Vec::new(), Style::Block)
    }

    /// A string, quoted where its text alone would be something else.
    pub fn string(text: impl Into<String>) -> Node {
        let text = text.into();
        let quoting = if emit::may_be_plain(&text) { Quoting::Plain } else { Quoting::Double };
        Node::Scalar(Scalar { text, quoting, tag: None })
    }

    pub fn number(number: u32) -> Node {
        Node::Scalar(Scalar { text: number.to_string(), quoting: Quoting::Plain, tag: None })
    }

    pub fn boolean(is_true: bool) -> Node {
        Node::Scalar(Scalar { text: is_true.to_string(), quoting: Quoting::Plain, tag: None })
    }

    /// A mapping of strings.
    pub fn strings<const N: usize>(entries: [(&str, &str); N]) -> Node {
        let entries = entries.map(|(key, value)| (Node::string(key), Node::string(value)));
        Node::Map(entries.into(), Style::Block)
    }

    /// What stands under a key.
    pub fn at(&self, key: &str) -> Option<&Node> {
        let Node::Map(entries, _) = self else { return None };
        entries.iter().find(|(name, _)| name.is_key(key)).map(|(_, value)| value)
    }

    /// What stands under one key after the other.
    pub fn within(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.at(key))
    }

    pub fn at_mut(&mut self, key: &str) -> Option<&mut Node> {
        let Node::Map(entries, _) = self else { return None };
        entries.iter_mut().find(|(name, _)| name.is_key(key)).map(|(_, value)| value)
    }

    pub fn within_mut(&mut self, path: &[&str]) -> Option<&mut Node> {
        path.iter().try_fold(self, |node, key| node.at_mut(key))
    }

    /// What stands under a key, which has `otherwise` if it has nothing yet. `self` is a mapping.
    pub fn entry(&mut self, key: &str, otherwise: Node) -> &mut Node {
        if self.at(key).is_none_or(Node::is_null) {
            self.set(key, otherwise);
        }
        self.at_mut(key).expect("it has just been set")
    }

    /// Puts a value under a key, at the end where the key is new. Nothing where `self` is no mapping.
    pub fn set(&mut self, key: &str, value: Node) {
        match self.at_mut(key) {
            Some(old) => *old = value,
            None => {
                if let Node::Map(entries, _) = self {
                    entries.push((Node::string(key), value));
                }
            }
        }
    }

    pub fn remove(&mut self, key: &str) {
        if let Node::Map(entries, _) = self {
            entries.retain(|(name, _)| !name.is_key(key));
        }
    }

    /// Has a collection written an entry a line.
    pub fn lay_out(&mut self) {
        if let Node::List(_, style) | Node::Map(_, style) = self {
            *style = Style::Block;
        }
    }

    /// The same with all its collections in one style.
    #[cfg(any(test, fuzzing))]
    pub fn styled(&self, style: Style) -> Node {
        match self {
            Node::Scalar(scalar) => Node::Scalar(scalar.clone()),
            Node::List(items, _) => Node::List(items.iter().map(|item| item.styled(style)).collect(), style),
            Node::Map(entries, _) => {
                let entries = entries.iter().map(|(key, value)| (key.styled(style), value.styled(style)));
                Node::Map(entries.collect(), style)
            }
        }
    }

    /// The entries of a list; none where it is something else.
    pub fn items(&self) -> &[Node] {
        if let Node::List(items, _) = self { items } else { &[] }
    }

    pub fn items_mut(&mut self) -> Option<&mut Vec<Node>> {
        if let Node::List(items, _) = self { Some(items) } else { None }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Node::Scalar(scalar) if scalar.is_string() => Some(&scalar.text),
            _ => None,
        }
    }

    pub fn is_map(&self) -> bool {
        matches!(self, Node::Map(..))
    }

    pub fn is_list(&self) -> bool {
        matches!(self, Node::List(..))
    }

    /// Whether an item of a list is another state of an item: by its name, as Kubernetes has it, or else by all of it.
    pub fn is_state_of(&self, other: &Node) -> bool {
        match (self.at("name"), other.at("name")) {
            (Some(own), Some(other)) => own.is_same(other),
            _ => self.is_same(other),
        }
    }

    /// Whether a mapping has this key, at whatever depth.
    pub fn has_key(&self, key: &str) -> bool {
        match self {
            Node::Scalar(_) => false,
            Node::List(items, _) => items.iter().any(|item| item.has_key(key)),
            Node::Map(entries, _) => {
                entries.iter().any(|(name, value)| name.is_key(key) || name.has_key(key) || value.has_key(key))
            }
        }
    }

    /// Whether both say the same in JSON, with keys in the same order.
    pub fn is_same(&self, other: &Node) -> bool {
        match (self, other) {
            (Node::Scalar(own), Node::Scalar(other)) => own == other || own.to_json() == other.to_json(),
            (Node::List(own, _), Node::List(other, _)) => {
                own.len() == other.len() && own.iter().zip(other).all(|(own, other)| own.is_same(other))
            }
            (Node::Map(own, _), Node::Map(other, _)) => {
                let is_same = |(own, other): (&(Node, Node), &(Node, Node))| {
                    own.0.as_key() == other.0.as_key() && own.1.is_same(&other.1)
                };
                own.len() == other.len() && own.iter().zip(other).all(is_same)
            }
            _ => false,
        }
    }

    pub fn is_in_brackets(&self) -> bool {
        matches!(self, Node::List(_, Style::Flow) | Node::Map(_, Style::Flow))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Node::Scalar(_)) && self.to_json().is_null()
    }

    /// The text of a key, whatever it would be as a value.
    pub fn as_key(&self) -> Option<&str> {
        if let Node::Scalar(Scalar { text, .. }) = self { Some(text) } else { None }
    }

    fn is_key(&self, key: &str) -> bool {
        self.as_key() == Some(key)
    }
}

#[cfg(test)]
mod tests;
