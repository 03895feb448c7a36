//! The leases dialect, by what its callers are promised.

mod create;
mod list;
mod order;
mod owners;
mod renew;
mod strangers;
mod texts;
mod tokens;

use std::fmt::Display;
use std::ops::Deref;

use serde_json::{Value, json};

use crate::harness::{API_TOKEN, Answer, Sidecar, TestRedis, Who, editor, reader};

const PATH: &str = "/cmn/leasable-locks";

/// A sidecar on the Redis that tests share, with calls of the dialect.
struct Leases(Sidecar);

impl Leases {
    /// Knows users by their cookie and system callers by [`API_TOKEN`].
    async fn start(flags: &[&str]) -> Leases {
        Leases(Sidecar::who_knows(&TestRedis::shared().url(), flags).await)
    }

    /// Knows nobody: neither a JWT key nor an API token is set.
    async fn anonymous() -> Leases {
        Leases(Sidecar::start(TestRedis::shared(), &[]).await)
    }

    async fn create(&self, who: &Who, key: &str, seconds: i64) -> Answer {
        self.ask(who, "POST", PATH).json(&json!({"key": key, "leasePeriod": seconds})).send().await
    }

    async fn renew(&self, who: &Who, token: impl Display, seconds: impl Display) -> Answer {
        self.ask(who, "PUT", &format!("{PATH}/{token}?leasePeriod={seconds}")).send().await
    }

    async fn release(&self, who: &Who, token: impl Display) -> Answer {
        self.ask(who, "DELETE", &format!("{PATH}/{token}")).send().await
    }

    async fn remove(&self, who: &Who, token: impl Display) -> Answer {
        self.ask(who, "DELETE", &format!("{PATH}/custom/{token}")).send().await
    }

    /// A new lease of `key`.
    async fn granted(&self, who: &Who, key: &str, seconds: i64) -> Value {
        let answer = self.create(who, key, seconds).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    /// What the list says of the keys that begin with `prefix`.
    async fn listed(&self, who: &Who, prefix: &str) -> Vec<Value> {
        let answer = self.ask(who, "GET", &format!("{PATH}?prefix={prefix}")).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json().as_array().expect("an array").clone()
    }
}

impl Deref for Leases {
    type Target = Sidecar;

    fn deref(&self) -> &Sidecar {
        &self.0
    }
}

/// The token of a LeasableLockDto.
fn token_of(lease: &Value) -> u64 {
    lease["token"].as_u64().expect("a token")
}

/// Where the lease of `key` lies in Redis.
fn redis_key(key: &str) -> String {
    format!("{{lockside:{}}}:lock:{key}", crc32fast::hash(key.as_bytes()) % 64)
}

/// When Redis lets the lease of `key` expire, milliseconds since 1970.
fn expires_ms(key: &str) -> i64 {
    TestRedis::shared().ask("PEXPIRETIME", &[&redis_key(key)])
}

/// Redis's clock, milliseconds since 1970.
fn redis_now_ms() -> i64 {
    let (seconds, micros): (i64, i64) = TestRedis::shared().ask("TIME", &[]);
    seconds * 1000 + micros / 1000
}

/// Asserts a status, and the shape that every message of the dialect has.
#[track_caller]
fn assert_message(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let message = answer.json();
    let fields: Vec<&String> = message.as_object().expect("an object").keys().collect();
    assert_eq!(fields, ["context", "messageValue"], "{message}");
    assert!(message["context"].as_str().is_some_and(|text| !text.is_empty()), "{message}");
    assert!(message["messageValue"].as_str().is_some_and(|text| !text.is_empty()), "{message}");
}
