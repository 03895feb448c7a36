//! The order in which waiters are granted, and what waiting costs.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Fleet, SOON, granted, patient, release, token};
use crate::harness::TestRedis;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_waiters_at_three_sidecars_are_granted_in_the_order_in_which_they_came() {
    let fleet = Fleet::of(3).await;
    let first = fleet.hold(0, 60_000).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for number in 0..100 {
        let (sidecar, path, order) = (Arc::clone(&fleet.sidecars[number % 3]), fleet.path(), Arc::clone(&order));
        waiting.push(tokio::spawn(async move {
            let answer = sidecar.call("POST", &path).json(&patient()).send().await;
            order.lock().unwrap().push((number, token(&answer)));
            release(&sidecar, &path, token(&answer)).await;
        }));
        fleet.waiters_are(number as u64 + 1).await;
    }

    let begun = Instant::now();
    fleet.release(0, first).await;
    for one in waiting {
        one.await.unwrap();
    }

    println!("100 waiters in turn: {:?}", begun.elapsed());
    let order = order.lock().unwrap().clone();
    assert_eq!(order.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    assert!(order.is_sorted_by_key(|(_, token)| *token), "tokens rise: {order:?}");
    fleet.is_empty(TestRedis::shared()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_waiters_at_three_sidecars_cost_redis_fewer_than_twenty_commands_a_second() {
    let redis = TestRedis::start(&[]);
    let fleet = Fleet::on(&redis, 3, &[]).await;
    fleet.hold(0, 60_000).await;
    let waiting: Vec<_> = (0..100).map(|number| fleet.begin(number % 3, patient())).collect();
    fleet.waiters_are(100).await;
    // At its start each looks for what has expired and for leases above the cap; then it is quiet.
    let mut rates = Vec::new();
    while rates.last().is_none_or(|rate| *rate >= 20.0) && rates.len() < 5 {
        let sent = tokio::task::block_in_place(|| redis.sent_within(Duration::from_secs(4)));
        rates.push(sent.len() as f64 / 4.0);
    }
    println!("100 waiters at 3 sidecars: {rates:.1?} commands/s");
    assert!(rates.last().is_some_and(|rate| *rate < 20.0), "{rates:?}");
    waiting.iter().for_each(|one| one.abort());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_grants_the_next_at_another_sidecar_in_milliseconds() {
    let fleet = Fleet::of(2).await;
    let mut took = Vec::new();
    for round in 0..41 {
        let (here, there) = (round % 2, 1 - round % 2);
        let first = fleet.hold(here, 30_000).await;
        let waiting = fleet.join(there, patient()).await;
        let released = Instant::now();
        fleet.release(here, first).await;
        let (answer, at) = granted(waiting).await;
        took.push(at - released);
        fleet.release(there, token(&answer)).await;
    }
    took.sort();
    let median = took[took.len() / 2];
    println!("release to grant: p50 {median:?}, max {:?}", took[took.len() - 1]);
    assert!(median < Duration::from_millis(25), "{median:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_holders_expiry_wakes_the_first_waiter_and_nobody_overtakes_it() {
    let fleet = Arc::new(Fleet::of(2).await);
    let ends = Instant::now() + Duration::from_millis(1000);
    fleet.hold(0, 1000).await;
    let waiting = fleet.join(1, patient()).await;
    let impatient = {
        let fleet = Arc::clone(&fleet);
        tokio::spawn(async move {
            while Instant::now() < ends + Duration::from_millis(500) {
                let answer = fleet.acquire(0, json!({})).await;
                assert_eq!(answer.status, 409, "{}", answer.text());
            }
        })
    };

    let (answer, at) = granted(waiting).await;

    impatient.await.unwrap();
    let late = at.saturating_duration_since(ends);
    println!("expiry to grant: {late:?}");
    assert!(late < SOON, "{late:?}");
    fleet.release(1, token(&answer)).await;
}

/// Without the help of others who try, which moves the line, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_holders_expiry_alone_wakes_the_first_waiter() {
    let fleet = Fleet::of(2).await;
    let mut took = Vec::new();
    for _ in 0..11 {
        let answer = fleet.acquire(0, json!({"ttlMs": 300})).await;
        let ends = Instant::now() + Duration::from_millis(300);
        assert_eq!(answer.status, 201);
        let waiting = fleet.join(1, patient()).await;
        let (answer, at) = granted(waiting).await;
        took.push(at.saturating_duration_since(ends));
        fleet.release(1, token(&answer)).await;
    }
    took.sort();
    println!("expiry to grant: p50 {:?}, max {:?}", took[5], took[10]);
    assert!(took[5] < Duration::from_millis(200), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_lease_that_a_waiter_had_and_let_expire_wakes_the_next() {
    let fleet = Fleet::of(2).await;
    let first = fleet.hold(0, 30_000).await;
    let short = fleet.join(0, json!({"ttlMs": 200, "waitMs": 30_000})).await;
    let next = fleet.join(1, patient()).await;
    fleet.release(0, first).await;
    let (_, had) = granted(short).await;

    let (_, at) = granted(next).await;

    let late = (at - had).saturating_sub(Duration::from_millis(200));
    println!("expiry of a waiter's lease to grant: {late:?}");
    assert!(late < SOON, "{late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_shortens_the_lease_wakes_the_next_in_time() {
    let fleet = Fleet::of(2).await;
    let first = fleet.hold(0, 60_000).await;
    let waiting = fleet.join(1, patient()).await;
    let path = format!("{}?token={first}", fleet.path());
    let renewed = fleet.sidecars[0].call("PUT", &path).json(&json!({"ttlMs": 300})).send().await;
    assert_eq!(renewed.status, 200);
    let ends = Instant::now() + Duration::from_millis(300);

    let (_, at) = granted(waiting).await;

    assert!(at < ends + SOON, "{:?} late", at - ends);
}
