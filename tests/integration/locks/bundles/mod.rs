//! Several keys at once: all of them, or none; whatever happens meanwhile.

mod at_once;
mod calls;
mod hold;
mod losses;
mod moves;
mod orders;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Answer, Sidecar, TestRedis, eventually, unique};

/// Sidecars of one namespace.
async fn fleet(redis: &TestRedis, count: usize, flags: &[&str]) -> Vec<Arc<Sidecar>> {
    fleet_of(redis, &unique("bundles"), count, flags).await
}

async fn fleet_of(redis: &TestRedis, prefix: &str, count: usize, flags: &[&str]) -> Vec<Arc<Sidecar>> {
    let flags = [&["--key-prefix", prefix][..], flags].concat();
    let mut sidecars = Vec::new();
    for _ in 0..count {
        sidecars.push(Arc::new(Sidecar::start(redis, &flags).await));
    }
    sidecars
}

async fn one() -> Arc<Sidecar> {
    fleet(TestRedis::shared(), 1, &[]).await.remove(0)
}

/// A body that asks for these keys.
fn of(keys: &[&str], further: Value) -> Value {
    let mut body = further;
    body["keys"] = keys.iter().map(|key| json!({"key": key})).collect();
    body
}

async fn acquire(sidecar: &Sidecar, body: &Value) -> Answer {
    sidecar.call("POST", "/v1/bundles").json(body).send().await
}

async fn granted(sidecar: &Sidecar, keys: &[&str], further: Value) -> Value {
    let answer = acquire(sidecar, &of(keys, further)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

/// A bundle's leases, as a renewal or a release names them.
fn named(bundle: &Value) -> Value {
    let leases = bundle["leases"].as_array().expect("leases");
    leases.iter().map(|lease| json!({"key": lease["key"], "token": lease["token"]})).collect()
}

async fn renew(sidecar: &Sidecar, leases: &Value, ttl_ms: u64) -> Answer {
    sidecar.call("PUT", "/v1/bundles").json(&json!({"leases": leases, "ttlMs": ttl_ms})).send().await
}

async fn release(sidecar: &Sidecar, leases: &Value) -> Answer {
    sidecar.call("DELETE", "/v1/bundles").json(&json!({"leases": leases})).send().await
}

async fn acquire_one(sidecar: &Sidecar, key: &str, further: &Value) -> Answer {
    sidecar.call("POST", &format!("/v1/locks/{key}")).json(further).send().await
}

/// Holds one key alone; its token.
async fn held(sidecar: &Sidecar, key: &str) -> u64 {
    let answer = acquire_one(sidecar, key, &json!({"ttlMs": 60_000, "owner": "other"})).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["token"].as_u64().expect("a token")
}

async fn release_one(sidecar: &Sidecar, key: &str, token: u64) {
    let answer = sidecar.call("DELETE", &format!("/v1/locks/{key}?token={token}")).send().await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}

async fn force(sidecar: &Sidecar, key: &str) {
    let answer = sidecar.call("DELETE", &format!("/v1/locks/{key}?force=true")).send().await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}

async fn look(sidecar: &Sidecar, key: &str) -> Value {
    sidecar.call("GET", &format!("/v1/locks/{key}")).send().await.json()
}

async fn is_held(sidecar: &Sidecar, key: &str) -> bool {
    look(sidecar, key).await["state"] == "held"
}

async fn held_within(sidecar: &Sidecar, key: &str) {
    eventually(&format!("{key} is held"), Duration::from_secs(10), async || is_held(sidecar, key).await).await;
}

async fn free_within(sidecar: &Sidecar, keys: &[&str], within: Duration) {
    let begun = Instant::now();
    for key in keys {
        let left = within.saturating_sub(begun.elapsed());
        eventually(&format!("{key} is free"), left, async || !is_held(sidecar, key).await).await;
    }
}

async fn waiters_are(sidecar: &Sidecar, key: &str, count: u64) {
    eventually(&format!("{count} wait"), Duration::from_secs(10), async || {
        look(sidecar, key).await["waiters"] == count
    })
    .await;
}

/// A request that waits, and whose answer comes some time.
fn waits(sidecar: &Arc<Sidecar>, body: Value) -> tokio::task::JoinHandle<Answer> {
    let sidecar = Arc::clone(sidecar);
    tokio::spawn(async move { acquire(&sidecar, &body).await })
}

/// Three keys, in the order of their bytes.
fn keys() -> [String; 3] {
    ["a", "b", "c"].map(|name| unique(name).to_string())
}
