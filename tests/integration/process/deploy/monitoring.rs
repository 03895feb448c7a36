//! The rules and the dashboard, asked of a real Prometheus that scrapes real sidecars which are in trouble.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::dashboard;
use super::prometheus::Prometheus;
use crate::harness::{Cluster, Redundant, Sidecar, TestRedis, eventually, unique};

/// One more than what LocksideWaitersPilingUp takes for many.
const MANY_WAITERS: usize = 101;

async fn acquire(sidecar: &Sidecar, key: &str, body: Value) -> (u16, Value) {
    let answer = sidecar.call("POST", &format!("/v1/locks/{key}")).json(&body).send().await;
    (answer.status, answer.json())
}

/// Takes a lock, renews it, lets it go, and comes back with the lease that has ended.
async fn come_back_too_late(sidecar: &Sidecar) {
    let key = unique("late");
    let (status, lease) = acquire(sidecar, &key, json!({})).await;
    assert_eq!(status, 201);
    let path = format!("/v1/locks/{key}?token={}", lease["token"]);
    for (method, status) in [("PUT", 200), ("DELETE", 204), ("PUT", 410)] {
        assert_eq!(sidecar.call(method, &path).send().await.status, status);
    }
}

/// An acquire that is sent and not answered; then Redis is gone. On a machine that is slow, the connection may be in
/// the making when it is sent: then again.
async fn lose_redis(sidecar: &Sidecar, mut redis: TestRedis) {
    eventually("an outcome is unknown", Duration::from_secs(30), async || {
        redis.signal("CONT");
        let ready = sidecar.ops("/readyz").await.status == 200;
        redis.signal("STOP");
        ready && acquire(sidecar, &unique("unknown"), json!({})).await.1["code"] == "outcome-unknown"
    })
    .await;
    redis.kill();
}

/// So many requests that wait for a key which nobody lets go, for as long as the test runs.
async fn pile_up(holder: &Sidecar, sidecar: &Arc<Sidecar>) {
    let key = unique("piled");
    assert_eq!(acquire(holder, &key, json!({"ttlMs": 600_000})).await.0, 201);
    for _ in 0..MANY_WAITERS {
        let (sidecar, path) = (Arc::clone(sidecar), format!("/v1/locks/{key}"));
        tokio::spawn(async move { sidecar.call("POST", &path).json(&json!({"waitMs": 600_000})).try_send().await });
    }
}

/// Makes a lock look as if it had been granted years ago.
async fn age(sidecar: &Sidecar, redis: &TestRedis) {
    let key = unique("old");
    let (status, lease) = acquire(sidecar, &key, json!({"ttlMs": 600_000})).await;
    assert_eq!(status, 201);
    let shard = lease["token"].as_u64().unwrap() % 64;
    redis.ask::<u64>("ZADD", &[&format!("{{lockside:{shard}}}:tokens"), "XX", "CH", &(4096 + shard).to_string(), &key]);
}

#[tokio::test]
async fn every_rule_and_every_panel_tells_of_sidecars_in_trouble() {
    let (redis, lost_redis) = (TestRedis::start(&[]), TestRedis::start(&[]));
    let evicting_redis = TestRedis::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    // Each line of its audit trail is lost.
    let working = Sidecar::start(&redis, &["--audit", "/dev/full"]).await;
    let waiting = Arc::new(Sidecar::start(&redis, &[]).await);
    // It leads an election and has a watcher until it loses its Redis.
    let alone = Sidecar::start(&lost_redis, &["--elect", "jobs", "--elect-ttl", "1s"]).await;
    let _watched = alone.call("GET", "/v1/locks/watched/events").open().await;
    // No issuer is there.
    let keyless = Sidecar::start(&redis, &["--jwks-url", "http://127.0.0.1:1/keys"]).await;
    let evicting = Sidecar::spawn(&["--redis-url".to_owned(), evicting_redis.url()]);
    let mut cluster = Cluster::start(&[]);
    let partly = Sidecar::start_at(&cluster.url(), &[]).await;
    // Nobody is left to take the master's place.
    cluster.kill(cluster.replica_of(0));
    cluster.kill(0);
    let mut hold = working.call("POST", "/v1/locks/held/hold").json(&json!({"ttlMs": 60_000})).open().await;
    assert_eq!(hold.next().await.unwrap()["event"], "acquired");
    let jobs = [
        ("working", &working),
        ("waiting", &*waiting),
        ("alone", &alone),
        ("evicting", &evicting),
        ("partly", &partly),
        ("keyless", &keyless),
    ];
    let prometheus = Prometheus::start(&jobs).await;
    pile_up(&working, &waiting).await;
    come_back_too_late(&working).await;
    age(&working, &redis).await;
    assert_eq!(working.call("DELETE", "/v1/locks/held?force=true").send().await.status, 204);
    assert_eq!(hold.news().await.unwrap(), json!({"event": "lost", "reason": "forced"}));
    lose_redis(&alone, lost_redis).await;
    let mut hold = working.call("POST", "/v1/locks/held/hold").json(&json!({"ttlMs": 60_000})).open().await;
    assert_eq!(hold.next().await.unwrap()["event"], "acquired");
    assert_eq!(acquire(&working, "held", json!({})).await.0, 409);

    let rules = Vec::from_iter(prometheus.ask("rules").await["groups"].as_array().unwrap().iter().flat_map(|group| {
        let rules = group["rules"].as_array().unwrap();
        rules.iter().map(|rule| (rule["type"].as_str().unwrap().to_owned(), rule["name"].as_str().unwrap().to_owned()))
    }));
    assert!(rules.len() >= 20, "{rules:?}");
    for (kind, name) in &rules {
        // An alert that waits for its time to fire is a series, too.
        let expression = if kind == "alerting" { format!("ALERTS{{alertname=\"{name}\"}}") } else { name.clone() };
        let took =
            eventually(&expression, Duration::from_secs(60), async || prometheus.count(&expression).await > 0).await;
        println!("{expression}: after {took:?}");
    }

    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row");
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let asked = [("$namespace", ".*"), ("$job", ".*"), ("$__rate_interval", "1m")];
            let asked = asked.iter().fold(expression.to_owned(), |asked, (from, to)| asked.replace(from, to));
            let what = format!("{}: {asked}", panel["title"]);
            eventually(&what, Duration::from_secs(30), async || prometheus.count(&asked).await > 0).await;
        }
    }
    for (job, count) in [("evicting", 1), ("working", 0)] {
        let warned = format!("lockside_redis_warning{{job=\"{job}\", warning=\"eviction\"}} > 0");
        assert_eq!(prometheus.count(&warned).await, count, "{warned}");
    }
    assert!(waiting.ops("/metrics").await.text().contains(&format!("lockside_waiters {MANY_WAITERS}")));
}
