//! What the engine promises, from its contract alone: leases, places in the queue and tokens, seen through the API of
//! several sidecars on one Redis while something goes wrong.

mod attempts;
mod databases;
mod fairness;
mod ghosts;
mod holds;
mod late;
mod load;
mod lost;
mod offers;
mod random;
mod reentrant;
mod shortened;
mod silent;
mod strangers;
mod tokens;

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::harness::http::Lines;
use crate::harness::{Answer, Proxy, Sidecar, TestRedis, eventually, unique};

/// What a busy machine may add to what takes no time.
const AT_ONCE: Duration = Duration::from_millis(700);
/// The longest that any lost wake-up or silent process holds others up: two seconds, and what a busy machine adds.
const AT_MOST: Duration = Duration::from_millis(2500);
/// Until what no client was told of is rolled back.
const SOON: Duration = Duration::from_secs(5);

/// Sidecars of one namespace, and a key that no other test uses.
struct World {
    sidecars: Vec<Arc<Sidecar>>,
    key: String,
    prefix: String,
}

/// A request's answer, and when it came.
type Waiting = JoinHandle<(Answer, Instant)>;

impl World {
    fn new() -> World {
        World { sidecars: Vec::new(), key: unique("key"), prefix: unique("engine") }
    }

    /// `count` sidecars on the shared Redis.
    async fn of(count: usize) -> World {
        World::on(TestRedis::alone(), count).await
    }

    async fn on(redis: &TestRedis, count: usize) -> World {
        let mut world = World::new();
        for _ in 0..count {
            world.add(&redis.url(), &[]).await;
        }
        world
    }

    /// Two sidecars on the shared Redis: number 0 behind a proxy, number 1 not.
    async fn behind_a_proxy(timeout: &str) -> (Proxy, World) {
        let (proxy, mut world) = (Proxy::start(TestRedis::alone()), World::new());
        world.add(&proxy.url(), &["--redis-timeout", timeout]).await;
        world.add(&TestRedis::alone().url(), &[]).await;
        // So that Redis knows the scripts, and need not be taught them while nothing is heard of it.
        for at in 0..2 {
            let warm = world.key_of("warm");
            let answer = world.acquire_of(at, &warm, json!({"ttlMs": 60_000})).await;
            world.release_of(at, &warm, token(&answer)).await;
        }
        (proxy, world)
    }

    async fn add(&mut self, url: &str, flags: &[&str]) {
        let flags = [&["--key-prefix", &self.prefix][..], flags].concat();
        self.sidecars.push(Arc::new(Sidecar::start_at(url, &flags).await));
    }

    /// Another key of this test's own.
    fn key_of(&self, name: &str) -> String {
        format!("{}-{name}", self.key)
    }

    async fn acquire(&self, at: usize, body: Value) -> Answer {
        self.acquire_of(at, &self.key, body).await
    }

    async fn acquire_of(&self, at: usize, key: &str, body: Value) -> Answer {
        self.sidecars[at].call("POST", &path(key)).json(&body).send().await
    }

    /// A sending of the attempt `name`, which is waited for here.
    async fn attempt(&self, at: usize, name: &str, body: Value) -> Answer {
        let call = self.sidecars[at].call("POST", &path(&self.key)).header("idempotency-key", name);
        call.json(&body).send().await
    }

    /// Acquires the free key for `ttl_ms` as `holder`; its token.
    async fn held(&self, at: usize, ttl_ms: u64) -> u64 {
        self.held_of(at, &self.key, ttl_ms).await
    }

    async fn held_of(&self, at: usize, key: &str, ttl_ms: u64) -> u64 {
        let answer = self.acquire_of(at, key, json!({"ttlMs": ttl_ms, "owner": "holder"})).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        token(&answer)
    }

    async fn renew(&self, at: usize, token: u64, ttl_ms: u64) -> Answer {
        let path = format!("{}?token={token}", path(&self.key));
        self.sidecars[at].call("PUT", &path).json(&json!({"ttlMs": ttl_ms})).send().await
    }

    async fn release(&self, at: usize, token: u64) {
        self.release_of(at, &self.key, token).await;
    }

