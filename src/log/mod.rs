//! Writes the log: text for people or JSON for machines, on standard error, so that standard output stays the command's.
//!
//! Architecture invariant: one event is one line, whatever its fields hold. Everything is escaped here, so that no call
//! site has to; and every line of a request names it (`request.rs`).

mod throttle;

use std::fmt::{Debug, Write as _};
use std::io::Write as _;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, registry};

pub(crate) use throttle::{LogThrottle, Suppressed};

use crate::request::{self, Detail};

/// Each module of the crate, and the target of its lines.
const TARGETS: [(&str, &str); 16] = [
    ("api", "lockside.api"),
    ("app", "lockside.server"),
    ("auth", "lockside.auth"),
    ("cli", "lockside.server"),
    ("config", "lockside.config"),
    ("directory", "lockside.auth"),
    ("drain", "lockside.server"),
    ("json", "lockside.api"),
    ("lock", "lockside.lock"),
    ("log", "lockside.server"),
    ("metrics", "lockside.server"),
    ("ops", "lockside.redis"),
    ("redis", "lockside.redis"),
    ("request", "lockside.api"),
    ("secret", "lockside.config"),
    ("server", "lockside.server"),
];

#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    pub level: tracing::Level,
    pub json: bool,
}

/// Starts the log: our own events at the configured level, the libraries' from warn up, since at debug they would show
/// what is sent.
pub fn start(config: LogConfig) {
    use std::io::IsTerminal;
    let level = LevelFilter::from_level(config.level);
    let filter = Targets::new().with_target("lockside", level).with_default(level.min(LevelFilter::WARN));
    let has_colours = !config.json && std::io::stderr().is_terminal();
    let lines = Lines { is_json: config.json, has_colours };
    // A second start in one process keeps the first.
    let _ = registry().with(lines.with_filter(filter)).try_init();
}

/// Writes each event as a line.
struct Lines {
    is_json: bool,
    has_colours: bool,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        request::describe(|name, detail| fields.complete(name, detail));
        let (level, target) = (*event.metadata().level(), target(event.metadata().target()));
        let time = format!("{:.6}", jiff::Timestamp::now());
        let mut line =
            if self.is_json { fields.json(&time, level, target) } else { self.text(&fields, &time, level, target) };
        line.push('\n');
        // In one piece, so that lines of several threads do not mix. A log that cannot be written stops nothing.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

impl Lines {
    fn text(&self, fields: &Fields, time: &str, level: Level, target: &str) -> String {
        let (colour, plain) = match level {
            _ if !self.has_colours => ("", ""),
            Level::ERROR => ("\x1b[31m", "\x1b[0m"),
            Level::WARN => ("\x1b[33m", "\x1b[0m"),
            Level::INFO => ("\x1b[32m", "\x1b[0m"),
            Level::DEBUG => ("\x1b[34m", "\x1b[0m"),
            Level::TRACE => ("\x1b[35m", "\x1b[0m"),
        };
        let mut line = format!("{time} {colour}{level:>5}{plain} {target}: {}", escaped(&fields.message));
        for (name, value) in &fields.others {
            write(&mut line, format_args!(" {name}={}", value.text()));
        }
        line
    }
}

/// The message and the fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

enum Value {
    /// A string: in quotes.
    Text(String),
    /// The display of a value: in quotes if it needs them.
    Shown(String),
    /// A number or a boolean: without quotes.
    Plain(String),
}

impl Fields {
    fn add(&mut self, name: &'static str, value: Value) {
        match value {
            Value::Text(text) | Value::Shown(text) if name == "message" => self.message = text,
            // An empty field says nothing.
            Value::Text(text) | Value::Shown(text) if text.is_empty() => {}
            value => self.others.push((name.trim_start_matches("r#"), value)),
        }
    }

