//! What a lock is worth on this Redis: looked at from the start on, four times a minute; told in /readyz, in metrics
//! and, when it changes, in the log. Knows what Redis says, what the leases show, and whether an acquire can be done,
//! which is tried every five seconds; changes nothing but a mark of how we name our locks.

mod clock;
mod probing;
mod several;
mod warning;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

pub use warning::{Finding, Warning};

use crate::directory::Directory;
use crate::lock::{Checks, Locks, Probed, Prober, Walk};
use crate::metrics::Metrics;
use crate::redis::{Health, Info, Redis, RedisFailure, Role};
use clock::Clocks;
use probing::Probes;
use warning::Demands;

/// Between two looks. All sidecars share Redis, and it is not to notice them: INFO takes it 20 µs.
const INTERVAL: Duration = Duration::from_secs(15);
/// Between two looks while Redis takes no writes or has not answered yet, so that readiness follows fast.
const INTERVAL_BLOCKED: Duration = Duration::from_millis(250);
/// The same before anything is known.
const INTERVAL_UNKNOWN: Duration = Duration::from_millis(20);
/// A page of the index is looked at as often as this. A walk over all shards takes an hour, and so finds what nobody
/// would hurry for.
const PAGE_INTERVAL: Duration = Duration::from_secs(60);
/// Pages looked at at the start, when the clock stepped, and while a lease is known to last too long.
const PAGES_IN_A_HURRY: usize = 128;
/// A lease may last longer than the cap by this, milliseconds, before that means something.
const CAP_SLACK_MS: u64 = 1_000;
/// How long the mark of a sidecar with raw keys stays: longer than some looks that fail.
const RAW_MARK_KEPT_MS: i64 = 60_000;
/// How long a step of the clock stays a warning. Leases from before it end early or late.
const STEP_REMEMBERED: Duration = Duration::from_secs(600);

/// What is known of it now.
pub struct Worth {
    health: Health,
    known: Mutex<Known>,
    redis: Redis,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Known {
    /// `None` before the first look that succeeded.
    looked: Option<Looked>,
    /// Whether there was any.
    has_looked: bool,
    probes: Probes,
    /// What the log has told, and whether it blocks.
    told: Vec<(Warning, bool)>,
}

/// What one look found.
#[derive(Clone)]
struct Looked {
    of_servers: Vec<(String, Vec<Finding>)>,
    /// Of Redis as a whole.
    further: Vec<Finding>,
    are_several: bool,
}

impl Worth {
    pub fn new(redis: Redis, metrics: Arc<Metrics>) -> Worth {
        for warning in Warning::ALL {
            metrics.redis_warning.with_label_values(&[warning.code()]).set(0);
        }
        Worth { health: redis.health(), known: Mutex::default(), redis, metrics }
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
        let (mut of_servers, further, are_several) = match &known.looked {
            Some(looked) => (looked.of_servers.clone(), looked.further.clone(), looked.are_several),
            // What a probe found stands also where nothing can be looked at.
            None if known.has_looked && probed.iter().any(|(_, finding)| finding.is_some()) => Default::default(),
            None => return self.lacking(),
        };
        if probed.is_empty() && silence.is_none() {
            return self.lacking();
        }
        if silence.is_none() {
            several::join(&mut of_servers, probed);
        }
        let are_several = are_several || of_servers.len() > 1;
        let mut findings = several::merge(&of_servers, are_several);
        // Only behind what is known better, such as that this is no master.
        findings.extend(silence.map(|silence| Finding::blocking(Warning::Probe, silence)));
        findings.extend(further);
        if !findings.iter().any(|finding| finding.warning == Warning::Rights) {
            findings.extend(self.refusal(known.probes.refused()));
        }
        Some(findings)
    }

    /// A right that Redis refuses, where no probe fails for it: the last that it refused, or one that locks can do without.
    /// With raw keys that is perhaps the right to some keys, and the user is meant to have other ones; but where a lock
    /// was refused, too, and none was granted since, it is that to all.
    fn refusal(&self, further: Option<String>) -> Option<Finding> {
        let last = self.health.lacks_a_right();
        let blocks = last.is_some() && further.is_some() && self.health.refuses_a_script();
        let text = last.or_else(|| further.map(|text| format!("redis ACL: permission denied: {text}")))?;
        Some(if blocks { Finding::blocking(Warning::Rights, text) } else { Finding::new(Warning::Rights, text) })
    }

    /// The right without which nothing else can be found out.
    fn lacking(&self) -> Option<Vec<Finding>> {
        self.health.lacks_a_right().map(|text| vec![Finding::blocking(Warning::Rights, text)])
    }

    /// Which servers are spoken to.
    pub fn place(&self) -> String {
        self.redis.place()
    }

    /// Whether no master of some keys is known to be unavailable.
    pub fn is_whole(&self) -> bool {
        self.redis.away().is_empty()
    }

