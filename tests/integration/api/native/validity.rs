//! `validForMs`: what a holder can count on from the moment of the answer, however long Redis took.

use std::time::Duration;

use serde_json::json;

use super::{Native, Who, assert_problem, left_ms, redis_key, token_of};
use crate::harness::{Fault, Proxy, TestRedis, eventually, unique};

/// A sidecar that reaches the shared Redis through a proxy.
async fn behind_a_proxy(flags: &[&str]) -> (Proxy, Native) {
    let proxy = Proxy::start(TestRedis::alone());
    let native = Native::start_at(&proxy.url(), flags).await;
    (proxy, native)
}

fn exists(key: &str) -> bool {
    TestRedis::alone().ask("EXISTS", &[&redis_key(key)])
}

#[tokio::test]
async fn what_redis_took_and_the_drift_are_no_part_of_it() {
    const DELAY_MS: u64 = 300;
    let (proxy, native) = behind_a_proxy(&["--redis-timeout=5s"]).await;
    let key = unique("delay");
    proxy.set(Fault::DelayReplies(Duration::from_millis(DELAY_MS)));
    let body = json!({"ttlMs": 10_000, "owner": "web-3", "reentrant": true});
    let most = 10_000 - DELAY_MS - 102;
    let granted = native.attempt(&Who::System, &key, "n-1", &body).await;
    assert_eq!(granted.status, 201, "{}", granted.text());
    let token = token_of(&granted.json());
    for (what, answer, status) in [
        ("acquire", granted, 201),
        ("repetition", native.attempt(&Who::System, &key, "n-1", &body).await, 200),
        ("renewal", native.renew(&Who::System, &key, token, &json!({})).await, 200),
        ("reentrant", native.acquire(&Who::System, &key, &body).await, 200),
    ] {
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        assert!((5_000..=most).contains(&left_ms(&answer.json())), "{what}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_grant_with_nothing_left_is_503_and_leaves_no_lock() {
    let (proxy, native) = behind_a_proxy(&["--redis-timeout=5s"]).await;
    native.granted(&Who::System, &unique("warm")).await;
    proxy.set(Fault::DelayReplies(Duration::from_millis(350)));
    for name in [None, Some("n-1")] {
        let key = unique("late");
        let body = json!({"ttlMs": 300, "owner": "web-3"});
        let answer = match name {
            None => native.acquire(&Who::System, &key, &body).await,
            Some(name) => native.attempt(&Who::System, &key, name, &body).await,
        };
        assert_problem(&answer, 503, "too-late");
        assert_eq!(answer.json()["outcome"], "not-applied");
        eventually("no lock is left", Duration::from_secs(1), async || !exists(&key)).await;
    }
}

#[tokio::test]
async fn a_renewal_with_nothing_left_is_503_and_says_that_it_was_applied() {
    let (proxy, native) = behind_a_proxy(&["--redis-timeout=5s"]).await;
    let key = unique("late");
    let token = token_of(&native.granted(&Who::System, &key).await);
    native.renew(&Who::System, &key, token, &json!({})).await;
    proxy.set(Fault::DelayReplies(Duration::from_millis(350)));
    let answer = native.renew(&Who::System, &key, token, &json!({"ttlMs": 300})).await;
    assert_problem(&answer, 503, "too-late");
    assert_eq!(answer.json()["outcome"], "applied");
    assert!(!exists(&key), "it was renewed, and has ended since");
}
