//! With `--raw-keys` lockside's locks and other programs' are one: each library as it is published, in both directions.

mod keys;
mod libraries;
mod waiting;

use serde_json::{Value, json};

use crate::harness::clients::Peer;
use crate::harness::{Answer, Sidecar, TestRedis, unique};

/// Other people's locks, by the names that the scripts know them by.
const LIBRARIES: [&str; 4] = ["redis-py", "pottery", "redlock", "dapr"];

/// Each library, as it is known, at the shared Redis, and a name for a lock of its own.
fn libraries() -> impl Iterator<Item = (&'static str, Peer, String)> {
    LIBRARIES.into_iter().map(|name| (name, library(name), name_for(name)))
}

/// A library at the shared Redis.
fn library(name: &str) -> Peer {
    let script =
        if matches!(name, "redis-py" | "pottery") { "locks/raw_keys/locks.py" } else { "locks/raw_keys/locks.js" };
    Peer::start(script, &[name, &TestRedis::alone().socket()])
}

/// A name whose Redis key the library uses for it.
fn name_for(library: &str) -> String {
    match library {
        "pottery" => format!("redlock:{}", unique("raw")),
        "dapr" => format!("lock||app||{}", unique("raw")),
        _ => unique("raw"),
    }
}

/// A sidecar with raw keys and a lock space of its own, on the shared Redis.
struct Raw(Sidecar);

impl Raw {
    async fn start() -> Raw {
        let prefix = unique("raw");
        Raw(Sidecar::start(TestRedis::alone(), &["--raw-keys", "--key-prefix", &prefix]).await)
    }

    async fn acquire(&self, key: &str, body: &Value) -> Answer {
        self.0.call("POST", &path(key)).json(body).send().await
    }

    /// Acquires a free key for a minute; its token.
    async fn granted(&self, key: &str) -> u64 {
        let answer = self.acquire(key, &json!({"ttlMs": 60_000})).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["token"].as_u64().expect("a token")
    }

    async fn release(&self, key: &str, token: u64) -> u16 {
        self.0.call("DELETE", &format!("{}?token={token}", path(key))).send().await.status
    }

    async fn look(&self, key: &str) -> Value {
        self.0.call("GET", &path(key)).send().await.json()
    }

    async fn listed(&self, prefix: &str) -> Vec<Value> {
        let answer = self.0.call("GET", &format!("/v1/locks?prefix={}", encoded(prefix))).send().await;
        answer.json()["locks"].as_array().expect("a list").clone()
    }
}

fn path(key: &str) -> String {
    format!("/v1/locks/{}", encoded(key))
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
