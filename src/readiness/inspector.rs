//! Inspects Redis: what its servers say of themselves, their clocks, and the leases that lie there. Changes nothing but a
//! mark of how this sidecar names its locks.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock_steps::Clocks;
use super::server;
use super::warnings::{Finding, Warning};
use super::{Inspected, Servers};
use crate::lock::{Locks, Walk};
use crate::metrics::Metrics;
use crate::redis::{Info, Redis, RedisFailure, Role};

/// Between two pages of the index. All shards take an hour so: what is found there is not urgent.
const PAGE_INTERVAL: Duration = Duration::from_secs(60);
/// Pages in one inspection at the start, after a step of the clock, and while a lease is known to last too long.
const PAGES_IN_A_HURRY: usize = 128;
/// How much longer than the cap a lease may last before that is a finding, milliseconds.
const CAP_SLACK_MS: u64 = 1_000;
/// How long the mark of a sidecar with raw keys stays: longer than a few failed inspections.
const RAW_MARK_KEPT_MS: i64 = 60_000;
/// How long a step of the clock stays a warning. Leases from before it end early or late.
const STEP_REMEMBERED: Duration = Duration::from_secs(600);

/// What one inspection keeps for the next.
pub struct Inspector {
    redis: Redis,
    locks: Locks,
    metrics: Arc<Metrics>,
    cap_ms: u64,
    walk: Walk,
    walked: Option<Instant>,
    /// Whether [`PAGES_IN_A_HURRY`] are due.
    hurries: bool,
    clocks: Clocks,
    /// When each server's clock stepped last, and by how much, microseconds.
    steps: HashMap<String, (Instant, i64)>,
    /// What the latest inspection found of Redis as a whole.
    of_redis: Vec<Finding>,
}

impl Inspector {
    pub fn new(redis: Redis, locks: Locks, metrics: Arc<Metrics>, max_ttl_ms: u64) -> Inspector {
        Inspector {
            redis,
            locks,
            metrics,
            cap_ms: max_ttl_ms.saturating_add(CAP_SLACK_MS),
            walk: Walk::default(),
            walked: None,
            hurries: true,
            clocks: Clocks::default(),
            steps: HashMap::new(),
            of_redis: Vec::new(),
        }
    }

    /// Inspects each server; of Redis as a whole it repeats what the inspection before found.
    pub async fn inspect_servers(&mut self, unavailable: &[String]) -> Result<Inspected, RedisFailure> {
        // First, because no call is sent before Redis has said what time it is.
        self.read_clocks().await?;
        self.judge_servers(!unavailable.is_empty()).await
    }

    /// Adds the findings about Redis as a whole and its leases. A check that fails is left to the next inspection.
    pub async fn inspect_leases(&mut self, unavailable: &[String], inspected: &mut Inspected) {
        let mut findings = Vec::new();
        findings.extend(server::partial(unavailable));
        if self.hurries || self.walked.is_none_or(|at| at.elapsed() >= PAGE_INTERVAL) {
            let pages = if self.hurries { PAGES_IN_A_HURRY } else { 1 };
            match self.locks.look_for_overlong(&mut self.walk, self.cap_ms, pages).await {
                Ok(()) => self.hurries = self.walk.longest().is_some(),
                Err(failure) => tracing::debug!(%failure, "cannot check the leases; retrying"),
            }
            self.walked = Some(Instant::now());
        }
        // Not where Redis takes no writes: one more refusal would count against its connection.
        let is_blocked = inspected.of_servers.iter().any(|(_, findings)| findings.iter().any(|finding| finding.blocks));
        if !is_blocked {
            match self.locks.disagree_on_raw_keys(RAW_MARK_KEPT_MS).await {
                Ok(false) => {}
                Ok(true) => findings.push(Finding::new(
                    Warning::RawKeys,
                    "another sidecar of this namespace has --raw-keys and this one has not, so that one key is two \
                     locks; set it on all or on none",
                )),
                Err(failure) => tracing::debug!(%failure, "cannot check which sidecars have --raw-keys; retrying"),
            }
        }
        if let Some(longest) = self.walk.longest() {
            let text = format!(
                "a lease lasts for another {} s, longer than --max-ttl; did redis's clock step back, or has another \
                 sidecar a higher --max-ttl? force-release the lock if unused",
                longest.left_ms / 1000
            );
            findings.push(Finding::new(Warning::LongLease, text));
        }
        self.of_redis.clone_from(&findings);
        inspected.of_redis = findings;
    }

