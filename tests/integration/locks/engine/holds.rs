//! Holds of one attempt, and what else is told of a hold's lease: a hold ends through its own request alone.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{AT_ONCE, World, line, lost_before, promised, token};
use crate::harness::{Sidecar, TestRedis, eventually, unique};

const TTL_MS: u64 = 3000;

fn body() -> Value {
    json!({"ttlMs": TTL_MS, "owner": "web-3"})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_older_of_two_holds_of_one_attempt_says_superseded_at_once_and_the_newer_keeps_the_lock() {
    join_all([0, 1].map(async |other| {
        let (world, name) = (World::of(2).await, unique("attempt"));
        let (mut older, first) = world.hold(0, Some(&name), body()).await;
        let (mut newer, second) = world.hold(other, Some(&name), body()).await;
        assert_eq!(first["token"], second["token"]);

        let said = line(&mut older, AT_ONCE).await;

        assert_eq!(said, json!({"event": "lost", "reason": "superseded"}));
        drop(older);
        assert_eq!(lost_before(&mut newer, Instant::now() + Duration::from_millis(TTL_MS)).await, None);
        assert_eq!(world.look().await["holder"]["token"], first["token"]);
        drop(newer);
        eventually("the newer hold releases", AT_ONCE, async || world.is_free().await).await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_the_older_of_two_holds_of_one_attempt_releases_nothing() {
    join_all([0, 1].map(async |other| {
        let (world, name) = (World::of(2).await, unique("attempt"));
        let (older, _) = world.hold(0, Some(&name), body()).await;
        let (mut newer, second) = world.hold(other, Some(&name), body()).await;
        drop(older);
        let end = Instant::now() + Duration::from_millis(TTL_MS / 2);

        let (lost, ()) = tokio::join!(lost_before(&mut newer, end), world.is_not_granted_before(1, end));

        assert_eq!(lost, None);
        assert_eq!(world.look().await["holder"]["token"], second["token"]);
        drop(newer);
        eventually("the newer hold releases", AT_ONCE, async || world.is_free().await).await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_the_newer_of_two_holds_of_one_attempt_releases_at_once() {
    let (world, name) = (World::of(2).await, unique("attempt"));
    let (mut older, _) = world.hold(0, Some(&name), body()).await;
    let (newer, _) = world.hold(1, Some(&name), body()).await;

    drop(newer);

    eventually("the lock is free", AT_ONCE, async || world.is_free().await).await;
    let lost = lost_before(&mut older, Instant::now() + Duration::from_millis(TTL_MS)).await;
    assert!(lost.is_some(), "the older hold says that it is over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acquire_that_was_told_of_a_holds_lease_keeps_it_when_the_hold_closes() {
    join_all([0, 1].map(async |other| {
        let (world, name) = (World::of(2).await, unique("attempt"));
        let (hold, first) = world.hold(0, Some(&name), body()).await;
        let told = world.attempt(other, &name, body()).await;
        assert_eq!((told.status, told.json()["token"].as_u64()), (200, first["token"].as_u64()), "{}", told.text());
        let until = promised(&told.json());

        drop(hold);

        world.is_not_granted_before(1 - other, until - Duration::from_millis(TTL_MS / 3)).await;
        let renewed = world.renew(other, token(&told), 2000).await;
        assert_eq!(renewed.status, 200, "{}", renewed.text());
        world.is_not_granted_before(0, promised(&renewed.json())).await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_moves_to_another_sidecar_when_it_hears_draining_keeps_its_lock() {
    let (mut world, name) = (World::new(), unique("attempt"));
    world.add(&TestRedis::alone().url(), &["--shutdown-grace=1s"]).await;
    world.add(&TestRedis::alone().url(), &[]).await;
    let (mut older, first) = world.hold(0, Some(&name), body()).await;
    world.sidecars[0].signal("TERM");
    assert_eq!(line(&mut older, Duration::from_secs(2)).await["event"], "draining");
    let (mut newer, second) = world.hold(1, Some(&name), body()).await;
    assert_eq!(first["token"], second["token"]);

    let mut drained = world.sidecars.remove(0);
    let ending = async {
        let sidecar: &mut Sidecar = std::sync::Arc::get_mut(&mut drained).expect("no other owner");
        sidecar.exit_code(Duration::from_secs(5)).await
    };
    let (code, lost) = tokio::join!(ending, lost_before(&mut newer, Instant::now() + Duration::from_secs(4)));

    assert_eq!((code, lost), (Some(0), None));
    assert_eq!(world.look().await["holder"]["token"], second["token"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_by_repetition_of_a_lease_that_is_nearly_over_is_renewed_at_once() {
    let (world, name) = (World::of(2).await, unique("attempt"));
    let first = world.attempt(0, &name, body()).await;
    assert_eq!(first.status, 201, "{}", first.text());
    eventually("less than a fifth is left", Duration::from_secs(5), async || {
        world.look().await["holder"]["validForMs"].as_u64().is_some_and(|left_ms| left_ms < TTL_MS / 5)
    })
    .await;

    let (mut hold, again) = world.hold(1, Some(&name), body()).await;

    assert_eq!(again["token"], first.json()["token"]);
    let left_ms = again["validForMs"].as_u64().expect("milliseconds");
    assert!(left_ms > TTL_MS / 2, "it is renewed before it is told: {again}");
    assert_eq!(lost_before(&mut hold, Instant::now() + Duration::from_millis(TTL_MS)).await, None);
}

#[tokio::test]
async fn a_hold_that_is_too_short_to_be_renewed_is_refused() {
    let world = World::of(1).await;
    for ttl_ms in [10, 15, 49] {
        let path = format!("/v1/locks/{}/hold", world.key);
        let answer = world.sidecars[0].call("POST", &path).json(&json!({"ttlMs": ttl_ms})).open().await;
        assert_eq!(answer.status, 400, "a hold of {ttl_ms} ms");
    }
    assert!(world.is_free().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_moves_from_sidecar_to_sidecar_forty_times_keeps_its_lock() {
    let (world, name) = (World::of(2).await, unique("attempt"));
    let (mut hold, first) = world.hold(0, Some(&name), body()).await;
    for turn in 1..=40 {
        let (mut newer, next) = world.hold(turn % 2, Some(&name), body()).await;
        assert_eq!(next["token"], first["token"]);
        assert_eq!(line(&mut hold, AT_ONCE).await["reason"], "superseded");
        std::mem::swap(&mut hold, &mut newer);
    }
    drop(hold);
    eventually("the last hold releases", AT_ONCE, async || world.is_free().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_by_repetition_at_another_sidecar_is_told_of_its_release() {
    let (world, name) = (World::of(2).await, unique("attempt"));
    let (_older, first) = world.hold(0, Some(&name), body()).await;
    let (mut newer, _) = world.hold(1, Some(&name), body()).await;

    world.release(0, first["token"].as_u64().expect("a token")).await;

    assert_eq!(line(&mut newer, AT_ONCE).await["event"], "released");
}
