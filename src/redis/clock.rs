//! What is known of the Redis server's clock: enough to say, by that clock, until when a command may run.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// The server's clock beside our own, which is steady. Learns from what the server says its time is; between two such
/// words it may step, which the next answer corrects.
pub struct Clock {
    begun: Instant,
    /// The server's milliseconds since 1970 less ours since `begun`: never more than it is.
    ahead_ms: Mutex<Option<i64>>,
    last: Mutex<Option<Sample>>,
}

/// When the server read its clock, by both clocks: it did so between `sent_us` and `heard_us`. Ours counts the time that
/// the machine is suspended, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub sent_us: i64,
    pub redis_us: i64,
    pub heard_us: i64,
}

impl Sample {
    /// How far the server's clock is ahead of this machine's clock of the day, microseconds: the least and the most that
    /// it may be.
    pub fn ahead_us(&self) -> (i64, i64) {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let day_us = i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX) - now_us();
        (self.redis_us - (self.heard_us + day_us), self.redis_us - (self.sent_us + day_us))
    }
}

impl Clock {
    pub fn new() -> Clock {
        Clock { begun: Instant::now(), ahead_ms: Mutex::new(None), last: Mutex::new(None) }
    }

    pub fn is_known(&self) -> bool {
        self.lock().is_some()
    }

    /// Takes in that the server said `server_ms` in answer to what was sent at `sent` and has arrived now.
    pub fn learn(&self, server_ms: u64, sent: Instant) {
        let server_ms = i64::try_from(server_ms).unwrap_or(i64::MAX);
        let heard_us = now_us();
        let sent_us = heard_us - i64::try_from(sent.elapsed().as_micros()).unwrap_or(i64::MAX);
        let sample = Sample { sent_us, redis_us: server_ms.saturating_mul(1000), heard_us };
        *self.last.lock().expect("no holder of this lock panics") = Some(sample);
        // It said so between the two moments, and cut off its microseconds, and we ours.
        let least = server_ms - self.ours(Instant::now()) - 1;
        let most = server_ms - self.ours(sent) + 1;
        let mut ahead_ms = self.lock();
        // The old offset is kept while it lies within this sample's bounds: a slow answer has wide bounds.
        *ahead_ms = Some(ahead_ms.filter(|known| (least..=most).contains(known)).unwrap_or(least));
    }

    /// What was last heard of it.
    pub fn last(&self) -> Option<Sample> {
        *self.last.lock().expect("no holder of this lock panics")
    }

    /// A time of the server's clock, milliseconds since 1970, that it does not pass before `at`, unless it steps;
    /// `None` before it said anything.
    pub fn at(&self, at: Instant) -> Option<u64> {
        self.lock().and_then(|ahead_ms| u64::try_from(ahead_ms + self.ours(at)).ok())
    }

    fn ours(&self, at: Instant) -> i64 {
        i64::try_from(at.saturating_duration_since(self.begun).as_millis()).unwrap_or(i64::MAX)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<i64>> {
        self.ahead_ms.lock().expect("no holder of this lock panics")
    }
}

fn now_us() -> i64 {
    let now = Duration::try_from(clock_gettime(ClockId::Boottime)).expect("the machine started in the past");
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_by_the_servers_clock_is_never_later_than_it_is() {
        let clock = Clock::new();
        assert_eq!(clock.at(Instant::now()), None);
        let asked = Instant::now();
        clock.learn(5_000_000, asked);

        let then = clock.at(asked + Duration::from_secs(1)).expect("it is known");
        assert!((5_000_900..=5_001_000).contains(&then), "{then}");
    }

    #[test]
    fn a_slow_answer_keeps_what_was_known_and_a_step_of_the_clock_is_followed() {
        let clock = Clock::new();
        let asked = Instant::now();
        clock.learn(5_000_000, asked);
        let known = clock.at(asked).expect("it is known");
        std::thread::sleep(Duration::from_millis(30));

        clock.learn(5_000_010, asked); // somewhere in these 30 ms
        assert_eq!(clock.at(asked), Some(known));
        for stepped in [9_000_000, 1_000_000] {
            clock.learn(stepped, Instant::now());
            let now = clock.at(Instant::now()).expect("it is known");
            assert!(now.abs_diff(stepped) < 20, "{now}");
        }
    }
}
