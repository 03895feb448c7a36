//! In line behind a stranger, who tells nobody when it lets go.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Raw, libraries, path};
use crate::harness::{TestRedis, eventually, unique};

/// 100 ms between two looks, and what a busy machine adds.
const SOON: Duration = Duration::from_millis(100 + 900);

#[tokio::test]
async fn their_release_is_noticed_within_a_look() {
    let raw = Raw::start().await;
    for (name, peer, key) in libraries() {
        assert_eq!(peer.ask(&format!("try {key} 60000")).await, "yes", "{name}");
        let waits = async {
            let granted = raw.acquire(&key, &json!({"ttlMs": 60_000, "waitMs": 20_000})).await;
            (granted, Instant::now())
        };
        let frees = async {
            eventually("it waits", Duration::from_secs(10), async || raw.look(&key).await["waiters"] == 1).await;
            assert_eq!(peer.ask(&format!("release {key}")).await, "released", "{name}");
            Instant::now()
        };
        let ((granted, at), freed) = tokio::join!(waits, frees);
        assert_eq!(granted.status, 201, "{name}: {}", granted.text());
        let took = at.saturating_duration_since(freed);
        println!("behind {name}: granted {took:?} after its release");
        assert!(took < SOON, "{name}: {took:?}");
    }
}

#[tokio::test]
async fn their_expiry_is_noticed_at_once() {
    let raw = Raw::start().await;
    for (name, peer, key) in libraries() {
        assert_eq!(peer.ask(&format!("try {key} 1000")).await, "yes", "{name}");
        let begun = Instant::now();
        let granted = raw.acquire(&key, &json!({"ttlMs": 60_000, "waitMs": 20_000})).await;
        assert_eq!(granted.status, 201, "{name}: {}", granted.text());
        let took = begun.elapsed();
        println!("behind {name}: granted after {took:?} of its second");
        assert!(took <= Duration::from_secs(1) + SOON, "{name}: {took:?}");
    }
}

#[tokio::test]
async fn those_in_line_behind_a_stranger_are_served_in_order() {
    let (raw, key, redis) = (Raw::start().await, unique("order"), TestRedis::alone());
    redis.ask::<()>("SET", &[&key, "a stranger's"]);
    let order = std::sync::Mutex::new(Vec::new());
    let waits = async |number: u64| {
        eventually("the one before waits", Duration::from_secs(10), async || raw.look(&key).await["waiters"] == number)
            .await;
        let granted = raw.acquire(&key, &json!({"ttlMs": 60_000, "waitMs": 20_000})).await;
        assert_eq!(granted.status, 201, "{}", granted.text());
        order.lock().unwrap().push(number);
        assert_eq!(raw.release(&key, granted.json()["token"].as_u64().unwrap()).await, 204);
    };
    let frees = async {
        eventually("three wait", Duration::from_secs(10), async || raw.look(&key).await["waiters"] == 3).await;
        redis.ask::<()>("DEL", &[&key]);
    };
    tokio::join!(waits(0), waits(1), waits(2), frees);
    assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
}

#[tokio::test]
async fn however_many_wait_behind_a_stranger_one_sidecar_looks_ten_times_a_second() {
    let redis = TestRedis::start(&[]);
    let sidecar = crate::harness::Sidecar::start(&redis, &["--raw-keys"]).await;
    redis.ask::<()>("SET", &["k", "a stranger's"]);
    let body = json!({"waitMs": 6000});
    let waits = (0..20).map(|_| sidecar.call("POST", &path("k")).json(&body).send());
    let counts = async {
        eventually("they wait", Duration::from_secs(10), async || {
            sidecar.call("GET", &path("k")).send().await.json()["waiters"] == 20
        })
        .await;
        let scripts = || {
            let stats: String = redis.ask("INFO", &["commandstats"]);
            let line = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:")).expect("scripts ran").to_owned();
            let calls = line.split("calls=").nth(1).and_then(|rest| rest.split(',').next());
            calls.expect("a count").parse::<u64>().expect("a number")
        };
        let (before, until) = (scripts(), Instant::now() + Duration::from_secs(2));
        eventually("two seconds have passed", Duration::from_secs(10), async || Instant::now() > until).await;
        scripts() - before
    };
    let (answers, looks) = tokio::join!(futures_util::future::join_all(waits), counts);
    println!("20 waiters behind a stranger: {looks} scripts in 2 s");
    assert!((5..=40).contains(&looks), "{looks} scripts in 2 s");
    assert!(answers.iter().all(|answer| answer.json()["code"] == "wait-timeout"));
}
