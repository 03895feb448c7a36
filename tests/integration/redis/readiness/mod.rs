//! Readiness and safety warnings: each state of a real server has its warning in /readyz, in the metrics and in the log,
//! and a Redis that takes no writes is not ready.

mod clock;
mod leases;
mod namespace;
mod probe;
mod raw_keys;
mod refusals;
mod rights;
mod table;
mod user;

pub use clock::ahead;

use std::time::Duration;

use crate::harness::trio::Sentinel;
use crate::harness::{Lens, Sidecar, TestRedis, eventually, free_port, lockside, unique};

/// A warning shows within a look of every 15 s, on a busy machine.
const SEEN: Duration = Duration::from_secs(60);
/// What an acquire fails for shows by the next probe, in five seconds, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(10);
/// As `deploy/redis/redis.conf` has it.
const GOOD: [&str; 2] = ["--appendonly", "yes"];

/// The codes of the warnings in /readyz.
async fn warnings(sidecar: &Sidecar) -> Vec<String> {
    let answer = sidecar.ops("/readyz").await;
    let lines = answer.text().lines().filter_map(|line| line.strip_prefix("warning: "));
    lines.map(|line| line.split(':').next().unwrap().to_owned()).collect()
}

/// The warnings that the metrics have at 1.
async fn raised(sidecar: &Sidecar) -> Vec<String> {
    let answer = sidecar.ops("/metrics").await;
    let lines = answer.text().lines().filter_map(|line| line.strip_prefix("lockside_redis_warning{warning=\""));
    let raised = lines.filter_map(|line| line.strip_suffix("\"} 1"));
    raised.map(str::to_owned).collect()
}

/// Asserts that exactly this applies: in /readyz, in the metrics, and each in a line of the log.
async fn assert_warnings(sidecar: &Sidecar, expected: &[&str]) {
    assert_eq!(warnings(sidecar).await, expected, "{}", sidecar.ops("/readyz").await.text());
    assert_eq!(raised(sidecar).await, {
        let mut sorted = expected.to_vec();
        sorted.sort_unstable();
        sorted
    });
    for code in expected {
        told_is(sidecar, code, 1).await;
        let lines = log_lines(sidecar, code);
        assert!(lines[0].contains("\"WARN\""), "{}", lines[0]);
    }
}

/// Waits until so many lines of the log tell of this warning: that it came, and that it went.
async fn told_is(sidecar: &Sidecar, code: &str, count: usize) {
    let what = format!("{code} is told {count} times");
    eventually(&what, Duration::from_secs(5), async || log_lines(sidecar, code).len() == count).await;
}

/// The lines of the log that tell of this warning.
fn log_lines(sidecar: &Sidecar, code: &str) -> Vec<String> {
    let field = format!("\"warning\":\"{code}\"");
    sidecar.log().lines().filter(|line| line.contains(&field)).map(str::to_owned).collect()
}

#[tokio::test]
async fn on_a_redis_as_recommended_there_is_no_warning() {
    let conf = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/redis/redis.conf");
    let redis = TestRedis::start(&["--include", conf, "--maxmemory", "100mb"]);
    assert_eq!(redis.ask::<Vec<String>>("CONFIG", &["GET", "appendonly"]), ["appendonly", "yes"]);
    let sidecar = Sidecar::start(&redis, &[]).await;
    let ready = sidecar.ops("/readyz").await;
    assert_eq!((ready.status, ready.text()), (200, "ready\nredis: one server\n"));
    assert_warnings(&sidecar, &[]).await;
}

