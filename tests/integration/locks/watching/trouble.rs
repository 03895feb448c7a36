//! What is lost: data, messages, servers and their slots.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{RIGHT, Watcher, acquire, release};
use crate::harness::{Cluster, Dice, Fault, Proxy, Redundant, Sidecar, TestRedis, Trio, eventually, unique, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_is_lost_is_a_gap_and_then_what_is_there_is_shown() {
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &[]).await;
    let token = acquire(&sidecar, "a").await;
    let watchers = [Watcher::open(&sidecar, "/v1/locks/a/events").await, Watcher::open(&sidecar, "/v1/events").await];
    for watcher in &watchers {
        watcher.shows(&[("a", token)]).await;
    }

    redis.ask::<String>("FLUSHALL", &[]);

    for watcher in &watchers {
        watcher.shows(&[]).await;
        assert_eq!(watcher.shown().gaps, 1);
    }
    let token = acquire(&sidecar, "a").await;
    for watcher in &watchers {
        watcher.shows(&[("a", token)]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_redis_is_a_gap_and_then_what_is_there_is_shown() {
    let mut redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &[]).await;
    let watcher = Watcher::open(&sidecar, "/v1/events").await;
    let token = acquire(&sidecar, "a").await;
    watcher.shows(&[("a", token)]).await;

    redis.kill();
    eventually("it is a gap", Duration::from_secs(2), async || !watcher.shown().is_synced).await;
    redis.up();

    watcher.shows(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_every_third_message_is_lost_the_last_state_is_right() {
    let redis = TestRedis::start(&[]);
    let proxy = Proxy::start(&redis);
    // What is done at the one is told to the other.
    let (doer, teller) = (Sidecar::start(&redis, &[]).await, Sidecar::start_at(&proxy.url(), &[]).await);
    let watchers = [Watcher::open(&teller, "/v1/locks/k-0/events").await, Watcher::open(&teller, "/v1/events").await];
    proxy.set(Fault::LoseMessages);
    let (mut dice, mut held) = (Dice(7), BTreeMap::<String, u64>::new());
    let until = Instant::now() + Duration::from_secs(6);
    while Instant::now() < until {
        let key = format!("k-{}", dice.roll(3));
        match held.remove(&key) {
            Some(token) => release(&doer, &key, token).await,
            None => drop(held.insert(key.clone(), acquire(&doer, &key).await)),
        }
        tokio::time::sleep(Duration::from_millis(dice.roll(120))).await;
    }
    let all: Vec<(&str, u64)> = held.iter().map(|(key, token)| (key.as_str(), *token)).collect();
    let first: Vec<(&str, u64)> = all.iter().copied().filter(|(key, _)| *key == "k-0").collect();
    watchers[0].shows(&first).await;
    watchers[1].shows(&all).await;
    println!("{:?}", watchers[1].shown());
    assert!(watchers[1].shown().gaps > 0, "messages were lost");
    let metrics = teller.ops("/metrics").await;
    assert!(metrics.text().contains("\nlockside_watch_gaps_total "), "{}", metrics.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_watched_on_a_cluster_goes_with_its_slot() {
    let cluster = Cluster::start(&[]);
    let prefix = unique("watched");
    let sidecar = Sidecar::start_at(&cluster.url(), &["--key-prefix", &prefix]).await;
    let watchers = [Watcher::open(&sidecar, "/v1/locks/a/events").await, Watcher::open(&sidecar, "/v1/events").await];
    let name = format!("{{{prefix}:{}}}:lock:a", crc32fast::hash(b"a") % 64);
    let token = acquire(&sidecar, "a").await;
    for watcher in &watchers {
        watcher.shows(&[("a", token)]).await;
    }

    cluster.move_slot(&name, (cluster.master(&name) + 1) % Cluster::MASTERS);
    let released = async || {
        let path = format!("/v1/locks/a?token={token}");
        matches!(sidecar.call("DELETE", &path).send().await.status, 204 | 410)
    };
    eventually("it is released", RIGHT, released).await;

    for watcher in &watchers {
        watcher.shows(&[]).await;
    }
    let token = acquire(&sidecar, "a").await;
    for watcher in &watchers {
        watcher.shows(&[("a", token)]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_failover_to_a_replica_that_is_stale_what_that_one_has_is_shown() {
    let mut trio = Trio::start(&[]);
    let prefix = unique("watched");
    let sidecar = Sidecar::start_at(&trio.url(), &["--key-prefix", &prefix]).await;
    let watchers = [
        Watcher::open(&sidecar, "/v1/locks/kept/events").await,
        Watcher::open(&sidecar, "/v1/locks/late/events").await,
        Watcher::open(&sidecar, "/v1/events").await,
    ];
    let (kept, gone) = (acquire(&sidecar, "kept").await, acquire(&sidecar, "gone").await);
    trio.is_replicated("");
    let old = trio.master("");
    cut_off_replicas(&trio, old);
    // What happens now is known to the master alone.
    release(&sidecar, "kept", kept).await;
    release(&sidecar, "gone", gone).await;
    let late = acquire(&sidecar, "late").await;
    watchers[0].shows(&[]).await;
    watchers[1].shows(&[("late", late)]).await;
    watchers[2].shows(&[("late", late)]).await;

    trio.kill(old);
    trio.promoted("", old);

    watchers[0].shows(&[("kept", kept)]).await;
    watchers[1].shows(&[]).await;
    watchers[2].shows(&[("kept", kept), ("gone", gone)]).await;
    for watcher in &watchers {
        assert!(watcher.shown().gaps > 0, "{:?}", watcher.shown());
    }
    // And it goes on.
    release(&sidecar, "kept", kept).await;
    let again = acquire(&sidecar, "kept").await;
    watchers[0].shows(&[("kept", again)]).await;
    watchers[2].shows(&[("kept", again), ("gone", gone)]).await;
}

/// From now on the replicas learn nothing of what is written, and sentinels still take them for fit to be masters.
fn cut_off_replicas(trio: &Trio, master: usize) {
    let master = &trio.servers[master];
    master.ask::<()>("ACL", &["SETUSER", "default", "-psync", "-sync"]);
    master.ask::<u64>("CLIENT", &["KILL", "TYPE", "replica"]);
    until("no replica follows", || !master.ask::<String>("INFO", &["replication"]).contains("state=online"));
}
