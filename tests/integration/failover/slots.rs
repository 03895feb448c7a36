//! Slots that move to another master of a cluster while locks are held and taken.

use std::time::{Duration, Instant};

use serde_json::json;

use super::LONGEST;
use super::load::{self, Load, redis_key};
use crate::harness::{Cluster, Redundant, Sidecar, eventually, unique};

/// What a request may take at most: `--redis-timeout`, and some more on a busy machine.
const ANSWERED: Duration = Duration::from_secs(3);

/// What service may take after a move: a second or two, and some more on a busy machine.
const SERVED: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_go_with_their_slots_under_load() {
    let cluster = Cluster::start(&[]);
    // Each thread has connections of its own.
    let load = Load::on(&cluster, &["--threads", "2"]).await;
    load.next_grant(Duration::from_secs(5)).await;
    let (begun, mut slowest) = (Instant::now(), Duration::ZERO);
    // Each slot to the next master, and all of them back, twice.
    for step in [1, 2, 1, 2] {
        for key in load::keys() {
            let name = load.redis_key(&key);
            let to = (cluster.master(&name) + step) % Cluster::MASTERS;
            cluster.move_slot(&name, to);
            slowest = slowest.max(load.served(&key, LONGEST).await);
        }
    }
    println!("served at the new master {slowest:?} after a move, at most");
    assert!(slowest < SERVED, "{slowest:?}");
    let refused = load.refusals(begun);
    let unknown = refused.iter().filter(|refusal| refusal.answer.contains("unknown")).count();
    println!("{} grants, {} refused, {unknown} of them unknown", load.history.since(begun), refused.len());
    assert_eq!(unknown, 0, "a redirected command was surely not executed: {refused:?}");
    // None, but on a machine that is busy elsewhere; many where nobody waits for the new master.
    assert!(refused.len() <= 12, "{refused:?}");
    let reconnections = load.sidecars[0].ops("/metrics").await;
    let lost = reconnections
        .text()
        .lines()
        .any(|line| line.starts_with("lockside_redis_reconnections_total{reason=\"lost\"}"));
    assert!(!lost, "{}", reconnections.text());
    let count = load.history.len();
    // Nothing was lost, so that nothing may overlap.
    assert_eq!(load.end().await, [], "{count} stretches");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_has_moved_by_half_gives_no_lock_twice_and_every_other_one_is_served() {
    let cluster = Cluster::start(&[]);
    let prefix = unique("half");
    let flags = ["--key-prefix", &prefix];
    let sidecars = [Sidecar::start_at(&cluster.url(), &flags).await, Sidecar::start_at(&cluster.url(), &flags).await];
    let (held, path) = (unique("held"), |key: &str| format!("/v1/locks/{key}"));
    let lease = sidecars[0].call("POST", &path(&held)).json(&json!({"ttlMs": 60_000})).send().await;
    assert_eq!(lease.status, 201, "{}", lease.text());
    let renewal = format!("{}?token={}", path(&held), lease.json()["token"]);
    let name = redis_key(&prefix, &held);
    let elsewhere = loop {
        let key = unique("elsewhere");
        if cluster.slot(&redis_key(&prefix, &key)) != cluster.slot(&name) {
            break key;
        }
    };

    let moving = cluster.begin_move(&name, (cluster.master(&name) + 1) % Cluster::MASTERS);
    for step in ["nothing has moved", "the lock has moved"] {
        for sidecar in &sidecars {
            let begun = Instant::now();
            let refused = sidecar.call("POST", &path(&held)).json(&json!({"ttlMs": 1000})).send().await;
            println!("{step}: {} after {:?}", refused.status, begun.elapsed());
            match refused.status {
                409 => assert_eq!(refused.json()["code"], "held"),
                503 => assert_eq!(refused.json()["outcome"], "not-applied"),
                _ => panic!("{step}: {}", refused.text()),
            }
            assert!(begun.elapsed() < ANSWERED, "{step}: {:?}", begun.elapsed());
            let renewed = sidecar.call("PUT", &renewal).json(&json!({})).send().await;
            assert!(matches!(renewed.status, 200 | 503), "{step}: {}", renewed.text());
            let served = sidecar.call("POST", &path(&elsewhere)).json(&json!({"ttlMs": 1000})).send().await;
            assert!(matches!(served.status, 201 | 409), "{step}: another slot: {}", served.text());
            assert_eq!(sidecar.ops("/readyz").await.status, 200, "{step}");
        }
        moving.one(&name);
    }
    moving.finish();
    for sidecar in &sidecars {
        let renewed = async || sidecar.call("PUT", &renewal).json(&json!({})).send().await.status == 200;
        let took = eventually("renewed at the new master", LONGEST, renewed).await;
        println!("renewed {took:?} after the move");
        assert!(took < SERVED, "{took:?}");
        let refused = sidecar.call("POST", &path(&held)).json(&json!({})).send().await;
        assert_eq!(refused.status, 409, "{}", refused.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_joins_is_found_when_a_slot_comes_to_it() {
    let cluster = Cluster::start(&[]);
    let load = Load::on(&cluster, &[]).await;
    let name = load.redis_key("0");
    let old = cluster.master(&name);
    // Of another master, so that this one keeps its replica.
    let joins = cluster.replica_of((old + 1) % Cluster::MASTERS);
    cluster.becomes_a_master(joins);
    cluster.move_slot(&name, joins);
    let beyond = load.served("0", LONGEST).await;
    println!("served by a master that has joined {beyond:?} after the move");
    assert!(beyond < SERVED, "{beyond:?}");
    for sidecar in load.sidecars.iter() {
        let place = format!("127.0.0.1:{}", cluster.port(joins));
        let named = async || {
            sidecar.ops("/readyz").await.text().lines().any(|line| line.starts_with("redis: ") && line.contains(&place))
        };
        eventually("it is named", LONGEST, named).await;
    }
    cluster.move_slot(&name, old);
    load.served("0", LONGEST).await;
    assert_eq!(load.end().await, []);
}
