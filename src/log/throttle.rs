//! Bounds how many lines of one kind the log gets: while Redis is unavailable, each request would add one.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Lines in one [`WINDOW`] at most.
const LINES: u32 = 50;
const WINDOW: Duration = Duration::from_secs(1);

/// How many lines were suppressed since the last one that was admitted; the next line says so.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Suppressed(pub Option<u64>);

/// Counts lines of one kind.
pub(crate) struct LogThrottle(Mutex<Window>);

struct Window {
    began: Instant,
    lines: u32,
    suppressed: u64,
}

impl LogThrottle {
    pub fn new() -> LogThrottle {
        LogThrottle(Mutex::new(Window { began: Instant::now(), lines: 0, suppressed: 0 }))
    }

    /// Admits one more line now, or suppresses it.
    pub fn admit(&self, now: Instant) -> Option<Suppressed> {
        let mut window = self.0.lock().expect("no holder of this lock panics");
        if now.saturating_duration_since(window.began) >= WINDOW {
            (window.began, window.lines) = (now, 0);
        }
        if window.lines == LINES {
            window.suppressed += 1;
            return None;
        }
        window.lines += 1;
        let suppressed = std::mem::take(&mut window.suppressed);
        Some(Suppressed((suppressed > 0).then_some(suppressed)))
    }
}

/// Between two lines of one reason.
const REMINDER: Duration = Duration::from_secs(60);

/// When a line of each reason was last written: one that tells of a setting is written once, and then as a reminder.
#[derive(Debug, Default)]
pub(crate) struct Reminders(Mutex<BTreeMap<&'static str, Instant>>);

impl Reminders {
    /// Whether a line of this reason is due.
    pub fn admit(&self, reason: &'static str, now: Instant) -> bool {
        let mut last = self.0.lock().expect("no holder of this lock panics");
        let is_due = last.get(reason).is_none_or(|last| now.saturating_duration_since(*last) >= REMINDER);
        if is_due {
            last.insert(reason, now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_at_once_and_then_once_a_minute() {
        let (reminders, now) = (Reminders::default(), Instant::now());
        let told: Vec<bool> = [0, 1, 59, 60, 61].map(|s| reminders.admit("a", now + Duration::from_secs(s))).into();
        assert_eq!(told, [true, false, false, true, false]);
        assert!(reminders.admit("b", now));
    }

    #[test]
    fn so_many_lines_are_admitted_a_second_and_the_next_says_how_many_were_not() {
        let (throttle, now) = (LogThrottle::new(), Instant::now());
        let admitted = (0..LINES + 7).filter_map(|_| throttle.admit(now));
        assert!(admitted.eq((0..LINES).map(|_| Suppressed(None))));
        assert_eq!(throttle.admit(now + WINDOW), Some(Suppressed(Some(7))));
        assert_eq!(throttle.admit(now + WINDOW), Some(Suppressed(None)));
    }
}
