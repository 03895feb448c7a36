//! What is known of this Redis: whether an acquire can be granted, and what makes locks on it less safe. Told in /readyz,
//! in /v1/status, in metrics, and in the log when it changes. `watch` finds it out; [`Readiness`] keeps it.

mod clock_steps;
mod inspector;
mod look;
mod merge;
mod probe;
mod probes;
mod server;
mod warnings;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use crate::auth::KeySet;
use crate::metrics::Metrics;
use crate::redis::{Health, Redis};
pub use clock_steps::apart_us;
pub use look::{Look, look};
pub use probe::Probe;
use probes::Probes;
pub use warnings::{Finding, Warning};
pub use watch::watch;

/// What is known. One a process.
pub struct Readiness {
    health: Health,
    /// Of the other threads.
    threads: Mutex<Vec<Health>>,
    known: Mutex<Known>,
    redis: Redis,
    /// The keys of JWTs, where they are fetched.
    keys: Option<KeySet>,
    metrics: Arc<Metrics>,
}

/// What the inspections and the probes have found.
#[derive(Default)]
pub struct Known {
    /// The latest inspection that succeeded.
    pub inspected: Option<Inspected>,
    /// Whether an inspection has ended, well or not.
    pub has_inspected: bool,
    pub probes: Probes,
    /// The warnings that the log has last told, and whether each blocks.
    told: Vec<(Warning, bool)>,
}

/// What one inspection found.
#[derive(Clone)]
pub struct Inspected {
    pub of_servers: Vec<(String, Vec<Finding>)>,
    /// Of Redis as a whole.
    pub of_redis: Vec<Finding>,
    pub are_several: bool,
    pub seen: Servers,
}

/// What the servers say of themselves; where they differ, each once, with a comma between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Servers {
    /// `master`, `replica` or `unknown`.
    pub role: Option<String>,
    /// `7.0.15`, as they spell it.
    pub version: Option<String>,
}

impl Readiness {
    pub fn new(redis: Redis, keys: Option<KeySet>, metrics: Arc<Metrics>) -> Readiness {
        for warning in Warning::ALL {
            metrics.redis_warning.with_label_values(&[warning.code()]).set(0);
        }
        Readiness { health: redis.health(), threads: Mutex::default(), known: Mutex::default(), redis, keys, metrics }
    }

    /// Why no lock can be granted now, if none can.
    pub fn obstacle(&self) -> Option<String> {
        let Some(findings) = self.findings() else {
            let unknown = || "no acquire has been tried on it yet".to_owned();
            return Some(self.health.lacks_a_right().unwrap_or_else(unknown));
        };
        findings.into_iter().find(|finding| finding.blocks).map(|finding| finding.text)
    }

    /// The warnings that apply now; `None` while nothing is known.
    pub fn findings(&self) -> Option<Vec<Finding>> {
        let silence = self.health.ready().err();
        let known = self.known();
        let probed = known.probes.findings(Instant::now());
        let (mut of_servers, of_redis, are_several) = match &known.inspected {
            Some(inspected) => (inspected.of_servers.clone(), inspected.of_redis.clone(), inspected.are_several),
            // A probe's finding holds, too, where no inspection succeeds.
            None if known.has_inspected && probed.iter().any(|(_, finding)| finding.is_some()) => Default::default(),
            None => return self.lacking(),
        };
        if probed.is_empty() && silence.is_none() {
            return self.lacking();
        }
        if silence.is_none() {
            merge::join(&mut of_servers, probed);
        }
        let are_several = are_several || of_servers.len() > 1;
        let mut findings = merge::merge(&of_servers, are_several);
        // Last, because other findings say more, such as that this is a replica.
        findings.extend(silence.map(|silence| Finding::blocking(Warning::Probe, silence)));
        findings.extend(of_redis);
        if !findings.iter().any(|finding| finding.warning == Warning::Rights) {
            findings.extend(self.refusal(known.probes.refused()));
        }
        findings.extend(self.keys.as_ref().and_then(KeySet::lack).map(|lack| {
            let text = format!("{lack}; requests with a JWT are answered 503 keys-unavailable");
            Finding::new(Warning::JwtKeys, text)
        }));
        Some(findings)
    }