    /// Looks and probes for as long as the runtime lives; probes the `directory`, too, where there is one. Leases above
    /// `max_ttl_ms` are too long. One a process.
    pub async fn watch(self: Arc<Worth>, locks: Locks, directory: Option<Directory>, max_ttl_ms: u64) {
        let probe = Arc::new(Probe { prober: locks.prober(), directory });
        tokio::join!(self.probe(probe), self.look(locks, max_ttl_ms));
    }

    /// Does what an acquire does, at each master by itself: one that is silent holds up no other.
    async fn probe(&self, probe: Arc<Probe>) {
        let mut under_way = JoinSet::new();
        loop {
            let due = self.known().probes.due(probe.prober.servers(), Instant::now());
            for (place, shard, checks) in due {
                let probe = Arc::clone(&probe);
                under_way.spawn(async move { (place, probe.run(shard, checks).await) });
            }
            self.tell();
            let pause = if self.findings().is_some() { INTERVAL_BLOCKED } else { INTERVAL_UNKNOWN };
            tokio::select! {
                Some(Ok((place, outcome))) = under_way.join_next(), if !under_way.is_empty() => {
                    if let Err(failure) = &outcome {
                        tracing::debug!(%failure, place, "probe failed");
                    }
                    self.known().probes.ended(&place, outcome, Instant::now());
                }
                () = sleep(pause) => {}
            }
        }
    }

    async fn look(&self, locks: Locks, max_ttl_ms: u64) {
        let mut watch = Watch {
            redis: self.redis.clone(),
            locks,
            cap_ms: max_ttl_ms.saturating_add(CAP_SLACK_MS),
            walk: Walk::default(),
            walked: None,
            hurries: true,
            clocks: Clocks::default(),
            steps: HashMap::new(),
            further: Vec::new(),
        };
        loop {
            let (away, masters) = (self.redis.away(), self.redis.place());
            let looked = watch.look_at_servers(&self.metrics, &away).await;
            let mut pause = INTERVAL;
            match looked {
                Ok(mut looked) => {
                    self.judge_version(&looked);
                    // Known at once, whatever becomes of the rest; but for the first time only all together.
                    if self.known().has_looked {
                        self.known().looked = Some(looked.clone());
                        self.tell();
                    }
                    watch.look_at_leases(&away, &mut looked).await;
                    self.known().looked = Some(looked);
                }
                // Redis is unavailable, and its status says so: what was known of it stays.
                Err(failure) => {
                    tracing::debug!(%failure, "cannot check redis; retrying");
                    pause = INTERVAL_BLOCKED;
                }
            }
            self.known().has_looked = true;
            self.tell();
            let begun = Instant::now();
            // A master that comes or goes is told at once.
            while begun.elapsed() < pause && self.redis.away() == away && self.redis.place() == masters {
                sleep(INTERVAL_BLOCKED).await;
                if self.findings().is_some_and(|findings| findings.iter().any(|finding| finding.blocks)) {
                    pause = INTERVAL_BLOCKED;
                }
            }
            // Looking takes part in deciding that a connection is no good, so it pauses while that is known.
            while self.health.ready().is_err() {
                sleep(INTERVAL_BLOCKED).await;
            }
        }
    }

    /// Where every server is too old, nothing is served, not even what it could do.
    fn judge_version(&self, looked: &Looked) {
        let is_unfit = |findings: &[Finding]| findings.iter().any(|finding| finding.warning == Warning::Version);
        let are_unfit = !looked.of_servers.is_empty() && looked.of_servers.iter().all(|(_, found)| is_unfit(found));
        let version = several::merge(&looked.of_servers, looked.are_several);
        let version = version.into_iter().find(|finding| finding.warning == Warning::Version && are_unfit);
        self.redis.close(version.map(|finding| finding.text));
    }

