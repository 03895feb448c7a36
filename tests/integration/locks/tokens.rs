//! Tokens rise, whatever happens to Redis.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lockside::lock::Key;
use serde_json::json;

use crate::harness::{Sidecar, TestRedis, heavy};

const ACQUIRES: usize = 30_000;
const TASKS: usize = 32;

#[derive(Default)]
struct Seen {
    last: HashMap<String, u64>,
    all: HashSet<u64>,
}

impl Seen {
    /// Takes in the token of a new grant, and judges it.
    fn grant(&mut self, key: &str, token: u64) {
        assert!(token < 1 << 53, "{token} is not below 2^53");
        let shard = Key::parse(key).unwrap().shard().index() as u64;
        assert_eq!(token % 64, shard, "the shard of `{key}` in {token}");
        assert!(self.all.insert(token), "{token} was given twice");
        if let Some(last) = self.last.insert(key.to_owned(), token) {
            assert!(token > last, "`{key}`: {token} after {last}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_rise_through_release_expiry_flushall_and_restart() {
    let _turn = heavy().await;
    let mut redis = TestRedis::start(&[]);
    let sidecars = [Sidecar::start(&redis, &[]).await, Sidecar::start(&redis, &[]).await];
    let (sidecars, seen) = (Arc::new(sidecars), Arc::new(Mutex::new(Seen::default())));
    let work = |share: usize, name: &'static str| {
        let tasks = (0..TASKS).map(|task| {
            let (sidecars, seen) = (Arc::clone(&sidecars), Arc::clone(&seen));
            tokio::spawn(async move {
                let key = format!("{name}-{task}");
                for _ in 0..share / TASKS {
                    acquire_and_release(&sidecars[task % 2], &key, &seen).await;
                }
            })
        });
        tasks.collect::<Vec<_>>()
    };

    // Release after release, with Redis flushed and restarted without its data in between, under load.
    let tasks = work(ACQUIRES, "turn");
    for step in 1..=6 {
        let goal = ACQUIRES * step / 7;
        while seen.lock().unwrap().all.len() < goal {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if step % 2 == 0 {
            redis.kill();
            redis.up();
        } else {
            redis.ask::<String>("FLUSHALL", &[]);
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(seen.lock().unwrap().all.len() >= ACQUIRES / TASKS * TASKS);

    // Expiry after expiry.
    let expiring = (0..TASKS).map(|task| {
        let (sidecars, seen) = (Arc::clone(&sidecars), Arc::clone(&seen));
        tokio::spawn(async move {
            let key = format!("turn-{task}");
            for _ in 0..2 {
                let token = acquire(&sidecars[task % 2], &key).await;
                seen.lock().unwrap().grant(&key, token);
            }
        })
    });
    for task in expiring.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_renewal_keeps_the_token() {
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    let key = crate::harness::unique("renewed");
    let token = acquire(&sidecar, &key).await;
    let renewed = sidecar.call("PUT", &format!("/cmn/leasable-locks/{token}?leasePeriod=2")).send().await;
    assert_eq!((renewed.status, renewed.json()["token"].as_u64()), (200, Some(token)));
}

async fn acquire_and_release(sidecar: &Sidecar, key: &str, seen: &Mutex<Seen>) {
    let token = acquire(sidecar, key).await;
    seen.lock().unwrap().grant(key, token);
    let path = format!("/cmn/leasable-locks/{token}");
    let released = sidecar.call("DELETE", &path).send().await;
    // Gone with Redis's data, or Redis is just away.
    assert!(matches!(released.status, 200 | 404 | 503 | 504), "{}", released.text());
}

/// Tries until granted: what is held expires after a second, and Redis comes back.
async fn acquire(sidecar: &Sidecar, key: &str) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(20);
    let body = json!({"key": key, "leasePeriod": 1});
    loop {
        let answer = sidecar.call("POST", "/cmn/leasable-locks").json(&body).send().await;
        match answer.status {
            201 => return answer.json()["token"].as_u64().unwrap(),
            409 | 503 | 504 if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(10)).await,
            status => panic!("{status}: {}", answer.text()),
        }
    }
}
