//! A lock that lives as long as a connection.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::http::Lines;
use crate::harness::{Sidecar, TestRedis, eventually, jwt, unique};

async fn hold(sidecar: &Sidecar, key: &str, body: Value) -> Lines {
    sidecar.call("POST", &format!("/v1/locks/{key}/hold")).json(&body).open().await
}

pub async fn acquired(sidecar: &Sidecar, key: &str, ttl_ms: u64) -> (Lines, Value) {
    let mut lines = hold(sidecar, key, json!({"ttlMs": ttl_ms})).await;
    assert_eq!(lines.status, 200);
    let first = lines.next().await.unwrap();
    assert_eq!((&first["event"], &first["key"]), (&json!("acquired"), &json!(key)));
    (lines, first)
}

async fn state(sidecar: &Sidecar, key: &str) -> Value {
    sidecar.call("GET", &format!("/v1/locks/{key}")).send().await.json()["state"].clone()
}

async fn is_free(sidecar: &Sidecar, key: &str, within: Duration) -> Duration {
    eventually("the lock is free", within, async || state(sidecar, key).await == "free").await
}

/// Reads to the end of the stream: the last line, and when the last promise ended.
async fn last_word(lines: &mut Lines, first: &Value) -> (Value, Instant, Instant) {
    let promise = |line: &Value| Instant::now() + Duration::from_millis(line["validForMs"].as_u64().unwrap_or(0));
    let (mut promised, mut last, mut heard) = (promise(first), Value::Null, Instant::now());
    while let Some(line) = lines.next().await {
        heard = Instant::now();
        if line["event"] == "renewed" {
            promised = promise(&line);
        }
        last = line;
    }
    (last, heard, promised)
}

#[tokio::test]
async fn a_hold_of_two_seconds_survives_twenty() {
    let (sidecar, key) = (Sidecar::start(TestRedis::shared(), &[]).await, unique("hold"));
    let (mut lines, first) = acquired(&sidecar, &key, 2000).await;
    let end = Instant::now() + Duration::from_secs(20);
    let mut renewals = 0;
    while Instant::now() < end {
        let line = tokio::time::timeout(Duration::from_secs(2), lines.next()).await.unwrap().unwrap();
        assert_eq!(line["event"], "renewed");
        assert!((1..=1978).contains(&line["validForMs"].as_u64().unwrap()), "{line}");
        renewals += 1;
    }
    assert!((25..=40).contains(&renewals), "{renewals} renewals in 20 s");
    let holder = sidecar.call("GET", &format!("/v1/locks/{key}")).send().await.json();
    assert_eq!(holder["holder"]["token"], first["token"]);
    drop(lines);
    is_free(&sidecar, &key, Duration::from_secs(1)).await;
}

#[tokio::test]
async fn the_first_hold_of_a_process_is_told_of_a_force_that_comes_at_once() {
    // Its sidecar has only begun to listen for what happens to leases.
    for _ in 0..5 {
        let (sidecar, key) = (Sidecar::start(TestRedis::shared(), &[]).await, unique("first"));
        let (mut lines, _) = acquired(&sidecar, &key, 60_000).await;
        let path = format!("/v1/locks/{key}?force=true");
        assert_eq!(sidecar.call("DELETE", &path).send().await.status, 204);
        let lost = async {
            while let Some(line) = lines.next().await {
                if line["event"] == "lost" {
                    return line;
                }
            }
            Value::Null
        };
        // Its next renewal by itself is 20 s away.
        let lost = tokio::time::timeout(Duration::from_secs(5), lost).await.expect("told before its next renewal");
        assert_eq!(lost["reason"], "forced");
    }
}

