//! Attempts of which no answer arrived, however often they were sent: no lock stays that no client was told of.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{SOON, World, promised, token};
use crate::harness::{Fault, Proxy, TestRedis, eventually, unique};

const TTL_MS: u64 = 60_000;

/// Two sidecars, each behind a proxy of its own, and a third that sees what is so; requests may be under way for `timeout`.
pub(super) async fn two_proxies(timeout: &str) -> ([Proxy; 2], World) {
    let (redis, mut world) = (TestRedis::alone(), World::new());
    let proxies = [Proxy::start(redis), Proxy::start(redis)];
    for proxy in &proxies {
        world.add(&proxy.url(), &["--redis-timeout", timeout]).await;
    }
    world.add(&redis.url(), &[]).await;
    // So that Redis knows the scripts, also that for many at once, and need not be taught them while nothing is heard of it.
    for at in 0..2 {
        let warm = (0..8).map(|number| world.key_of(&format!("warm-{at}-{number}")));
        let leases = warm.map(async |key| world.held_of(at, &key, 1000).await);
        join_all(leases).await;
        let (key, body) = (world.key_of("warm"), json!({"ttlMs": 60_000, "owner": "x", "reentrant": true}));
        let answer = world.acquire_of(at, &key, body.clone()).await;
        assert_eq!(world.acquire_of(at, &key, body).await.status, 200);
        world.release_of(at, &key, token(&answer)).await;
        // Redis knows the script for several at once from then on, and need not be taught it while nothing is heard of it.
        let several = (0..8).map(|_| world.acquire_of(at, &key, json!({"ttlMs": 20, "owner": "x"})));
        futures_util::future::join_all(several).await;
    }
    (proxies, world)
}

