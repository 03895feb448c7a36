//! Who hears of a turn in line: the sidecar that waits, by the master that has the key and its replica, and no other
//! node.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Answer, Cluster, Redundant, Sidecar, eventually, unique};

const ROUNDS: usize = 10;
/// Without a message it is a second.
const BY_MESSAGE: Duration = Duration::from_millis(500);

/// What one node has counted since it began.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    /// Commands, by whomever, scripts too.
    publish: u64,
    spublish: u64,
    /// Messages of other nodes, for everybody and for those of a shard.
    heard: u64,
    heard_of_its_shard: u64,
}

impl Counted {
    fn of(cluster: &Cluster, node: usize) -> Counted {
        let stats: String = cluster.ask(node, "INFO", &["commandstats"]).unwrap();
        let info: String = cluster.ask(node, "CLUSTER", &["INFO"]).unwrap();
        let number = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map_or(0, |rest| rest.split(',').next().unwrap_or(rest).parse().expect("a number"))
        };
        Counted {
            publish: number(&stats, "cmdstat_publish:calls="),
            spublish: number(&stats, "cmdstat_spublish:calls="),
            heard: number(&info, "cluster_stats_messages_publish_received:"),
            heard_of_its_shard: number(&info, "cluster_stats_messages_publishshard_received:"),
        }
    }
}

/// Two sidecars of one lock space: at one a lock is held, at the other somebody waits for it.
struct Pair {
    holder: Sidecar,
    waiter: Sidecar,
    prefix: String,
}

impl Pair {
    async fn on(cluster: &Cluster) -> Pair {
        let prefix = unique("messages");
        let flags = ["--key-prefix", &prefix];
        let holder = Sidecar::start_at(&cluster.url(), &flags).await;
        Pair { holder, waiter: Sidecar::start_at(&cluster.url(), &flags).await, prefix }
    }

    fn redis_key(&self, key: &str) -> String {
        format!("{{{}:{}}}:lock:{key}", self.prefix, crc32fast::hash(key.as_bytes()) % 64)
    }

    /// A key that a master has.
    fn key_at(&self, cluster: &Cluster, master: usize) -> String {
        loop {
            let key = unique("turn");
            if cluster.master(&self.redis_key(&key)) == master {
                return key;
            }
        }
    }

    /// One waits in line for a key that is held, and is granted it: how long after the release.
    async fn turn(&self, key: &str) -> Duration {
        let path = format!("/v1/locks/{key}");
        let held = self.holder.call("POST", &path).json(&json!({"ttlMs": 60_000})).send().await;
        assert_eq!(held.status, 201, "{}", held.text());
        let call = self.waiter.call("POST", &path).json(&json!({"ttlMs": 60_000, "waitMs": 60_000}));
        let release_later = async {
            let waits = async || self.holder.call("GET", &path).send().await.json()["waiters"] == 1;
            eventually("it waits", Duration::from_secs(5), waits).await;
            let released = Instant::now();
            release(&self.holder, &path, &held).await;
            released
        };
        let (granted, released) = tokio::join!(call.send(), release_later);
        let took = released.elapsed();
        assert_eq!(granted.status, 201, "{}", granted.text());
        release(&self.waiter, &path, &granted).await;
        took
    }

    /// Turns until one is told of by a message.
    async fn is_told(&self, key: &str) {
        let begun = Instant::now();
        loop {
            let took = self.turn(key).await;
            println!("release to grant: {took:?}");
            if took < BY_MESSAGE {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "no message comes");
        }
    }
}

async fn release(sidecar: &Sidecar, path: &str, lease: &Answer) {
    let answer = sidecar.call("DELETE", &format!("{path}?token={}", lease.json()["token"])).send().await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_nodes_of_a_locks_slot_see_its_messages() {
    let cluster = Cluster::start(&[]);
    let pair = Pair::on(&cluster).await;
    let master = 1;
    let replica = cluster.replica_of(master);
    let mut turns = Vec::new();
    for _ in 0..ROUNDS {
        turns.push(pair.turn(&pair.key_at(&cluster, master)).await);
    }
    println!("release to grant: {turns:?}");

    let by_message = turns.iter().filter(|took| **took < BY_MESSAGE).count();
    assert!(by_message >= ROUNDS - 1, "the machine may have paused in one, in no more: {turns:?}");
    for node in 0..cluster.size() {
        let counted = Counted::of(&cluster, node);
        println!("node {node}: {counted:?}");
        assert_eq!((counted.publish, counted.heard), (0, 0), "what everybody hears: node {node}");
        if node == master {
            assert!(counted.spublish >= ROUNDS as u64, "{counted:?}");
        } else if node == replica {
            assert!(counted.heard_of_its_shard >= ROUNDS as u64, "{counted:?}");
        } else {
            assert_eq!(counted, Counted::default(), "node {node}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_with_their_slot_and_with_its_next_master() {
    let cluster = Cluster::start(&[]);
    let pair = Pair::on(&cluster).await;
    let key = pair.key_at(&cluster, 0);
    pair.is_told(&key).await;
    cluster.move_slot(&pair.redis_key(&key), 1);
    pair.is_told(&key).await;
    let before = Counted::of(&cluster, 0);
    pair.is_told(&key).await;
    assert_eq!(Counted::of(&cluster, 0), before, "the old master sees none any more");
    cluster.switch(1);
    cluster.promoted(&pair.redis_key(&key), 1);
    pair.is_told(&key).await;
    assert!(Counted::of(&cluster, cluster.master(&pair.redis_key(&key))).spublish > 0);
}