    /// A right that Redis refuses, where no probe fails for it: the last that it refused, or an `optional` one, which locks
    /// can do without. With raw keys that may be the right to some keys, and the ACL user may have others; but if an acquire
    /// was refused, too, and none was granted since, all keys are refused.
    fn refusal(&self, optional: Option<String>) -> Option<Finding> {
        let last = self.health.lacks_a_right();
        let blocks = last.is_some() && optional.is_some() && self.health.refuses_a_script();
        let found = last.map(|text| Finding::new(Warning::Rights, text));
        let found = found.or_else(|| optional.map(|text| Finding::of_an_optional_right(&text)))?;
        Some(Finding { blocks, ..found })
    }

    /// The missing right without which no inspection or probe succeeds.
    fn lacking(&self) -> Option<Vec<Finding>> {
        self.health.lacks_a_right().map(|text| vec![Finding::blocking(Warning::Rights, text)])
    }

    /// Counts in another thread's connection.
    pub fn include(&self, thread: Health) {
        self.threads.lock().expect("no holder of this lock panics").push(thread);
    }

    /// `Ok` while each thread's Redis connection answers, and a probe has acquired within the last seconds.
    pub fn grants(&self) -> Result<(), String> {
        self.answers().and_then(|()| self.obstacle().map_or(Ok(()), Err))
    }

    /// `Ok` while each thread's Redis connection answers.
    pub fn answers(&self) -> Result<(), String> {
        let threads = self.threads.lock().expect("no holder of this lock panics");
        threads.iter().chain([&self.health]).try_for_each(Health::ready)
    }

    /// The servers that are connected to.
    pub fn endpoint(&self) -> String {
        self.redis.place()
    }

    /// The addresses of the masters, with a comma between; nothing while none is known.
    pub fn addresses(&self) -> String {
        self.redis.addresses()
    }

    /// `single`, `sentinel` or `cluster`.
    pub fn topology(&self) -> &'static str {
        self.redis.topology()
    }

    /// What the servers said of themselves at the latest inspection.
    pub fn servers(&self) -> Servers {
        self.known().inspected.as_ref().map(|inspected| inspected.seen.clone()).unwrap_or_default()
    }

    /// Whether the master of every key is available, as far as is known.
    pub fn is_whole(&self) -> bool {
        self.redis.away().is_empty()
    }

    /// Stops every operation while each server is too old, also those operations that it could do.
    pub fn judge_version(&self, inspected: &Inspected) {
        let is_unfit = |findings: &[Finding]| findings.iter().any(|finding| finding.warning == Warning::Version);
        let are_unfit =
            !inspected.of_servers.is_empty() && inspected.of_servers.iter().all(|(_, found)| is_unfit(found));
        let version = merge::merge(&inspected.of_servers, inspected.are_several);
        let version = version.into_iter().find(|finding| finding.warning == Warning::Version && are_unfit);
        self.redis.close(version.map(|finding| finding.text));
    }

    /// Sets the metrics to the warnings that apply now, and logs those that have come or gone.
    pub fn tell(&self) {
        let Some(findings) = self.findings() else { return };
        let is_silent = self.health.ready().is_err();
        let mut known = self.known();
        for &warning in Warning::ALL {
            let (is, code) = (findings.iter().find(|finding| finding.warning == warning), warning.code());
            self.metrics.redis_warning.with_label_values(&[code]).set(is.is_some().into());
            // A Redis that does not answer is logged by its connection.
            if warning.is_told_as_it_happens() || (warning == Warning::Probe && is_silent) {
                continue;
            }
            let was = known.told.iter().find(|(told, _)| *told == warning).map(|(_, blocks)| *blocks);
            if was == is.map(|is| is.blocks) {
                continue;
            }
            known.told.retain(|(told, _)| *told != warning);
            known.told.extend(is.map(|is| (warning, is.blocks)));
            match is {
                Some(Finding { text, blocks: true, .. }) => {
                    tracing::error!(warning = code, "locks cannot be granted: {text}");
                }
                Some(Finding { text, .. }) => {
                    tracing::warn!(warning = code, "safety warning: {text}");
                }
                None => tracing::info!(warning = code, "safety warning cleared"),
            }
        }
    }

    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder of this lock panics")
    }
}
