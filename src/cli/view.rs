//! What a sidecar says of locks, and how it is shown to people. What others wrote into a lock never reaches a terminal
//! as it is.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Who holds a lock. Of another program's lock only its expiry is known, if it has one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    #[serde(default)]
    pub owner: Option<String>,
    #[serde(default)]
    pub kind: Option<String>,
    #[serde(default)]
    pub token: Option<u64>,
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

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Some(owner) => write!(f, "`{}`", printable(owner))?,
            None => write!(f, "another program (lockside did not write this key)")?,
        }
        match self.valid_for_ms {
            Some(ms) => write!(f, " for another {}", span(ms)),
            None => Ok(()),
        }
    }
}

/// A time that is left, for people.
pub fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..10 => format!("{ms} ms"),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A text without what a terminal would obey.
pub fn printable(text: &str) -> String {
    // Cf: the format characters, such as those that turn the direction of the text.
    let is_odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if is_odd(c) { '\u{fffd}' } else { c }).collect()
}

/// Lines up `rows` under `head`; the last column is as wide as it is.
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let lines = rows.iter().map(|row| line(std::array::from_fn(|column| row[column].as_str())));
    [line(head)].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_the_units_that_matter() {
        let told = [0, 1200, 9999, 10_000, 119_999, 121_000, 7_200_000].map(span);
        assert_eq!(told, ["0 ms", "1200 ms", "9999 ms", "10 s", "119 s", "2 min 1 s", "2 h 0 min"]);
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_printed() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}c ü"), "a\u{fffd}[2Jb\u{fffd}c ü");
    }

    #[test]
    fn a_table_lines_up() {
        let rows = [["ab".to_owned(), "ü".to_owned()], ["c".to_owned(), "long".to_owned()]];
        assert_eq!(table(["K", "OWNER"], &rows), "K   OWNER\nab  ü\nc   long");
    }
}
