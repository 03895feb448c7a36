//! Writes the log: text for people or JSON for machines, on standard error, so that standard output stays the command's.
//!
//! Architecture invariant: one event is one line, whatever its fields hold. Everything is escaped here, so that no call
//! site has to; and every line of a request names it (`request.rs`).

mod fields;
mod throttle;

use std::io::Write as _;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, registry};

use fields::{Fields, escaped};
pub(crate) use throttle::{LogThrottle, Reminders, Suppressed};

use crate::request;

/// Each module of the crate, and the target of its lines.
const TARGETS: [(&str, &str); 29] = [
    ("api", "lockside.api"),
    ("app", "lockside.server"),
    ("audit", "lockside.audit"),
    ("auth", "lockside.auth"),
    ("bundle", "lockside.lock"),
    ("cli", "lockside.server"),
    ("config", "lockside.config"),
    ("directory", "lockside.auth"),
    ("drain", "lockside.server"),
    ("election", "lockside.election"),
    ("hold", "lockside.api"),
    ("headers", "lockside.api"),
    ("http_client", "lockside.server"),
    ("inject", "lockside.inject"),
    ("json", "lockside.api"),
    ("lock", "lockside.lock"),
    ("log", "lockside.server"),
    ("metrics", "lockside.server"),
    ("ops", "lockside.redis"),
    ("policy", "lockside.auth"),
    ("quota", "lockside.api"),
    ("readiness", "lockside.redis"),
    ("redis", "lockside.redis"),
    ("request", "lockside.api"),
    ("secret", "lockside.config"),
    ("server", "lockside.server"),
    ("timer", "lockside.server"),
    ("tls", "lockside.server"),
    ("yaml", "lockside.inject"),
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
            line.extend([" ", name, "=", &value.text()]);
        }
        line
    }
}

/// The target of a line: by the module for our own events, unchanged for a library's.
fn target(given: &str) -> &str {
    let Some(path) = given.strip_prefix("lockside::") else { return given };
    let module = path.split("::").next().unwrap_or_default();
    TARGETS.iter().find(|(known, _)| *known == module).map_or("lockside", |(_, target)| target)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::json;

    use super::fields::Value;
    use super::*;
    use crate::request::Detail;

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
