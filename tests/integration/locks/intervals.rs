//! A job of an interval, on several hosts: every tick once, and never twice within the minimum.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Dice, Sidecar, TestRedis, unique};

const HOSTS: u64 = 3;
const TICKS: u32 = 200;
const INTERVAL: Duration = Duration::from_secs(1);
/// A tenth less than the interval, as `lockside exec --at-most-every` has it.
const MIN_HOLD: Duration = Duration::from_millis(900);
const TTL_MS: i64 = 800;
/// Starts are so far apart at most.
const JITTER_MS: u64 = 50;
/// At this tick the host that has the lock dies with it.
const CRASH: u32 = 100;

/// An attempt at a tick.
struct Attempt {
    tick: u32,
    /// Just before it was sent.
    begun: Instant,
    granted: Option<Grant>,
}

struct Grant {
    /// When the answer was there.
    heard: Instant,
    /// By Redis's clock, milliseconds since 1970.
    since_ms: i64,
}

#[tokio::test]
async fn every_tick_of_an_interval_runs_once_on_three_hosts_through_a_crash_and_never_twice_within_the_minimum() {
    let key = Arc::new(unique("interval"));
    let begin = tokio::time::Instant::now() + INTERVAL;
    let hosts = (0..HOSTS).map(|number| {
        let key = Arc::clone(&key);
        tokio::spawn(async move {
            let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
            let (mut dice, mut attempts) = (Dice(number + 1), Vec::new());
            let path = format!("/v1/locks/{key}");
            for tick in 0..TICKS {
                let jitter = Duration::from_millis(dice.roll(JITTER_MS));
                tokio::time::sleep_until(begin + INTERVAL * tick + jitter).await;
                let begun = Instant::now();
                let body = json!({"ttlMs": TTL_MS, "minHoldMs": MIN_HOLD.as_millis() as u64});
                let answer = sidecar.call("POST", &path).json(&body).send().await;
                let granted = (answer.status == 201).then(|| {
                    let until = answer.json()["validUntil"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
                    Grant { heard: Instant::now(), since_ms: until.as_millisecond() - TTL_MS }
                });
                assert!(matches!(answer.status, 201 | 409), "{}", answer.text());
                let has_it = granted.is_some();
                attempts.push(Attempt { tick, begun, granted });
                if !has_it {
                    continue;
                }
                if tick >= CRASH && number == 0 {
                    sidecar.signal("KILL");
                    break;
                }
                // The job is short: it ends long before the next tick, on whichever host that is.
                let token = answer.json()["token"].clone();
                let released = sidecar.call("DELETE", &format!("{path}?token={token}")).send().await;
                assert!(matches!(released.status, 204 | 410), "{}", released.text());
            }
            attempts
        })
    });
    let mut attempts = Vec::new();
    for host in hosts.collect::<Vec<_>>() {
        attempts.extend(host.await.expect("no panic"));
    }

    let mut grants: Vec<&Grant> = attempts.iter().filter_map(|attempt| attempt.granted.as_ref()).collect();
    grants.sort_by_key(|grant| grant.since_ms);
    let least_apart = grants.windows(2).map(|pair| pair[1].since_ms - pair[0].since_ms).min().expect("grants");
    assert!(least_apart >= MIN_HOLD.as_millis() as i64, "two within {least_apart} ms");
    for tick in 0..TICKS {
        let of_tick: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.tick == tick).collect();
        if of_tick.iter().any(|attempt| attempt.granted.is_some()) {
            continue;
        }
        // On a machine that stands still it may be too soon after the last grant for all of them.
        let last = grants.iter().map(|grant| grant.heard).filter(|heard| *heard < of_tick[0].begun).max();
        let was_due = |attempt: &&&Attempt| last.is_none_or(|last| attempt.begun > last + MIN_HOLD);
        assert!(!of_tick.iter().any(|attempt| was_due(&attempt)), "tick {tick} was missed");
    }
    assert!(grants.len() >= TICKS as usize * 9 / 10, "{} of {TICKS} ticks", grants.len());
}
