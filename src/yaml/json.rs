//! What YAML says in JSON. Plain scalars are read as Kubernetes and its tools read them, by the rules of YAML 1.1: `0444`
//! is octal, and `yes` is true.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::{Node, Quoting, Scalar, Style};

impl Node {
    pub fn to_json(&self) -> Value {
        match self {
            Node::Scalar(scalar) => scalar.to_json(),
            Node::List(items, _) => items.iter().map(Node::to_json).collect(),
            Node::Map(entries, _) => {
                let key = |key: &Node| match key {
                    // Also of a key that is missing, which is null.
                    Node::Scalar(scalar) if !scalar.is_nothing() => scalar.text.clone(),
                    key => key.to_json().to_string(),
                };
                entries.iter().map(|(name, value)| (key(name), value.to_json())).collect()
            }
        }
    }
}

/// Most keys and values of a JSON text: more than an object of Kubernetes can have, and few enough to bound the memory
/// that a text of a few MiB takes.
const MOST_NODES: usize = 500_000;

/// From JSON, without a copy in between. A key that an object has twice is an error.
impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        Json { left: &Cell::new(MOST_NODES) }.deserialize(deserializer)
    }
}

#[derive(Clone, Copy)]
struct Json<'a> {
    /// How many nodes may follow.
    left: &'a Cell<usize>,
}

impl Json<'_> {
    fn count<E: Error>(self) -> Result<(), E> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| E::custom(format_args!("more than {MOST_NODES} keys and values")))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Json<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Json<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(bare("null"))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(bare(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(bare(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(bare(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        // As JSON writes it: `1.0` is not to become an integer.
        Ok(bare(Value::from(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::string(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        // A long text may be of nothing but small collections.
        list.shrink_to_fit();
        Ok(Node::List(list, Style::Block))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.count()?;
            map.push((Node::string(key), entries.next_value_seed(self)?));
        }
        map.shrink_to_fit();
        if let Some(key) = duplicate(&map) {
            return Err(A::Error::custom(format_args!("duplicate key `{key}`")));
        }
        Ok(Node::Map(map, Style::Block))
    }
}

fn bare(text: impl fmt::Display) -> Node {
    Node::Scalar(Scalar { text: text.to_string(), quoting: Quoting::Plain, tag: None })
}

/// A key that a mapping has twice.
fn duplicate(entries: &[(Node, Node)]) -> Option<&str> {
    let mut seen = HashSet::new();
    let mut keys = entries.iter().filter_map(|(key, _)| key.as_key());
    if entries.len() < 2 { None } else { keys.find(|key| !seen.insert(*key)) }
}

impl Scalar {
    pub fn is_string(&self) -> bool {
        self.to_json().is_string()
    }

    pub fn to_json(&self) -> Value {
        match self.tag.as_deref() {
            Some("!!str" | "!") => Value::from(self.text.clone()),
            _ if self.quoting != Quoting::Plain => Value::from(self.text.clone()),
            _ => plain(&self.text),
        }
    }
}

/// What a plain scalar is.
pub fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => return Value::from(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            return Value::from(false);
        }
        _ => {}
    }
    let number = integer(text).or_else(|| float(text));
    number.map_or_else(|| Value::from(text), Value::Number)
}

fn integer(text: &str) -> Option<Number> {
    let text: String = text.chars().filter(|c| *c != '_').collect();
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let based = |radix, digits: &str| {
        // A second sign is no digit.
        let is_digits = digits.starts_with(|c: char| c.is_digit(radix));
        u64::from_str_radix(digits, radix).ok().filter(|_| is_digits)
    };
    let value = match digits.get(..2).map(|begin| (begin, &digits[2..])) {
        Some(("0x", rest)) => based(16, rest),
        Some(("0b", rest)) => based(2, rest),
        Some(("0o", rest)) => based(8, rest),
        Some(_) if digits.starts_with('0') => based(8, digits),
        _ => based(10, digits),
    }?;
    if !is_negative {
        return Some(Number::from(value));
    }
    i64::try_from(-i128::from(value)).ok().map(Number::from)
}

fn float(text: &str) -> Option<Number> {
    let unsigned = text.trim_start_matches(['-', '+']);
    let is_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && text.contains(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    is_number.then(|| text.parse().ok()).flatten().and_then(Number::from_f64)
}
