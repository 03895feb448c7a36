//! Redis's clock against our own, which counts suspension and never steps. All expiry goes by Redis's clock: when it
//! steps, leases end early or late.

use std::collections::HashMap;

use crate::redis::Sample;

/// How long a silent server is remembered, microseconds: its clock may have stepped when it is back.
const REMEMBERED_US: i64 = 24 * 3_600 * 1_000_000;
/// Smallest difference that is a step, microseconds.
const STEP_US: i64 = 1_000_000;
/// Drift: two even clocks part by less than one in so many of the time between two samples.
const DRIFT_SHARE: i64 = 1_000;

/// The latest sample of each server's clock, by the server's name. Each clock is compared with itself alone: a failover to
/// a server with another time is no step.
#[derive(Default)]
pub struct Clocks(HashMap<String, Sample>);

impl Clocks {
    /// Records a sample of a server's clock; returns by how much it stepped, see [`step`].
    pub fn see(&mut self, server: &str, now: Sample) -> Option<i64> {
        self.0.retain(|_, sample| now.heard_us - sample.heard_us < REMEMBERED_US);
        self.0.insert(server.to_owned(), now).and_then(|before| step(&before, &now))
    }
}

/// By how much Redis's clock stepped between two samples, at the least, microseconds; `None` where slow answers and
/// drift explain the difference.
fn step(before: &Sample, after: &Sample) -> Option<i64> {
    let redis = after.redis_us - before.redis_us;
    let (longest, shortest) = (after.heard_us - before.sent_us, after.sent_us - before.heard_us);
    let allowed = STEP_US + longest / DRIFT_SHARE;
    if redis - longest > allowed {
        Some(redis - longest)
    } else if redis - shortest < -allowed {
        Some(redis - shortest)
    } else {
        None
    }
}

/// By how much a server's clock is ahead of this machine's, at the least, microseconds; `None` where they are together.
/// No lease depends on it.
pub fn apart_us(sample: &Sample) -> Option<i64> {
    let (least, most) = sample.ahead_us();
    if least > STEP_US {
        Some(least)
    } else if most < -STEP_US {
        Some(most)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    fn sample(sent_us: i64, redis_us: i64, heard_us: i64) -> Sample {
        Sample { sent_us, redis_us, heard_us }
    }

    #[test]
    fn a_step_is_seen_in_both_directions() {
        let before = sample(10 * S, 1000 * S, 10 * S + 500);
        assert_eq!(step(&before, &sample(15 * S, 1005 * S, 15 * S + 500)), None);
        assert_eq!(step(&before, &sample(15 * S, 1065 * S, 15 * S)), Some(60 * S));
        assert_eq!(step(&before, &sample(15 * S + 500, 945 * S, 15 * S + 900)), Some(-60 * S));
    }

    #[test]
    fn another_server_with_another_time_is_no_step_and_the_same_one_is() {
        let mut clocks = Clocks::default();
        assert_eq!(clocks.see("a:1", sample(0, 1000 * S, 0)), None);
        assert_eq!(clocks.see("b:1", sample(5 * S, 2005 * S, 5 * S)), None);
        assert_eq!(clocks.see("b:1", sample(10 * S, 2010 * S, 10 * S)), None);
        assert_eq!(clocks.see("a:1", sample(10 * S, 1070 * S, 10 * S)), Some(60 * S), "away and back");
    }

    #[test]
    fn a_server_that_is_gone_is_forgotten() {
        let mut clocks = Clocks::default();
        clocks.see("a:1", sample(0, 1000 * S, 0));
        clocks.see("b:1", sample(REMEMBERED_US, 1000 * S, REMEMBERED_US));
        assert_eq!(clocks.0.len(), 1);
    }

    #[test]
    fn a_slow_answer_is_no_step() {
        let before = sample(10 * S, 1000 * S, 10 * S);
        // Asked at 15, heard at 25: Redis may have read its clock at any time between.
        for redis_us in [1004 * S + 1, 1005 * S, 1010 * S, 1015 * S, 1016 * S] {
            assert_eq!(step(&before, &sample(15 * S, redis_us, 25 * S)), None, "{redis_us}");
        }
        assert_eq!(step(&before, &sample(15 * S, 1020 * S, 25 * S)), Some(5 * S));
        let slow = sample(10 * S, 1000 * S, 20 * S);
        assert_eq!(step(&slow, &sample(25 * S, 1005 * S, 25 * S)), None);
        assert_eq!(step(&slow, &sample(25 * S, 1015 * S, 25 * S)), None);
        assert_eq!(step(&slow, &sample(25 * S, 1000 * S, 25 * S)), Some(-5 * S));
    }

    #[test]
    fn drift_over_a_long_silence_is_no_step() {
        let before = sample(0, 0, 0);
        let hour = 3600 * S;
        assert_eq!(step(&before, &sample(hour, hour + 3 * S, hour)), None);
        assert_eq!(step(&before, &sample(hour, hour - 3 * S, hour)), None);
        assert_eq!(step(&before, &sample(hour, hour - 60 * S, hour)), Some(-60 * S));
    }
}
