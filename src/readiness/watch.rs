//! The tasks that find out what [`Readiness`] knows: a probe of each master every five seconds, an inspection of Redis
//! four times a minute. One of each a process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Readiness;
use super::inspector::Inspector;
use super::probe::Probe;
use crate::directory::Directory;
use crate::lock::Locks;

/// Between two inspections. All sidecars share Redis, and must not load it: INFO takes it 20 µs.
const INTERVAL: Duration = Duration::from_secs(15);
/// Between two inspections while Redis takes no writes or has not answered yet, so that readiness follows fast.
const INTERVAL_BLOCKED: Duration = Duration::from_millis(250);
/// Between two looks at which probes are due, before anything is known.
const INTERVAL_UNKNOWN: Duration = Duration::from_millis(20);

/// Probes and inspects for as long as the runtime lives. Probes the `directory`, too, where there is one. A lease that
/// lasts longer than `max_ttl_ms` is a finding.
pub async fn watch(readiness: Arc<Readiness>, locks: Locks, directory: Option<Directory>, max_ttl_ms: u64) {
    let probe = Arc::new(Probe::new(locks.prober(), directory));
    let inspector = Inspector::new(readiness.redis.clone(), locks, Arc::clone(&readiness.metrics), max_ttl_ms);
    tokio::join!(keep_probing(&readiness, probe), keep_inspecting(&readiness, inspector));
}

/// Does what an acquire does, at each master by itself, so that a silent master delays no other's probe.
async fn keep_probing(readiness: &Readiness, probe: Arc<Probe>) {
    let mut under_way = JoinSet::new();
    loop {
        let due = readiness.known().probes.due(probe.servers(), Instant::now());
        for (place, shard, checks) in due {
            let probe = Arc::clone(&probe);
            under_way.spawn(async move { (place, probe.run(shard, checks).await) });
        }
        readiness.tell();
        let pause = if readiness.findings().is_some() { INTERVAL_BLOCKED } else { INTERVAL_UNKNOWN };
        tokio::select! {
            Some(Ok((place, outcome))) = under_way.join_next(), if !under_way.is_empty() => {
                if let Err(failure) = &outcome {
                    tracing::debug!(%failure, place, "probe failed");
                }
                readiness.known().probes.ended(&place, outcome, Instant::now());
            }
            () = sleep(pause) => {}
        }
    }
}

async fn keep_inspecting(readiness: &Readiness, mut inspector: Inspector) {
    let (redis, health) = (&readiness.redis, readiness.redis.health());
    loop {
        let (unavailable, masters) = (redis.away(), redis.place());
        let mut pause = INTERVAL;
        match inspector.inspect_servers(&unavailable).await {
            Ok(mut inspected) => {
                readiness.judge_version(&inspected);
                // Known at once, however the rest ends; but the first one that succeeds is known only as a whole.
                let is_first = readiness.known().inspected.is_none();
                if !is_first {
                    readiness.known().inspected = Some(inspected.clone());
                    readiness.tell();
                }
                inspector.inspect_leases(&unavailable, &mut inspected).await;
                readiness.known().inspected = Some(inspected);
            }
            // Redis is unavailable, and its health says so: what was known of it stays.
            Err(failure) => {
                tracing::debug!(%failure, "cannot check redis; retrying");
                pause = INTERVAL_BLOCKED;
            }
        }
        readiness.known().has_inspected = true;
        readiness.tell();
        let begun = Instant::now();
        // A master that comes or goes is told at once.
        while begun.elapsed() < pause && redis.away() == unavailable && redis.place() == masters {
            sleep(INTERVAL_BLOCKED).await;
            if readiness.findings().is_some_and(|findings| findings.iter().any(|finding| finding.blocks)) {
                pause = INTERVAL_BLOCKED;
            }
        }
        // A failed inspection counts against its connection, and so none is made while Redis is known to be unavailable.
        while health.ready().is_err() {
            sleep(INTERVAL_BLOCKED).await;
        }
    }
}
