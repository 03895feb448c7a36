//! A lease on offer to a sidecar that does not take it yet: what others are promised meanwhile stays.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{AT_ONCE, Waiting, World, promised, token};
use crate::harness::{Answer, eventually, unique};

/// A lease on offer to sidecar 0, which is frozen; its token, as everybody can see it, and the request of its waiter.
async fn on_offer(name: Option<&str>, body: Value) -> (World, u64, Waiting) {
    let world = World::of(2).await;
    let held = world.held(1, 60_000).await;
    let waiting = world.join(0, name, body).await;
    world.sidecars[0].signal("STOP");
    world.release(1, held).await;
    let state = world.look().await;
    let offered = state["holder"]["token"].as_u64().unwrap_or_else(|| panic!("{state}"));
    assert!(offered > held, "{state}");
    (world, offered, waiting)
}

fn waiter(ttl_ms: u64) -> Value {
    json!({"ttlMs": ttl_ms, "waitMs": 30_000, "owner": "x"})
}

/// A renewal by another client of a lease on offer.
async fn renewed(world: &World, offered: u64, ttl_ms: u64) -> Answer {
    let answer = world.renew(1, offered, ttl_ms).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_renewal_of_a_lease_on_offer_promised_stays_when_the_waiter_has_hung_up() {
    join_all([1, 2, 3].map(async |_| {
        let (world, offered, waiting) = on_offer(None, waiter(2000)).await;
        let until = promised(&renewed(&world, offered, 3500).await.json());
        waiting.abort();
        world.sidecars[0].signal("CONT");
        world.is_not_granted_before(1, until.min(Instant::now() + Duration::from_secs(2))).await;
        assert_eq!(world.look().await["holder"]["token"], offered);
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_renewal_of_a_lease_on_offer_promised_stays_when_the_waiter_takes_it() {
    let (world, offered, waiting) = on_offer(None, waiter(500)).await;
    let until = promised(&renewed(&world, offered, 3000).await.json());
    world.sidecars[0].signal("CONT");
    world.is_not_granted_before(1, until).await;
    waiting.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_renewal_of_a_lease_on_offer_promised_stays_when_the_sidecar_never_takes_it() {
    let (world, offered, _waiting) = on_offer(None, waiter(2000)).await;
    let until = promised(&renewed(&world, offered, 3000).await.json());
    world.sidecars[0].signal("KILL");
    world.is_not_granted_before(1, until).await;
}

/// It is no offer any more: the sidecar that it was made to has nothing to take or to lose.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_offer_that_is_released_by_its_token_is_gone_and_the_waiter_is_served() {
    let (world, offered, waiting) = on_offer(None, waiter(2000)).await;
    renewed(&world, offered, 20_000).await;
    world.release(1, offered).await;
    world.sidecars[0].signal("CONT");

    let (answer, _) = super::granted(waiting, Duration::from_secs(5)).await;

    assert!(token(&answer) >= offered, "{}", answer.text());
    assert_eq!(world.look().await["holder"]["token"], token(&answer));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reentrant_acquire_was_promised_of_a_lease_on_offer_is_not_shortened_when_it_is_taken() {
    let (world, offered, waiting) = on_offer(None, waiter(1000)).await;
    let body = json!({"ttlMs": 3500, "owner": "x", "reentrant": true});
    let told = world.acquire(1, body).await;
    assert_eq!((told.status, told.json()["token"].as_u64()), (200, Some(offered)), "{}", told.text());
    let until = promised(&told.json());

    world.sidecars[0].signal("CONT");

    world.is_not_granted_before(1, until).await;
    waiting.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_repetition_was_told_of_a_lease_on_offer_is_not_shortened_when_it_is_taken() {
    let name = unique("attempt");
    // The take comes at once, or when the repetition's own lease is half over.
    join_all([0, 350].map(async |pause_ms| {
        let (world, offered, waiting) = on_offer(Some(&name), waiter(700)).await;
        let told = world.attempt(1, &name, json!({"ttlMs": 700, "owner": "x"})).await;
        assert!(matches!(told.status, 200 | 201), "{}", told.text());
        assert_eq!(token(&told), offered, "{}", told.text());
        let until = promised(&told.json());
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;

        world.sidecars[0].signal("CONT");

        world.is_not_granted_before(1, until).await;
        waiting.abort();
    }))
    .await;
}

/// It is the repetition's then, and is not passed on when the first request's sidecar stays silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repetition_that_is_told_of_an_offer_takes_it() {
    let name = unique("attempt");
    let (world, offered, _waiting) = on_offer(Some(&name), waiter(4000)).await;
    let next = world.begin(1, None, json!({"ttlMs": 1000, "waitMs": 20_000, "owner": "next"}));
    let told = world.attempt(1, &name, json!({"ttlMs": 4000, "owner": "x"})).await;
    assert!(matches!(told.status, 200 | 201), "{}", told.text());
    assert_eq!(token(&told), offered);
    let valid_for_ms = told.json()["validForMs"].as_u64().expect("milliseconds");
    assert!(valid_for_ms > 3000, "for its own ttl, not for the offer's: {}", told.text());

    tokio::time::sleep(Duration::from_millis(2500)).await;

    assert!(!next.is_finished(), "the lease is the attempt's");
    assert_eq!(world.look().await["holder"]["token"], offered);
    let released = Instant::now();
    world.release(1, offered).await;
    let (_, at) = super::granted(next, Duration::from_secs(5)).await;
    assert!(at - released < AT_ONCE, "{:?}", at - released);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_that_is_removed_by_force_is_not_taken_afterwards() {
    let (world, offered, waiting) = on_offer(None, waiter(2000)).await;
    let path = format!("/v1/locks/{}?force=true", world.key);
    assert_eq!(world.sidecars[1].call("DELETE", &path).send().await.status, 204);
    let (other, _) = world.polled(1, Duration::from_secs(5)).await;
    assert!(token(&other) > offered);
    world.sidecars[0].signal("CONT");

    world.is_not_granted_before(1, Instant::now() + Duration::from_secs(1)).await;

    assert_eq!(world.look().await["holder"]["token"], token(&other));
    assert!(!waiting.is_finished(), "it waits behind the one that has the key");
    eventually("its place is kept", Duration::from_secs(3), async || world.waiters().await == 1).await;
}
