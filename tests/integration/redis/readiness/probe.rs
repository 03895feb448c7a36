//! What the probe of readiness costs, and that nothing shows it.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{AT_ONCE, GOOD, raised};
use crate::harness::{Cluster, Redundant, Sidecar, TestRedis, Trio, eventually};

/// How often scripts were run.
fn scripts(redis: &TestRedis) -> u64 {
    let stats: String = redis.ask("INFO", &["commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn the_probe_is_one_call_in_five_seconds_whoever_asks_whether_it_is_ready() {
    let redis = TestRedis::start(&GOOD);
    let sidecar = Sidecar::start(&redis, &["--threads=2"]).await;
    let (before, begun) = (scripts(&redis), Instant::now());
    while begun.elapsed() < Duration::from_secs(11) {
        assert_eq!(sidecar.ops("/readyz").await.status, 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (calls, most) = (scripts(&redis) - before, begun.elapsed().as_secs() / 5 + 1);
    assert!((1..=most).contains(&calls), "{calls} calls in {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_probe_that_is_refused_costs_no_more() {
    let redis = TestRedis::start(&GOOD);
    let sidecar = Sidecar::start(&redis, &[]).await;
    redis.ask::<String>("CONFIG", &["SET", "maxmemory", "1"]);
    eventually("it is full", AT_ONCE, async || sidecar.ops("/readyz").await.status == 503).await;
    let (before, begun) = (scripts(&redis), Instant::now());
    while begun.elapsed() < Duration::from_secs(7) {
        assert_eq!(sidecar.ops("/readyz").await.status, 503);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(scripts(&redis) - before <= begun.elapsed().as_secs() / 5 + 1, "{}", scripts(&redis) - before);
}

#[tokio::test]
async fn no_list_count_or_metric_shows_the_probe_and_it_leaves_nothing_behind() {
    for flags in [&[][..], &["--raw-keys"], &["--key-prefix=other"]] {
        let redis = TestRedis::start(&GOOD);
        let sidecar = Sidecar::start(&redis, flags).await;
        let probed = async || {
            let metrics = sidecar.ops("/metrics").await;
            let count = "lockside_redis_commands_total{operation=\"probe\"} ";
            let line = metrics.text().lines().find_map(|line| line.strip_prefix(count));
            line.is_some_and(|count| count.parse::<u64>().unwrap() >= 4)
        };
        eventually("it has probed twice", 2 * AT_ONCE, probed).await;
        assert_eq!(sidecar.call("GET", "/v1/locks").send().await.json()["locks"], json!([]));
        assert_eq!(sidecar.call("GET", "/cmn/leasable-locks").send().await.json(), json!([]));
        let metrics = sidecar.ops("/metrics").await;
        assert!(metrics.text().contains("\nlockside_locks_held 0\n"), "{flags:?}");
        for absent in ["\nlockside_oldest_lock_timestamp_seconds ", "operation=\"acquire\"", "operation=\"release\""] {
            assert!(!metrics.text().contains(absent), "{flags:?}: {absent}");
        }
        let prefix = if flags.contains(&"--key-prefix=other") { "other" } else { "lockside" };
        // The last token that a probe drew, and the mark of raw keys.
        let mut keys: Vec<String> = redis.ask("KEYS", &["*"]);
        keys.retain(|key| *key != format!("{{{prefix}:raw}}:mark"));
        assert_eq!(keys, [format!("{{{prefix}:0}}:probe:tokens")], "{flags:?}");
    }
}

#[tokio::test]
async fn probes_of_several_sidecars_do_not_meet() {
    let redis = TestRedis::start(&GOOD);
    let mut sidecars = Vec::new();
    for _ in 0..4 {
        sidecars.push(Sidecar::start(&redis, &[]).await);
    }
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        for sidecar in &sidecars {
            assert_eq!(sidecar.ops("/readyz").await.status, 200);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_master_of_a_cluster_is_probed_and_named_and_none_left_is_not_ready() {
    let cluster = Cluster::start(&[]);
    let sidecar = Sidecar::start_at(&cluster.url(), &[]).await;
    let place = cluster.place();
    eventually("all are known", AT_ONCE, async || sidecar.ops("/readyz").await.text().contains(&place)).await;
    let full = |master: usize, bytes: &str| {
        cluster.ask::<String>(master, "CONFIG", &["SET", "maxmemory", bytes]).expect("it is set");
    };
    full(1, "1");
    eventually("one is full", AT_ONCE, async || raised(&sidecar).await.contains(&"memory".to_owned())).await;
    let ready = sidecar.ops("/readyz").await;
    assert_eq!(ready.status, 200, "the others grant: {}", ready.text());
    let named = format!("warning: memory: on 127.0.0.1:{}: a probe fails at its acquire: ", cluster.port(1));
    assert!(ready.text().contains(&named), "{named}: {}", ready.text());
    (0..3).for_each(|master| full(master, "1"));
    eventually("all are", AT_ONCE, async || sidecar.ops("/readyz").await.status == 503).await;
    (0..3).for_each(|master| full(master, "0"));
    eventually("none is", AT_ONCE, async || sidecar.ops("/readyz").await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_master_is_a_warning_where_sentinels_are_to_replace_it() {
    let mut trio = Trio::start(&GOOD);
    let sidecar = Sidecar::start_at(&trio.url(), &[]).await;
    assert!(!raised(&sidecar).await.contains(&"no-replica".to_owned()), "{}", sidecar.ops("/readyz").await.text());
    for server in 1..3 {
        trio.kill(server);
    }
    let is_seen = async || raised(&sidecar).await.contains(&"no-replica".to_owned());
    eventually("there is none left", super::SEEN, is_seen).await;
    let ready = sidecar.ops("/readyz").await;
    assert_eq!(ready.status, 200, "it grants all the same: {}", ready.text());
    assert!(ready.text().contains("warning: no-replica: this master has no replica"), "{}", ready.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_master_of_a_cluster_is_a_warning_that_names_it() {
    let mut cluster = Cluster::start(&GOOD);
    let sidecar = Sidecar::start_at(&cluster.url(), &[]).await;
    cluster.kill(3);
    let named = format!("warning: no-replica: on 127.0.0.1:{}: ", cluster.port(0));
    let is_seen = async || sidecar.ops("/readyz").await.text().contains(&named);
    eventually("it is named", 2 * super::SEEN, is_seen).await;
}
