//! Sidecars that die, freeze, or hear nothing any more: the line goes on without them, and they come back to it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Fleet, OFFER, granted, patient, release, token};
use crate::harness::{Proxy, Sidecar, TestRedis, eventually, unique};

/// Ten waiters of a sidecar that then gets `signal` stand before one of another; how long that one waits for its turn
/// after the release.
async fn behind_ten_of_a_sidecar_that_gets(signal: &str) -> (Fleet, Duration) {
    let fleet = Fleet::of(2).await;
    let first = fleet.hold(1, 60_000).await;
    for _ in 0..10 {
        fleet.join(0, patient()).await;
    }
    let waiting = fleet.join(1, patient()).await;
    fleet.sidecars[0].signal(signal);
    let released = Instant::now();
    fleet.release(1, first).await;
    let (answer, at) = granted(waiting).await;
    println!("behind ten waiters of a sidecar that got {signal}: {:?}", at - released);
    fleet.release(1, token(&answer)).await;
    (fleet, at - released)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_waiters_of_a_killed_sidecar_delay_the_next_by_two_seconds_at_most() {
    let (fleet, took) = behind_ten_of_a_sidecar_that_gets("KILL").await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    fleet.is_empty(TestRedis::shared()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_waiters_of_a_frozen_sidecar_delay_the_next_by_two_seconds_at_most() {
    let (fleet, took) = behind_ten_of_a_sidecar_that_gets("STOP").await;
    fleet.sidecars[0].signal("CONT");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_while_a_frozen_sidecar_has_its_turn_waits_no_longer_for_it() {
    let fleet = Fleet::of(2).await;
    let first = fleet.hold(1, 60_000).await;
    for _ in 0..5 {
        fleet.join(0, patient()).await;
    }
    fleet.sidecars[0].signal("STOP");
    let released = Instant::now();
    fleet.release(1, first).await;

    // Nobody but the frozen one was in line when the key was offered to it.
    let waiting = fleet.join(1, patient()).await;
    let another = fleet.join(1, patient()).await;
    let (answer, at) = granted(waiting).await;

    fleet.sidecars[0].signal("CONT");
    println!("joined behind a frozen sidecar's turn: {:?}", at - released);
    assert!(at - released < Duration::from_secs(2), "{:?}", at - released);
    drop((answer, another));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_thaws_has_its_waiters_in_line_again_before_those_who_came_later() {
    let fleet = Fleet::of(2).await;
    let first = fleet.hold(1, 60_000).await;
    let frozen = [fleet.join(0, patient()).await, fleet.join(0, patient()).await];
    let passed_by = fleet.join(1, patient()).await;
    let later = fleet.join(1, patient()).await;
    fleet.sidecars[0].signal("STOP");
    fleet.release(1, first).await;
    let (answer, _) = granted(passed_by).await;
    fleet.sidecars[0].signal("CONT");
    fleet.waiters_are(3).await;

    fleet.release(1, token(&answer)).await;
    let mut last = token(&answer);
    for one in frozen {
        let (answer, _) = granted(one).await;
        assert!(token(&answer) > last);
        last = token(&answer);
        fleet.release(0, last).await;
    }
    let (answer, _) = granted(later).await;
    assert!(token(&answer) > last, "it came later");
    fleet.release(1, token(&answer)).await;
    fleet.is_empty(TestRedis::shared()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_for_messages_costs_a_second_at_most_and_no_place_in_line() {
    let redis = TestRedis::start(&[]);
    let fleet = Fleet::on(&redis, 2, &[]).await;
    let mut held = fleet.hold(0, 60_000).await;
    for round in 0..3 {
        let first = fleet.join(0, patient()).await;
        let second = fleet.join(1, patient()).await;
        assert!(redis.ask::<u64>("CLIENT", &["KILL", "TYPE", "pubsub"]) >= 1);

        let released = Instant::now();
        fleet.release(round % 2, held).await;
        let (answer, at) = granted(first).await;

        println!("release to grant without a connection for messages: {:?}", at - released);
        assert!(at - released < OFFER, "{:?}", at - released);
        assert!(!second.is_finished(), "it came later");
        fleet.release(0, token(&answer)).await;
        let (answer, _) = granted(second).await;
        held = token(&answer);
    }
    assert_eq!(fleet.waiters().await, 0);
}

/// It looks alive from both ends, and nothing passes. The least of three, because a busy machine adds to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_connection_for_messages_costs_a_second_at_most() {
    let mut least = Duration::MAX;
    for _ in 0..3 {
        least = least.min(release_to_grant_behind_a_half_open_connection().await);
        if least < OFFER {
            return;
        }
    }
    panic!("{least:?}");
}

async fn release_to_grant_behind_a_half_open_connection() -> Duration {
    let redis = TestRedis::start(&[]);
    let (proxy, key) = (Proxy::start(&redis), unique("half-open"));
    let ids = |kind: &str| -> BTreeSet<String> {
        let list: String = redis.ask("CLIENT", &["LIST", "TYPE", kind]);
        list.lines().filter_map(|line| line.split(' ').next()?.strip_prefix("id=").map(str::to_owned)).collect()
    };
    let other = Sidecar::start(&redis, &[]).await;
    let of_other = ids("normal");
    let behind = Sidecar::start_at(&proxy.url(), &[]).await;
    let path = format!("/v1/locks/{key}");
    let held = other.call("POST", &path).json(&json!({"ttlMs": 60_000})).send().await;
    let release = format!("{path}?token={}", token(&held));
    let waits = async {
        let answer = behind.call("POST", &path).json(&patient()).send().await;
        (answer, Instant::now())
    };
    let loss = async {
        eventually("it waits", Duration::from_secs(5), async || {
            // Asked of its own sidecar, by the connection that it has joined by: that was answered, too.
            behind.call("GET", &path).send().await.json()["waiters"] == 1 && ids("pubsub").len() == 1
        })
        .await;
        // Those for commands are made anew, so that it is for messages alone.
        let of_commands: Vec<String> = ids("normal").difference(&of_other).cloned().collect();
        proxy.half_open();
        for id in of_commands {
            redis.ask::<u64>("CLIENT", &["KILL", "ID", &id]);
        }
        let released = Instant::now();
        assert_eq!(other.call("DELETE", &release).send().await.status, 204);
        released
    };

    let ((answer, at), released) = tokio::join!(waits, loss);

    println!("release to grant behind a half-open connection: {:?}", at - released);
    assert_eq!(answer.status, 201, "{}", answer.text());
    at - released
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_for_messages_that_is_lost_just_after_the_turn_costs_no_place_in_line() {
    let redis = TestRedis::start(&[]);
    let fleet = Fleet::on(&redis, 2, &[]).await;
    let mut held = fleet.hold(0, 60_000).await;
    for _ in 0..5 {
        let waiting = [fleet.join(0, patient()).await, fleet.join(1, patient()).await, fleet.join(0, patient()).await];
        let mut connection = redis.connection();
        let (sidecar, path) = (std::sync::Arc::clone(&fleet.sidecars[1]), fleet.path());
        let releasing = tokio::spawn(async move { release(&sidecar, &path, held).await });
        redis::cmd("CLIENT").arg(&["KILL", "TYPE", "pubsub"]).exec(&mut connection).unwrap();
        releasing.await.unwrap();
        held = 0;
        for one in waiting {
            let (answer, _) = granted(one).await;
            assert!(token(&answer) > held, "in turn");
            held = token(&answer);
            fleet.release(1, held).await;
        }
        held = fleet.hold(0, 60_000).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_for_commands_costs_no_place_in_line() {
    let redis = TestRedis::start(&[]);
    let fleet = Fleet::on(&redis, 2, &[]).await;
    let held = fleet.hold(0, 60_000).await;
    let first = fleet.join(0, patient()).await;
    let second = fleet.join(1, patient()).await;
    redis.ask::<u64>("CLIENT", &["KILL", "TYPE", "normal", "SKIPME", "yes"]);
    eventually("the sidecars are back", Duration::from_secs(5), async || {
        fleet.sidecars[0].ops("/readyz").await.status == 200 && fleet.sidecars[1].ops("/readyz").await.status == 200
    })
    .await;

    fleet.release(0, held).await;
    let (answer, _) = granted(first).await;
    fleet.release(0, token(&answer)).await;
    granted(second).await;
}