#[tokio::test]
async fn closing_the_connection_releases_at_once() {
    let (sidecar, key) = (Sidecar::start(TestRedis::shared(), &[]).await, unique("close"));
    let mut times = Vec::new();
    for _ in 0..200 {
        let (lines, _) = acquired(&sidecar, &key, 30_000).await;
        let path = format!("/v1/locks/{key}");
        let mut next = Box::pin(sidecar.call("POST", &path).json(&json!({"ttlMs": 30_000, "waitMs": 5000})).send());
        let waiting = async {
            eventually("the next one waits", Duration::from_secs(2), async || {
                sidecar.call("GET", &path).send().await.json()["waiters"] == 1
            })
            .await;
        };
        tokio::select! { _ = &mut next => panic!("granted beside a hold"), () = waiting => {} }
        let closed = Instant::now();
        drop(lines);
        let lease = next.await;
        times.push(closed.elapsed());
        assert_eq!(lease.status, 201);
        let token = &lease.json()["token"];
        sidecar.call("DELETE", &format!("{path}?token={token}")).send().await;
    }
    times.sort();
    println!("from close to the next one's grant: p50 {:?}, p99 {:?}", times[100], times[197]);
    assert!(times[100] < Duration::from_millis(50), "p50 {:?}", times[100]);
    assert!(times[197] < Duration::from_secs(1), "p99 {:?}", times[197]);
}

