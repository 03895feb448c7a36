//! Redis that loses its data, freezes, or refuses: those who wait stand again, in the order in which they came.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Fleet, granted, patient, release, token};
use crate::harness::{TestRedis, eventually};

/// Thirty waiters at three sidecars, each releasing at once; the order in which they were granted.
async fn thirty(fleet: &Fleet) -> (Vec<tokio::task::JoinHandle<()>>, Arc<Mutex<Vec<usize>>>) {
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for number in 0..30 {
        let (sidecar, path, order) = (Arc::clone(&fleet.sidecars[number % 3]), fleet.path(), Arc::clone(&order));
        waiting.push(tokio::spawn(async move {
            let answer = sidecar.call("POST", &path).json(&patient()).send().await;
            let token = token(&answer);
            order.lock().unwrap().push(number);
            release(&sidecar, &path, token).await;
        }));
        fleet.waiters_are(number as u64 + 1).await;
    }
    (waiting, order)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_flushall_those_who_wait_are_granted_in_turn() {
    let redis = TestRedis::start(&[]);
    let fleet = Fleet::on(&redis, 3, &[]).await;
    fleet.hold(0, 60_000).await;
    let (waiting, order) = thirty(&fleet).await;

    let lost = Instant::now();
    redis.ask::<String>("FLUSHALL", &[]);
    for one in waiting {
        one.await.unwrap();
    }

    println!("FLUSHALL to thirty grants: {:?}", lost.elapsed());
    assert_each_in_turn(&order.lock().unwrap());
    assert!(lost.elapsed() < Duration::from_secs(6), "{:?}", lost.elapsed());
    fleet.is_empty(&redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_without_data_those_who_wait_are_granted_in_turn() {
    let mut redis = TestRedis::start(&[]);
    let fleet = Fleet::on(&redis, 3, &[]).await;
    fleet.hold(0, 60_000).await;
    let (waiting, order) = thirty(&fleet).await;

    let lost = Instant::now();
    redis.kill();
    redis.up();
    for one in waiting {
        one.await.unwrap();
    }

    println!("restart to thirty grants: {:?}", lost.elapsed());
    assert_each_in_turn(&order.lock().unwrap());
    fleet.is_empty(&redis).await;
}

/// All thirty were granted, and those of each of the three sidecars in the order in which they came. Over sidecars the
/// order is kept as far as they are back in time: whoever does not listen yet is passed over, and has its place again.
fn assert_each_in_turn(order: &[usize]) {
    assert_eq!(order.len(), 30, "{order:?}");
    for sidecar in 0..3 {
        let own: Vec<_> = order.iter().filter(|number| *number % 3 == sidecar).collect();
        assert!(own.len() == 10 && own.is_sorted(), "{order:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_after_the_loss_stands_behind_those_who_waited_before() {
    let redis = TestRedis::start(&[]);
    let fleet = Fleet::on(&redis, 2, &[]).await;
    fleet.hold(0, 60_000).await;
    let before = fleet.join(0, patient()).await;
    redis.ask::<String>("FLUSHALL", &[]);
    let taken = fleet.acquire(1, json!({"ttlMs": 60_000})).await;
    assert_eq!(taken.status, 201, "Redis knows of nobody");
    let after = fleet.begin(1, patient());
    fleet.waiters_are(2).await;

    fleet.release(1, token(&taken)).await;

    let (answer, _) = granted(before).await;
    assert!(!after.is_finished());
    fleet.release(0, token(&answer)).await;
    granted(after).await;
}

/// One line after another is looked for, and where one is gone all are looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_lost_among_others_stands_again() {
    let redis = TestRedis::start(&[]);
    let fleet = Fleet::on(&redis, 1, &[]).await;
    let paths = ["one", "two", "three"].map(|name| format!("/v1/locks/{name}"));
    let mut waiting = Vec::new();
    for path in &paths {
        let held = fleet.sidecars[0].call("POST", path).json(&json!({"ttlMs": 60_000})).send().await;
        assert_eq!(held.status, 201);
        let (sidecar, path) = (Arc::clone(&fleet.sidecars[0]), path.clone());
        waiting.push(tokio::spawn(async move { sidecar.call("POST", &path).json(&patient()).send().await }));
    }
    let lines = || fleet.keys(&redis, "queue");
    eventually("all wait", Duration::from_secs(5), async || lines().len() == 3).await;
    let mut names = lines();
    names.sort();

    for name in names {
        redis.ask::<u64>("DEL", &[&name]);
        let took = eventually("it stands again", Duration::from_secs(20), async || lines().len() == 3).await;
        println!("{name} stands again after {took:?}");
    }
    waiting.iter().for_each(|one| one.abort());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_freezes_for_seconds_costs_no_place_in_line() {
    let redis = TestRedis::start(&[]);
    let fleet = Fleet::on(&redis, 2, &[]).await;
    let held = fleet.hold(0, 60_000).await;
    let first = fleet.join(0, patient()).await;
    let second = fleet.join(1, patient()).await;
    redis.signal("STOP");
    eventually("nobody is ready", Duration::from_secs(10), async || {
        fleet.sidecars[0].ops("/readyz").await.status == 503 && fleet.sidecars[1].ops("/readyz").await.status == 503
    })
    .await;
    redis.signal("CONT");
    eventually("everybody is ready", Duration::from_secs(10), async || {
        fleet.sidecars[0].ops("/readyz").await.status == 200 && fleet.sidecars[1].ops("/readyz").await.status == 200
    })
    .await;
    fleet.waiters_are(2).await;

    fleet.release(0, held).await;

    let (answer, _) = granted(first).await;
    assert!(!second.is_finished());
    fleet.release(0, token(&answer)).await;
    let (answer, _) = granted(second).await;
    fleet.release(0, token(&answer)).await;
    fleet.is_empty(&redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_cannot_be_given_up_while_redis_is_frozen_is_given_up_later() {
    let redis = TestRedis::start(&[]);
    let fleet = Fleet::on(&redis, 1, &[]).await;
    let held = fleet.hold(0, 60_000).await;
    // Longer in line than its lease would last.
    let gone = fleet.join(0, json!({"ttlMs": 100, "waitMs": 30_000})).await;
    eventually("two seconds in line", Duration::from_secs(5), async || {
        fleet.sidecars[0].call("GET", &fleet.path()).send().await.json()["holder"]["validForMs"].as_u64().unwrap()
            < 58_000
    })
    .await;
    redis.signal("STOP");
    gone.abort();
    eventually("it is not ready", Duration::from_secs(10), async || {
        fleet.sidecars[0].ops("/readyz").await.status == 503
    })
    .await;

    redis.signal("CONT");

    eventually("its place is given up", Duration::from_secs(5), async || fleet.keys(&redis, "queue").is_empty()).await;
    fleet.release(0, held).await;
}

#[tokio::test]
async fn what_is_no_line_under_the_lines_key_holds_nobody_up_but_those_who_would_wait() {
    let redis = TestRedis::start(&[]);
    let fleet = Fleet::on(&redis, 1, &[]).await;
    let held = fleet.hold(0, 60_000).await;
    let waiting = fleet.join(0, patient()).await;
    let queue = fleet.keys(&redis, "queue").remove(0);
    waiting.abort();
    fleet.waiters_are(0).await;
    redis.ask::<i64>("LPUSH", &[&queue, "x"]);

    let answer = fleet.acquire(0, patient()).await;

    assert_eq!((answer.status, answer.json()["outcome"].as_str()), (503, Some("not-applied")), "{}", answer.text());
    fleet.release(0, held).await;
    let held = fleet.hold(0, 60_000).await;
    let state = fleet.sidecars[0].call("GET", &fleet.path()).send().await;
    assert_eq!((state.status, state.json()["waiters"].as_u64()), (200, Some(0)), "{}", state.text());
    fleet.release(0, held).await;
}
