//! Those who wait at one master, while another is away that many wait at.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{path_at, sidecar_at_all};
use crate::harness::{Cluster, Redundant, Sidecar, eventually, unique};

const MANY: usize = 600;
const SOON: Duration = Duration::from_secs(20);

fn shard(key: &str) -> u32 {
    crc32fast::hash(key.as_bytes()) % 64
}

fn wait_at(sidecar: &Arc<Sidecar>, path: &str) -> tokio::task::JoinHandle<(u16, Instant)> {
    let (sidecar, path) = (Arc::clone(sidecar), path.to_owned());
    tokio::spawn(async move {
        let answer = sidecar.call("POST", &path).json(&json!({"waitMs": 60_000})).try_send().await;
        (answer.map_or(0, |answer| answer.status), Instant::now())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_of_which_no_message_came_is_found_while_many_wait_at_a_master_that_is_away() {
    let mut cluster = Cluster::start(&[]);
    let sidecar = Arc::new(sidecar_at_all(&cluster, &["--redis-timeout=500ms"]).await);
    let held = json!({"ttlMs": 600_000});
    let here = path_at(&cluster, 1);
    let away_shard = shard(path_at(&cluster, 0).rsplit('/').next().unwrap());
    let away = std::iter::repeat_with(|| unique("away")).filter(|key| shard(key) == away_shard).take(MANY);
    let mut waiting = Vec::new();
    for path in away.map(|key| format!("/v1/locks/{key}")) {
        assert_eq!(sidecar.call("POST", &path).json(&held).send().await.status, 201);
        waiting.push(wait_at(&sidecar, &path));
    }
    assert_eq!(sidecar.call("POST", &here).json(&held).send().await.status, 201);
    let waiter = wait_at(&sidecar, &here);
    let wait = format!("\nlockside_waiters {}\n", MANY + 1);
    eventually("all wait", SOON, async || sidecar.ops("/metrics").await.text().contains(&wait)).await;

    // Nobody is left to take its place.
    cluster.kill(cluster.replica_of(0));
    cluster.freeze(0);
    let partial = "lockside_redis_warning{warning=\"partial\"} 1";
    eventually("it is away", SOON, async || sidecar.ops("/metrics").await.text().contains(partial)).await;
    // What nobody says: the key is free, and messages may be lost.
    let key = here.rsplit('/').next().unwrap();
    let freed = Instant::now();
    cluster.ask::<u64>(1, "DEL", &[&format!("{{lockside:{}}}:lock:{key}", shard(key))]).unwrap();
    cluster.ask::<u64>(1, "CLIENT", &["KILL", "TYPE", "pubsub"]).unwrap();
    let (status, at) = waiter.await.unwrap();
    let took = at - freed;
    println!("granted {took:?} after messages were lost, while {MANY} wait at a master that is away");
    assert_eq!(status, 201);
    assert!(took < Duration::from_millis(1000), "{took:?}");
    waiting.iter().for_each(|one| one.abort());
}
