//! Keeps a flood of lines from filling the log: while Redis is away, each request would add one.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Lines in one [`WINDOW`] at most.
const LINES: u32 = 50;
const WINDOW: Duration = Duration::from_secs(1);

/// Room for one line.
#[derive(Debug, PartialEq, Eq)]
pub struct Room {
    /// How many lines had none since the last one that had; to be said in this one.
    pub withheld: Option<u64>,
}

/// Counts lines of one kind.
pub struct Flood(Mutex<Window>);

struct Window {
    began: Instant,
    lines: u32,
    withheld: u64,
}

impl Flood {
    pub fn new() -> Flood {
        Flood(Mutex::new(Window { began: Instant::now(), lines: 0, withheld: 0 }))
    }

    /// Whether there is room for one more line now.
    pub fn room(&self, now: Instant) -> Option<Room> {
        let mut window = self.0.lock().expect("no holder of this lock panics");
        if now.saturating_duration_since(window.began) >= WINDOW {
            (window.began, window.lines) = (now, 0);
        }
        if window.lines == LINES {
            window.withheld += 1;
            return None;
        }
        window.lines += 1;
        let withheld = std::mem::take(&mut window.withheld);
        Some(Room { withheld: (withheld > 0).then_some(withheld) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_has_so_many_lines_a_second_and_says_what_it_withheld() {
        let (flood, now) = (Flood::new(), Instant::now());
        let admitted = (0..LINES + 7).filter_map(|_| flood.room(now));
        assert!(admitted.eq((0..LINES).map(|_| Room { withheld: None })));
        assert_eq!(flood.room(now + WINDOW), Some(Room { withheld: Some(7) }));
        assert_eq!(flood.room(now + WINDOW), Some(Room { withheld: None }));
    }
}
