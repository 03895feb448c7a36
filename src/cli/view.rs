//! What a sidecar says of locks, and how it is shown to people. What others wrote into a lock never reaches a terminal
//! as it is.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What is said of a holder without a name: a sidecar tells no more of what another program wrote than of an owner that its
/// caller may not read.
pub const UNKNOWN_OWNER: &str = "another program, or an owner that you may not read";

/// Who holds a lock. Of another program's lock, and of an owner that the caller may not read, only the expiry is known, if
/// it has one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    #[serde(default)]
    pub owner: Option<String>,
    #[serde(default)]
    pub kind: Option<String>,
    /// Of one that shares the lock: whether it was released already, and still takes it.
    #[serde(default)]
    pub state: Option<String>,
    #[serde(default)]
    pub token: Option<u64>,
    /// Whether it has the lock alone; of a sidecar that says it.
    #[serde(default)]
    pub mode: Option<String>,
    #[serde(default)]
    pub limit: Option<u16>,
    #[serde(default)]
    pub since: Option<String>,
    #[serde(default)]
    pub valid_for_ms: Option<u64>,
    #[serde(default)]
    pub valid_until: Option<String>,
    /// As it stands in the lock: what made it may allow more than a reader of JSON does.
    #[serde(default)]
    pub meta: Option<Box<RawValue>>,
}

/// One lock.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    #[serde(default = "held")]
    pub state: String,
    /// Of a lock that leases share, the first of them.
    pub holder: Option<Holder>,
    /// Of a lock that leases share: how many, and the first hundred.
    #[serde(default)]
    pub shared_by: Option<u64>,
    #[serde(default)]
    pub holders: Vec<Holder>,
    #[serde(default)]
    pub waiters: u64,
}

/// As sidecars say that are too old to tell a rest from a hold.
fn held() -> String {
    "held".to_owned()
}

impl Shown {
    /// How many leases share the lock, where there is more than one.
    pub fn shares(&self) -> Option<u64> {
        self.shared_by.filter(|count| *count > 1)
    }

    /// The holder with this token, where it is shown.
    pub fn holder_with(&self, token: u64) -> Option<&Holder> {
        self.holder.iter().chain(&self.holders).find(|holder| holder.token == Some(token))
    }
}

impl Holder {
    /// The owner's name, without what a terminal would obey.
    pub fn name(&self) -> String {
        self.owner.as_deref().map_or_else(|| UNKNOWN_OWNER.to_owned(), printable)
    }

    /// The owner's name in backticks, or why there is none.
    pub fn quoted(&self) -> String {
        if self.owner.is_some() { format!("`{}`", self.name()) } else { self.name() }
    }

    /// Whether it has the lock alone, and how many its request would share it with; without what a terminal would obey.
    pub fn mode(&self) -> Option<String> {
        let mode = printable(self.mode.as_deref()?);
        Some(self.limit.map_or(mode.clone(), |limit| format!("{mode}, limit {limit}")))
    }

    /// Where it runs, as `lockside exec` writes it into `meta`; without what a terminal would obey.
    pub fn place(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Place {
            host: String,
            pid: Option<u64>,
        }
        let Place { host, pid } = serde_json::from_str(self.meta.as_ref()?.get()).ok()?;
        let host = printable(&host);
        Some(pid.map_or(host.clone(), |pid| format!("{host}, pid {pid}")))
    }

    /// The host that it runs on, as `lockside exec` writes it into `meta`; without what a terminal would obey.
    pub fn host(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Place {
            host: String,
        }
        let Place { host } = serde_json::from_str(self.meta.as_ref()?.get()).ok()?;
        Some(printable(&host))
    }

    /// How long the lock had been held when the sidecar said so, by the clock of Redis alone.
    pub fn held_for_ms(&self) -> Option<u64> {
        let [since, until] =
            [&self.since, &self.valid_until].map(|time| time.as_ref()?.parse::<jiff::Timestamp>().ok());
        let lasts = until?.as_millisecond() - since?.as_millisecond();
        u64::try_from(lasts).ok()?.checked_sub(self.valid_for_ms?)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.quoted())?;
        match self.valid_for_ms {
            Some(ms) if self.owner.is_none() => write!(f, ", for another {}", span(ms)),
            Some(ms) => write!(f, " for another {}", span(ms)),
            None => Ok(()),
        }
    }
}

/// A time of day where this runs, with its date unless that is today; `None` for what is no RFC 3339 time.
pub fn clock(time: &str) -> Option<String> {
    let here = jiff::tz::TimeZone::system();
    let at = time.parse::<jiff::Timestamp>().ok()?.to_zoned(here.clone());
    let is_today = at.date() == jiff::Timestamp::now().to_zoned(here).date();
    Some(at.strftime(if is_today { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" }).to_string())
}

/// A time for people, in the style of the flags: `4.5s`, `29s`, `1m57s`.
pub fn span(ms: u64) -> String {
    let (tenths, seconds) = (ms / 100, ms / 1000);
    match seconds {
        0..10 if tenths % 10 == 0 => format!("{seconds}s"),
        0..10 => format!("{seconds}.{}s", tenths % 10),
        10..60 => format!("{seconds}s"),
        60..3600 => two((seconds / 60, "m"), (seconds % 60, "s")),
        _ => two((seconds / 3600, "h"), (seconds / 60 % 60, "m")),
    }
}

fn two((large, unit): (u64, &str), (small, smaller): (u64, &str)) -> String {
    if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{smaller}") }
}

/// Whether a terminal may obey a character, or a reader not see it. Cf: the format characters, such as those that turn the
/// direction of the text.
fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A text without what a terminal would obey.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_odd(c) { '\u{fffd}' } else { c }).collect()
}

/// JSON as it came, but for what a terminal would obey: that can stand in its strings alone, and is escaped there.
pub fn printable_json(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' | '\r' | '\t' => line.push(c),
            c if is_odd(c) => line += &format!("\\u{:04x}", u32::from(c)),
            c => line.push(c),
        }
    }
    line
}

/// A text on one line.
pub fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}

/// Lines up `rows` under `head`; the last column is as wide as it is.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let lines = rows.iter().map(|row| line(&mut row.iter().map(String::as_str)));
    [line(&mut head.iter().copied())].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_the_same_for_its_readers_and_harmless_for_a_terminal() {
        let json = "{\"owner\": \"a\u{9b}31m\u{202e}b\u{7f}ß\"}\n";
        let printed = printable_json(json);
        assert_eq!(printed, "{\"owner\": \"a\\u009b31m\\u202eb\\u007fß\"}\n");
        let value = |json| serde_json::from_str::<serde_json::Value>(json).expect("JSON");
        assert_eq!(value(&printed), value(json));
    }

    #[test]
    fn a_span_is_told_in_the_units_that_matter() {
        let told = [0, 90, 300, 1000, 4567, 9999, 10_000, 29_999, 117_000, 120_000, 7_200_000, 7_320_000].map(span);
        let expected = ["0s", "0s", "0.3s", "1s", "4.5s", "9.9s", "10s", "29s", "1m57s", "2m", "2h", "2h2m"];
        assert_eq!(told, expected);
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_printed() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}c ü"), "a\u{fffd}[2Jb\u{fffd}c ü");
    }

    #[test]
    fn a_table_lines_up() {
        let rows = [vec!["ab".to_owned(), "ü".to_owned()], vec!["c".to_owned(), "long".to_owned()]];
        assert_eq!(table(&["K", "OWNER"], &rows), "K   OWNER\nab  ü\nc   long");
    }
}
