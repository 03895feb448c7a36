//! From the texts of the flags to settings. Each method reads one concern to its end and collects the mistakes.

mod audit;
mod auth;
mod elections;
mod jwt;
mod listen;
mod redis;

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use super::flags::{LockFlags, ProcessFlags};
use super::{LockConfig, LogConfig, Mistake, ProcessConfig};
use crate::lock::Ttl;
use crate::secret::{OPEN_TO_OTHERS, Reloaded, Unwise};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// Shortest `--max-hold`.
const SHORTEST_CAP: Duration = Duration::from_millis(LockConfig::SHORTEST_CAP_MS);
const DAY: Duration = Duration::from_secs(24 * 3600);
const LONGEST_PREFIX: usize = 64;
const LONGEST_OWNER_PREFIX: usize = 128;

/// How long a lock lasts where neither its request nor a flag says.
const ADMIN_TTL: Duration = Duration::from_secs(300);
const DEFAULT_TTL: Duration = Duration::from_secs(30);

/// One run over the flags.
#[derive(Default)]
pub(super) struct Check {
    pub mistakes: Vec<Mistake>,
    pub warnings: Vec<String>,
    pub notes: Vec<String>,
}

impl Check {
    pub fn mistake(&mut self, flag: &str, problem: impl Into<String>) {
        self.mistakes.push(Mistake { flag: flag.to_owned(), problem: problem.into() });
    }

    fn take<T>(&mut self, flag: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|problem| self.mistake(flag, problem)).ok()
    }

    pub fn locks(&mut self, flags: &LockFlags) -> Option<LockConfig> {
        let shortest = Duration::from_millis(Ttl::MIN_MS);
        let max_ttl = self.duration("--max-ttl", &flags.max_ttl, shortest, YEAR);
        let max_hold = match given(&flags.max_hold) {
            Some(text) => self.duration("--max-hold", text, SHORTEST_CAP, YEAR).map(Some),
            None => Some(None),
        };
        // Not every API tells its caller that a lease is shorter than was asked for.
        let longest = max_ttl.unwrap_or(YEAR).min(max_hold.flatten().unwrap_or(YEAR));
        // A default follows the caps: who lowers a cap alone has set nothing that is wrong.
        let mut ttl = |flag, text: &Option<String>, default: Duration| match given(text) {
            Some(text) => self.duration(flag, text, shortest, longest),
            None => Some(default.min(longest)),
        };
        let admin_ttl = ttl("--admin-ttl", &flags.admin_ttl, ADMIN_TTL);
        let default_ttl = ttl("--default-ttl", &flags.default_ttl, DEFAULT_TTL);
        let max_wait = self.duration("--max-wait", &flags.max_wait, Duration::ZERO, DAY);
        let max_waiters = self.count("--max-waiters", &flags.max_waiters, 0, 1_000_000);
        let max_watchers = self.count("--max-watchers", &flags.max_watchers, 0, 1_000_000);
        let prefix = &flags.key_prefix;
        self.take("--key-prefix", check_prefix(prefix));
        let owner_prefix = given(&flags.owner_prefix).map_or_else(host_name, str::to_owned);
        if owner_prefix.len() > LONGEST_OWNER_PREFIX || owner_prefix.chars().any(char::is_control) {
            self.mistake(
                "--owner-prefix",
                format!("expected at most {LONGEST_OWNER_PREFIX} bytes without control characters"),
            );
        }
        let raw_keys = self.switch("--raw-keys", &flags.raw_keys);
        let max_ttl_ms = millis(max_ttl?);
        Some(LockConfig {
            key_prefix: prefix.clone(),
            raw_keys: raw_keys?,
            owner_prefix,
            admin_ttl: Ttl::from_ms(millis(admin_ttl?), max_ttl_ms)?,
            default_ttl: Ttl::from_ms(millis(default_ttl?), max_ttl_ms)?,
            max_ttl_ms,
            max_hold_ms: max_hold?.map(millis),
            max_wait_ms: millis(max_wait?),
            max_waiters: max_waiters?,
            max_watchers: max_watchers?,
        })
    }

    pub fn process(&mut self, flags: &ProcessFlags) -> Option<ProcessConfig> {
        let threads = self.count("--threads", &flags.threads, 1, 64);
        let grace = self.duration("--shutdown-grace", &flags.shutdown_grace, Duration::ZERO, Duration::from_secs(3600));
        let level = self.take("--log-level", log_level(&flags.log_level));
        let json = self.take(
            "--log-format",
            match flags.log_format.as_str() {
                "text" => Ok(false),
                "json" => Ok(true),
                other => Err(format!("`{other}`; expected text or json")),
            },
        );
        Some(ProcessConfig { threads: threads?, shutdown_grace: grace?, log: LogConfig { level: level?, json: json? } })
    }

    /// A file that only we should be able to read.
    fn secret_file<T>(
        &mut self,
        flag: &'static str,
        path: &Path,
        parse: impl Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Option<Reloaded<T>> {
        self.followed(flag, path, parse, Unwise { mode: OPEN_TO_OTHERS, value: |_| None })
    }

    /// A file that is read now and followed from then on, with a warning of what is unwise about it.
    fn followed<T>(
        &mut self,
        flag: &'static str,
        path: &Path,
        parse: impl Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static,
        wary: Unwise<T>,
    ) -> Option<Reloaded<T>> {
        let (live, warnings) = self.take(flag, Reloaded::read(flag, path, parse, wary))?;
        self.warnings.extend(warnings);
        Some(live)
    }

    fn duration(&mut self, flag: &str, text: &str, min: Duration, max: Duration) -> Option<Duration> {
        self.take(flag, duration(text, min, max))
    }

    fn switch(&mut self, flag: &str, text: &str) -> Option<bool> {
        self.take(flag, switch(text))
    }

    fn count(&mut self, flag: &str, text: &str, min: usize, max: usize) -> Option<usize> {
        let parsed = text.parse().ok().filter(|number| (min..=max).contains(number));
        self.take(flag, parsed.ok_or(format!("`{text}`; expected a number from {min} to {max}")))
    }
}

