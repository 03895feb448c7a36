//! First come, first served: at leases that are as short as an offer, and after Redis has lost its data.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::{AT_ONCE, Waiting, World, granted, token};
use crate::harness::{Fault, Proxy, TestRedis, eventually};

/// Six waiters at the sidecars `places`, each of which lets its lease of `ttl_ms` expire; what is wrong with their order.
async fn six_in_order(world: &World, ttl_ms: u64, places: [usize; 6]) -> Result<(), String> {
    let key = world.key_of(&format!("{ttl_ms}-{places:?}").replace([' ', '[', ']', ','], ""));
    let held = world.held_of(0, &key, 60_000).await;
    let mut waiting = Vec::new();
    for (number, at) in places.into_iter().enumerate() {
        let body = json!({"ttlMs": ttl_ms, "waitMs": 30_000, "owner": format!("waiter-{number}")});
        waiting.push(world.begin_of(at, &key, None, body));
        waits(world, &key, number as u64 + 1).await;
    }
    world.release_of(1, &key, held).await;
    let mut grants = Vec::new();
    for one in join_all(waiting).await {
        let (answer, at) = one.expect("no panic");
        assert_eq!(answer.status, 201, "ttl {ttl_ms}: {}", answer.text());
        grants.push((token(&answer), at));
    }
    let is_in_order = grants.is_sorted();
    grants.sort();
    let took: Vec<Duration> = grants.windows(2).map(|pair| pair[1].1.saturating_duration_since(pair[0].1)).collect();
    let is_in_time = took.iter().all(|took| *took < Duration::from_millis(ttl_ms) + AT_ONCE);
    if is_in_order && is_in_time { Ok(()) } else { Err(format!("{places:?} of {ttl_ms} ms: {grants:?} {took:?}")) }
}

async fn waits(world: &World, key: &str, count: u64) {
    let what = format!("{count} wait");
    eventually(&what, Duration::from_secs(10), async || world.look_at(key).await["waiters"] == count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_whose_leases_are_as_short_as_an_offer_are_served_in_order_over_sidecars() {
    let world = World::of(2).await;
    let mut cases = Vec::new();
    for ttl_ms in [1440, 1470, 1500, 1530] {
        for places in [[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0], [0, 1, 0, 1, 0, 1]] {
            cases.push(six_in_order(&world, ttl_ms, places));
        }
    }
    let wrong: Vec<String> = join_all(cases).await.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "not in the order in which they came, or not in time: {wrong:#?}");
}

const KEYS: usize = 12;

/// Two waiters of each key, one at each sidecar, and a flush; in how many of the keys the
/// first was served first.
async fn flushed(redis: &TestRedis, world: &World, round: usize) -> (usize, String) {
    let keys: Vec<String> = (0..KEYS).map(|number| world.key_of(&format!("{round}-{number}"))).collect();
    let mut pairs = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        world.held_of(1, key, 60_000).await;
        let first = number % 2;
        let mut pair = Vec::new();
        for (place, at) in [(1, first), (2, 1 - first)] {
            let body = json!({"ttlMs": 300, "waitMs": 20_000, "owner": format!("waiter-{place}")});
            pair.push(world.begin_of(at, key, None, body));
            waits(world, key, place).await;
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
    for round in 0..2 {
        let (in_order, seen) = flushed(&redis, &world, round).await;
        assert_eq!(in_order, KEYS, "round {round}: the first before the second: {seen}");
    }
}

/// Three waiters of a key: the first at sidecar 0, the others at sidecar 1.
async fn three_wait(world: &World, key: &str) -> Vec<Waiting> {
    world.held_of(1, key, 60_000).await;
    let mut waiting = Vec::new();
    for (place, at) in [(1, 0), (2, 1), (3, 1)] {
        let body = json!({"ttlMs": 900, "waitMs": 20_000, "owner": format!("waiter-{place}")});
        waiting.push(world.begin_of(at, key, None, body));
        waits(world, key, place).await;
    }
    waiting
}

/// Somebody quick has the key when the first of them stands again, and it is free at once; what is wrong with their order.
async fn freed_when_the_first_stands_again(
    redis: &TestRedis,
    world: &World,
    key: &str,
    by_release: bool,
    waiting: Vec<Waiting>,
) -> Result<(), String> {
    let taken = world.acquire_of(1, key, json!({"ttlMs": 60_000, "owner": "quick"})).await;
    if taken.status == 201 {
        eventually("one stands again", Duration::from_secs(8), async || world.look_at(key).await["waiters"] != 0).await;
        if by_release {
            world.release_of(1, key, token(&taken)).await;
        } else {
            redis.ask::<u64>("DEL", &[&world.redis_key("lock", key)]);
            world.acquire_of(1, key, json!({"ttlMs": 100, "owner": "poller"})).await;
        }
    }
    let mut tokens = Vec::new();
    for one in waiting {
        tokens.push(token(&granted(one, Duration::from_secs(9)).await.0));
    }
    if tokens.is_sorted() { Ok(()) } else { Err(format!("by release: {by_release}: {tokens:?}")) }
}

/// The one that stands again first is not given what is free then: one that came before it stands again a moment later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_freed_soon_after_flushall_goes_to_the_first_of_those_who_stand_again() {
    let redis = TestRedis::start(&[]);
    let (proxy, mut world) = (Proxy::start(&redis), World::new());
    world.add(&proxy.url(), &["--redis-timeout=3s"]).await;
    world.add(&redis.url(), &[]).await;
    for round in 0..2 {
        let keys: Vec<String> = (0..6).map(|number| world.key_of(&format!("freed-{round}-{number}"))).collect();
        proxy.set(Fault::None);
        let waiting = join_all(keys.iter().map(|key| three_wait(&world, key))).await;
        proxy.set(Fault::DelayReplies(Duration::from_millis(100)));
        redis.ask::<String>("FLUSHALL", &[]);
        let cases = keys.iter().zip(waiting).enumerate().map(|(number, (key, waiting))| {
            freed_when_the_first_stands_again(&redis, &world, key, number % 2 == 0, waiting)
        });
        let wrong: Vec<String> = join_all(cases).await.into_iter().filter_map(Result::err).collect();
        assert!(wrong.is_empty(), "round {round}: not in the order in which they came: {wrong:#?}");
    }
}