#[tokio::test]
async fn a_client_that_is_killed_releases() {
    let (sidecar, key) = (Sidecar::start(TestRedis::shared(), &[]).await, unique("killed"));
    let url = format!("http://{}/v1/locks/{key}/hold", sidecar.api_address());
    let mut curl =
        Command::new("curl").args(["-sN", "-X", "POST", &url]).stdout(Stdio::null()).spawn().expect("curl starts");
    eventually("curl holds", Duration::from_secs(5), async || state(&sidecar, &key).await == "held").await;
    curl.kill().unwrap();
    curl.wait().unwrap();
    is_free(&sidecar, &key, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_sidecar_that_is_killed_leaves_its_locks_to_their_ttl() {
    let other = Sidecar::start(TestRedis::shared(), &[]).await;
    let (sidecar, key) = (Sidecar::start(TestRedis::shared(), &[]).await, unique("orphan"));
    let sent = Instant::now();
    let (mut lines, first) = acquired(&sidecar, &key, 3000).await;
    sidecar.signal("KILL");
    last_word(&mut lines, &first).await;
    assert_eq!(state(&other, &key).await, "held");
    is_free(&other, &key, Duration::from_secs(6)).await;
    let promised = sent + Duration::from_millis(first["validForMs"].as_u64().unwrap());
    assert!(Instant::now() > promised, "freed while it was promised");
}

#[tokio::test]
async fn a_lock_that_is_taken_away_is_told_before_its_validity_ends() {
    let (sidecar, key) = (Sidecar::start(TestRedis::shared(), &[]).await, unique("forced"));
    let (mut lines, first) = acquired(&sidecar, &key, 3000).await;
    let forced = sidecar.call("DELETE", &format!("/v1/locks/{key}?force=true")).send().await;
    assert_eq!(forced.status, 204);
    let (last, heard, promised) = last_word(&mut lines, &first).await;
    assert_eq!(last, json!({"event": "lost", "reason": "forced"}));
    assert!(heard < promised, "told {:?} too late", heard - promised);
}

#[tokio::test]
async fn a_lock_that_is_taken_away_at_another_sidecar_is_told_at_once() {
    let redis = TestRedis::start(&[]);
    let (sidecar, other, key) =
        (Sidecar::start(&redis, &[]).await, Sidecar::start(&redis, &[]).await, unique("at-once"));
    let (mut lines, first) = acquired(&sidecar, &key, 60_000).await;
    let mut kept = acquired(&sidecar, &unique("kept"), 60_000).await.0;
    // The first hold of a process makes it listen, which takes a moment.
    eventually("it listens", Duration::from_secs(5), async || {
        redis.ask::<(String, u64)>("PUBSUB", &["SHARDNUMSUB", "lockside:push:0:all"]).1 > 0
    })
    .await;
    let begun = Instant::now();
    other.call("DELETE", &format!("/v1/locks/{key}?force=true")).send().await;
    let (last, ..) = last_word(&mut lines, &first).await;
    println!("told {:?} after the removal", begun.elapsed());
    assert_eq!(last, json!({"event": "lost", "reason": "forced"}));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    while let Ok(line) = tokio::time::timeout(Duration::from_millis(100), kept.next()).await {
        assert_eq!(line.unwrap()["event"], "ping", "of another lock");
    }
}

#[tokio::test]
async fn a_release_of_its_lease_ends_a_hold_as_released_and_counts_as_no_loss() {
    let sidecar = Sidecar::with_secret(&["--threads=2"]).await;
    let alice = jwt::editor("alice");
    for round in 0..12 {
        let id = unique("released");
        let key = format!("volume:{id}");
        let hold = sidecar.call("POST", &format!("/v1/locks/{key}/hold")).cookie(&alice).json(&json!({"ttlMs": 1000}));
        let mut lines = hold.open().await;
        let first = lines.next().await.unwrap();
        let token = &first["token"];
        let target = json!({"route": "volume", "id": id});
        let release = match round % 3 {
            0 => sidecar.call("DELETE", &format!("/v1/locks/{key}?token={token}")),
            1 => sidecar.call("DELETE", &format!("/cmn/leasable-locks/{token}")),
            _ => sidecar.call("DELETE", "/admin/remove-lock").json(&target),
        };
        // On connections of their own, and so on either thread.
        let released = release.header("connection", "close").cookie(&alice).send().await;
        assert!(matches!(released.status, 200 | 204), "{}", released.text());
        let (last, ..) = last_word(&mut lines, &first).await;
        assert_eq!(last, json!({"event": "released"}), "{round}");
    }
    let metrics = sidecar.ops("/metrics").await;
    let lost = metrics.text().lines().filter(|line| line.starts_with("lockside_holds_lost_total{"));
    assert!(lost.clone().all(|line| line.ends_with(" 0")), "{:?}", lost.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_release_that_is_refused_leaves_a_hold_as_it_is() {
    let (sidecar, key) = (Sidecar::with_secret(&[]).await, unique("refused"));
    let body = json!({"ttlMs": 600});
    let (alice, bob) = (jwt::editor("alice"), jwt::editor("bob"));
    let mut lines = sidecar.call("POST", &format!("/v1/locks/{key}/hold")).cookie(&alice).json(&body).open().await;
    let first = lines.next().await.unwrap();
    let number = first["token"].as_u64().unwrap();
    for (token, status) in [(number, 403), (number + 64, 410)] {
        let path = format!("/v1/locks/{key}?token={token}");
        assert_eq!(sidecar.call("DELETE", &path).cookie(&bob).send().await.status, status);
    }
    for _ in 0..5 {
        assert_eq!(lines.news().await.unwrap()["event"], "renewed");
    }
}

#[tokio::test]
async fn a_hold_by_repetition_with_little_left_is_renewed_at_once() {
    let (sidecar, key) = (Sidecar::start(TestRedis::shared(), &[]).await, unique("repeated"));
    let path = format!("/v1/locks/{key}");
    let body = json!({"ttlMs": 3000, "owner": "me"});
    let call = |path: &str| sidecar.call("POST", path).header("idempotency-key", "one").json(&body);
    let lease = call(&path).send().await.json();
    eventually("little is left", Duration::from_secs(5), async || {
        let left = sidecar.call("GET", &path).send().await.json()["holder"]["validForMs"].as_u64();
        left.expect("it is held") < 900
    })
    .await;
    let mut lines = call(&format!("{path}/hold")).open().await;
    let first = lines.next().await.unwrap();
    assert_eq!((&first["event"], &first["token"]), (&json!("acquired"), &lease["token"]));
    assert!(first["validForMs"].as_u64().unwrap() > 2000, "{first}");
    for _ in 0..4 {
        assert_eq!(lines.news().await.unwrap()["event"], "renewed");
    }
}

#[tokio::test]
async fn a_hold_of_less_than_50_ms_is_refused() {
    let sidecar = Sidecar::start(TestRedis::shared(), &["--default-ttl=20ms"]).await;
    for body in [json!({"ttlMs": 10}), json!({"ttlMs": 49}), json!({}), json!({"ttlMs": 49, "progress": true})] {
        let path = format!("/v1/locks/{}/hold", unique("short"));
        let answer = sidecar.call("POST", &path).json(&body).send().await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("from 50 to"), "{}", answer.text());
    }
    acquired(&sidecar, &unique("short"), 50).await;
}

#[tokio::test]
async fn a_lock_that_somebody_else_has_is_superseded() {
    let redis = TestRedis::start(&[]);
    let (sidecar, key) = (Sidecar::start(&redis, &[]).await, unique("superseded"));
    let (mut lines, first) = acquired(&sidecar, &key, 3000).await;
    redis.ask::<String>("FLUSHALL", &[]);
    sidecar.call("POST", &format!("/v1/locks/{key}")).send().await;
    let (last, ..) = last_word(&mut lines, &first).await;
    assert_eq!(last, json!({"event": "lost", "reason": "superseded"}));
    assert_eq!(state(&sidecar, &key).await, "held", "the new holder's lock is left alone");
}

#[tokio::test]
async fn redis_away_for_longer_than_the_validity_is_told_before_it_ends() {
    let redis = TestRedis::start(&[]);
    let (sidecar, key) = (Sidecar::start(&redis, &[]).await, unique("away"));
    let (mut lines, first) = acquired(&sidecar, &key, 2000).await;
    redis.signal("STOP");
    let (last, heard, promised) = last_word(&mut lines, &first).await;
    redis.signal("CONT");
    assert_eq!(last, json!({"event": "lost", "reason": "redis"}));
    assert!(heard < promised, "told {:?} too late", heard - promised);
    is_free(&sidecar, &key, Duration::from_secs(4)).await;
}

#[tokio::test]
async fn a_refusal_is_an_ordinary_answer() {
    let (sidecar, key) = (Sidecar::start(TestRedis::shared(), &[]).await, unique("refused"));
    let (_lines, _) = acquired(&sidecar, &key, 30_000).await;
    let refused = sidecar.call("POST", &format!("/v1/locks/{key}/hold")).send().await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (409, Some("held")));
    let timeout = sidecar.call("POST", &format!("/v1/locks/{key}/hold")).json(&json!({"waitMs": 50})).send().await;
    assert_eq!((timeout.status, timeout.json()["code"].as_str()), (409, Some("wait-timeout")));
    let body = json!({"reentrant": true, "owner": "me"});
    let reentrant = sidecar.call("POST", &format!("/v1/locks/{key}/hold")).json(&body).send().await;
    assert_eq!((reentrant.status, reentrant.json()["code"].as_str()), (400, Some("bad-request")));
}

#[tokio::test]
async fn a_drain_is_said_at_once_and_each_lock_is_released_when_the_grace_ends() {
    let other = Sidecar::start(TestRedis::shared(), &[]).await;
    let mut sidecar = Sidecar::start(TestRedis::shared(), &["--shutdown-grace=2s"]).await;
    let (stays, closes) = (unique("stays"), unique("closes"));
    let (mut lines, first) = acquired(&sidecar, &stays, 30_000).await;
    let (mut closing, _) = acquired(&sidecar, &closes, 30_000).await;
    sidecar.signal("TERM");
    let told = Instant::now();
    assert_eq!(lines.news().await.unwrap(), json!({"event": "draining", "graceMs": 1800}));
    assert_eq!(closing.news().await.unwrap()["event"], "draining");
    assert!(told.elapsed() < Duration::from_millis(1500), "not only when the grace ends");
    drop(closing);
    is_free(&other, &closes, Duration::from_secs(1)).await;
    assert_eq!(state(&other, &stays).await, "held", "kept until the grace ends");
    let (last, ..) = last_word(&mut lines, &first).await;
    assert_eq!(last, json!({"event": "lost", "reason": "draining"}));
    assert_eq!(sidecar.exit_code(Duration::from_secs(3)).await, Some(0));
    assert_eq!(state(&other, &stays).await, "free");
}

#[tokio::test]
async fn a_lock_whose_connection_is_the_last_to_close_in_a_drain_is_released_before_the_process_ends() {
    let other = Sidecar::start(TestRedis::shared(), &[]).await;
    let (mut sidecar, key) = (Sidecar::start(TestRedis::shared(), &[]).await, unique("last"));
    let (mut lines, _) = acquired(&sidecar, &key, 30_000).await;
    sidecar.signal("TERM");
    assert_eq!(lines.news().await.unwrap()["event"], "draining");
    drop(lines);
    assert_eq!(sidecar.exit_code(Duration::from_secs(5)).await, Some(0));
    assert_eq!(state(&other, &key).await, "free");
}