    /// Judges each server by its INFO and by its clock.
    async fn judge_servers(&mut self, others_are_unavailable: bool) -> Result<Inspected, RedisFailure> {
        self.steps.retain(|_, (at, _)| at.elapsed() < STEP_REMEMBERED);
        let infos = self.redis.infos().await;
        let are_several = infos.len() > 1 || others_are_unavailable;
        self.count_roles(infos.iter().filter_map(|(_, info)| info.as_ref().ok()));
        let seen = seen(infos.iter().filter_map(|(_, info)| info.as_ref().ok()));
        let (mut of_servers, mut silence) = (Vec::new(), None);
        for (server, info) in infos {
            let mut findings = match server::findings(&self.redis, info) {
                Ok(findings) => findings,
                Err(failure) => {
                    silence = Some(failure);
                    continue;
                }
            };
            if let Some((_, step_us)) = self.steps.get(&server) {
                let text = format!(
                    "redis's clock stepped by {:+.1} s, so that leases end that much early or late; \
                     slew its host's clock, do not step it",
                    *step_us as f64 / 1e6
                );
                findings.push(Finding::new(Warning::ClockStep, text));
            }
            of_servers.push((server, findings));
        }
        match silence {
            Some(failure) if of_servers.is_empty() => Err(failure),
            _ if of_servers.is_empty() => Err(no_master()),
            _ => Ok(Inspected { of_servers, of_redis: self.of_redis.clone(), are_several, seen }),
        }
    }

    fn count_roles<'a>(&self, infos: impl Iterator<Item = &'a Info>) {
        let mut infos = infos.peekable();
        if infos.peek().is_some() {
            self.metrics.redis_topology.reset();
        }
        for info in infos {
            self.metrics.redis_topology.with_label_values(&[self.redis.topology(), role_of(info)]).inc();
        }
    }

    /// Compares each server's clock with what it was. Fails where no server says what time it is.
    async fn read_clocks(&mut self) -> Result<(), RedisFailure> {
        let clocks = self.redis.clocks().await;
        let are_several = clocks.len() > 1;
        let mut outcome = Err(no_master());
        for (server, clock) in clocks {
            match clock {
                Ok(Some(now)) => {
                    outcome = Ok(());
                    if let Some(step_us) = self.clocks.see(&server, now) {
                        let direction = if step_us > 0 { "forward" } else { "backward" };
                        self.metrics.clock_steps.with_label_values(&[direction]).inc();
                        let (warning, step_ms) = (Warning::ClockStep.code(), step_us / 1000);
                        let named = are_several.then_some(server.as_str());
                        tracing::error!(
                            warning,
                            server = named,
                            step_ms,
                            "redis's clock stepped: leases end that much early or late"
                        );
                        self.steps.insert(server, (Instant::now(), step_us));
                        self.hurries = true;
                    }
                }
                Ok(None) => outcome = Ok(()),
                Err(failure) if outcome.is_err() => outcome = Err(failure),
                Err(_) => {}
            }
        }
        outcome
    }
}

/// What the servers say of themselves.
fn seen<'a>(infos: impl Iterator<Item = &'a Info> + Clone) -> Servers {
    let joined = |texts: BTreeSet<&str>| (!texts.is_empty()).then(|| Vec::from_iter(texts).join(", "));
    let versions = infos.clone().filter_map(|info| info.version.as_deref());
    Servers { role: joined(infos.map(role_of).collect()), version: joined(versions.collect()) }
}

fn role_of(info: &Info) -> &'static str {
    match info.role {
        Some(Role::Master) => "master",
        Some(Role::Replica(_)) => "replica",
        None => "unknown",
    }
}

fn no_master() -> RedisFailure {
    RedisFailure::NotSent("no master is known".to_owned())
}
