//! First come, first served: at leases that are as short as an offer, and after Redis has lost its data.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::{AT_ONCE, World, granted, token};
use crate::harness::{Proxy, TestRedis};

/// Six waiters at two sidecars, each of which lets its lease of `ttl_ms` expire, are served in the order in which they came.
async fn six_in_order(ttl_ms: u64) {
    let world = World::of(2).await;
    let held = world.held(0, 60_000).await;
    let mut waiting = Vec::new();
    for number in 0..6 {
        let body = json!({"ttlMs": ttl_ms, "waitMs": 30_000, "owner": format!("waiter-{number}")});
        waiting.push(world.join(number % 2, None, body).await);
    }
    world.release(1, held).await;
    let mut last = Instant::now();
    let mut tokens = Vec::new();
    for one in join_all(waiting).await {
        let (answer, at) = one.expect("no panic");
        assert_eq!(answer.status, 201, "ttl {ttl_ms}: {}", answer.text());
        tokens.push((token(&answer), at.saturating_duration_since(last)));
        last = at;
    }
    assert!(tokens.is_sorted(), "ttl {ttl_ms}: not in the order in which they came: {tokens:?}");
    let late = tokens.iter().map(|(_, took)| took.saturating_sub(Duration::from_millis(ttl_ms))).max();
    assert!(late < Some(AT_ONCE), "ttl {ttl_ms}: served so long after each other: {tokens:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_whose_leases_are_as_short_as_an_offer_are_served_in_order_over_sidecars() {
    tokio::join!(six_in_order(1400), six_in_order(1480), six_in_order(1500), six_in_order(1520), six_in_order(1600));
}

const KEYS: usize = 12;

/// Two waiters of each key, the first at sidecar 0 and the second at sidecar 1, and a flush; in how many of the keys the
/// first was served first.
async fn flushed(redis: &TestRedis, world: &World, late: bool, round: usize) -> (usize, String) {
    let keys: Vec<String> = (0..KEYS).map(|number| world.key_of(&format!("{round}-{number}"))).collect();
    let mut pairs = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        world.held_of(1, key, 60_000).await;
        // Behind a slow way to Redis the first one's sidecar is the later one to stand again.
        let first = if late { 0 } else { number % 2 };
        let mut pair = Vec::new();
        for (place, at) in [(1, first), (2, 1 - first)] {
            let body = json!({"ttlMs": 300, "waitMs": 20_000, "owner": format!("waiter-{place}")});
            pair.push(world.begin_of(at, key, None, body));
            crate::harness::eventually("it waits", Duration::from_secs(5), async || {
                world.look_at(key).await["waiters"] == place
            })
            .await;
        }
        pairs.push(pair);
    }
    redis.ask::<String>("FLUSHALL", &[]);
    let (mut in_order, mut seen) = (0, Vec::new());
    for mut pair in pairs {
        let second = pair.pop().expect("two of them");
        let first = pair.pop().expect("two of them");
        let (first, at) = granted(first, Duration::from_secs(9)).await;
        let (second, then) = granted(second, Duration::from_secs(9)).await;
        in_order += usize::from(token(&first) < token(&second) && at <= then);
        seen.push(token(&first) < token(&second));
    }
    (in_order, format!("{seen:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_flushall_waiters_at_two_sidecars_are_served_in_the_order_in_which_they_came() {
    let redis = TestRedis::start(&[]);
    let world = World::on(&redis, 2).await;
    for round in 0..3 {
        let (in_order, seen) = flushed(&redis, &world, false, round).await;
        assert_eq!(in_order, KEYS, "round {round}: the first before the second: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_flushall_a_waiter_whose_sidecar_is_slow_to_stand_again_is_not_overtaken() {
    let redis = TestRedis::start(&[]);
    let (proxy, mut world) = (Proxy::start(&redis), World::new());
    world.add(&proxy.url(), &[]).await;
    world.add(&redis.url(), &[]).await;
    proxy.set(crate::harness::Fault::DelayReplies(Duration::from_millis(60)));
    for round in 0..2 {
        let (in_order, seen) = flushed(&redis, &world, true, round).await;
        assert_eq!(in_order, KEYS, "round {round}: the first before the second: {seen}");
    }
}
