//! Load through several sidecars: who held what, when, as its holders could know it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lockside::lock::Key;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::harness::history::{Fault, Held, History, Mode, promised_until};
use crate::harness::{Redundant, Sidecar, unique};

/// Keys that all workers fight for.
pub const KEYS: usize = 8;
const WORKERS_A_SIDECAR: usize = 6;

/// Workers that take locks, hold them for a while, and let go; or do not.
pub struct Load {
    pub history: Arc<History>,
    pub sidecars: Arc<Vec<Sidecar>>,
    prefix: String,
    refusals: Arc<Mutex<Vec<Refusal>>>,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Result<(), String>>>,
}

/// An answer that nothing was done, or that nobody knows.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub at: Instant,
    pub answer: String,
}

/// The names of the keys that all workers fight for.
pub fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|number| number.to_string())
}

/// The Redis key of a lock.
pub fn redis_key(prefix: &str, key: &str) -> String {
    format!("{{{prefix}:{}}}:lock:{key}", shard(key))
}

fn shard(key: &str) -> usize {
    Key::parse(key).expect("a good key").shard().index()
}

impl Load {
    /// Every master of `redis` has some of the keys.
    pub async fn on(redis: &impl Redundant, flags: &[&str]) -> Load {
        Load::at([redis.url(), redis.url()], redis, flags).await
    }

    /// One sidecar for each `--redis-url` of `redis`.
    pub async fn at(urls: [String; 2], redis: &impl Redundant, flags: &[&str]) -> Load {
        let prefix = spread(redis);
        let flags = [&["--key-prefix", &prefix][..], flags].concat();
        let [one, other] = &urls;
        let sidecars = Arc::new(vec![Sidecar::start_at(one, &flags).await, Sidecar::start_at(other, &flags).await]);
        let (history, stop) = (Arc::new(History::default()), Arc::new(AtomicBool::new(false)));
        let (refusals, mut workers) = (Arc::<Mutex<Vec<Refusal>>>::default(), Vec::new());
        for number in 0..sidecars.len() * WORKERS_A_SIDECAR {
            let (sidecars, history, stop) = (Arc::clone(&sidecars), Arc::clone(&history), Arc::clone(&stop));
            let refusals = Arc::clone(&refusals);
            workers.push(tokio::spawn(async move {
                let sidecar = &sidecars[number % sidecars.len()];
                let mut round = number;
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    turn(sidecar, &history, &refusals, number, round).await?;
                }
                Ok(())
            }));
        }
        Load { history, sidecars, prefix, refusals, stop, workers }
    }

    /// The Redis key of a lock.
    pub fn redis_key(&self, key: &str) -> String {
        redis_key(&self.prefix, key)
    }

    /// Waits for a grant that comes after now.
    pub async fn next_grant(&self, within: Duration) {
        let begun = Instant::now();
        while self.history.since(begun) == 0 {
            assert!(begun.elapsed() < within, "no grant within {within:?}: {}", self.sidecars[0].log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until both sidecars grant keys that nobody has, beside `key` in Redis; how long it took.
    pub async fn served(&self, key: &str, within: Duration) -> Duration {
        let begun = Instant::now();
        let each = self.sidecars.iter().map(async |sidecar| {
            loop {
                let path = format!("/v1/locks/{}", beside(key));
                let answer = sidecar.call("POST", &path).json(&json!({"ttlMs": 1000})).send().await;
                if answer.status == 201 {
                    return;
                }
                assert!(begun.elapsed() < within, "not within {within:?}: {}, {}", answer.text(), sidecar.log());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        join_all(each).await;
        begun.elapsed()
    }

    /// Who was refused since `begin`.
    pub fn refusals(&self, begin: Instant) -> Vec<Refusal> {
        let refusals = self.refusals.lock().expect("no panic while held");
        refusals.iter().filter(|refusal| refusal.at > begin).cloned().collect()
    }

    /// Ends it; every fault of the history.
    pub async fn end(self) -> Vec<Fault> {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers {
            worker.await.expect("no panic").expect("answers as promised");
        }
        self.history.faults()
    }
}

/// A prefix under which every master has some of the keys.
fn spread<R: Redundant>(redis: &R) -> String {
    loop {
        let prefix = unique("failover");
        let masters: BTreeSet<usize> = keys().map(|key| redis.master(&redis_key(&prefix, &key))).collect();
        if masters.len() == R::MASTERS {
            return prefix;
        }
    }
}

/// A key that nobody has, in the shard of another.
pub fn beside(key: &str) -> String {
    loop {
        let name = unique("beside");
        if shard(&name) == shard(key) {
            return name;
        }
    }
}

/// One lock, taken and let go. An answer that no sidecar may give is an error.
async fn turn(
    sidecar: &Sidecar,
    history: &History,
    refusals: &Mutex<Vec<Refusal>>,
    number: usize,
    round: usize,
) -> Result<(), String> {
    let key = (round % KEYS).to_string();
    let path = format!("/v1/locks/{key}");
    let mut body = json!({"ttlMs": 1500, "waitMs": if round.is_multiple_of(3) { 500 } else { 0 }});
    match (number + round) % 8 {
        0 | 1 => body["mode"] = json!("shared"),
        2 => body["limit"] = json!(2),
        _ => {}
    }
    let mode = Mode::of(&body, Instant::now());
    let answer = sidecar.call("POST", &path).json(&body).try_send().await?;
    let told = Instant::now();
    match answer.status {
        201 => {}
        409 | 429 | 503 | 504 => {
            if answer.status >= 500 {
                let refusal = Refusal { at: told, answer: answer.text().to_owned() };
                refusals.lock().expect("no panic while held").push(refusal);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            return Ok(());
        }
        status => return Err(format!("{status}: {}", answer.text())),
    }
    let lease = answer.json();
    let token = lease["token"].as_u64().ok_or_else(|| format!("no token: {lease}"))?;
    let mut held =
        Held { key, holder: number.to_string(), token, from: told, until: promised_until(told, &lease)?, mode };
    tokio::time::sleep(Duration::from_millis(5 + (round % 7) as u64 * 3)).await;
    let lets_go = !round.is_multiple_of(5);
    if lets_go {
        held.until = held.until.min(Instant::now());
        history.add(held);
        sidecar.call("DELETE", &format!("{path}?token={token}")).try_send().await?;
        return Ok(());
    }
    // Renewed once, and left to expire.
    let renewal =
        sidecar.call("PUT", &format!("{path}?token={token}")).json(&json!({"ttlMs": 1500})).try_send().await?;
    let told = Instant::now();
    history.add(held.clone());
    if renewal.status == 200 {
        history.add(Held { from: told, until: promised_until(told, &renewal.json())?, ..held });
    }
    Ok(())
}
