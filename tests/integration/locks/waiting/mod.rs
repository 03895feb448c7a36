//! Waiting in line: first come, first served over all sidecars, whatever becomes of them, of Redis, or of the caller.

mod bounds;
mod cluster;
mod deaths;
mod ends;
mod fairness;
mod fight;
mod losses;
mod repeated;
mod shared;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::harness::{Answer, Scratch, Sidecar, TestRedis, eventually, jwt, unique};

/// Less than an offer that nobody takes lasts: the next did not wait for its end.
const OFFER: Duration = Duration::from_millis(1400);

/// At once, on a busy machine too.
const SOON: Duration = Duration::from_millis(500);

/// Sidecars of one lock space of a test's own, and a key.
struct Fleet {
    sidecars: Vec<Arc<Sidecar>>,
    key: String,
    prefix: String,
    _scratch: Scratch,
}

/// A waiter's answer, and when it came.
type Waiting = JoinHandle<(Answer, Instant)>;

impl Fleet {
    /// `count` sidecars on the shared Redis.
    async fn of(count: usize) -> Fleet {
        Fleet::on(TestRedis::shared(), count, &[]).await
    }

    async fn on(redis: &TestRedis, count: usize, flags: &[&str]) -> Fleet {
        Fleet::at(&redis.url(), count, flags).await
    }

    async fn at(url: &str, count: usize, flags: &[&str]) -> Fleet {
        let (prefix, scratch) = (unique("waiting"), Scratch::new());
        let secret = scratch.file("secret", jwt::SECRET);
        let flags = [&["--key-prefix", &prefix, "--jwt-secret-file", &secret][..], flags].concat();
        let mut sidecars = Vec::new();
        for _ in 0..count {
            sidecars.push(Arc::new(Sidecar::start_at(url, &flags).await));
        }
        Fleet { sidecars, key: unique("key"), prefix, _scratch: scratch }
    }

    fn path(&self) -> String {
        format!("/v1/locks/{}", self.key)
    }

    async fn acquire(&self, at: usize, body: Value) -> Answer {
        self.sidecars[at].call("POST", &self.path()).json(&body).send().await
    }

    /// Acquires the free key for `ttl_ms`; its token.
    async fn hold(&self, at: usize, ttl_ms: u64) -> u64 {
        let answer = self.acquire(at, json!({"ttlMs": ttl_ms, "owner": "holder"})).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        token(&answer)
    }

    async fn release(&self, at: usize, token: u64) {
        release(&self.sidecars[at], &self.path(), token).await;
    }

    /// A waiter, not yet in line. Where its sidecar dies, it never ends.
    fn begin(&self, at: usize, body: Value) -> Waiting {
        let (sidecar, path) = (Arc::clone(&self.sidecars[at]), self.path());
        tokio::spawn(async move {
            match sidecar.call("POST", &path).json(&body).try_send().await {
                Ok(answer) => (answer, Instant::now()),
                Err(_) => std::future::pending().await,
            }
        })
    }

    /// A waiter, in line behind all others.
    async fn join(&self, at: usize, body: Value) -> Waiting {
        let before = self.waiters().await;
        let waiting = self.begin(at, body);
        self.waiters_are(before + 1).await;
        waiting
    }

    /// How many wait, as the last sidecar says: a test may stop the first ones.
    async fn waiters(&self) -> u64 {
        let last = self.sidecars.last().expect("a sidecar");
        let answer = last.call("GET", &self.path()).send().await;
        answer.json()["waiters"].as_u64().unwrap_or_else(|| panic!("{}", answer.text()))
    }

    async fn waiters_are(&self, count: u64) -> Duration {
        eventually(&format!("{count} wait"), Duration::from_secs(10), async || self.waiters().await == count).await
    }

    /// The names of the Redis keys of this lock space that match.
    fn keys(&self, redis: &TestRedis, kind: &str) -> Vec<String> {
        redis.ask("KEYS", &[&format!("{{{}:*}}:{kind}:*", self.prefix)])
    }

    /// Asserts that no lock and no line is left.
    async fn is_empty(&self, redis: &TestRedis) {
        eventually("no lock is left", Duration::from_secs(5), async || self.keys(redis, "lock").is_empty()).await;
        assert_eq!(self.keys(redis, "queue"), Vec::<String>::new(), "no place in line is left");
    }
}

fn token(answer: &Answer) -> u64 {
    answer.json()["token"].as_u64().unwrap_or_else(|| panic!("{}", answer.text()))
}

async fn release(sidecar: &Sidecar, path: &str, token: u64) {
    let answer = sidecar.call("DELETE", &format!("{path}?token={token}")).send().await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}

/// A patient waiter with a usual lease.
fn patient() -> Value {
    json!({"ttlMs": 30_000, "waitMs": 30_000})
}

/// The answer of a waiter that is granted; and when.
async fn granted(waiting: Waiting) -> (Answer, Instant) {
    let (answer, at) = waiting.await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    (answer, at)
}
