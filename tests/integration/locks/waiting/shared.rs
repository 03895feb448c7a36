//! Waiting in line for a key that leases share: those who do not come back keep none from it, and one attempt, or one owner
//! that would have what it has, has one lease.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Fleet, Waiting, granted, token};
use crate::harness::{Sidecar, TestRedis, unique};

/// What two seconds are on a busy machine.
const TWO_SECONDS: Duration = Duration::from_millis(2_500);

/// Two sidecars, a reader that is renewed as long as the test goes on, and behind it `first` at the sidecar that gets `signal`;
/// how long one that shares the key and stands behind that waits for it, and that it is granted while the reader has it.
async fn behind_one_of_a_sidecar_that_gets(signal: &str, first: Value) -> Fleet {
    let fleet = Fleet::of(2).await;
    let reader = fleet.acquire(1, json!({"mode": "shared", "ttlMs": 60_000})).await;
    assert_eq!(reader.status, 201, "{}", reader.text());
    fleet.join(0, first).await;
    let waiting = fleet.join(1, json!({"mode": "shared", "waitMs": 30_000, "ttlMs": 60_000})).await;
    let newcomer = json!({"mode": "shared", "ttlMs": 60_000});
    assert_eq!(fleet.acquire(1, newcomer.clone()).await.status, 409, "others wait");

    fleet.sidecars[0].signal(signal);
    let begun = Instant::now();

    let (_, at) = granted(waiting).await;
    println!("behind a waiter of a sidecar that got {signal}: {:?}", at - begun);
    assert!(at - begun < TWO_SECONDS, "{:?}", at - begun);
    assert_eq!(fleet.acquire(1, newcomer).await.status, 201, "none waits any more");
    fleet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_of_a_killed_sidecar_keeps_none_from_a_key_that_leases_share() {
    for first in [json!({"waitMs": 60_000}), json!({"limit": 1, "waitMs": 60_000})] {
        behind_one_of_a_sidecar_that_gets("KILL", first).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_one_of_a_frozen_sidecar_which_has_its_place_again_when_it_thaws() {
    let fleet = behind_one_of_a_sidecar_that_gets("STOP", json!({"waitMs": 60_000, "ttlMs": 60_000})).await;
    fleet.sidecars[0].signal("CONT");
    fleet.waiters_are(1).await;
    let refused = fleet.acquire(1, json!({"mode": "shared"})).await;
    assert_eq!(refused.status, 409, "it waits again: {}", refused.text());
}

/// A sending of the attempt `name`.
fn send(sidecar: &Arc<Sidecar>, path: &str, name: &str, body: Value) -> Waiting {
    let (sidecar, path, name) = (Arc::clone(sidecar), path.to_owned(), name.to_owned());
    tokio::spawn(async move {
        let answer = sidecar.call("POST", &path).header("idempotency-key", &name).json(&body).send().await;
        (answer, Instant::now())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sendings_of_one_attempt_in_line_get_one_share() {
    for (limit, at) in [(None, 0), (None, 1), (Some(1), 1), (Some(2), 1)] {
        let fleet = Fleet::of(2).await;
        let (first, name) = (fleet.hold(0, 60_000).await, unique("attempt"));
        let mut body = json!({"mode": "shared", "ttlMs": 30_000, "waitMs": 20_000, "owner": "web-3"});
        if let Some(limit) = limit {
            body["limit"] = json!(limit);
        }
        let one = send(&fleet.sidecars[0], &fleet.path(), &name, body.clone());
        fleet.waiters_are(1).await;
        let two = send(&fleet.sidecars[at], &fleet.path(), &name, body);
        fleet.waiters_are(2).await;

        fleet.release(0, first).await;

        let ((one, told), (two, at)) = (one.await.unwrap(), two.await.unwrap());
        assert!([200, 201].contains(&one.status) && two.status == 200, "{}, {}", one.text(), two.text());
        assert_eq!(token(&two), token(&one));
        assert!(at.max(told) - at.min(told) < Duration::from_secs(2));
        let look = fleet.sidecars[0].call("GET", &fleet.path()).send().await.json();
        assert_eq!(look["sharedBy"], 1, "{look}");
        fleet.release(1, token(&one)).await;
        fleet.is_empty(TestRedis::shared()).await;
    }
}

/// Another waiter stands between the two, so that the second never comes first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sending_that_waits_behind_others_is_told_of_the_share_of_its_attempt_all_the_same() {
    let fleet = Fleet::of(2).await;
    let (first, name) = (fleet.hold(0, 60_000).await, unique("attempt"));
    let body = json!({"limit": 1, "ttlMs": 30_000, "waitMs": 20_000, "owner": "web-3"});
    let one = send(&fleet.sidecars[0], &fleet.path(), &name, body.clone());
    fleet.waiters_are(1).await;
    let between = fleet.join(0, json!({"limit": 1, "ttlMs": 30_000, "waitMs": 60_000})).await;
    let two = send(&fleet.sidecars[1], &fleet.path(), &name, body);
    fleet.waiters_are(3).await;

    fleet.release(0, first).await;

    let ((one, told), (two, at)) = (one.await.unwrap(), two.await.unwrap());
    assert_eq!((one.status, two.status), (201, 200), "{}, {}", one.text(), two.text());
    assert_eq!(token(&two), token(&one));
    assert!(at - told < TWO_SECONDS, "{:?}", at - told);
    assert!(!between.is_finished());
    fleet.release(1, token(&one)).await;
    granted(between).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn re_entrant_waiters_of_one_owner_get_one_share_and_one_that_wants_the_key_alone_is_told_so() {
    let fleet = Fleet::of(2).await;
    let first = fleet.hold(0, 60_000).await;
    let shares =
        |mode: &str| json!({"mode": mode, "owner": "web-3", "reentrant": true, "waitMs": 20_000, "ttlMs": 30_000});
    let one = fleet.join(0, shares("shared")).await;
    let two = fleet.join(1, shares("shared")).await;
    let alone = fleet.join(1, shares("exclusive")).await;

    fleet.release(0, first).await;

    let ((one, told), (two, _), (alone, at)) = (one.await.unwrap(), two.await.unwrap(), alone.await.unwrap());
    assert_eq!(token(&two), token(&one), "{}, {}", one.text(), two.text());
    assert_eq!((alone.status, &alone.json()["code"]), (409, &json!("held")), "{}", alone.text());
    assert!(at - told < TWO_SECONDS, "{:?}", at - told);
    let look = fleet.sidecars[0].call("GET", &fleet.path()).send().await.json();
    assert_eq!((&look["sharedBy"], &look["waiters"]), (&json!(1), &json!(0)), "{look}");
}