    /// Adds a field of the request, unless the event has it. An event's `by` stands for the request's `caller`.
    fn complete(&mut self, name: &'static str, detail: Detail<'_>) {
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

    fn json(&self, time: &str, level: Level, target: &str) -> String {
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
    fn text(&self) -> String {
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

/// The target of a line: by the module for our own events, unchanged for a library's.
fn target(given: &str) -> &str {
    let Some(path) = given.strip_prefix("lockside::") else { return given };
    let module = path.split("::").next().unwrap_or_default();
    TARGETS.iter().find(|(known, _)| *known == module).map_or("lockside", |(_, target)| target)
}

/// Whether a byte needs no quotes in a line of `name=value`.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'`' | b'\\' | b'=')
}

/// A message without anything that ends the line, controls a terminal, or looks like a quoted field.
fn escaped(message: &str) -> String {
    let quoted = format!("{message:?}");
    quoted[1..quoted.len() - 1].to_owned()
}

/// Appends a JSON string, with control characters above U+007E and line separators escaped, which JSON itself allows.
fn push_string(line: &mut String, text: &str) {
    let json = serde_json::to_string(text).expect("a string is always JSON");
    for character in json.chars() {
        let is_seen = matches!(character, ' '..='~') || (!character.is_ascii() && character.escape_debug().len() == 1);
        if is_seen {
            line.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write(line, format_args!("\\u{unit:04x}"));
            }
        }
    }
}

fn write(line: &mut String, text: std::fmt::Arguments<'_>) {
    line.write_fmt(text).expect("memory takes all that is written");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::json;

    use super::*;

    const MONITORING: &str = include_str!("../../docs/operations/monitoring.md");

    /// What would end a line, move a terminal's cursor, or turn the order of what follows.
    const HOSTILE: &str =
        "x by=\"root\"\n\r\t\0\u{1b}[2K\u{7f}\u{85}\u{9b}31m\u{2028}\u{2029}\u{202e}\u{2066}\u{200b}\u{feff}\\'`";

    fn fields() -> Fields {
        let mut fields = Fields::default();
        fields.add("message", Value::Shown(format!("it was {HOSTILE}")));
        fields.add("text", Value::Text(HOSTILE.to_owned()));
        fields.add("shown", Value::Shown(HOSTILE.to_owned()));
        fields.add("plain", Value::Shown("127.0.0.1:7420".to_owned()));
        fields.add("count", Value::Plain("7".to_owned()));
        fields.add("reason", Value::Text(String::new()));
        fields
    }

    fn is_harmless(line: &str) -> bool {
        line.chars().all(|c| matches!(c, ' '..='~') || (!c.is_ascii() && c.escape_debug().len() == 1))
    }

    #[test]
    fn whatever_a_message_or_a_field_holds_is_one_line_of_text_and_forges_no_field() {
        let lines = Lines { is_json: false, has_colours: false };
        let line = lines.text(&fields(), "T", Level::WARN, "lockside.audit");
        assert!(is_harmless(&line), "{line}");
        assert!(line.starts_with("T  WARN lockside.audit: it was x by=\\\"root\\\"\\n"), "{line}");
        assert!(
            line.contains(" text=\"x by=\\\"root\\\"\\n") && line.contains(" shown=\"x by=\\\"root\\\"\\n"),
            "{line}"
        );
        assert!(line.ends_with(" plain=127.0.0.1:7420 count=7"), "what is empty is left out: {line}");
        assert!(!line.contains(" by=\"root\""), "{line}");
    }

    #[test]
    fn whatever_a_message_or_a_field_holds_is_one_line_of_json_and_comes_back_as_it_was() {
        let line = fields().json("T", Level::WARN, "lockside.audit");
        assert!(is_harmless(&line), "{line}");
        let expected = json!({
            "timestamp": "T", "level": "WARN", "target": "lockside.audit", "message": format!("it was {HOSTILE}"),
            "text": HOSTILE, "shown": HOSTILE, "plain": "127.0.0.1:7420", "count": 7,
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).expect("JSON"), expected);
    }

    #[test]
    fn letters_of_every_language_stay_as_they_are() {
        let mut fields = Fields::default();
        fields.add("key", Value::Text("Straße/東京 🔒".to_owned()));
        let lines = Lines { is_json: false, has_colours: false };
        assert!(lines.text(&fields, "T", Level::INFO, "x").ends_with(" key=\"Straße/東京 🔒\""));
        assert!(fields.json("T", Level::INFO, "x").ends_with(",\"key\":\"Straße/東京 🔒\"}"));
    }

    #[test]
    fn colours_are_of_the_level_alone() {
        let lines = Lines { is_json: false, has_colours: true };
        let line = lines.text(&fields(), "T", Level::ERROR, "x");
        assert!(is_harmless(&line.replacen("\x1b[31mERROR\x1b[0m", "", 1)), "{line}");
    }

    #[test]
    fn what_the_event_has_itself_is_not_added_a_second_time() {
        let mut fields = Fields::default();
        fields.add("key", Value::Text("its own".to_owned()));
        fields.add("by", Value::Text("alice".to_owned()));
        for name in ["key", "caller", "caller_kind", "request_id"] {
            fields.complete(name, Detail::Text("the request's"));
        }
        let names = fields.others.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        assert_eq!(names, ["key", "by", "caller_kind", "request_id"]);
    }

    /// The modules of the crate, by their files.
    fn modules() -> BTreeSet<String> {
        let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").read_dir().expect("the sources");
        let names = files.map(|file| file.expect("an entry").file_name().into_string().expect("a name of ours"));
        let names = names.map(|name| name.trim_end_matches(".rs").to_owned());
        // Only tests and fuzzers have the last one.
        names.filter(|name| !["lib", "main", "fuzz"].contains(&&**name)).collect()
    }

    #[test]
    fn every_module_has_a_target() {
        let known = TARGETS.iter().map(|(module, _)| (*module).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(modules(), known, "src/ and TARGETS");
        for (module, expected) in TARGETS {
            assert_eq!(target(&format!("lockside::{module}")), expected);
            assert_eq!(target(&format!("lockside::{module}::deeper::still")), expected);
        }
        assert_eq!(target("lockside.audit"), "lockside.audit");
        assert_eq!((target("fred::router"), target("lockside")), ("fred::router", "lockside"));
    }

    #[test]
    fn the_documents_list_every_target_and_no_other() {
        let rows = MONITORING.lines().filter_map(|line| line.strip_prefix("| `lockside.")?.split('`').next());
        let listed = rows.map(|name| format!("lockside.{name}")).collect::<BTreeSet<_>>();
        let targets = TARGETS.iter().map(|(_, target)| *target).chain(["lockside.audit"]).map(str::to_owned);
        assert_eq!(listed, targets.collect());
    }
}