    async fn release_of(&self, at: usize, key: &str, token: u64) {
        let answer = self.sidecars[at].call("DELETE", &format!("{}?token={token}", path(key))).send().await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    /// A request that is under way; where its sidecar dies, it never ends.
    fn begin(&self, at: usize, name: Option<&str>, body: Value) -> Waiting {
        self.begin_of(at, &self.key, name, body)
    }

    fn begin_of(&self, at: usize, key: &str, name: Option<&str>, body: Value) -> Waiting {
        let (sidecar, path, name) = (Arc::clone(&self.sidecars[at]), path(key), name.map(str::to_owned));
        tokio::spawn(async move {
            let mut call = sidecar.call("POST", &path).json(&body);
            if let Some(name) = &name {
                call = call.header("idempotency-key", name);
            }
            match call.try_send().await {
                Ok(answer) => (answer, Instant::now()),
                Err(_) => std::future::pending().await,
            }
        })
    }

    /// A waiter, in the queue behind all others.
    async fn join(&self, at: usize, name: Option<&str>, body: Value) -> Waiting {
        let before = self.waiters().await;
        let waiting = self.begin(at, name, body);
        self.waiters_are(before + 1).await;
        waiting
    }

    /// What the last sidecar says of a key: a test may stop the first ones.
    async fn look_at(&self, key: &str) -> Value {
        let last = self.sidecars.last().expect("a sidecar");
        let answer = last.call("GET", &path(key)).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    async fn look(&self) -> Value {
        self.look_at(&self.key).await
    }

    async fn waiters(&self) -> u64 {
        self.look().await["waiters"].as_u64().expect("a number")
    }

    async fn waiters_are(&self, count: u64) -> Duration {
        eventually(&format!("{count} wait"), Duration::from_secs(10), async || self.waiters().await == count).await
    }

    async fn is_free(&self) -> bool {
        self.look().await["state"] == "free"
    }

    /// What Redis keeps of `key`: `lock` or `queue`.
    fn redis_key(&self, kind: &str, key: &str) -> String {
        format!("{{{}:{}}}:{kind}:{key}", self.prefix, crc32fast::hash(key.as_bytes()) % 64)
    }

    /// Asks as another owner until `promised`, and panics where the key is granted before.
    async fn is_not_granted_before(&self, at: usize, promised: Instant) {
        while Instant::now() < promised {
            let answer = self.acquire(at, json!({"ttlMs": 60_000, "owner": "stranger"})).await;
            if answer.status == 409 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            let early = promised.saturating_duration_since(Instant::now());
            assert!(early.is_zero(), "granted {early:?} before the end of what was promised: {}", answer.text());
        }
    }

    /// Asks again and again without waiting until the key is granted; the answer, and when it came.
    async fn polled(&self, at: usize, within: Duration) -> (Answer, Instant) {
        let begun = Instant::now();
        loop {
            let answer = self.acquire(at, json!({"ttlMs": 60_000, "owner": "poller"})).await;
            if answer.status == 201 {
                return (answer, Instant::now());
            }
            assert!(begun.elapsed() < within, "not granted within {within:?}: {}", answer.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A hold; its lines, and the first of them.
    async fn hold(&self, at: usize, name: Option<&str>, body: Value) -> (Lines, Value) {
        let path = format!("{}/hold", path(&self.key));
        let mut call = self.sidecars[at].call("POST", &path).json(&body);
        if let Some(name) = name {
            call = call.header("idempotency-key", name);
        }
        let mut lines = call.open().await;
        assert_eq!(lines.status, 200);
        let first = line(&mut lines, Duration::from_secs(5)).await;
        assert_eq!(first["event"], "acquired", "{first}");
        (lines, first)
    }

    /// A caller who sends a request and reads nothing; dropped, it hangs up.
    fn caller(&self, at: usize, name: Option<&str>, body: &Value) -> TcpStream {
        let mut caller = TcpStream::connect(self.sidecars[at].api_address()).expect("a connection");
        let name = name.map(|name| format!("Idempotency-Key: {name}\r\n")).unwrap_or_default();
        let (path, body) = (path(&self.key), body.to_string());
        let length = body.len();
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{name}Content-Length: {length}\r\n\r\n{body}");
        caller.write_all(request.as_bytes()).expect("written");
        caller
    }

    /// Waits until Redis has done something new to the lock since it looked like `before`.
    async fn has_changed(&self, redis: &TestRedis, before: &Option<String>) {
        let lock = self.redis_key("lock", &self.key);
        eventually("redis has done it", SOON, async || redis.ask::<Option<String>>("GET", &[&lock]) != *before).await;
    }

    /// The lock's record as Redis has it.
    fn record(&self, redis: &TestRedis) -> Option<String> {
        redis.ask("GET", &[&self.redis_key("lock", &self.key)])
    }
}

fn path(key: &str) -> String {
    format!("/v1/locks/{key}")
}

#[track_caller]
fn token(answer: &Answer) -> u64 {
    answer.json()["token"].as_u64().unwrap_or_else(|| panic!("{}", answer.text()))
}

/// A waiter of `owner` with a usual lease.
fn patient(owner: &str) -> Value {
    json!({"ttlMs": 30_000, "waitMs": 30_000, "owner": owner})
}

/// The answer of a waiter that is granted within `within`; and when.
async fn granted(waiting: Waiting, within: Duration) -> (Answer, Instant) {
    let ended = tokio::time::timeout(within, waiting).await;
    let (answer, at) = ended.unwrap_or_else(|_| panic!("not granted within {within:?}")).expect("no panic");
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
    (answer, at)
}

/// Until when an answer that took no time can be relied on, by Redis's clock, which is this machine's.
fn promised(lease: &Value) -> Instant {
    let until: jiff::Timestamp = lease["validUntil"].as_str().expect("a time").parse().expect("RFC 3339");
    let left_ms = u64::try_from(until.as_millisecond() - jiff::Timestamp::now().as_millisecond()).unwrap_or(0);
    Instant::now() + Duration::from_millis(left_ms.min(lease["validForMs"].as_u64().expect("milliseconds")))
}

/// The next line of a hold that is more than a sign of life.
async fn line(lines: &mut Lines, within: Duration) -> Value {
    let next = async {
        loop {
            let line = lines.next().await.expect("a line before the end");
            if line["event"] != "ping" {
                return line;
            }
        }
    };
    tokio::time::timeout(within, next).await.unwrap_or_else(|_| panic!("no line within {within:?}"))
}

/// Reads a hold until `end`; the reason, where it is lost before.
async fn lost_before(lines: &mut Lines, end: Instant) -> Option<Value> {
    while let Ok(line) = tokio::time::timeout_at(end.into(), lines.next()).await {
        let line = line?;
        if line["event"] == "lost" {
            return Some(line["reason"].clone());
        }
    }
    None
}
