//! Redis's clock against our own, which counts suspension and never steps. All expiry goes by Redis's clock: when it
//! steps, leases end early or late.

use crate::redis::Sample;

/// A smaller difference is no step, microseconds.
const STEP_US: i64 = 1_000_000;
/// Two clocks that run evenly part by less than this share of the time between two samples.
const DRIFT_SHARE: i64 = 1_000;

/// By how much Redis's clock stepped between two samples, at the least, microseconds; `None` where slow answers and
/// drift explain the difference.
pub fn step(before: &Sample, after: &Sample) -> Option<i64> {
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