#[tokio::test]
async fn a_policy_that_evicts_is_a_warning_as_long_as_it_does() {
    let redis = TestRedis::start(&[&GOOD[..], &["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]].concat());
    let sidecar = Sidecar::start(&redis, &[]).await;
    assert_warnings(&sidecar, &["eviction"]).await;
    let ready = sidecar.ops("/readyz").await;
    assert!(ready.text().starts_with("ready\nredis: one server\nwarning: eviction: "), "{}", ready.text());
    assert!(ready.text().ends_with(" (docs/operations/redis.md#eviction)\n"), "{}", ready.text());
    assert!(ready.text().contains("`allkeys-lru`") && ready.text().contains("noeviction"), "{}", ready.text());

    redis.ask::<String>("CONFIG", &["SET", "maxmemory-policy", "noeviction"]);
    eventually("it is gone", SEEN, async || sidecar.ops("/readyz").await.text() == "ready\nredis: one server\n").await;
    assert_eq!(raised(&sidecar).await, Vec::<String>::new());
    told_is(&sidecar, "eviction", 2).await;
}

#[tokio::test]
async fn a_node_of_a_cluster_and_a_sentinel_are_not_taken_for_one_redis() {
    let port = free_port();
    let node = TestRedis::start(&["--port", &port, "--cluster-enabled", "yes"]);
    Sidecar::says_why_not(&["--redis-url", &node.url()], "this is a node of a Redis Cluster").await;
    let sentinel = Sentinel::start(&port, "");
    let url = format!("redis://127.0.0.1:{}", sentinel.port);
    Sidecar::says_why_not(&["--redis-url", &url], "perhaps a sentinel; use redis-sentinel://").await;
}

#[tokio::test]
async fn a_redis_that_forgets_is_a_warning_which_the_probe_prints() {
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &[]).await;
    assert_warnings(&sidecar, &["persistence"]).await;
    let run = lockside(&["health", "--ready", "--ops-listen", sidecar.ops_address()]).await;
    assert_eq!(run.code, Some(0), "a warning, and ready all the same");
    assert!(run.stdout.starts_with("ready\nredis: one server\nwarning: persistence: "), "{}", run.stdout);
    assert!(run.stdout.contains("appendonly"), "{}", run.stdout);
}

#[tokio::test]
async fn replicas_without_a_minimum_are_a_warning_and_a_minimum_without_replicas_is_not_ready() {
    let master = TestRedis::start(&[&GOOD[..], &["--port", &free_port()]].concat());
    let replica = TestRedis::start(&GOOD);
    let sidecar = Sidecar::start(&master, &[]).await;
    assert_warnings(&sidecar, &[]).await;

    let port: Vec<String> = master.ask("CONFIG", &["GET", "port"]);
    replica.ask::<String>("REPLICAOF", &["127.0.0.1", &port[1]]);
    let is_online = async || master.ask::<String>("INFO", &["replication"]).contains("state=online");
    eventually("the replica follows", SEEN, is_online).await;
    eventually("the replica is seen", SEEN, async || warnings(&sidecar).await == ["min-replicas"]).await;
    assert_warnings(&sidecar, &["min-replicas"]).await;

    master.ask::<String>("CONFIG", &["SET", "min-replicas-to-write", "1"]);
    eventually("the minimum is seen", SEEN, async || {
        sidecar.ops("/readyz").await.text() == "ready\nredis: one server\n"
    })
    .await;

    replica.ask::<String>("REPLICAOF", &["NO", "ONE"]);
    eventually("not ready", SEEN, async || sidecar.ops("/readyz").await.status == 503).await;
    let ready = sidecar.ops("/readyz").await;
    assert!(
        ready.text().starts_with("not ready: redis: ") && ready.text().contains("min-replicas"),
        "{}",
        ready.text()
    );
    assert_eq!(raised(&sidecar).await, ["no-good-replica"]);

    master.ask::<String>("CONFIG", &["SET", "min-replicas-to-write", "0"]);
    eventually("ready", Duration::from_secs(10), async || sidecar.ops("/readyz").await.status == 200).await;
}

#[tokio::test]
async fn a_replica_answers_and_is_not_ready_until_it_is_a_master() {
    let master = TestRedis::start(&["--port", &free_port()]);
    let replica = TestRedis::start(&GOOD);
    let port: Vec<String> = master.ask("CONFIG", &["GET", "port"]);
    replica.ask::<String>("REPLICAOF", &["127.0.0.1", &port[1]]);
    let sidecar = Sidecar::spawn(&["--redis-url".to_owned(), replica.url()]);
    eventually("it is seen", SEEN, async || sidecar.ops("/readyz").await.text().contains("replica")).await;
    let ready = sidecar.ops("/readyz").await;
    assert_eq!(ready.status, 503);
    let reason = format!("not ready: redis: this is a replica (of `127.0.0.1:{}`)", port[1]);
    assert!(ready.text().starts_with(&reason), "{}", ready.text());
    assert!(ready.text().contains("--redis-url"), "{}", ready.text());
    let path = format!("/v1/locks/{}", unique("replica"));
    assert_eq!(sidecar.call("POST", &path).body("{}").send().await.status, 503, "which is true");

    replica.ask::<String>("REPLICAOF", &["NO", "ONE"]);
    eventually("ready", Duration::from_secs(10), async || sidecar.ops("/readyz").await.status == 200).await;
    told_is(&sidecar, "replica", 2).await;
}

#[tokio::test]
async fn a_redis_that_is_too_old_serves_nothing_and_says_so() {
    let redis = TestRedis::start(&GOOD);
    let lens = Lens::before(&redis, |reply| {
        let name = b"redis_version:";
        if let Some(at) = reply.windows(name.len()).position(|part| part == name) {
            reply[at + name.len()] = b'6';
        }
    });
    let sidecar = Sidecar::spawn(&["--redis-url".to_owned(), lens.url()]);
    eventually("it is seen", AT_ONCE, async || raised(&sidecar).await == ["version"]).await;
    let ready = sidecar.ops("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(
        ready.text().starts_with("not ready: redis: redis 6.0.") && ready.text().contains("install Redis 7.0"),
        "{ready:?}"
    );
    told_is(&sidecar, "version", 1).await;
    for (method, path) in [("POST", "/v1/locks/a"), ("GET", "/v1/locks/a"), ("DELETE", "/v1/locks/a?force=true")] {
        let refused = sidecar.call(method, path).send().await;
        assert_eq!(
            (refused.status, refused.json()["code"].as_str()),
            (503, Some("redis-refused")),
            "{}",
            refused.text()
        );
        assert!(refused.json()["detail"].as_str().unwrap().contains("install Redis 7.0"), "{}", refused.text());
    }
}

#[tokio::test]
async fn the_documents_say_what_to_do_about_each_warning() {
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    let metrics = sidecar.ops("/metrics").await;
    let lines = metrics.text().lines().filter_map(|line| line.strip_prefix("lockside_redis_warning{warning=\""));
    let codes: Vec<&str> = lines.filter_map(|line| line.split('"').next()).collect();
    let section = include_str!("../../../../docs/operations/redis.md").split("\n## Safety warnings").nth(1).unwrap();
    let parts = section.split("\n## ").next().unwrap().split("\n### `").skip(1);
    let mut told: Vec<&str> = Vec::new();
    for part in parts {
        assert!(part.contains("**Do:**"), "{part}");
        told.extend(part.split('`').next());
    }
    told.sort_unstable();
    assert_eq!(codes, told, "the metrics are sorted by label");
}
