//! The fields of an event as they may stand in a line, whatever they hold.

use std::fmt::Debug;

use tracing::Level;
use tracing::field::{Field, Visit};

use crate::json::push_string;
use crate::request::Detail;

/// The message and the fields of an event.
#[derive(Default)]
pub struct Fields {
    pub message: String,
    pub others: Vec<(&'static str, Value)>,
}

pub enum Value {
    /// A string: in quotes.
    Text(String),
    /// The display of a value: in quotes if it needs them.
    Shown(String),
    /// A number or a boolean: without quotes.
    Plain(String),
}

impl Fields {
    pub fn add(&mut self, name: &'static str, value: Value) {
        match value {
            Value::Text(text) | Value::Shown(text) if name == "message" => self.message = text,
            // An empty field says nothing.
            Value::Text(text) | Value::Shown(text) if text.is_empty() => {}
            value => self.others.push((name.trim_start_matches("r#"), value)),
        }
    }

    /// Adds a field of the request, unless the event has it. An event's `by` stands for the request's `caller`.
    pub fn complete(&mut self, name: &'static str, detail: Detail<'_>) {
        let has = |name: &str| self.others.iter().any(|(other, _)| *other == name);
        let has_it = has(name) || name.strip_prefix("caller").is_some_and(|rest| has(&format!("by{rest}")));
        if !has_it {
            self.add(
                name,
                match detail {
                    Detail::Text(text) => Value::Text(text.to_owned()),
                    Detail::Number(number) => Value::Plain(number.to_string()),
                },
            );
        }
    }

    pub fn json(&self, time: &str, level: Level, target: &str) -> String {
        let mut line = format!("{{\"timestamp\":\"{time}\",\"level\":\"{level}\",\"target\":");
        push_string(&mut line, target);
        line.push_str(",\"message\":");
        push_string(&mut line, &self.message);
        for (name, value) in &self.others {
            line.push(',');
            push_string(&mut line, name);
            line.push(':');
            match value {
                Value::Text(text) | Value::Shown(text) => push_string(&mut line, text),
                Value::Plain(text) => line.push_str(text),
            }
        }
        line.push('}');
        line
    }
}

impl Value {
    pub fn text(&self) -> String {
        match self {
            Value::Text(text) => format!("{text:?}"),
            Value::Shown(text) if text.bytes().all(is_plain) => text.clone(),
            Value::Shown(text) => format!("{text:?}"),
            Value::Plain(text) => text.clone(),
        }
    }
}

macro_rules! record_plain {
    ($($method:ident: $type:ty),+) => {
        $(fn $method(&mut self, field: &Field, value: $type) {
            self.add(field.name(), Value::Plain(value.to_string()));
        })+
    };
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field.name(), Value::Shown(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), Value::Text(value.to_owned()));
    }

    /// All floats are milliseconds: three decimals are enough.
    fn record_f64(&mut self, field: &Field, value: f64) {
        let text = format!("{value:.3}");
        self.add(field.name(), if value.is_finite() { Value::Plain(text) } else { Value::Text(text) });
    }

    record_plain! { record_i64: i64, record_u64: u64, record_i128: i128, record_u128: u128, record_bool: bool }
}

/// Whether a byte needs no quotes in a line of `name=value`.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'`' | b'\\' | b'=')
}

/// A message without anything that ends the line, controls a terminal, or looks like a quoted field.
pub fn escaped(message: &str) -> String {
    let quoted = format!("{message:?}");
    quoted[1..quoted.len() - 1].to_owned()
}
