//! Another server becomes the master, under load: service comes back by itself, and tokens go on rising.

mod load;
mod mistakes;
mod replicas;

use std::time::Duration;

use serde_json::json;

use crate::harness::history::Fault;
use crate::harness::{Sidecar, Trio, eventually, unique};
use load::Load;

/// What service may take beyond the failover of Redis itself.
const BEYOND: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(30);

/// What happens to a master.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// Killed, and started again when another is the master.
    Killed,
    /// Frozen, and resumed when another is the master.
    Frozen,
    /// Switched by hand: `SENTINEL FAILOVER`.
    Switched,
}

/// Strikes the master; returns when another takes writes.
fn strike(trio: &mut Trio, blow: Blow) -> Duration {
    let old = trio.master().expect("a master");
    match blow {
        Blow::Killed => trio.servers[old].kill(),
        Blow::Frozen => trio.servers[old].signal("STOP"),
        Blow::Switched => trio.switch(),
    }
    let took = trio.promoted(old);
    match blow {
        Blow::Killed => trio.servers[old].up(),
        Blow::Frozen => trio.servers[old].signal("CONT"),
        Blow::Switched => {}
    }
    took
}

/// Without replicas that count two holders are possible for a while; but never a lower token, and never a shared one.
fn forbidden(faults: Vec<Fault>) -> Vec<Fault> {
    faults.into_iter().filter(|fault| !matches!(fault, Fault::Overlap { .. })).collect()
}

async fn survives(blow: Blow) {
    let mut trio = Trio::start(&[]);
    let load = Load::on(&trio.url(), &[]).await;
    load.next_grant(Duration::from_secs(5)).await;
    // On this thread: the kernel ends a server with the thread that started it.
    let took = strike(&mut trio, blow);
    let beyond = load.next_grant(LONGEST).await;
    for sidecar in load.sidecars.iter() {
        let place = format!("redis: the master that sentinels name, 127.0.0.1:{}\n", trio.port(trio.master().unwrap()));
        let ready = async || sidecar.ops("/readyz").await.text().contains(&place);
        eventually(&place, LONGEST, ready).await;
        let metrics = sidecar.ops("/metrics").await;
        assert!(metrics.text().contains("lockside_redis_topology{role=\"master\",topology=\"sentinel\"} 1"));
        let counted =
            metrics.text().lines().filter_map(|line| line.strip_prefix("lockside_redis_reconnections_total{"));
        let reasons: Vec<&str> = counted.filter(|line| !line.contains("first")).collect();
        println!("reconnections: {reasons:?}");
        assert!(!reasons.is_empty(), "{}", metrics.text());
    }
    println!("{blow:?}: redis took {took:?}, lockside {beyond:?} more");
    assert!(beyond < BEYOND * 2, "{beyond:?}");
    trio.settled();
    load.next_grant(LONGEST).await;
    let count = load.history.len();
    assert_eq!(forbidden(load.end().await), [], "{count} stretches");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_comes_back_when_the_master_is_killed() {
    survives(Blow::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_comes_back_when_the_master_is_frozen_and_resumed() {
    survives(Blow::Frozen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_comes_back_when_the_master_is_switched() {
    survives(Blow::Switched).await;
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
    trio.promoted(0);
    let path = format!("/v1/locks/{}", unique("sentinel"));
    let granted = async || sidecar.call("POST", &path).json(&json!({})).send().await.status == 201;
    let took = eventually("granted by the new master", LONGEST, granted).await;
    println!("granted {took:?} after the new master took writes");
    assert!(took < BEYOND * 2, "{took:?}");
    trio.sentinels[2].signal("CONT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_served_by_the_next_master_and_a_hold_survives() {
    let mut trio = Trio::start(&[]);
    let sidecar = Sidecar::start_at(&trio.url(), &[]).await;
    let (held, wanted) = (unique("held"), unique("wanted"));
    let mut hold = sidecar.call("POST", &format!("/v1/locks/{held}/hold")).json(&json!({"ttlMs": 30_000})).open().await;
    assert_eq!(hold.next().await.unwrap()["event"], "acquired");
    let path = format!("/v1/locks/{wanted}");
    let first = sidecar.call("POST", &path).json(&json!({"ttlMs": 60_000})).send().await.json();
    let waiting = {
        let call = sidecar.call("POST", &path).json(&json!({"ttlMs": 5000, "waitMs": 60_000}));
        // The replicas have what they are to keep.
        let send = call.send();
        tokio::pin!(send);
        let waits = async || sidecar.call("GET", &path).send().await.json()["waiters"] == 1;
        tokio::select! {
            answer = &mut send => panic!("answered early: {}", answer.text()),
            _ = eventually("it waits", Duration::from_secs(5), waits) => {}
        }
        strike(&mut trio, Blow::Switched);
        let release = format!("{path}?token={}", first["token"]);
        let released = async || matches!(sidecar.call("DELETE", &release).send().await.status, 204 | 410);
        tokio::select! {
            answer = &mut send => panic!("answered early: {}", answer.text()),
            _ = eventually("released at the new master", LONGEST, released) => {}
        }
        tokio::time::timeout(Duration::from_secs(10), send).await.expect("served in time")
    };
    assert_eq!(waiting.status, 201, "{}", waiting.text());
    assert!(waiting.json()["token"].as_u64() > first["token"].as_u64());
    let look = sidecar.call("GET", &format!("/v1/locks/{held}")).send().await.json();
    assert_eq!(look["state"], "held", "{look}");
}
