//! What is deleted in Redis by hand while callers wait: found within two seconds, however much there is of it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::{AT_MOST, Waiting, World, granted, patient, token};
use crate::harness::{TestRedis, eventually};

/// Keys that are held, each with a waiter at one of two sidecars.
struct Held {
    world: World,
    keys: Vec<String>,
    tokens: Vec<u64>,
    waiting: Vec<Waiting>,
}

async fn held(redis: &TestRedis, count: usize) -> Held {
    let world = World::on(redis, 2).await;
    let keys: Vec<String> = (0..count).map(|number| world.key_of(&number.to_string())).collect();
    let (mut tokens, mut waiting) = (Vec::new(), Vec::new());
    for (number, key) in keys.iter().enumerate() {
        tokens.push(world.held_of(1, key, 60_000).await);
        waiting.push(world.begin_of(number % 2, key, None, patient("waiter")));
    }
    for key in &keys {
        eventually("it waits", Duration::from_secs(5), async || world.look_at(key).await["waiters"] == 1).await;
    }
    Held { world, keys, tokens, waiting }
}

impl Held {
    fn delete(&self, redis: &TestRedis, kind: &str) {
        let names: Vec<String> = self.keys.iter().map(|key| self.world.redis_key(kind, key)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(redis.ask::<usize>("DEL", &names), names.len(), "the {kind} keys that the documents name");
    }

    async fn are_served(self, since: Instant, what: &str) {
        let granted = self.waiting.into_iter().map(|one| granted(one, Duration::from_secs(9)));
        let took: Vec<Duration> = join_all(granted).await.into_iter().map(|(_, at)| at - since).collect();
        println!("{what}: {:?} at most", took.iter().max());
        assert!(took.iter().all(|took| *took < AT_MOST), "{what}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_deleted_by_hand_is_given_to_its_waiter_within_two_seconds() {
    let held = held(TestRedis::alone(), 1).await;
    let deleted = Instant::now();
    held.delete(TestRedis::alone(), "lock");
    held.are_served(deleted, "one lock").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_locks_that_are_deleted_by_hand_are_given_to_their_waiters_within_two_seconds() {
    let held = held(TestRedis::alone(), 20).await;
    let deleted = Instant::now();
    held.delete(TestRedis::alone(), "lock");
    held.are_served(deleted, "twenty locks").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_whose_queue_was_deleted_by_hand_is_served_within_two_seconds_of_the_release() {
    let held = held(TestRedis::alone(), 1).await;
    held.delete(TestRedis::alone(), "queue");
    let released = Instant::now();
    held.world.release_of(1, &held.keys[0], held.tokens[0]).await;
    held.are_served(released, "one queue").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_whose_queues_were_all_deleted_by_hand_are_served_within_two_seconds_of_the_release() {
    let held = held(TestRedis::alone(), 20).await;
    held.delete(TestRedis::alone(), "queue");
    let released = Instant::now();
    for (key, token) in held.keys.iter().zip(&held.tokens) {
        held.world.release_of(1, key, *token).await;
    }
    held.are_served(released, "twenty queues").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_deleted_by_hand_among_many_stands_again_within_two_seconds() {
    let held = held(TestRedis::alone(), 20).await;
    for lost in [3, 16] {
        let queue = held.world.redis_key("queue", &held.keys[lost]);
        assert_eq!(TestRedis::alone().ask::<u64>("DEL", &[&queue]), 1);
        let again = eventually("it stands again", Duration::from_secs(8), async || {
            held.world.look_at(&held.keys[lost]).await["waiters"] == 1
        });
        let took = again.await;
        assert!(took < AT_MOST, "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_whose_locks_and_queues_were_deleted_by_hand_are_served_within_two_seconds() {
    let held = held(TestRedis::alone(), 8).await;
    let deleted = Instant::now();
    held.delete(TestRedis::alone(), "queue");
    held.delete(TestRedis::alone(), "lock");
    held.are_served(deleted, "eight locks with their queues").await;
}

/// A lease that ends sooner than was known, as when Redis's clock steps forward.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_expires_sooner_than_was_known_is_given_to_its_waiter_within_two_seconds() {
    let held = held(TestRedis::alone(), 6).await;
    let begun = Instant::now();
    for key in &held.keys {
        assert!(TestRedis::alone().ask::<bool>("PEXPIRE", &[&held.world.redis_key("lock", key), "1"]));
    }
    held.are_served(begun, "six that expired early").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_wait_for_a_lock_that_is_deleted_by_hand_are_served_in_order() {
    let world = World::of(2).await;
    world.held(1, 60_000).await;
    let mut waiting = Vec::new();
    for number in 0..4 {
        let body = json!({"ttlMs": 30_000, "waitMs": 30_000, "owner": format!("waiter-{number}")});
        waiting.push(world.join(number % 2, None, body).await);
    }
    assert_eq!(TestRedis::alone().ask::<u64>("DEL", &[&world.redis_key("lock", &world.key)]), 1);
    let mut last = 0;
    for one in waiting {
        let (answer, _) = granted(one, Duration::from_secs(5)).await;
        assert!(token(&answer) > last);
        last = token(&answer);
        world.release(1, last).await;
    }
}