    /// Takes in what applies now, for the metrics; the log hears of what changed.
    fn tell(&self) {
        let Some(findings) = self.findings() else { return };
        let is_silent = self.health.ready().is_err();
        let mut known = self.known();
        for warning in Warning::ALL {
            let (is, code) = (findings.iter().find(|finding| finding.warning == warning), warning.code());
            self.metrics.redis_warning.with_label_values(&[code]).set(is.is_some().into());
            // That it does not answer is told where that is noticed.
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

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder of this lock panics")
    }
}

/// All that is tried.
struct Probe {
    prober: Prober,
    directory: Option<Directory>,
}

impl Probe {
    async fn run(&self, shard: usize, checks: Checks) -> Result<Probed, RedisFailure> {
        let users = async {
            match &self.directory {
                Some(directory) => directory.probe().await,
                None => Ok(()),
            }
        };
        let (probed, users) = tokio::join!(self.prober.probe(shard, checks), users);
        probed.and_then(|probed| users.map(|()| probed))
    }
}

/// What one look leaves for the next.
struct Watch {
    redis: Redis,
    locks: Locks,
    cap_ms: u64,
    walk: Walk,
    walked: Option<Instant>,
    /// Whether more leases are looked at.
    hurries: bool,
    clocks: Clocks,
    /// When each server's clock stepped last, and by how much, microseconds.
    steps: HashMap<String, (Instant, i64)>,
    /// What the last look found of Redis as a whole.
    further: Vec<Finding>,
}

impl Watch {
    /// What it finds of Redis as a whole is what was found last.
    async fn look_at_servers(&mut self, metrics: &Metrics, away: &[String]) -> Result<Looked, RedisFailure> {
        // First: without the time nothing can be asked of Redis, and it counts as away.
        self.read_clocks(metrics).await?;
        let (of_servers, are_several) = self.judge_servers(metrics, !away.is_empty()).await?;
        Ok(Looked { of_servers, further: self.further.clone(), are_several })
    }

    /// What is wrong with Redis as a whole. What fails is passed over until the next look.
    async fn look_at_leases(&mut self, away: &[String], looked: &mut Looked) {
        let mut findings = Vec::new();
        if !away.is_empty() {
            let text = format!(
                "{}; its locks are unavailable, all others are unaffected; bring it back, or give it a \
                 replica that takes over",
                away.join("; ")
            );
            findings.push(Finding::new(Warning::Partial, text));
        }
        if self.hurries || self.walked.is_none_or(|at| at.elapsed() >= PAGE_INTERVAL) {
            let pages = if self.hurries { PAGES_IN_A_HURRY } else { 1 };
            match self.locks.look_for_overlong(&mut self.walk, self.cap_ms, pages).await {
                Ok(()) => self.hurries = self.walk.longest().is_some(),
                Err(failure) => tracing::debug!(%failure, "cannot check the leases; retrying"),
            }
            self.walked = Some(Instant::now());
        }
        // Not where Redis takes no writes: one more that is refused would count against its connection.
        let is_blocked = looked.of_servers.iter().any(|(_, findings)| findings.iter().any(|finding| finding.blocks));
        if !is_blocked {
            match self.locks.is_mixed(RAW_MARK_KEPT_MS).await {
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
        self.further.clone_from(&findings);
        looked.further = findings;
    }

    /// Judges each server by what it says of itself, and by its clock.
    async fn judge_servers(
        &mut self,
        metrics: &Metrics,
        others_are_away: bool,
    ) -> Result<(Vec<(String, Vec<Finding>)>, bool), RedisFailure> {
        self.steps.retain(|_, (at, _)| at.elapsed() < STEP_REMEMBERED);
        let infos = self.redis.infos().await;
        let are_several = infos.len() > 1 || others_are_away;
        self.count_roles(metrics, infos.iter().filter_map(|(_, info)| info.as_ref().ok()));
        let (mut of_servers, mut silence) = (Vec::new(), None);
        for (server, info) in infos {
            let mut findings = match info {
                Ok(mut info) => {
                    // Where we know the others, too, one node's part is no fault.
                    info.in_cluster &= !self.redis.is_cluster();
                    let (min_replicas, failover) = (self.redis.min_replicas(), self.redis.fails_over());
                    warning::judge(&info, Demands { min_replicas, failover })
                }
                Err(RedisFailure::Refused(reason)) => {
                    vec![Finding::new(Warning::Unknown, format!("redis refused INFO ({reason}); allow its user +info"))]
                }
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
            _ => Ok((of_servers, are_several)),
        }
    }

    fn count_roles<'a>(&self, metrics: &Metrics, infos: impl Iterator<Item = &'a Info>) {
        let mut infos = infos.peekable();
        if infos.peek().is_some() {
            metrics.redis_topology.reset();
        }
        for info in infos {
            let role = match info.role {
                Some(Role::Master) => "master",
                Some(Role::Replica(_)) => "replica",
                None => "unknown",
            };
            metrics.redis_topology.with_label_values(&[self.redis.topology(), role]).inc();
        }
    }

    /// Fails where no server says what time it is.
    async fn read_clocks(&mut self, metrics: &Metrics) -> Result<(), RedisFailure> {
        let clocks = self.redis.clocks().await;
        let are_several = clocks.len() > 1;
        let mut outcome = Err(no_master());
        for (server, clock) in clocks {
            match clock {
                Ok(Some(now)) => {
                    outcome = Ok(());
                    if let Some(step_us) = self.clocks.see(&server, now) {
                        let direction = if step_us > 0 { "forward" } else { "backward" };
                        metrics.clock_steps.with_label_values(&[direction]).inc();
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

fn no_master() -> RedisFailure {
    RedisFailure::NotSent("no master is known".to_owned())
}
