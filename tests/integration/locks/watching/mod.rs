//! Watching through all that may happen to Redis and to messages: in the end what is shown is right, within three seconds.

mod idle;
mod many;
mod slow;
mod trouble;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::harness::http::Lines;
use crate::harness::{Sidecar, eventually};

/// Longest time until what is shown is right again.
const RIGHT: Duration = Duration::from_secs(3);

/// What a stream has shown so far: the tokens that are held, and how many gaps there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shown {
    held: BTreeMap<String, u64>,
    is_synced: bool,
    gaps: usize,
}

/// A stream that is read until it is dropped.
struct Watcher {
    shown: Arc<Mutex<Shown>>,
    reading: tokio::task::JoinHandle<()>,
}

impl Watcher {
    async fn open(sidecar: &Sidecar, path: &str) -> Watcher {
        Watcher::of(sidecar.call("GET", path).open().await).await
    }

    /// Reads on in a stream.
    async fn of(mut lines: Lines) -> Watcher {
        assert_eq!(lines.status, 200);
        let shown: Arc<Mutex<Shown>> = Arc::default();
        let reader = Arc::clone(&shown);
        let reading = tokio::spawn(async move { read(&mut lines, &reader).await });
        let watcher = Watcher { shown, reading };
        eventually("it is synced", RIGHT, async || watcher.shown().is_synced).await;
        watcher
    }

    fn shown(&self) -> Shown {
        self.shown.lock().expect("no panic while held").clone()
    }

    /// Whether the stream has ended.
    fn has_ended(&self) -> bool {
        self.reading.is_finished()
    }

    async fn shows(&self, held: &[(&str, u64)]) {
        let held: BTreeMap<String, u64> = held.iter().map(|(key, token)| ((*key).to_owned(), *token)).collect();
        let what = format!("{held:?} is shown");
        let took = eventually(&what, RIGHT, async || {
            let shown = self.shown();
            shown.is_synced && shown.held == held
        })
        .await;
        println!("shown after {took:?}");
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn read(lines: &mut Lines, shown: &Mutex<Shown>) {
    let mut run = BTreeMap::new();
    while let Some((name, data)) = lines.event().await {
        let mut shown = shown.lock().expect("no panic while held");
        let (key, token) = (data["key"].as_str().unwrap_or_default().to_owned(), data["token"].as_u64().unwrap_or(0));
        match name.as_str() {
            "state" if token > 0 => drop(run.insert(key, token)),
            "synced" => (shown.held, shown.is_synced) = (std::mem::take(&mut run), true),
            "gap" => (shown.is_synced, shown.gaps) = (false, shown.gaps + 1),
            "granted" => {
                let before = shown.held.insert(key, token).unwrap_or(0);
                assert!(before < token, "tokens rise: {before}, {token}");
            }
            "released" | "expired" | "forced" => drop(shown.held.remove(&key)),
            _ => {}
        }
    }
}

async fn acquire(sidecar: &Sidecar, key: &str) -> u64 {
    let answer = sidecar.call("POST", &format!("/v1/locks/{key}")).json(&json!({"ttlMs": 60_000})).send().await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["token"].as_u64().expect("a token")
}

async fn release(sidecar: &Sidecar, key: &str, token: u64) {
    let answer = sidecar.call("DELETE", &format!("/v1/locks/{key}?token={token}")).send().await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}
