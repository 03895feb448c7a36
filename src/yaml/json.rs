//! What YAML says in JSON. Plain scalars are read as Kubernetes and its tools read them, by the rules of YAML 1.1: `0444`
//! is octal, and `yes` is true.

use serde_json::{Number, Value};

use super::{Node, Quoting, Scalar, Style};

impl Node {
    pub fn to_json(&self) -> Value {
        match self {
            Node::Scalar(scalar) => scalar.to_json(),
            Node::List(items, _) => items.iter().map(Node::to_json).collect(),
            Node::Map(entries, _) => {
                let key = |key: &Node| match key {
                    Node::Scalar(scalar) => scalar.text.clone(),
                    other => other.to_json().to_string(),
                };
                entries.iter().map(|(name, value)| (key(name), value.to_json())).collect()
            }
        }
    }
}

impl From<&Value> for Node {
    fn from(value: &Value) -> Node {
        let plain = |text: String| Node::Scalar(Scalar { text, quoting: Quoting::Plain, tag: None });
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => plain(value.to_string()),
            Value::String(text) => Node::string(text),
            Value::Array(items) => Node::List(items.iter().map(Node::from).collect(), Style::Block),
            Value::Object(entries) => {
                let entries = entries.iter().map(|(key, value)| (Node::string(key), Node::from(value)));
                Node::Map(entries.collect(), Style::Block)
            }
        }
    }
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
