//! Elections: of several sidecars one leads, and all say so.

mod access;
mod chaos;
mod conditions;
mod events;
mod leaders;
mod protocols;
mod tls;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::http::Lines;
use crate::harness::{Sidecar, TestRedis, eventually, unique};

/// For how long a leader of these tests leads unless it is renewed.
const TTL: Duration = Duration::from_secs(2);
/// Longest time until one leads, on a busy machine.
const SOON: Duration = Duration::from_secs(15);

/// Candidates of one election.
struct Candidates {
    name: String,
    all: Vec<Sidecar>,
}

impl Candidates {
    /// So many on the shared Redis, `pod-0`, `pod-1`…, with further flags.
    async fn start(count: usize, flags: &[&str]) -> Candidates {
        Candidates::start_at(&TestRedis::shared().url(), count, flags).await
    }

    async fn start_at(url: &str, count: usize, flags: &[&str]) -> Candidates {
        let name = unique("jobs");
        let mut all = Vec::new();
        for number in 0..count {
            all.push(candidate(url, &name, number, flags).await);
        }
        Candidates { name, all }
    }

    fn path(&self) -> String {
        format!("/v1/elections/{}", self.name)
    }

    /// What a candidate says.
    async fn ask(&self, number: usize) -> Value {
        let answer = self.all[number].call("GET", &self.path()).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Who leads, where one does.
    async fn leader(&self) -> Option<usize> {
        for number in 0..self.all.len() {
            if self.ask(number).await["leader"] == true {
                return Some(number);
            }
        }
        None
    }

    /// Waits until one leads.
    async fn elected(&self) -> usize {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(leader) = self.leader().await {
                return leader;
            }
            assert!(Instant::now() < deadline, "no leader within {SOON:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until a candidate says what is expected of its answer.
    async fn says(&self, number: usize, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(what, SOON, async || holds(&self.ask(number).await)).await;
        self.ask(number).await
    }

    async fn resign(&self, number: usize, query: &str) {
        let answer = self.all[number].call("DELETE", &format!("{}{query}", self.path())).send().await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
}

/// The next event of an election, which has no name; `None` when the stream has ended.
async fn news(events: &mut Lines) -> Option<Value> {
    let (name, news) = events.event().await?;
    assert_eq!(name, "message");
    Some(news)
}

/// A candidate of an election, `pod-N`, for [`TTL`] unless a flag says otherwise.
async fn candidate(url: &str, name: &str, number: usize, flags: &[&str]) -> Sidecar {
    let own = format!("pod-{number}");
    let ttl: &[&str] = if flags.contains(&"--elect-ttl") { &[] } else { &["--elect-ttl", "2s"] };
    Sidecar::start_at(url, &[&["--elect", name, "--elect-as", &own], ttl, flags].concat()).await
}
