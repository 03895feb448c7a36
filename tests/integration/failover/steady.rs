//! Callers whose keys nobody else wants, at masters that nothing happens to: they are to be served all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::load::{Load, beside};
use crate::harness::Sidecar;

/// How long a lease lasts for whose end the next one waits. Long enough to be of use when it comes, on a busy machine too.
const LEASE_MS: u64 = 1000;

pub struct Steady {
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Vec<Asked>>>,
}

/// One acquire, of a free key or of one whose lease soon ends.
#[derive(Debug)]
pub struct Asked {
    pub at: Instant,
    pub took: Duration,
    /// What was said instead of a grant.
    pub refusal: Option<String>,
}

impl Asked {
    async fn of(sidecar: &Sidecar, path: &str, body: &Value) -> Asked {
        let at = Instant::now();
        let answer = sidecar.call("POST", path).json(body).send().await;
        let refusal = (answer.status != 201).then(|| format!("{}: {}", answer.status, answer.text()));
        Asked { at, took: at.elapsed(), refusal }
    }
}

impl Steady {
    /// One caller a sidecar, which takes turns at the shards of `keys`.
    pub fn on(load: &Load, keys: &[String]) -> Steady {
        let stop = Arc::new(AtomicBool::new(false));
        let callers = (0..load.sidecars.len()).map(|number| {
            let (sidecars, keys, stop) = (Arc::clone(&load.sidecars), keys.to_vec(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut all = Vec::new();
                for key in keys.iter().cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                    let path = format!("/v1/locks/{}", beside(key));
                    all.push(Asked::of(&sidecars[number], &path, &json!({"ttlMs": LEASE_MS})).await);
                    // Who waits has to hear of its turn.
                    all.push(Asked::of(&sidecars[number], &path, &json!({"ttlMs": 5000, "waitMs": 5000})).await);
                }
                all
            })
        });
        Steady { callers: callers.collect(), stop }
    }

    pub async fn end(self) -> Vec<Asked> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for caller in self.callers {
            all.extend(caller.await.expect("no panic"));
        }
        all
    }
}
