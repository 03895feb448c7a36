//! The audit trail: what stands in it, and that no line is lost without being counted.

mod holder;
mod lines;
mod losses;
mod refusals;
mod routes;

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Scratch, Sidecar, eventually, unique};

/// How long a line may take, on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// The file of a trail, in a folder of its own.
pub struct Trail {
    _scratch: Scratch,
    pub path: String,
}

impl Trail {
    pub fn new() -> Trail {
        let scratch = Scratch::new();
        let path = scratch.path("audit.jsonl");
        Trail { _scratch: scratch, path }
    }

    /// Each line so far, of which the last one is whole.
    pub fn lines(&self) -> Vec<Value> {
        lines(&std::fs::read_to_string(&self.path).unwrap_or_default())
    }

    /// The lines once `holds` of them.
    pub async fn until(&self, what: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        eventually(what, SOON, async || holds(&self.lines())).await;
        self.lines()
    }

    /// All lines that were written for what has been answered: those before the refusal of a request that comes last.
    pub async fn settled(&self, sidecar: &Sidecar) -> Vec<Value> {
        let last = unique("last");
        let answer = sidecar.call("GET", "/v1/locks").header("x-request-id", &last).bearer("none of ours").send().await;
        assert_eq!(answer.status, 401, "{}", answer.text());
        let place = |lines: &[Value]| lines.iter().position(|line| line["request_id"] == *last);
        let mut lines = self.until("the last line", |lines| place(lines).is_some()).await;
        lines.truncate(place(&lines).unwrap());
        lines
    }
}

/// Lines of JSON.
pub fn lines(text: &str) -> Vec<Value> {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// How many lines were lost, as the metrics say.
pub async fn lost(sidecar: &Sidecar) -> u64 {
    let metrics = sidecar.ops("/metrics").await;
    let sample = metrics.text().lines().find_map(|line| line.strip_prefix("lockside_audit_lost_total "));
    sample.unwrap_or_else(|| panic!("no counter")).parse().unwrap()
}
