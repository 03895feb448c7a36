//! What watching costs: nothing without a watcher, and the same for one and for a thousand.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{RIGHT, Watcher, acquire, release};
use crate::harness::{Sidecar, TestRedis, eventually, heavy};

const WATCHERS: usize = 1000;
/// Of the sidecar that is tested, whose futures are larger than those of a release.
const BYTES_A_WATCHER: u64 = 96 * 1024;
const PATH: &str = "/v1/locks/a/events";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_watchers_of_a_key_cost_redis_what_one_does_and_the_next_is_refused() {
    let _turn = heavy().await;
    let redis = TestRedis::start(&[]);
    let most = WATCHERS.to_string();
    let sidecar = Sidecar::start(&redis, &["--max-watchers", &most]).await;
    let mut watchers = vec![Watcher::open(&sidecar, PATH).await];
    let of_one = commands_while_watched(&redis, &sidecar).await;
    let memory = sidecar.memory();

    while watchers.len() < WATCHERS {
        let count = (WATCHERS - watchers.len()).min(50);
        watchers.extend(join_all((0..count).map(|_| Watcher::open(&sidecar, PATH))).await);
    }
    let of_all = commands_while_watched(&redis, &sidecar).await;

    println!("commands of Redis: {of_one} with one watcher, {of_all} with {WATCHERS}");
    // What is asked by the clock is asked more often where the machine is slow; a command a watcher would be ten thousand.
    assert!(of_all < 2 * of_one, "{of_all} commands instead of {of_one}");
    let a_watcher = sidecar.memory().saturating_sub(memory) / WATCHERS as u64;
    println!("{a_watcher} bytes a watcher");
    assert!(a_watcher < BYTES_A_WATCHER, "{a_watcher} bytes a watcher");
    assert_eq!(redis.ask::<(String, u64)>("PUBSUB", &["SHARDNUMSUB", "lockside:push:0:events"]).1, 1);
    let clients = redis.ask::<String>("CLIENT", &["LIST"]);
    assert_eq!(clients.lines().filter(|line| !line.contains(" ssub=0 ")).count(), 1, "{clients}");

    let refused = sidecar.call("GET", PATH).send().await;
    assert_eq!((refused.status, &refused.json()["code"]), (429, &"too-many-requests".into()));
    assert!(refused.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|after| after > 0)));
    let token = acquire(&sidecar, "a").await;
    for watcher in &watchers {
        watcher.shows(&[("a", token)]).await;
        assert_eq!(watcher.shown().gaps, 0);
    }
    // The place of one that goes is free.
    watchers.truncate(WATCHERS - 1);
    let is_free = async || sidecar.call("GET", PATH).open().await.status == 200;
    eventually("another one may watch", RIGHT, is_free).await;
}

/// Commands of Redis, those in scripts included, in three seconds in which a key is taken and released ten times.
async fn commands_while_watched(redis: &TestRedis, sidecar: &Sidecar) -> u64 {
    const SPAN: Duration = Duration::from_secs(3);
    let (before, begun) = (redis.all_calls(), Instant::now());
    for _ in 0..10 {
        let token = acquire(sidecar, "a").await;
        release(sidecar, "a", token).await;
    }
    tokio::time::sleep(SPAN.saturating_sub(begun.elapsed())).await;
    redis.all_calls() - before
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

    // It stays for ten seconds, for a client that waits for one change after another.
    eventually("it is not subscribed to", Duration::from_secs(15), async || {
        redis.ask::<Vec<String>>("PUBSUB", &["SHARDCHANNELS", "*:events"]).is_empty()
    })
    .await;
    // As half a minute does.
    redis.ask::<u64>("DEL", &[&mark]);
    release(&sidecar, "a", token).await;
    assert_eq!((marks(), redis.calls("spublish")), (vec![], 1));
}
