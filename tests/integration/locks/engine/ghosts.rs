//! Places in the queue whose waiters have gone: they cost the next waiter nothing.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::{AT_ONCE, World, granted, patient, token};
use crate::harness::{Fault, TestRedis, eventually, unique};

/// A waiter that lives, behind whatever is in the queue, is served at once when the key is free.
async fn the_next_is_served_at_once(world: &World, held: u64, what: &str) {
    let living = world.begin(1, None, patient("living"));
    eventually("it waits", Duration::from_secs(5), async || world.waiters().await >= 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let released = Instant::now();
    world.release(1, held).await;

    let (answer, at) = granted(living, Duration::from_secs(8)).await;

    println!("{what}: release to grant {:?}", at - released);
    assert!(at - released < AT_ONCE, "{what}: {:?}", at - released);
    world.release(1, token(&answer)).await;
    assert!(world.is_free().await, "{what}");
    eventually("no place is left", Duration::from_secs(3), async || world.waiters().await == 0).await;
}

/// It takes its place when its client has gone and its leaving has been done, but while Redis may still run it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_that_left_before_redis_got_to_it_has_no_place() {
    let (proxy, world) = World::behind_a_proxy("3s").await;
    let held = world.held(1, 60_000).await;
    proxy.set(Fault::HoldRequests);
    let gone = world.caller(0, None, &patient("gone"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(gone);
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.strand();
    proxy.set(Fault::None);
    eventually("its sidecar is back", Duration::from_secs(2), async || {
        world.sidecars[0].call("GET", "/v1/locks/any").send().await.status == 200
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.deliver_late();
    tokio::time::sleep(Duration::from_millis(200)).await;

    the_next_is_served_at_once(&world, held, "a place that was taken late").await;
}

/// It stands again because the queue was lost, and that reaches Redis when it has left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_that_left_before_redis_let_it_stand_again_has_no_place() {
    let (proxy, world) = World::behind_a_proxy("5s").await;
    let held = world.held(1, 60_000).await;
    let gone = world.join(0, None, patient("gone")).await;
    let living = world.join(1, None, patient("living")).await;
    proxy.set(Fault::HoldRequests);
    TestRedis::alone().ask::<u64>("DEL", &[&world.redis_key("queue", &world.key)]);
    world.waiters_are(1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    gone.abort();
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.strand();
    proxy.set(Fault::None);
    eventually("its sidecar is back", Duration::from_secs(3), async || {
        world.sidecars[0].call("GET", "/v1/locks/any").send().await.status == 200
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.deliver_late();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let released = Instant::now();
    world.release(1, held).await;

    let (answer, at) = granted(living, Duration::from_secs(8)).await;

    assert!(at - released < AT_ONCE, "{:?}", at - released);
    world.release(1, token(&answer)).await;
}

/// The same with its client waiting until it is told that nothing is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_ended_with_an_error_has_no_place() {
    let (proxy, world) = World::behind_a_proxy("500ms").await;
    let held = world.held(1, 60_000).await;
    proxy.set(Fault::HoldRequests);
    let failed = world.begin(0, None, json!({"ttlMs": 30_000, "waitMs": 600, "owner": "gone"}));
    let (answer, _) = tokio::time::timeout(Duration::from_secs(5), failed).await.expect("an answer").expect("no panic");
    assert!(matches!(answer.status, 409 | 503 | 504), "{}", answer.text());
    proxy.half_open();
    proxy.set(Fault::None);
    eventually("its sidecar is back", Duration::from_secs(5), async || {
        world.sidecars[0].call("GET", "/v1/locks/any").send().await.status == 200
    })
    .await;
    proxy.deliver_late();
    tokio::time::sleep(Duration::from_millis(200)).await;

    the_next_is_served_at_once(&world, held, "a place that was taken late").await;
}

/// Two requests of one attempt wait; one is granted, and what the other one's sidecar sends when it sees that is lost.
async fn what_it_sends_first_is_lost(ahead_ms: u64) {
    let (proxy, world) = World::behind_a_proxy("1s").await;
    let (name, held) = (unique("attempt"), world.held(1, 60_000).await);
    let there = world.join(1, Some(&name), patient("x")).await;
    let here = world.join(0, Some(&name), patient("x")).await;
    proxy.set(Fault::HoldRequests);
    world.release(1, held).await;
    let (first, _) = granted(there, Duration::from_secs(5)).await;
    tokio::time::sleep(Duration::from_millis(ahead_ms)).await;
    // What was sent on these connections is never delivered.
    proxy.strand();
    proxy.set(Fault::None);

    let (told, _) = here.await.expect("no panic");

    // It is told of its attempt's lease, or that nothing is known of what it has asked.
    assert!(matches!(told.status, 200 | 503 | 504), "{}", told.text());
    eventually("its place is given up", Duration::from_secs(3), async || world.waiters().await == 0).await;
    the_next_is_served_at_once(&world, token(&first), "after a lost leave").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_an_attempt_that_is_granted_elsewhere_leaves_its_place_even_if_what_it_sends_first_is_lost() {
    tokio::join!(what_it_sends_first_is_lost(50), what_it_sends_first_is_lost(400));
}

/// As after a failover to a replica that has not heard that they left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_that_come_back_after_their_waiters_left_cost_the_next_nothing() {
    join_all([1, 5].map(async |count| {
        let (redis, world) = (TestRedis::alone(), World::of(2).await);
        let held = world.held(1, 60_000).await;
        let mut gone = Vec::new();
        for number in 0..count {
            gone.push(world.join(0, None, patient(&format!("gone-{number}"))).await);
        }
        let queue = world.redis_key("queue", &world.key);
        let mut connection = redis.connection();
        let stale: Vec<u8> = redis::cmd("DUMP").arg(&queue).query(&mut connection).expect("the queue");
        let ttl_ms: i64 = redis::cmd("PTTL").arg(&queue).query(&mut connection).expect("a number");
        gone.iter().for_each(tokio::task::JoinHandle::abort);
        world.waiters_are(0).await;
        let mut restore = redis::cmd("RESTORE");
        restore.arg(&queue).arg(ttl_ms.max(0)).arg(stale).exec(&mut connection).expect("the queue as it was");

        the_next_is_served_at_once(&world, held, &format!("{count} places that came back")).await;
    }))
    .await;
}

/// And where its sidecar lives and has others waiting, those are not taken for gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_comes_back_does_not_cost_its_sidecars_other_waiters_theirs() {
    let (redis, world) = (TestRedis::alone(), World::of(2).await);
    let held = world.held(1, 60_000).await;
    let gone = world.join(0, None, patient("gone")).await;
    let stays = world.join(0, None, patient("stays")).await;
    let queue = world.redis_key("queue", &world.key);
    let mut connection = redis.connection();
    let stale: Vec<u8> = redis::cmd("DUMP").arg(&queue).query(&mut connection).expect("the queue");
    gone.abort();
    world.waiters_are(1).await;
    redis::cmd("RESTORE").arg(&queue).arg(60_000).arg(stale).arg("REPLACE").exec(&mut connection).expect("as it was");
    let later = world.begin(1, None, patient("later"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let released = Instant::now();
    world.release(1, held).await;

    let (first, at) = granted(stays, Duration::from_secs(8)).await;

    assert!(at - released < AT_ONCE, "{:?}", at - released);
    assert!(!later.is_finished(), "it came later");
    world.release(0, token(&first)).await;
    let (second, _) = granted(later, Duration::from_secs(5)).await;
    assert!(token(&second) > token(&first));
}
