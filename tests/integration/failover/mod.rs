//! Another server becomes the master, under load: service comes back by itself, and tokens go on rising.

mod blows;
mod lines;
mod load;
mod mistakes;
mod replicas;
mod slots;
mod stale;
mod steady;
mod troubled;

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::history::Fault;
use crate::harness::{Cluster, Redundant, Sidecar, Trio, eventually, unique};
use blows::{Blow, strike};
use load::Load;
use steady::{Asked, Steady};

/// What service may take beyond the failover of Redis itself.
const BEYOND: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(30);
/// For how long after a blow other masters' keys may notice it.
const MOMENTS: Duration = Duration::from_secs(1);

/// Without replicas that count two holders are possible for a while; but never a lower token, and never a shared one.
fn forbidden(faults: Vec<Fault>) -> Vec<Fault> {
    faults.into_iter().filter(|fault| !fault.may_follow_a_loss()).collect()
}

async fn survives<R: Redundant>(blow: Blow) {
    let mut redis = R::start(&[]);
    let load = Load::on(&redis, &[]).await;
    load.next_grant(Duration::from_secs(5)).await;
    let master = redis.master(&load.redis_key("0"));
    let others: Vec<String> = load::keys().filter(|key| redis.master(&load.redis_key(key)) != master).collect();
    let steady = Steady::on(&load, &others);
    let struck = Instant::now();
    // On this thread: the kernel ends a server with the thread that started it.
    let took = strike(&mut redis, &load.redis_key("0"), blow);
    let beyond = load.served("0", LONGEST).await;
    println!("{blow:?}: redis took {took:?}, lockside {beyond:?} more");
    assert!(beyond < BEYOND * 2, "{beyond:?}");
    were_served(&steady.end().await, struck, R::MASTERS > 1);

    for sidecar in load.sidecars.iter() {
        let place = redis.place();
        let ready = async || sidecar.ops("/readyz").await.text().contains(&place);
        eventually(&place, LONGEST, ready).await;
        let line = format!("lockside_redis_topology{{role=\"master\",topology=\"{}\"}} {}\n", R::TOPOLOGY, R::MASTERS);
        let counted = async || sidecar.ops("/metrics").await.text().contains(&line);
        eventually(&line, LONGEST, counted).await;
        let metrics = sidecar.ops("/metrics").await;
        let counted =
            metrics.text().lines().filter_map(|line| line.strip_prefix("lockside_redis_reconnections_total{"));
        let reasons: Vec<&str> = counted.filter(|line| !line.contains("first")).collect();
        println!("reconnections: {reasons:?}");
        assert!(!reasons.is_empty(), "{}", metrics.text());
    }
    redis.settled();
    load.served("0", LONGEST).await;
    let count = load.history.len();
    assert_eq!(forbidden(load.end().await), [], "{count} stretches");
}

/// Those whose masters nothing happened to, but for the first moments.
fn were_served(asked: &[Asked], struck: Instant, are_there: bool) {
    let (early, late): (Vec<_>, Vec<_>) = asked.iter().partition(|asked| asked.at < struck + MOMENTS);
    let refused = |asked: &[&Asked]| -> Vec<String> {
        let refused = asked
            .iter()
            .filter_map(|asked| Some((asked.at.saturating_duration_since(struck), asked.refusal.as_ref()?)));
        refused.map(|(at, refusal)| format!("after {at:?}: {refusal}")).collect()
    };
    let slowest = |asked: &[&Asked]| asked.iter().map(|asked| asked.took).max().unwrap_or_default();
    println!(
        "keys of other masters, in the first {MOMENTS:?}: {} asked for, {} refused, {:?} at most; later: {}, {}, {:?}",
        early.len(),
        refused(&early).len(),
        slowest(&early),
        late.len(),
        refused(&late).len(),
        slowest(&late)
    );
    assert_eq!(refused(&late), Vec::<String>::new());
    assert_eq!(!asked.is_empty(), are_there);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_comes_back_when_the_master_is_killed() {
    survives::<Trio>(Blow::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_comes_back_when_the_master_is_frozen_and_resumed() {
    survives::<Trio>(Blow::Frozen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_comes_back_when_the_master_is_switched() {
    survives::<Trio>(Blow::Switched).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_comes_back_when_a_master_of_a_cluster_is_killed() {
    survives::<Cluster>(Blow::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_comes_back_when_a_master_of_a_cluster_is_frozen_and_resumed() {
    survives::<Cluster>(Blow::Frozen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_comes_back_when_a_master_of_a_cluster_is_switched() {
    survives::<Cluster>(Blow::Switched).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_sentinel_hinders_nobody() {
    let mut trio = Trio::start(&[]);
    // The first in the list, before and after the sidecar has begun.
    trio.sentinels[0].signal("STOP");
    let sidecar = Sidecar::start_at(&trio.url(), &[]).await;
    trio.servers[0].kill();
    // The one that answers first in the list of the harness.
    trio.sentinels.swap(0, 2);
    trio.promoted("", 0);
    let path = format!("/v1/locks/{}", unique("sentinel"));
    let granted = async || sidecar.call("POST", &path).json(&json!({})).send().await.status == 201;
    let took = eventually("granted by the new master", LONGEST, granted).await;
    println!("granted {took:?} after the new master took writes");
    assert!(took < BEYOND * 2, "{took:?}");
    trio.sentinels[2].signal("CONT");
}
