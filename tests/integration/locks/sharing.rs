//! Shared and counting locks over several sidecars: order, limits, deaths, and what is promised meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::history::promised_until;
use crate::harness::http::Lines;
use crate::harness::{Answer, Cluster, Redundant, Sidecar, TestRedis, eventually, unique};

/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(1);

async fn pair(redis: &TestRedis, flags: &[&str]) -> [Arc<Sidecar>; 2] {
    let prefix = unique("sharing");
    let flags = [&["--key-prefix", &prefix][..], flags].concat();
    [Arc::new(Sidecar::start(redis, &flags).await), Arc::new(Sidecar::start(redis, &flags).await)]
}

async fn acquire(sidecar: &Sidecar, key: &str, body: &Value) -> Answer {
    sidecar.call("POST", &format!("/v1/locks/{key}")).json(body).send().await
}

async fn granted(sidecar: &Sidecar, key: &str, body: &Value) -> u64 {
    let answer = acquire(sidecar, key, body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["token"].as_u64().unwrap()
}

async fn release(sidecar: &Sidecar, key: &str, token: u64) {
    let answer = sidecar.call("DELETE", &format!("/v1/locks/{key}?token={token}")).send().await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}

async fn look(sidecar: &Sidecar, key: &str) -> Value {
    sidecar.call("GET", &format!("/v1/locks/{key}")).send().await.json()
}

async fn waiters_are(sidecar: &Sidecar, key: &str, count: u64) {
    eventually(&format!("{count} wait"), Duration::from_secs(10), async || {
        look(sidecar, key).await["waiters"] == count
    })
    .await;
}

/// One that waits at a sidecar, and stands in the queue.
async fn joins(
    sidecar: &Arc<Sidecar>,
    key: &str,
    body: Value,
    waiters: u64,
) -> tokio::task::JoinHandle<(Answer, Instant)> {
    let (sidecar_of, key_of) = (Arc::clone(sidecar), key.to_owned());
    let waiting = tokio::spawn(async move { (acquire(&sidecar_of, &key_of, &body).await, Instant::now()) });
    waiters_are(sidecar, key, waiters).await;
    waiting
}

#[tokio::test]
async fn readers_and_writers_that_wait_at_two_sidecars_are_served_in_the_order_in_which_they_came() {
    let [one, other] = pair(TestRedis::shared(), &[]).await;
    let key = unique("order");
    let first = granted(&one, &key, &json!({"ttlMs": 60_000})).await;
    let read = json!({"mode": "shared", "waitMs": 60_000, "ttlMs": 60_000});
    let write = json!({"waitMs": 60_000, "ttlMs": 60_000});
    let r1 = joins(&one, &key, read.clone(), 1).await;
    let r2 = joins(&other, &key, read.clone(), 2).await;
    let w1 = joins(&one, &key, write.clone(), 3).await;
    let r3 = joins(&other, &key, read.clone(), 4).await;

    release(&one, &key, first).await;
    let tokens: Vec<u64> = join_all([r1, r2]).await.into_iter().map(token).collect();
    assert_eq!(look(&one, &key).await["sharedBy"], 2);
    assert!(!w1.is_finished() && !r3.is_finished());
    assert_eq!(acquire(&one, &key, &json!({"mode": "shared"})).await.status, 409, "not past a waiter");
    release(&one, &key, tokens[0]).await;
    assert_eq!(look(&one, &key).await["waiters"], 2);
    release(&other, &key, tokens[1]).await;

    let writer = token(w1.await);
    assert!(!r3.is_finished() && tokens.iter().all(|token| *token < writer));
    assert_eq!(look(&one, &key).await["holder"]["mode"], "exclusive");
    release(&one, &key, writer).await;
    assert!(token(r3.await) > writer);
}

fn token(waited: Result<(Answer, Instant), tokio::task::JoinError>) -> u64 {
    let (answer, _) = waited.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["token"].as_u64().unwrap()
}

#[tokio::test]
async fn an_exclusive_wait_closes_a_semaphore_and_is_alone_once_the_last_permit_ends() {
    let [one, other] = pair(TestRedis::shared(), &[]).await;
    let key = unique("close");
    let permit = json!({"limit": 3, "ttlMs": 60_000});
    let permits = join_all((0..3).map(|_| granted(&one, &key, &permit))).await;
    let closing = joins(&other, &key, json!({"waitMs": 60_000, "ttlMs": 60_000}), 1).await;
    for token in permits {
        assert_eq!(acquire(&one, &key, &permit).await.status, 409);
        assert!(!closing.is_finished());
        release(&one, &key, token).await;
    }
    let alone = token(closing.await);
    let refused = acquire(&one, &key, &permit).await;
    assert_eq!((refused.status, &refused.json()["holder"]["token"]), (409, &json!(alone)));
}

#[tokio::test]
async fn an_expiry_wakes_the_waiter_for_whom_it_makes_room() {
    let [one, other] = pair(TestRedis::shared(), &[]).await;
    let key = unique("expiry");
    granted(&one, &key, &json!({"limit": 2, "ttlMs": 60_000})).await;
    let begun = Instant::now();
    granted(&one, &key, &json!({"limit": 2, "ttlMs": 1_000})).await;
    let (answer, at) = joins(&other, &key, json!({"limit": 2, "waitMs": 30_000}), 1).await.await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let took = at - begun;
    assert!((Duration::from_millis(990)..Duration::from_secs(1) + SLACK).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_renewal_of_what_a_waiter_waits_for_keeps_it_waiting_and_its_timeout_says_who_shares_the_key() {
    let [one, other] = pair(TestRedis::shared(), &[]).await;
    let key = unique("timeout");
    let token = granted(&one, &key, &json!({"mode": "shared", "ttlMs": 500})).await;
    let waiting = joins(&other, &key, json!({"waitMs": 1_500}), 1).await;
    let renewed =
        one.call("PUT", &format!("/v1/locks/{key}?token={token}")).json(&json!({"ttlMs": 60_000})).send().await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    let (answer, _) = waiting.await.unwrap();
    assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("wait-timeout")));
    assert_eq!((&answer.json()["mode"], &answer.json()["sharedBy"]), (&json!("shared"), &json!(1)));
    waiters_are(&one, &key, 0).await;
}

#[tokio::test]
async fn a_limit_that_changes_in_flight_revokes_no_permit_and_never_grants_beyond_the_requests_own() {
    let [one, other] = pair(TestRedis::shared(), &[]).await;
    let key = unique("limits");
    for limit in [3, 5, 2] {
        loop {
            let before = look(&one, &key).await["sharedBy"].as_u64().unwrap_or(0);
            let answer = acquire(&other, &key, &json!({"limit": limit, "ttlMs": 60_000})).await;
            assert_eq!(answer.status == 201, before < limit, "{before} of {limit}: {}", answer.text());
            if answer.status == 409 {
                break;
            }
        }
    }
    assert_eq!(look(&one, &key).await["sharedBy"], 5);
    assert!(other.log().contains("requests with different limits share a lock"), "{}", other.log());
    let metrics = other.ops("/metrics").await;
    assert!(metrics.text().contains("lockside_shared_refused_total{reason=\"full\"} 3"), "{}", metrics.text());
    assert!(metrics.text().contains("lockside_acquire_total{mode=\"shared\"} 8"));
}

#[tokio::test]
async fn a_share_that_is_refused_is_counted_by_why_and_each_that_is_held_is_a_lock() {
    let [one, other] = pair(TestRedis::shared(), &[]).await;
    let (alone, shared) = (unique("alone"), unique("shared"));
    granted(&one, &alone, &json!({"ttlMs": 60_000})).await;
    granted(&one, &shared, &json!({"mode": "shared", "ttlMs": 60_000})).await;
    let last = granted(&one, &shared, &json!({"limit": 2, "ttlMs": 60_000})).await;
    let waiting = joins(&one, &shared, json!({"waitMs": 20_000}), 1).await;
    for (key, body) in [
        (&alone, json!({"mode": "shared"})),
        (&alone, json!({"limit": 3})),
        (&shared, json!({"mode": "shared"})),
        // No refusals of a share: a request for the key alone, and one that waits.
        (&alone, json!({})),
        (&alone, json!({"mode": "shared", "waitMs": 1})),
    ] {
        assert_eq!(acquire(&other, key, &body).await.status, 409, "{body}");
    }
    let refused = |reason, count| format!("\nlockside_shared_refused_total{{reason=\"{reason}\"}} {count}\n");
    let metrics = other.ops("/metrics").await;
    for (reason, count) in [("exclusive", 2), ("queue", 1), ("full", 0)] {
        let line = refused(reason, count);
        assert!(metrics.text().contains(&line), "{line}: {}", metrics.text());
    }
    let held = async |count: u64| {
        let line = format!("\nlockside_locks_held {count}\n");
        eventually(&line, Duration::from_secs(5), async || other.ops("/metrics").await.text().contains(&line)).await;
    };
    held(3).await;
    one.call("DELETE", &format!("/v1/locks/{shared}?token={last}")).send().await;
    held(2).await;
    one.call("DELETE", &format!("/v1/locks/{shared}?force=true")).send().await;
    assert_eq!(waiting.await.unwrap().0.status, 201);
    held(2).await;
}

#[tokio::test]
async fn the_permits_of_a_killed_sidecar_are_back_when_their_promises_have_ended_and_within_a_second_then() {
    let [one, other] = pair(TestRedis::shared(), &[]).await;
    let key = unique("killed");
    let body = json!({"limit": 20, "ttlMs": 2_000, "waitMs": 1_000});
    let mut holds = Vec::new();
    for _ in 0..20 {
        let mut hold = one.call("POST", &format!("/v1/locks/{key}/hold")).json(&body).open().await;
        let acquired = hold.next().await.unwrap();
        assert_eq!(acquired["event"], "acquired");
        let mut ends = promised_until(Instant::now(), &acquired).expect("a promise");
        // Until its connection breaks, with the sidecar.
        holds.push(tokio::spawn(async move {
            while let Some(line) = hold.next().await {
                if line["event"] == "renewed" {
                    ends = promised_until(Instant::now(), &line).expect("a promise");
                }
            }
            ends
        }));
        // So that they are renewed, and end, one after the other.
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    one.signal("KILL");
    let mut ends: Vec<Instant> = join_all(holds).await.into_iter().map(|hold| hold.expect("no panic")).collect();
    assert_eq!(acquire(&other, &key, &json!({"limit": 20})).await.status, 409, "none is back at once");

    let waits = (0..20).map(|_| async {
        let answer = acquire(&other, &key, &json!({"limit": 20, "ttlMs": 60_000, "waitMs": 20_000})).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        Instant::now()
    });
    let mut back = join_all(waits).await;

    // However they were handed on: by the time of the nth grant n promises had ended.
    ends.sort_unstable();
    back.sort_unstable();
    for (ended, back) in ends.iter().zip(&back) {
        assert!(back >= ended, "back {:?} before its promise had ended", *ended - *back);
        assert!(*back <= *ended + SLACK, "back {:?} after its promise had ended", *back - *ended);
    }
    println!("back after {:?} at most", ends.iter().zip(&back).map(|(ended, back)| *back - *ended).max());
}

#[tokio::test]
async fn a_writer_has_the_key_within_one_ttl_of_fifty_readers_that_come_again_at_once() {
    let [one, other] = pair(TestRedis::shared(), &[]).await;
    let (key, stop) = (unique("starve"), Arc::new(AtomicBool::new(false)));
    let readers: Vec<_> = (0..50)
        .map(|at| {
            let (sidecar, key, stop) = (Arc::clone([&one, &other][at % 2]), key.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let body = json!({"mode": "shared", "ttlMs": 2_000, "waitMs": 30_000});
                    let token = granted(&sidecar, &key, &body).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    release(&sidecar, &key, token).await;
                }
            })
        })
        .collect();
    eventually("they read", Duration::from_secs(10), async || {
        look(&one, &key).await["sharedBy"].as_u64().is_some_and(|count| count >= 10)
    })
    .await;
    for _ in 0..3 {
        let begun = Instant::now();
        let token = granted(&other, &key, &json!({"ttlMs": 2_000, "waitMs": 30_000})).await;
        assert!(begun.elapsed() <= Duration::from_secs(2), "{:?}", begun.elapsed());
        release(&other, &key, token).await;
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn a_hold_of_a_share_is_renewed_alone_and_ends_with_its_connection_or_by_force() {
    let [one, other] = pair(TestRedis::shared(), &[]).await;
    let (key, body) = (unique("hold"), json!({"mode": "shared", "ttlMs": 600}));
    let mut first = one.call("POST", &format!("/v1/locks/{key}/hold")).json(&body).open().await;
    let mut second = other.call("POST", &format!("/v1/locks/{key}/hold")).json(&body).open().await;
    let [a, b] = [first.next().await.unwrap(), second.next().await.unwrap()];
    assert_eq!((&a["mode"], &b["mode"]), (&json!("shared"), &json!("shared")));
    for hold in [&mut first, &mut second] {
        assert_eq!(hold.next().await.unwrap()["event"], "renewed");
    }
    let force = format!("/v1/locks/{key}?force=true&token={}", a["token"]);
    assert_eq!(other.call("DELETE", &force).send().await.status, 204);
    let lost = loop {
        let line = first.next().await.unwrap();
        if line["event"] == "lost" {
            break line;
        }
    };
    assert_eq!(lost["reason"], "forced");
    assert_eq!(look(&one, &key).await["holders"].as_array().map(Vec::len), Some(1));
    drop(second);
    eventually("it is free", Duration::from_secs(5), async || look(&one, &key).await["state"] == "free").await;
}

#[tokio::test]
async fn a_sharing_waiter_that_hangs_up_leaves_nothing_and_lets_the_next_one_pass() {
    let [one, other] = pair(TestRedis::shared(), &[]).await;
    let key = unique("gone");
    granted(&one, &key, &json!({"mode": "shared", "ttlMs": 60_000})).await;
    let writer = joins(&one, &key, json!({"waitMs": 60_000}), 1).await;
    let reader = joins(&other, &key, json!({"mode": "shared", "waitMs": 60_000}), 2).await;
    writer.abort();
    token(reader.await);
    eventually("two share it", Duration::from_secs(5), async || look(&one, &key).await["sharedBy"] == 2).await;
    assert_eq!(look(&one, &key).await["waiters"], 0);
}

#[tokio::test]
async fn watchers_of_a_shared_key_are_told_of_each_lease() {
    let [one, other] = pair(TestRedis::shared(), &[]).await;
    let key = unique("watched");
    let mut events = one.call("GET", &format!("/v1/locks/{key}/events")).open().await;
    let mut tokens = Vec::new();
    for (owner, ttl_ms) in [("a", 60_000), ("b", 2_000), ("c", 60_000)] {
        let body = json!({"mode": "shared", "owner": owner, "ttlMs": ttl_ms});
        tokens.push(granted(&other, &key, &body).await);
        let data = told(&mut events, "granted").await;
        assert_eq!((&data["token"], &data["holder"]["owner"]), (&json!(tokens.last()), &json!(owner)));
    }
    release(&other, &key, tokens[0]).await;
    assert_eq!(told(&mut events, "released").await["token"], tokens[0]);
    let force = format!("/v1/locks/{key}?force=true&token={}", tokens[2]);
    assert_eq!(other.call("DELETE", &force).send().await.status, 204);
    assert_eq!(told(&mut events, "forced").await["token"], tokens[2]);
    assert_eq!(told(&mut events, "expired").await["token"], tokens[1]);
}

/// The next event that is about a lease, which has this name.
async fn told(events: &mut Lines, expected: &str) -> Value {
    loop {
        let (name, data) = events.event().await.expect("the stream goes on");
        if !matches!(name.as_str(), "state" | "synced" | "waiting") {
            assert_eq!(name, expected, "{data}");
            return data;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_key_is_kept_on_a_cluster_and_its_waiters_are_served() {
    let cluster = Cluster::start(&[]);
    let sidecar = Arc::new(Sidecar::start_at(&cluster.url(), &["--key-prefix", &unique("sharing")]).await);
    for at in 0..8 {
        let key = format!("{}-{at}", unique("cluster"));
        let first = granted(&sidecar, &key, &json!({"limit": 2})).await;
        let second = granted(&sidecar, &key, &json!({"limit": 2})).await;
        let writer = joins(&sidecar, &key, json!({"waitMs": 30_000}), 1).await;
        release(&sidecar, &key, first).await;
        release(&sidecar, &key, second).await;
        token(writer.await);
    }
}
