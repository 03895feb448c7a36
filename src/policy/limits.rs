//! What a caller may have at once: the limits of a line, and those of a caller, to whom several lines may apply.

use std::str::FromStr;
use std::time::Duration;

/// The limits of one caller; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Locks that it has or waits for.
    pub locks: Option<u64>,
    /// Requests that wait for a lock or for a change, and streams of events.
    pub waiters: Option<u64>,
    /// Locks that its connections hold.
    pub holds: Option<u64>,
    /// Requests a second.
    pub requests: Option<u64>,
    /// Longest ttl, milliseconds.
    pub ttl_ms: Option<u64>,
}

impl Limits {
    /// The most that a limit may be of anything that is counted.
    pub const MOST: u64 = 1_000_000;
    /// Shortest and longest ttl that a limit may be.
    pub const TTLS: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(365 * 24 * 3600)];
    /// Longest time that anything counts, milliseconds.
    pub const LONGEST_MS: u64 = 2 * 365 * 24 * 3600 * 1000;

    pub fn is_none(&self) -> bool {
        *self == Limits::default()
    }

    /// From the words of a line, `locks=100 ttl=1h`. The error names every mistake.
    pub fn parse(words: &[String]) -> Result<Limits, Vec<String>> {
        let (mut limits, mut mistakes) = (Limits::default(), Vec::new());
        for word in words {
            if let Err(mistake) = limits.set(word) {
                mistakes.push(mistake);
            }
        }
        if words.is_empty() {
            mistakes
                .push("names no limit; expected locks=N, waiters=N, holds=N, requests=N or ttl=DURATION".to_owned());
        }
        if mistakes.is_empty() { Ok(limits) } else { Err(mistakes) }
    }

    fn set(&mut self, word: &str) -> Result<(), String> {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let place = match name {
            "locks" => &mut self.locks,
            "waiters" => &mut self.waiters,
            "holds" => &mut self.holds,
            "requests" => &mut self.requests,
            "ttl" => &mut self.ttl_ms,
            _ => {
                return Err(format!(
                    "`{word}` is no limit; expected locks, waiters, holds, requests or ttl, `=` and a value"
                ));
            }
        };
        if place.is_some() {
            return Err(format!("`{name}` stands there twice"));
        }
        *place = Some(if name == "ttl" {
            ttl_ms(value)?
        } else {
            count(value).map_err(|why| format!("`{name}`: {why}"))?
        });
        Ok(())
    }

    /// Of two lines that apply alike, whichever is lower.
    pub fn lower(self, other: Limits) -> Limits {
        let lower = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
        Limits {
            locks: lower(self.locks, other.locks),
            waiters: lower(self.waiters, other.waiters),
            holds: lower(self.holds, other.holds),
            requests: lower(self.requests, other.requests),
            ttl_ms: lower(self.ttl_ms, other.ttl_ms),
        }
    }

    /// Where this has no limit, the other's.
    pub fn or(self, other: Limits) -> Limits {
        Limits {
            locks: self.locks.or(other.locks),
            waiters: self.waiters.or(other.waiters),
            holds: self.holds.or(other.holds),
            requests: self.requests.or(other.requests),
            ttl_ms: self.ttl_ms.or(other.ttl_ms),
        }
    }
}

fn count(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| *number <= Limits::MOST);
    number.ok_or_else(|| format!("expected a number from 0 to {}", Limits::MOST))
}

fn ttl_ms(text: &str) -> Result<u64, String> {
    let span = jiff::SignedDuration::from_str(text).ok().and_then(|span| Duration::try_from(span).ok());
    let span = span.filter(|span| (Limits::TTLS[0]..=Limits::TTLS[1]).contains(span));
    let span = span.ok_or_else(|| format!("`ttl`: `{text}`; expected 10ms to 8760h, such as 500ms, 30s or 5m"))?;
    Ok(u64::try_from(span.as_millis()).expect("at most a year"))
}
