//! Troubles of the servers between failovers and between moves, under load: no promise overlaps another, and tokens rise.

use std::time::{Duration, Instant};

use super::LONGEST;
use super::blows::{Blow, strike};
use super::load::{self, Load};
use crate::harness::trouble::SOON_BUSY;
use crate::harness::{Cluster, Dice, Redundant, Trio, Trouble, heavy};

const TROUBLES: [Trouble; 6] = [
    Trouble::Frozen,
    Trouble::Paused,
    Trouble::Busy,
    Trouble::OutOfMemory,
    Trouble::ConnectionsKilled,
    Trouble::ScriptsForgotten,
];
/// Shorter than what others take for the end of a server.
const SPAN: Duration = Duration::from_millis(700);
const COUNTS: [&str; 4] = ["--min-replicas", "1", "--replica-timeout", "300ms"];

/// How long: `make failover` plays it for a minute.
fn lasts() -> Duration {
    Duration::from_secs(if std::env::var_os("FAILOVERS").is_some() { 60 } else { 8 })
}

/// A trouble of a master, and then `blow`, one after the other, until it has lasted long enough.
async fn survives<R: Redundant>(mut blow: impl AsyncFnMut(&mut R, &Load, &mut Dice)) {
    let _turn = heavy().await;
    let args = [&SOON_BUSY[..], &["--min-replicas-to-write", "1", "--min-replicas-max-lag", "2"]].concat();
    let mut redis = R::start(&args);
    let load = Load::on(&redis, &COUNTS).await;
    let (begun, mut dice, mut struck) = (Instant::now(), Dice(u64::from(std::process::id())), Vec::new());
    while begun.elapsed() < lasts() {
        load.next_grant(LONGEST).await;
        let key = load::keys().nth(dice.roll(load::KEYS as u64) as usize).expect("a key");
        let trouble = TROUBLES[dice.roll(TROUBLES.len() as u64) as usize];
        trouble.befall(redis.server(redis.master(&load.redis_key(&key))), SPAN).await;
        load.served(&key, LONGEST).await;
        blow(&mut redis, &load, &mut dice).await;
        struck.push(trouble);
    }
    load.next_grant(LONGEST).await;
    let (count, took) = (load.history.len(), begun.elapsed());
    let faults = load.end().await;
    println!("{}: {count} stretches in {took:?}, {} faults, after each of {struck:?}", R::TOPOLOGY, faults.len());
    assert_eq!(faults, []);
    assert!(count > struck.len(), "locks were held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_sentinels_no_two_hold_a_key_through_troubles_and_failovers() {
    survives::<Trio>(async |redis, load, dice| {
        let blow = [Blow::Killed, Blow::Frozen][dice.roll(2) as usize];
        strike(redis, &load.redis_key("0"), blow);
        load.served("0", LONGEST).await;
        redis.settled();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_no_two_hold_a_key_through_troubles_and_moves() {
    survives::<Cluster>(async |cluster, load, dice| {
        for key in load::keys() {
            let name = load.redis_key(&key);
            let to = (cluster.master(&name) + 1 + dice.roll(2) as usize) % Cluster::MASTERS;
            cluster.move_slot(&name, to);
            load.served(&key, LONGEST).await;
        }
    })
    .await;
}