async fn is_rolled_back(world: &World) {
    eventually("the lock is free, since no client was told of it", SOON, async || world.is_free().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_requests_of_one_attempt_whose_clients_are_gone_leave_no_lock() {
    join_all([false, true].map(async |at_two| {
        let redis = TestRedis::alone();
        let (proxies, world) = two_proxies("10s").await;
        let (name, body) = (unique("attempt"), json!({"ttlMs": TTL_MS, "owner": "web-3"}));
        proxies.iter().for_each(|proxy| proxy.set(Fault::HoldReplies));
        let at = |number: usize| if at_two { number % 2 } else { 0 };
        let callers: Vec<_> = (0..30).map(|number| world.caller(at(number), Some(&name), &body)).collect();
        all_are_done(&world, redis).await;

        drop(callers);
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxies.iter().for_each(Proxy::mend);

        is_rolled_back(&world).await;
    }))
    .await;
}

/// Waits until Redis has done all that was sent, which shows in that nothing changes any more.
async fn all_are_done(world: &World, redis: &TestRedis) {
    let (mut record, mut since) = (None, Instant::now());
    while record.is_none() || since.elapsed() < Duration::from_millis(500) {
        let now = world.record(redis);
        if now != record {
            (record, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < SOON, "redis has done nothing");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// However many there are: each is told of the one lease, or that it is held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_requests_of_one_attempt_are_told_of_one_lease_or_refused() {
    let (world, name) = (World::of(2).await, unique("attempt"));
    let body = json!({"ttlMs": TTL_MS, "owner": "web-3"});
    let mut tokens = Vec::new();
    for number in 0..40 {
        let answer = world.attempt(number % 2, &name, body.clone()).await;
        match answer.status {
            200 | 201 => tokens.push(token(&answer)),
            status => assert_eq!((status, answer.json()["code"].as_str()), (409, Some("held")), "{}", answer.text()),
        }
    }
    assert!(tokens.len() > 1 && tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    assert_eq!(world.look().await["holder"]["token"], tokens[0]);
    world.release(1, tokens[0]).await;
    assert!(world.is_free().await, "one release frees it");
}

/// The first was answered 504, and the other's client is gone: neither was told. Whichever is rolled back first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reentrant_acquire_whose_client_hung_up_and_an_acquire_that_was_answered_504_leave_no_lock() {
    let redis = TestRedis::alone();
    join_all([(false, 0), (false, 1), (true, 0), (true, 1)].map(async |(named, first_back)| {
        let (proxies, world) = two_proxies("700ms").await;
        let name = named.then(|| unique("attempt"));
        proxies.iter().for_each(|proxy| proxy.set(Fault::HoldReplies));
        let first = world.begin(0, name.as_deref(), json!({"ttlMs": TTL_MS, "owner": "x"}));
        world.has_changed(redis, &None).await;
        let lock = world.redis_key("lock", &world.key);
        let caller = world.caller(1, None, &json!({"ttlMs": TTL_MS + 30_000, "owner": "x", "reentrant": true}));
        eventually("the reentrant one has lengthened it", SOON, async || {
            redis.ask::<u64>("PTTL", &[&lock]) > TTL_MS + 10_000
        })
        .await;
        drop(caller);
        let (answer, _) = first.await.expect("no panic");
        assert_eq!(answer.status, 504, "{}", answer.text());

        proxies[first_back].mend();
        tokio::time::sleep(Duration::from_millis(300)).await;
        proxies[1 - first_back].mend();

        is_rolled_back(&world).await;
    }))
    .await;
}

/// And one that was told keeps what it was told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reentrant_acquire_that_was_told_keeps_the_lease_when_the_first_was_answered_504() {
    let redis = TestRedis::alone();
    let (proxies, world) = two_proxies("700ms").await;
    proxies[0].set(Fault::HoldReplies);
    let first = world.begin(0, None, json!({"ttlMs": TTL_MS, "owner": "x"}));
    world.has_changed(redis, &None).await;
    let told = world.acquire(1, json!({"ttlMs": 4000, "owner": "x", "reentrant": true})).await;
    assert_eq!(told.status, 200, "{}", told.text());
    let until = promised(&told.json()).min(Instant::now() + Duration::from_secs(4));
    assert_eq!(first.await.expect("no panic").0.status, 504);
    proxies[0].mend();

    world.is_not_granted_before(2, until).await;
}

/// The repetition comes while Redis would let the lease expire at once, and its answer is late; afterwards the lease lives
/// on. An operator sets its expiry, and none of lockside's requests knows of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repetition_that_was_answered_too_late_does_not_keep_the_lease() {
    let redis = TestRedis::alone();
    join_all([false, true].map(async |first_told| {
        let (proxies, world) = two_proxies("3s").await;
        let (name, body) = (unique("attempt"), json!({"ttlMs": TTL_MS, "owner": "x"}));
        if !first_told {
            proxies[0].set(Fault::HoldReplies);
        }
        let first = world.begin(0, Some(&name), body.clone());
        world.has_changed(redis, &None).await;
        if first_told {
            super::granted(first, SOON).await;
            answered_late(&world, &proxies[1], &name, body).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(!world.is_free().await, "the first one was told, and keeps it");
            return;
        }
        answered_late(&world, &proxies[1], &name, body).await;
        let (answer, _) = first.await.expect("no panic");
        assert_eq!(answer.status, 504, "{}", answer.text());
        proxies.iter().for_each(Proxy::mend);

        is_rolled_back(&world).await;
    }))
    .await;
}

/// Sends a repetition when a second is left of the lease, and lets it live for another minute once Redis has done that.
/// Its answer arrives when the second is over, and says so.
async fn answered_late(world: &World, proxy: &Proxy, name: &str, body: Value) {
    let (redis, lock) = (TestRedis::alone(), world.redis_key("lock", &world.key));
    proxy.set(Fault::DelayReplies(Duration::from_millis(1400)));
    assert!(redis.ask::<bool>("PEXPIRE", &[&lock, "1000"]));
    let lives_on = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(redis.ask::<bool>("PEXPIRE", &[&lock, "60000"]));
    };
    let (late, ()) = tokio::join!(world.attempt(1, name, body), lives_on);
    assert_eq!((late.status, late.json()["code"].as_str()), (503, Some("too-late")), "{}", late.text());
}
