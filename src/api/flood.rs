//! Keeps a flood of failures from filling the log: while Redis is away, each request would add a line.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Lines in one [`WINDOW`] at most.
const LINES: u32 = 50;
const WINDOW: Duration = Duration::from_secs(1);

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

    /// Whether there is room for one more line now; then how many were withheld since the last one.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut window = self.0.lock().expect("no holder of this lock panics");
        if now.saturating_duration_since(window.began) >= WINDOW {
            (window.began, window.lines) = (now, 0);
        }
        if window.lines == LINES {
            window.withheld += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_has_so_many_lines_a_second_and_says_what_it_withheld() {
        let (flood, now) = (Flood::new(), Instant::now());
        let admitted: Vec<_> = (0..LINES + 7).filter_map(|_| flood.admit(now)).collect();
        assert_eq!(admitted, vec![0; LINES as usize]);
        assert_eq!(flood.admit(now + WINDOW), Some(7));
        assert_eq!(flood.admit(now + WINDOW), Some(0));
    }
}
