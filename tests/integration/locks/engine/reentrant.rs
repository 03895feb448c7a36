//! Owners who come again: while they wait, and while a hold of theirs renews the same lease.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{AT_MOST, World, granted, line, patient, promised, token};
use crate::harness::TestRedis;

/// Of two waiters of one owner the second is `reentrant`, with another owner's between them or not.
async fn the_second_waiter_of_an_owner(between: bool, at: usize) {
    let world = World::of(2).await;
    let held = world.held(1, 60_000).await;
    let first = world.join(0, None, patient("x")).await;
    let other = if between { Some(world.join(1, None, patient("other")).await) } else { None };
    let body = json!({"ttlMs": 30_000, "waitMs": 20_000, "owner": "x", "reentrant": true});
    let second = world.join(at, None, body).await;
    world.release(1, held).await;
    let (first, then) = granted(first, Duration::from_secs(5)).await;

    let (second, at) = granted(second, Duration::from_secs(8)).await;

    assert_eq!((second.status, token(&second)), (200, token(&first)), "{}", second.text());
    assert!(at.saturating_duration_since(then) < AT_MOST, "{:?}", at - then);
    let Some(other) = other else { return };
    assert!(!other.is_finished(), "it waits for the owner's release");
    world.release(0, token(&first)).await;
    let (other, _) = granted(other, Duration::from_secs(5)).await;
    assert!(token(&other) > token(&first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reentrant_waiter_is_given_its_own_owners_lease() {
    tokio::join!(the_second_waiter_of_an_owner(false, 0), the_second_waiter_of_an_owner(false, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reentrant_waiter_is_given_its_own_owners_lease_though_another_waits_before_it() {
    tokio::join!(the_second_waiter_of_an_owner(true, 0), the_second_waiter_of_an_owner(true, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_that_is_not_reentrant_waits_for_its_own_owners_lease_to_end() {
    let world = World::of(2).await;
    let held = world.held(1, 60_000).await;
    let first = world.join(0, None, patient("x")).await;
    let second = world.join(1, None, patient("x")).await;
    world.release(1, held).await;
    let (first, _) = granted(first, Duration::from_secs(5)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!second.is_finished(), "held, though by its own owner");
    world.release(0, token(&first)).await;
    let (second, _) = granted(second, Duration::from_secs(5)).await;
    assert!(token(&second) > token(&first));
}

/// A hold of 1.5 s, and an acquire of its owner that is promised 4.5 s; then the hold's sidecar is killed.
async fn a_reentrant_acquire_beside_a_hold(at: usize) {
    let world = World::of(2).await;
    let (mut hold, first) = world.hold(0, None, json!({"ttlMs": 1500, "owner": "x"})).await;
    let body = json!({"ttlMs": 4500, "owner": "x", "reentrant": true});
    let told = world.acquire(at, body).await;
    assert_eq!((told.status, &told.json()["token"]), (200, &first["token"]), "{}", told.text());
    assert!(told.json()["validForMs"].as_u64() > Some(4000), "{}", told.text());
    let until = promised(&told.json());
    // Its own renewal, or its word that the lease is another request's now.
    line(&mut hold, Duration::from_secs(2)).await;

    let left_ms = world.look().await["holder"]["validForMs"].as_u64();
    let owed_ms = until.saturating_duration_since(Instant::now()).as_millis();
    assert!(left_ms.map(u128::from) >= Some(owed_ms - 200), "{left_ms:?} of {owed_ms} ms are left");
    world.sidecars[0].signal("KILL");
    world.is_not_granted_before(1, until).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reentrant_acquire_was_promised_outlives_the_renewals_of_its_owners_hold() {
    tokio::join!(a_reentrant_acquire_beside_a_hold(0), a_reentrant_acquire_beside_a_hold(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_renewal_was_promised_outlives_the_renewals_of_the_hold() {
    let world = World::of(2).await;
    let (mut hold, first) = world.hold(0, None, json!({"ttlMs": 1500, "owner": "x"})).await;
    let renewed = world.renew(1, first["token"].as_u64().expect("a token"), 3500).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    let until = promised(&renewed.json());
    line(&mut hold, Duration::from_secs(2)).await;
    world.sidecars[0].signal("KILL");

    world.is_not_granted_before(1, until).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_whose_owners_lease_takes_it_not_in_asks_now_and_then() {
    let redis = TestRedis::start(&[]);
    let world = World::on(&redis, 1).await;
    world.held(0, 60_000).await;
    // Another program made it a lease that never ends: nothing that lockside may hand out.
    redis.ask::<i64>("PERSIST", &[&world.redis_key("lock", &world.key)]);
    let body = json!({"ttlMs": 5000, "waitMs": 20_000, "owner": "holder", "reentrant": true});
    let waiting = world.begin(0, None, body);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = redis.calls("evalsha");
    tokio::time::sleep(Duration::from_secs(1)).await;

    assert!(!waiting.is_finished());
    let asked = redis.calls("evalsha") - before;
    assert!(asked <= 60, "{asked} scripts in a second");
}
