//! Attempts with a name that are repeated while they wait: one attempt, one lease, whoever is told of it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{Fleet, Waiting, token};
use crate::harness::{Sidecar, TestRedis, unique};

/// A sending of the attempt `name`.
fn send(sidecar: &Arc<Sidecar>, path: &str, name: &str) -> Waiting {
    let (sidecar, path, name) = (Arc::clone(sidecar), path.to_owned(), name.to_owned());
    tokio::spawn(async move {
        let call = sidecar.call("POST", &path).header("idempotency-key", &name);
        let answer = call.json(&json!({"ttlMs": 30_000, "waitMs": 20_000, "owner": "web-3"})).send().await;
        (answer, std::time::Instant::now())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sendings_of_one_attempt_in_line_get_one_lease() {
    for others in [0, 1] {
        let fleet = Fleet::of(2).await;
        let (first, name) = (fleet.hold(0, 60_000).await, unique("attempt"));
        let one = send(&fleet.sidecars[0], &fleet.path(), &name);
        fleet.waiters_are(1).await;
        let two = send(&fleet.sidecars[1 - others], &fleet.path(), &name);
        fleet.waiters_are(2).await;

        fleet.release(0, first).await;

        let (one, told) = one.await.unwrap();
        assert_eq!(one.status, 201, "{}", one.text());
        let (two, at) = two.await.unwrap();
        assert_eq!((two.status, token(&two)), (200, token(&one)), "{}", two.text());
        assert!(at - told < Duration::from_secs(2), "{:?}", at - told);
        fleet.release(1, token(&one)).await;
        fleet.is_empty(TestRedis::shared()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sending_that_gave_up_leaves_the_place_of_the_other() {
    let fleet = Fleet::of(2).await;
    let (first, name) = (fleet.hold(0, 60_000).await, unique("attempt"));
    let gone = send(&fleet.sidecars[0], &fleet.path(), &name);
    fleet.waiters_are(1).await;
    let again = send(&fleet.sidecars[1], &fleet.path(), &name);
    fleet.waiters_are(2).await;
    gone.abort();
    fleet.waiters_are(1).await;

    fleet.release(0, first).await;

    let (answer, _) = again.await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    fleet.release(0, token(&answer)).await;
    fleet.is_empty(TestRedis::shared()).await;
}
