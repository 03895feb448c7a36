//! What is told of a wait: on stderr after a second, and again when something has changed, but not too often. Knows no
//! stream.

use std::time::Duration;

use tokio::time::Instant;

use super::ExecFlags;
use crate::cli::complain;
use crate::cli::failure::Failure;
use crate::cli::view::{Holder, printable, span};

/// A shorter wait is not worth a line.
const FIRST: Duration = Duration::from_secs(1);
/// Between two lines.
const PAUSE: Duration = Duration::from_secs(10);

/// What a request waits for.
pub struct Standing {
    what: String,
    /// How long the lock had been held, and when that was heard.
    held: Option<(u64, Instant)>,
    place: Option<String>,
}

impl Standing {
    pub fn in_queue(position: Option<u64>, holder: Option<&Holder>) -> Standing {
        Standing {
            what: match (holder, position) {
                (Some(holder), _) => format!("held by {}", named(holder)),
                (None, Some(_)) => "held".to_owned(),
                (None, None) => "Redis has not replied yet".to_owned(),
            },
            held: holder.and_then(Holder::held_for_ms).map(|ms| (ms, Instant::now())),
            place: position.map(|position| format!("{} in the queue (position {position})", ordinal(position))),
        }
    }

    /// There is no place in a queue, and the request will be sent again.
    pub fn without(failure: &Failure) -> Standing {
        Standing { what: failure.to_string(), held: None, place: None }
    }

    fn is_as(&self, other: &Standing) -> bool {
        (&self.what, &self.place) == (&other.what, &other.place)
    }

    fn line(&self) -> String {
        let held = self.held.map(|(ms, heard)| ms + u64::try_from(heard.elapsed().as_millis()).unwrap_or_default());
        let held = held.map(|ms| format!(" for {}", span(ms / 1000 * 1000))).unwrap_or_default();
        let place = self.place.as_ref().map(|place| format!("; {place}")).unwrap_or_default();
        format!("{}{held}{place}", self.what)
    }
}

pub struct Progress {
    key: String,
    is_quiet: bool,
    /// When the next line may be written.
    next: Instant,
    told: Option<Standing>,
    now: Option<Standing>,
}

impl Progress {
    pub fn new(flags: &ExecFlags) -> Progress {
        let next = Instant::now() + FIRST;
        Progress { key: printable(flags.key.as_str()), is_quiet: flags.quiet, next, told: None, now: None }
    }

    /// Of several locks, the one that is waited for.
    pub fn waits_for(&mut self, key: Option<&str>) {
        if let Some(key) = key {
            self.key = printable(key);
        }
    }

    pub fn stands(&mut self, standing: Standing) {
        self.now = Some(standing);
    }

    /// Tells what is due while `work` goes on.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            let is_due = !self.is_quiet && self.has_news();
            tokio::select! {
                // First, so that a grant is heard at once.
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep_until(self.next), if is_due => self.tell(),
            }
        }
    }

    fn has_news(&self) -> bool {
        match (&self.now, &self.told) {
            (Some(now), Some(told)) => !now.is_as(told),
            (now, _) => now.is_some(),
        }
    }

    fn tell(&mut self) {
        let Some(now) = self.now.take() else { return };
        complain(format!("waiting for `{}`: {}", self.key, now.line()));
        self.next = Instant::now() + PAUSE;
        self.told = Some(now);
    }
}

/// The holder, and where it runs, if it says so.
fn named(holder: &Holder) -> String {
    let name = holder.name();
    match holder.place() {
        Some(place) => format!("{name} ({place})"),
        None => name,
    }
}

fn ordinal(number: u64) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_ordinals() {
        let told = [1, 2, 3, 4, 10, 11, 12, 13, 21, 101, 111].map(ordinal);
        assert_eq!(told, ["1st", "2nd", "3rd", "4th", "10th", "11th", "12th", "13th", "21st", "101st", "111th"]);
    }

    #[test]
    fn a_standing_changes_with_the_holder_and_the_place_and_not_with_time() {
        let held = |owner: &str, position, until: &str| {
            let json = format!(
                r#"{{"owner":"{owner}","since":"2026-01-01T00:00:00Z","validForMs":1000,"validUntil":"{until}",
                "meta":{{"host":"web-3","pid":4711,"command":"sh"}}}}"#
            );
            Standing::in_queue(Some(position), Some(&serde_json::from_str::<Holder>(&json).expect("a holder")))
        };
        let first = held("importer-7", 2, "2026-01-01T00:00:13Z");
        assert_eq!(first.line(), "held by importer-7 (web-3, pid 4711) for 12s; 2nd in the queue (position 2)");
        assert!(first.is_as(&held("importer-7", 2, "2026-01-01T00:01:13Z")));
        assert!(!first.is_as(&held("importer-7", 1, "2026-01-01T00:00:13Z")));
        assert!(!first.is_as(&held("web-3", 2, "2026-01-01T00:00:13Z")));
        assert_eq!(Standing::in_queue(Some(1), None).line(), "held; 1st in the queue (position 1)");
    }
}
