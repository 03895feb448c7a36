//! Load through several sidecars: who held what, when, as its holders could know it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;

use crate::harness::history::{Fault, Held, History};
use crate::harness::{Sidecar, unique};

/// Keys that all workers fight for.
const KEYS: usize = 8;
const WORKERS_A_SIDECAR: usize = 6;

/// Workers that take locks, hold them for a while, and let go; or do not.
pub struct Load {
    pub history: Arc<History>,
    pub sidecars: Arc<Vec<Sidecar>>,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Result<(), String>>>,
}

impl Load {
    pub async fn on(url: &str, flags: &[&str]) -> Load {
        let prefix = unique("failover");
        let flags = [&["--key-prefix", &prefix][..], flags].concat();
        let sidecars = Arc::new(vec![Sidecar::start_at(url, &flags).await, Sidecar::start_at(url, &flags).await]);
        let (history, stop) = (Arc::new(History::default()), Arc::new(AtomicBool::new(false)));
        let mut workers = Vec::new();
        for number in 0..sidecars.len() * WORKERS_A_SIDECAR {
            let (sidecars, history, stop) = (Arc::clone(&sidecars), Arc::clone(&history), Arc::clone(&stop));
            workers.push(tokio::spawn(async move {
                let sidecar = &sidecars[number % sidecars.len()];
                let mut round = number;
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    turn(sidecar, &history, number, round).await?;
                }
                Ok(())
            }));
        }
        Load { history, sidecars, stop, workers }
    }

    /// Waits for a grant that comes after now; how long it took.
    pub async fn next_grant(&self, within: Duration) -> Duration {
        let begun = Instant::now();
        while self.history.since(begun) == 0 {
            assert!(begun.elapsed() < within, "no grant within {within:?}: {}", self.sidecars[0].log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        begun.elapsed()
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

/// One lock, taken and let go. An answer that no sidecar may give is an error.
async fn turn(sidecar: &Sidecar, history: &History, number: usize, round: usize) -> Result<(), String> {
    let path = format!("/v1/locks/{}", round % KEYS);
    let call = sidecar
        .call("POST", &path)
        .json(&json!({"ttlMs": 1500, "waitMs": if round.is_multiple_of(3) { 500 } else { 0 }}));
    let answer = call.try_send().await?;
    let told = Instant::now();
    match answer.status {
        201 => {}
        409 | 429 | 503 | 504 => {
            tokio::time::sleep(Duration::from_millis(10)).await;
            return Ok(());
        }
        status => return Err(format!("{status}: {}", answer.text())),
    }
    let lease = answer.json();
    let number_of = |field: &str| lease[field].as_u64().ok_or(format!("no {field}: {lease}"));
    let (token, promised) = (number_of("token")?, Duration::from_millis(number_of("validForMs")?));
    let mut held = Held { key: path.clone(), holder: number.to_string(), token, from: told, until: told + promised };
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
        let promised = renewal.json()["validForMs"].as_u64().ok_or("no validForMs")?;
        history.add(Held { from: told, until: told + Duration::from_millis(promised), ..held });
    }
    Ok(())
}
