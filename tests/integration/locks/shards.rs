//! Where one shard's part of Redis cannot be read, the other shards are as ever: here it is an index that somebody
//! overwrote, as well as any master that is away.

use std::time::Duration;

use lockside::lock::Key;
use serde_json::json;

use crate::harness::{Sidecar, TestRedis, eventually};

const SOON: Duration = Duration::from_secs(20);

/// A Redis of the test's own whose shard 0 cannot be read.
fn broken() -> TestRedis {
    let redis = TestRedis::start(&["--appendonly", "yes"]);
    redis.ask::<String>("SET", &["{lockside:0}:tokens", "no index"]);
    redis
}

/// A key of some shard behind it.
fn key() -> String {
    let keys = (0..).map(|number| format!("k-{number}"));
    let mut others = keys.filter(|key| Key::parse(key).unwrap().shard().index() == 40);
    others.next().expect("one in 64 is of that shard")
}

async fn grant(sidecar: &Sidecar, key: &str, ttl_ms: u64) {
    let answer = sidecar.call("POST", &format!("/v1/locks/{key}")).json(&json!({"ttlMs": ttl_ms})).send().await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

#[tokio::test]
async fn what_expired_in_the_others_is_swept() {
    let redis = broken();
    let sidecar = Sidecar::start(&redis, &[]).await;
    grant(&sidecar, &key(), 500).await;
    assert_eq!(redis.entries("{lockside:40}:tokens"), 1);
    let is_swept = async || redis.entries("{lockside:40}:tokens") == 0;
    eventually("the other shard is swept", SOON, is_swept).await;
    redis.ask::<u64>("DEL", &["{lockside:0}:tokens"]);
    redis.ask::<u64>("ZADD", &["{lockside:0}:tokens", "4096", "gone"]);
    let is_swept = async || redis.entries("{lockside:0}:tokens") == 0;
    eventually("so is the one that was broken", SOON, is_swept).await;
}

#[tokio::test]
async fn a_lease_above_the_cap_is_found_in_the_others() {
    let redis = broken();
    let other = Sidecar::start(&redis, &["--max-ttl=1h"]).await;
    grant(&other, &key(), 3_600_000).await;
    let sidecar = Sidecar::start(&redis, &["--max-ttl=60s", "--default-ttl=30s", "--admin-ttl=30s"]).await;
    let ready = sidecar.ops("/readyz").await;
    assert!(ready.text().contains("warning: long-lease: "), "found at start: {}", ready.text());
}

#[tokio::test]
async fn a_list_that_lacks_a_shard_is_none_and_so_is_a_number_of_locks() {
    let redis = broken();
    let sidecar = Sidecar::start(&redis, &[]).await;
    grant(&sidecar, &key(), 60_000).await;
    for path in ["/v1/locks", "/cmn/leasable-locks", "/cmn/leasable-locks?limit=10"] {
        assert_eq!(sidecar.call("GET", path).send().await.status, 503, "{path}");
    }
    assert!(!sidecar.ops("/metrics").await.text().contains("\nlockside_locks_held "));
    redis.ask::<u64>("DEL", &["{lockside:0}:tokens"]);
    let list = sidecar.call("GET", "/v1/locks").send().await.json();
    assert_eq!(list["locks"].as_array().unwrap().len(), 1);
    // Redis is asked once a second.
    eventually("counted", SOON, async || sidecar.ops("/metrics").await.text().contains("\nlockside_locks_held 1\n"))
        .await;
}
