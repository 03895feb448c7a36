//! Troubles of the servers between failovers and between moves, and of the way to them meanwhile, under load: no promise
//! overlaps another, and tokens rise.

use std::time::{Duration, Instant};

use serde_json::json;

use super::LONGEST;
use super::blows::{Blow, strike};
use super::load::{self, Load};
use crate::harness::trouble::{AOF, SOON_BUSY, WAY};
use crate::harness::{Cluster, Dice, Proxy, Redundant, Trio, Trouble, heavy, unique};

/// Of a server. Those after which it lacks what it had are left out: nothing keeps promises then.
const OF_SERVERS: [Trouble; 8] = [
    Trouble::Frozen,
    Trouble::Paused,
    Trouble::Busy,
    Trouble::OutOfMemory,
    Trouble::ConnectionsKilled,
    Trouble::ScriptsForgotten,
    Trouble::StoppedWithAof,
    Trouble::KilledWithAof,
];
/// Shorter than what others take for the end of a server.
const SPAN: Duration = Duration::from_millis(700);
const COUNTS: [&str; 4] = ["--min-replicas", "1", "--replica-timeout", "300ms"];

/// How long: `make failover` plays it for longer.
fn lasts() -> Duration {
    Duration::from_secs(if std::env::var_os("FAILOVERS").is_some() { 120 } else { 10 })
}

/// One sidecar whose way to Redis is in trouble, and another.
struct Scene<R> {
    redis: R,
    /// One before each server.
    ways: Vec<Proxy>,
    load: Load,
    dice: Dice,
}

impl<R: Redundant> Scene<R> {
    async fn start() -> Scene<R> {
        let args = [&SOON_BUSY[..], &AOF, &["--min-replicas-to-write", "1", "--min-replicas-max-lag", "2"]].concat();
        let (redis, ways) = R::start_behind_proxies(&args);
        let load = Load::at([redis.proxied_url(), redis.url()], &redis, &COUNTS).await;
        let scene = Scene { redis, ways, load, dice: Dice(u64::from(std::process::id())) };
        scene.troubles_reach_one_sidecar().await;
        scene
    }

    async fn troubles_reach_one_sidecar(&self) {
        self.ways.iter().for_each(|way| Trouble::RequestsSwallowed.begin(way));
        let mut statuses = Vec::new();
        for sidecar in self.load.sidecars.iter() {
            let path = format!("/v1/locks/{}", unique("reached"));
            statuses.push(sidecar.call("POST", &path).json(&json!({"ttlMs": 1000})).send().await.status);
        }
        self.ways.iter().for_each(|way| Trouble::RequestsSwallowed.end(way));
        assert!(matches!(statuses[..], [503 | 504, 201]), "{statuses:?}");
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.dice.roll(of.len() as u64) as usize]
    }

    /// A trouble of the master that has a key.
    async fn of_a_server(&mut self) -> Trouble {
        let trouble = self.pick(&OF_SERVERS);
        let key = self.load.redis_key(&self.dice.roll(load::KEYS as u64).to_string());
        let master = self.redis.master(&key);
        match trouble {
            Trouble::StoppedWithAof | Trouble::KilledWithAof => {
                if trouble == Trouble::StoppedWithAof {
                    self.redis.server(master).signal("TERM");
                    tokio::time::sleep(SPAN / 2).await;
                }
                self.redis.kill(master);
                tokio::time::sleep(SPAN / 2).await;
                self.redis.restart(master);
            }
            trouble => trouble.befall(self.redis.server(master), SPAN).await,
        }
        trouble
    }

    /// A trouble of the way to one server, or to all, and `blow` in the middle of it.
    async fn of_the_way(&mut self, blow: impl Fn(&mut R, &Load, &mut Dice)) -> Trouble {
        let trouble = self.pick(WAY);
        let (begin, count) = match self.dice.roll(2) {
            0 => (0, self.ways.len()),
            _ => (self.dice.roll(self.ways.len() as u64) as usize, 1),
        };
        let ways = begin..begin + count;
        self.ways[ways.clone()].iter().for_each(|way| trouble.begin(way));
        tokio::time::sleep(SPAN).await;
        blow(&mut self.redis, &self.load, &mut self.dice);
        tokio::time::sleep(SPAN).await;
        self.ways[ways].iter().for_each(|way| trouble.end(way));
        trouble
    }

    async fn all_are_served(&self) {
        for key in load::keys() {
            self.load.served(&key, LONGEST).await;
        }
    }
}

/// Troubles, of a server and then of the ways through `blow`, until it has lasted long enough.
async fn survives<R: Redundant>(blow: impl Fn(&mut R, &Load, &mut Dice)) {
    let _turn = heavy().await;
    let mut scene = Scene::<R>::start().await;
    println!("{}: seed {}", R::TOPOLOGY, scene.dice.0);
    let (begun, mut struck) = (Instant::now(), Vec::new());
    while begun.elapsed() < lasts() {
        scene.load.next_grant(LONGEST).await;
        struck.push(scene.of_a_server().await);
        println!("{}: {:?} after {:?}", R::TOPOLOGY, struck.last(), begun.elapsed());
        scene.all_are_served().await;
        scene.redis.settled();
        struck.push(scene.of_the_way(&blow).await);
        println!("{}: {:?} after {:?}", R::TOPOLOGY, struck.last(), begun.elapsed());
        scene.all_are_served().await;
        scene.redis.settled();
    }
    scene.load.next_grant(LONGEST).await;
    let (count, took) = (scene.load.history.len(), begun.elapsed());
    let faults = scene.load.end().await;
    println!("{}: {count} stretches in {took:?}, {} faults", R::TOPOLOGY, faults.len());
    assert_eq!(faults, []);
    assert!(count > struck.len(), "locks were held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_sentinels_no_two_hold_a_key_through_troubles_and_failovers() {
    survives::<Trio>(|redis, load, dice| {
        let blow = [Blow::Killed, Blow::Frozen, Blow::Switched][dice.roll(3) as usize];
        strike(redis, &load.redis_key("0"), blow);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_no_two_hold_a_key_through_troubles_failovers_and_moves() {
    survives::<Cluster>(|cluster, load, dice| {
        if dice.roll(3) == 0 {
            let blow = [Blow::Killed, Blow::Frozen, Blow::Switched][dice.roll(3) as usize];
            let key = load.redis_key(&dice.roll(load::KEYS as u64).to_string());
            strike(cluster, &key, blow);
            return;
        }
        for key in load::keys() {
            let name = load.redis_key(&key);
            let masters = cluster.masters();
            let others: Vec<usize> = masters.into_iter().filter(|master| *master != cluster.master(&name)).collect();
            let to = others[dice.roll(others.len() as u64) as usize];
            cluster.move_slot(&name, to);
            cluster.agrees_on(&name, to);
        }
    })
    .await;
}
