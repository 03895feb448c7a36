//! Each limit by its flag, and callers without credentials.

use std::time::Instant;

use futures_util::future::join_all;
use serde_json::json;

use super::quotas::{OPEN, TOKENS, assert_exceeded};
use super::{As, Guarded, path};
use crate::harness::http::Lines;
use crate::harness::{Sidecar, TestRedis, unique};

#[tokio::test]
async fn each_flag_sets_its_own_limit() {
    let flags =
        ["--caller-locks=6", "--caller-waiters=1", "--caller-holds=2", "--caller-requests=40", "--caller-ttl=70s"];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    let post = |path: &str, body: serde_json::Value| sidecar.call("POST", path).json(&body);

    let answer = post(&path(&unique("k")), json!({"ttlMs": 70_001})).send().await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("a ttl of at most 70000 ms"), "{}", answer.text());
    assert_eq!(post(&path(&unique("k")), json!({"ttlMs": 70_000})).send().await.status, 201);

    let mut holds: Vec<Lines> = Vec::new();
    for _ in 0..2 {
        holds.push(post(&format!("{}/hold", path(&unique("k"))), json!({})).open().await);
        assert_eq!(holds.last().unwrap().status, 200);
    }
    assert_exceeded(&post(&format!("{}/hold", path(&unique("k"))), json!({})).send().await, "holds", 2);

    let key = unique("k");
    assert_eq!(post(&path(&key), json!({"ttlMs": 60_000})).send().await.status, 201);
    let watching = sidecar.call("GET", "/v1/events").open().await;
    assert_eq!(watching.status, 200);
    let waits = post(&path(&key), json!({"waitMs": 5000})).send().await;
    assert_exceeded(&waits, "waiters", 1);

    for _ in 0..2 {
        assert_eq!(post(&path(&unique("k")), json!({"ttlMs": 60_000})).send().await.status, 201);
    }
    assert_exceeded(&post(&path(&unique("k")), json!({})).send().await, "locks", 6);

    let begun = Instant::now();
    let flood = join_all((0..200).map(|_| sidecar.call("GET", &path(&key)).send())).await;
    let served = flood.iter().filter(|answer| answer.status == 200).count() as f64;
    let most = 40.0 * (1.0 + begun.elapsed().as_secs_f64());
    assert!(served <= most, "{served} of {most}");
    flood.iter().filter(|answer| answer.status != 200).for_each(|answer| assert_exceeded(answer, "requests", 40));
    assert!(served < 200.0);
}

#[tokio::test]
async fn callers_without_credentials_are_one_caller() {
    let policy = format!("{OPEN}anonymous lock,read *\nanonymous limit locks=2 waiters=1 holds=1 requests=1000\n");
    let guarded = Guarded::start(&policy, &TOKENS, &["--anonymous", "full"]).await;
    for owner in ["one", "other"] {
        guarded.granted(&As::Nobody, &unique("k"), json!({"owner": owner, "ttlMs": 60_000})).await;
    }
    let third = guarded.ask(&As::Nobody, "POST", &path(&unique("k"))).json(&json!({"owner": "third"})).send().await;
    assert_exceeded(&third, "locks", 2);
    let watching = guarded.ask(&As::Nobody, "GET", "/v1/events").open().await;
    assert_eq!(watching.status, 200);
    assert_exceeded(&guarded.ask(&As::Nobody, "GET", "/v1/events").send().await, "waiters", 1);
    for (who, count) in [(As::Token("ci"), 3), (As::User("ann", json!({})), 3)] {
        for _ in 0..count {
            guarded.granted(&who, &unique("k"), json!({"ttlMs": 60_000})).await;
        }
    }
}