/// Whether it may begin the keys of a namespace.
pub fn check_prefix(prefix: &str) -> Result<(), String> {
    let fits = (1..=LONGEST_PREFIX).contains(&prefix.len())
        && !prefix.chars().any(|c| c.is_control() || matches!(c, '{' | '}'));
    let expected = || format!("expected 1 to {LONGEST_PREFIX} bytes without `{{`, `}}` and control characters");
    if fits { Ok(()) } else { Err(expected()) }
}

/// A time as people write it, such as `500ms`, `30s` or `5m`.
pub fn duration(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let parsed = jiff::SignedDuration::from_str(text).ok().and_then(|span| Duration::try_from(span).ok());
    let range = || format!("`{text}`; expected {} to {}, such as 500ms, 30s or 5m", written(min), written(max));
    parsed.filter(|span| (min..=max).contains(span)).ok_or_else(range)
}

/// An empty text, as an unset variable in a pod's manifest gives, counts as not given.
fn given(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|text| !text.is_empty())
}

/// This machine's name, in Kubernetes the pod's.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "lockside".to_owned(),
        name => name.to_owned(),
    }
}

/// The words that the environment's booleans come in.
fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("`{text}`; expected true or false")),
    }
}

/// What a list names, which may come in several flags, in one with commas, or both.
fn names(texts: &[String]) -> Vec<String> {
    let parts = texts.iter().flat_map(|text| text.split(',')).map(str::trim);
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// A list as it is typed, where it names nothing though something was typed.
fn of_nothing(texts: &[String]) -> Option<String> {
    let is_typed = texts.iter().any(|text| !text.is_empty());
    (is_typed && names(texts).is_empty()).then(|| texts.join(","))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).expect("at most a year")
}

fn written(span: Duration) -> String {
    match millis(span) {
        ms if ms >= 3_600_000 && ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

fn log_level(text: &str) -> Result<tracing::Level, String> {
    text.parse().map_err(|_| format!("`{text}`; expected error, warn, info, debug or trace"))
}

/// `None` where a file was named that is no good, `Some(None)` where none was.
fn or_none<T>(file: Option<Option<T>>) -> Option<Option<T>> {
    match file {
        Some(None) => None,
        Some(value) => Some(value),
        None => Some(None),
    }
}
