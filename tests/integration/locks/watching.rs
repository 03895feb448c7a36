//! Watching through all that may happen to Redis and to messages: in the end what is shown is right, within three seconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::http::Lines;
use crate::harness::{Cluster, Dice, Fault, Proxy, Redundant, Sidecar, TestRedis, eventually, unique};

/// Longest time until what is shown is right again.
const RIGHT: Duration = Duration::from_secs(3);

/// What a stream has shown so far: the tokens that are held, and how many gaps there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shown {
    held: BTreeMap<String, u64>,
    is_synced: bool,
    gaps: usize,
}

/// A stream that is read until it is dropped.
struct Watcher {
    shown: Arc<Mutex<Shown>>,
    reading: tokio::task::JoinHandle<()>,
}

impl Watcher {
    async fn open(sidecar: &Sidecar, path: &str) -> Watcher {
        let mut lines = sidecar.call("GET", path).open().await;
        assert_eq!(lines.status, 200);
        let shown: Arc<Mutex<Shown>> = Arc::default();
        let reader = Arc::clone(&shown);
        let reading = tokio::spawn(async move { read(&mut lines, &reader).await });
        let watcher = Watcher { shown, reading };
        eventually("it is synced", RIGHT, async || watcher.shown().is_synced).await;
        watcher
    }

    fn shown(&self) -> Shown {
        self.shown.lock().expect("no panic while held").clone()
    }

    async fn shows(&self, held: &[(&str, u64)]) {
        let held: BTreeMap<String, u64> = held.iter().map(|(key, token)| ((*key).to_owned(), *token)).collect();
        let what = format!("{held:?} is shown");
        let took = eventually(&what, RIGHT, async || {
            let shown = self.shown();
            shown.is_synced && shown.held == held
        })
        .await;
        println!("shown after {took:?}");
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn read(lines: &mut Lines, shown: &Mutex<Shown>) {
    let mut run = BTreeMap::new();
    while let Some((name, data)) = lines.event().await {
        let mut shown = shown.lock().expect("no panic while held");
        let (key, token) = (data["key"].as_str().unwrap_or_default().to_owned(), data["token"].as_u64().unwrap_or(0));
        match name.as_str() {
            "state" if token > 0 => drop(run.insert(key, token)),
            "synced" => (shown.held, shown.is_synced) = (std::mem::take(&mut run), true),
            "gap" => (shown.is_synced, shown.gaps) = (false, shown.gaps + 1),
            "granted" => {
                let before = shown.held.insert(key, token).unwrap_or(0);
                assert!(before < token, "tokens rise: {before}, {token}");
            }
            "released" | "expired" | "forced" => drop(shown.held.remove(&key)),
            _ => {}
        }
    }
}

async fn acquire(sidecar: &Sidecar, key: &str) -> u64 {
    let answer = sidecar.call("POST", &format!("/v1/locks/{key}")).json(&json!({"ttlMs": 60_000})).send().await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["token"].as_u64().expect("a token")
}

async fn release(sidecar: &Sidecar, key: &str, token: u64) {
    let answer = sidecar.call("DELETE", &format!("/v1/locks/{key}?token={token}")).send().await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}

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
async fn hundreds_of_watchers_of_a_key_have_one_subscription_and_one_that_stops_reading_delays_no_other() {
    const WATCHERS: usize = 300;
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &["--max-watchers=1000"]).await;
    let path = "/v1/locks/a/events";
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        watchers.push(Watcher::open(&sidecar, path).await);
    }
    // Its head is read, and nothing more.
    let stopped = sidecar.call("GET", path).open().await;
    let channel = "lockside:push:0:events";
    assert_eq!(redis.ask::<(String, u64)>("PUBSUB", &["SHARDNUMSUB", channel]).1, 1);

    let before = redis.calls("evalsha");
    let token = acquire(&sidecar, "a").await;
    for watcher in &watchers {
        watcher.shows(&[("a", token)]).await;
    }
    let scripts = redis.calls("evalsha") - before;
    assert!(scripts < 20, "{scripts} scripts");
    release(&sidecar, "a", token).await;
    for watcher in &watchers {
        watcher.shows(&[]).await;
        assert_eq!(watcher.shown().gaps, 0);
    }
    drop(stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_watcher_there_is_no_message_and_no_subscription() {
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &[]).await;
    let marks = || redis.ask::<Vec<String>>("KEYS", &["*:watch"]);
    let token = acquire(&sidecar, "a").await;
    release(&sidecar, "a", token).await;
    assert_eq!((marks(), redis.calls("spublish")), (vec![], 0));
    let watcher = Watcher::open(&sidecar, "/v1/locks/a/events").await;
    let token = acquire(&sidecar, "a").await;
    watcher.shows(&[("a", token)]).await;
    assert_eq!((marks().len(), redis.calls("spublish")), (1, 1));
    let mark = marks().remove(0);
    assert!((15_000..=30_000).contains(&redis.ask::<i64>("PTTL", &[&mark])));

    drop(watcher);

    eventually("it is not subscribed to", RIGHT, async || {
        redis.ask::<Vec<String>>("PUBSUB", &["SHARDCHANNELS", "*:events"]).is_empty()
    })
    .await;
    // As half a minute does.
    redis.ask::<u64>("DEL", &[&mark]);
    release(&sidecar, "a", token).await;
    assert_eq!((marks(), redis.calls("spublish")), (vec![], 1));
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
