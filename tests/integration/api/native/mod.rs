//! The native dialect, by what its callers are promised.

mod acquire;
mod attempts;
mod bodies;
mod callers;
mod etags;
mod events;
mod fence;
mod force;
mod keys;
mod list;
mod losses;
mod meta;
mod owners;
mod queue;
mod reentrant;
mod release;
mod renew;
mod shared;
mod status;
mod strangers;
mod terms;
mod ttls;
mod validity;

use std::fmt::Display;
use std::ops::Deref;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::harness::{API_TOKEN, Answer, Sidecar, TestRedis, Who, editor, reader};

/// Every code that an error may have.
const CODES: [&str; 16] = [
    "bad-request",
    "unauthorized",
    "forbidden",
    "not-found",
    "method-not-allowed",
    "too-large",
    "held",
    "wait-timeout",
    "lost",
    "too-many-waiters",
    "overloaded",
    "draining",
    "redis-unavailable",
    "redis-refused",
    "too-late",
    "outcome-unknown",
];

/// A problem but for the id of its request.
fn without_id(answer: &Answer) -> Value {
    let mut body = answer.json();
    body.as_object_mut().expect("an object").remove("requestId").expect("an id");
    body
}

/// A sidecar with calls of the dialect.
struct Native(Sidecar);

impl Native {
    /// On the shared Redis; knows users by their cookie and system callers by [`API_TOKEN`].
    async fn start(flags: &[&str]) -> Native {
        Native::start_at(&TestRedis::shared().url(), flags).await
    }

    /// The same on the Redis at `url`.
    async fn start_at(url: &str, flags: &[&str]) -> Native {
        Native(Sidecar::who_knows(url, flags).await)
    }

    /// A `POST`; `key` as it stands in the path.
    async fn acquire(&self, who: &Who, key: &str, body: &Value) -> Answer {
        self.ask(who, "POST", &path(key)).json(body).send().await
    }

    /// A `POST` with an Idempotency-Key.
    async fn attempt(&self, who: &Who, key: &str, name: &str, body: &Value) -> Answer {
        self.ask(who, "POST", &path(key)).header("idempotency-key", name).json(body).send().await
    }

    /// A new lease of `key` for a minute.
    async fn granted(&self, who: &Who, key: &str) -> Value {
        self.granted_for(who, key, 60_000).await
    }

    async fn granted_for(&self, who: &Who, key: &str, ttl_ms: u64) -> Value {
        let answer = self.acquire(who, key, &json!({"ttlMs": ttl_ms})).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    async fn renew(&self, who: &Who, key: &str, token: impl Display, body: &Value) -> Answer {
        self.ask(who, "PUT", &format!("{}?token={token}", path(key))).json(body).send().await
    }

    async fn release(&self, who: &Who, key: &str, token: impl Display) -> Answer {
        self.ask(who, "DELETE", &format!("{}?token={token}", path(key))).send().await
    }

    async fn force(&self, who: &Who, key: &str) -> Answer {
        self.ask(who, "DELETE", &format!("{}?force=true", path(key))).send().await
    }

    async fn fence(&self, who: &Who, key: &str, token: impl Display) -> Answer {
        self.ask(who, "GET", &format!("{}/fence?token={token}", path(key))).send().await
    }

    /// What `GET` says of a key.
    async fn look(&self, key: &str) -> Value {
        let answer = self.ask(&Who::System, "GET", &path(key)).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    async fn is_free(&self, key: &str) -> bool {
        self.look(key).await["state"] == "free"
    }

    /// The answer to `GET /v1/locks` with this query.
    async fn list(&self, query: &str) -> Answer {
        self.ask(&Who::System, "GET", &format!("/v1/locks?{query}")).send().await
    }
}

impl Deref for Native {
    type Target = Sidecar;

    fn deref(&self) -> &Sidecar {
        &self.0
    }
}

fn path(key: &str) -> String {
    format!("/v1/locks/{key}")
}

/// The names of an object's fields, in alphabetical order.
fn fields(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn token_of(lease: &Value) -> u64 {
    lease["token"].as_u64().expect("a token")
}

/// What a lease or a holder says is left.
fn left_ms(lease: &Value) -> u64 {
    lease["validForMs"].as_u64().expect("milliseconds")
}

/// A time on the wire, milliseconds since 1970; panics unless it is RFC 3339, UTC, with milliseconds.
fn ms(time: &Value) -> i64 {
    let text = time.as_str().expect("a text");
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{text}");
    text.parse::<Timestamp>().expect("RFC 3339").as_millisecond()
}

/// Where the lease of `key` lies in Redis.
fn redis_key(key: &str) -> String {
    format!("{{lockside:{}}}:lock:{key}", crc32fast::hash(key.as_bytes()) % 64)
}

/// When Redis lets the lease of `key` expire, milliseconds since 1970.
fn expires_ms(key: &str) -> i64 {
    TestRedis::shared().ask("PEXPIRETIME", &[&redis_key(key)])
}

/// Asserts a status and a code, and the shape that every error of the dialect has.
#[track_caller]
fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["code"], code, "{problem}");
    assert!(CODES.contains(&code), "{code} is none of the fixed set");
    assert_eq!(problem["status"], status, "{problem}");
    for field in ["type", "title", "detail", "outcome"] {
        assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {problem}");
    }
    if status < 500 {
        assert_eq!(problem["outcome"], "not-applied", "{problem}");
    }
    assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
    assert_eq!(answer.header("retry-after").is_some(), status == 503 || code == "held", "{problem}");
}

/// An answer without a body.
#[track_caller]
fn assert_done(answer: &Answer) {
    assert_eq!((answer.status, answer.text()), (204, ""));
}
