//! Two databases of one Redis with one prefix: what happens in one is no concern of the other.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{AT_ONCE, World, granted, line, lost_before, patient, token};
use crate::harness::{TestRedis, free_port};

/// A sidecar in database 0 and one in database 1, of one prefix; by a unix socket, or by TCP.
async fn two_databases(redis: &TestRedis, port: Option<&str>) -> [World; 2] {
    let mut worlds = [World::new(), World::new()];
    worlds[1].prefix = worlds[0].prefix.clone();
    worlds[1].key = worlds[0].key.clone();
    for (database, world) in worlds.iter_mut().enumerate() {
        let url = match port {
            Some(port) => format!("redis://127.0.0.1:{port}/{database}"),
            None => format!("redis+unix://{}?db={database}", redis.socket()),
        };
        world.add(&url, &[]).await;
    }
    worlds
}

async fn a_waiter_is_served_when_its_holder_expires(redis: &TestRedis, port: Option<&str>) {
    let [here, there] = two_databases(redis, port).await;
    here.held(0, 2000).await;
    let ends = Instant::now() + Duration::from_millis(2000);
    let waiting = here.join(0, None, patient("waiter")).await;

    // Everything that tells the sidecars of that database something about a key of this name.
    let first = there.held(0, 60_000).await;
    let next = there.join(0, None, json!({"ttlMs": 50_000, "waitMs": 30_000, "owner": "next"})).await;
    assert_eq!(there.renew(0, first, 55_000).await.status, 200);
    there.release(0, first).await;
    let (next, _) = granted(next, AT_ONCE).await;
    let last = there.join(0, None, patient("last")).await;
    assert_eq!(there.renew(0, token(&next), 60_000).await.status, 200);
    assert!(Instant::now() < ends, "in time");

    let (answer, at) = granted(waiting, Duration::from_secs(8)).await;

    let late = at.saturating_duration_since(ends);
    assert!(late < AT_ONCE, "{late:?} after the end of the lease before it: {}", answer.text());
    last.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_another_database_does_not_put_off_a_waiters_turn() {
    a_waiter_is_served_when_its_holder_expires(TestRedis::alone(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_another_database_of_a_redis_url_with_a_number_does_not_put_off_a_waiters_turn() {
    let port = free_port();
    let redis = TestRedis::start(&["--port", &port, "--bind", "127.0.0.1"]);
    a_waiter_is_served_when_its_holder_expires(&redis, Some(&port)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_is_not_ended_by_what_happens_to_a_lock_of_its_name_in_another_database() {
    let [here, there] = two_databases(TestRedis::alone(), None).await;
    let (mut hold, first) = here.hold(0, None, json!({"ttlMs": 1500})).await;
    let (mut other, _) = there.hold(0, None, json!({"ttlMs": 1500})).await;
    let path = format!("/v1/locks/{}?force=true", there.key);
    assert_eq!(there.sidecars[0].call("DELETE", &path).send().await.status, 204);

    let said = line(&mut other, Duration::from_secs(2)).await;
    assert_eq!(said["event"], "lost", "{said}");
    assert_eq!(lost_before(&mut hold, Instant::now() + Duration::from_secs(2)).await, None);
    assert_eq!(here.look().await["holder"]["token"], first["token"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_held_in_one_database_and_free_in_the_other() {
    let [here, there] = two_databases(TestRedis::alone(), None).await;
    here.held(0, 60_000).await;
    assert!(there.is_free().await);
    let begun = Instant::now();
    there.held(0, 60_000).await;
    assert_eq!(here.acquire(0, json!({"owner": "other"})).await.status, 409);
    assert!(begun.elapsed() < Duration::from_secs(2));
}
