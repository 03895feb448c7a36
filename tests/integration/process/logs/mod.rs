//! The log: what its lines name, how they are spelled, and what never stands in them.

mod audit;
mod failures;
mod ids;
mod secrets;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Sidecar, eventually};

const FORMATS: [&str; 2] = ["--log-format=text", "--log-format=json"];

/// A line of either format: its fields as texts, with `level`, `target` and `message` among them.
#[derive(Clone, Debug)]
struct Line {
    raw: String,
    fields: BTreeMap<String, String>,
}

impl Line {
    #[track_caller]
    fn of(raw: &str) -> Line {
        let fields = if raw.starts_with('{') { of_json(raw) } else { of_text(raw) };
        Line { raw: raw.to_owned(), fields }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    #[track_caller]
    fn assert(&self, name: &str, value: &str) {
        assert_eq!(self.get(name), Some(value), "{name}: {}", self.raw);
    }

    /// Nothing in it ends a line, speaks to a terminal or is invisible.
    #[track_caller]
    fn assert_harmless(&self) {
        let is_harmless = |c: char| matches!(c, ' '..='~') || (!c.is_ascii() && c.escape_debug().len() == 1);
        assert!(self.raw.chars().all(is_harmless), "{:?}", self.raw);
        assert!(self.fields.values().all(|value| !value.is_empty()), "an empty field: {}", self.raw);
    }
}

#[track_caller]
fn of_json(raw: &str) -> BTreeMap<String, String> {
    let line: Value = serde_json::from_str(raw).unwrap_or_else(|error| panic!("{error}: {raw}"));
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    line.as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// `TIME LEVEL TARGET: MESSAGE name=value name="a value"`
#[track_caller]
fn of_text(raw: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut add = |name: &str, value: &str| {
        let before = fields.insert(name.to_owned(), value.to_owned());
        assert_eq!(before, None, "{name} stands there twice: {raw}");
    };
    let (head, mut rest) = raw.split_once(": ").unwrap_or_else(|| panic!("no line of ours: {raw}"));
    let [time, level, target] = head.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{raw}") };
    [("timestamp", time), ("level", level), ("target", target)].iter().for_each(|(name, value)| add(name, value));
    let is_field = |word: &&str| {
        word.split_once('=').is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let message = match rest.split(' ').find(is_field) {
        Some(first) => rest[..rest.find(&format!(" {first}")).unwrap()].to_owned(),
        None => rest.to_owned(),
    };
    add("message", &message);
    rest = &rest[message.len()..];
    while let Some(field) = rest.strip_prefix(' ') {
        let (name, value) = field.split_once('=').unwrap_or_else(|| panic!("`{field}`: {raw}"));
        if let Some(quoted) = value.strip_prefix('"') {
            let (value, length) = unquoted(quoted);
            add(name, &value);
            rest = &quoted[length..];
        } else {
            let end = value.find(' ').unwrap_or(value.len());
            add(name, &value[..end]);
            rest = &value[end..];
        }
    }
    assert_eq!(rest, "", "{raw}");
    fields
}

/// A text up to the quote that ends it, and where what follows begins.
#[track_caller]
fn unquoted(text: &str) -> (String, usize) {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, at + 1),
            '\\' => match characters.next().unwrap().1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                '0' => value.push('\0'),
                'u' => {
                    let digits: String =
                        characters.by_ref().map(|(_, c)| c).skip(1).take_while(|c| *c != '}').collect();
                    value.push(char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap());
                }
                itself => value.push(itself),
            },
            other => value.push(other),
        }
    }
    panic!("no closing quote: {text}");
}

/// The lines that have this text, once there is one.
async fn lines_with(sidecar: &Sidecar, text: &str) -> Vec<Line> {
    let found = || sidecar.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect::<Vec<_>>();
    eventually(&format!("a line with `{text}`"), Duration::from_secs(5), async || !found().is_empty()).await;
    found().iter().map(|line| Line::of(line)).collect()
}

/// The only line that has this text.
async fn line_with(sidecar: &Sidecar, text: &str) -> Line {
    let lines = lines_with(sidecar, text).await;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.into_iter().next().unwrap()
}

/// The line that tells how the request of this id was answered. Others may belong to it, too.
async fn answer_of(sidecar: &Sidecar, id: &str) -> Line {
    let id = format!("{id}\"");
    let is_it = |line: &&str| line.contains(&id) && line.contains("duration_ms");
    let found = || sidecar.log().lines().filter(is_it).map(str::to_owned).collect::<Vec<_>>();
    eventually(&format!("an answer of `{id}`"), Duration::from_secs(5), async || !found().is_empty()).await;
    let lines = found();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    Line::of(&lines[0])
}
