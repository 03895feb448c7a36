//! What Redis says of itself, and whether locks can be granted on it: by the code with which `serve` finds it out for
//! `/readyz`. A lock is acquired, renewed and released for that, and nothing is left in Redis.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::report::{Check, Name, Status, joined};
use crate::config::Config;
use crate::directory::Directory;
use crate::drain::Drain;
use crate::lock::{KeySpace, Locks, Shared};
use crate::metrics::Metrics;
use crate::readiness::{Finding, Look, Probe, Warning, apart_us, look};
use crate::redis::{InFlight, Info, Redis, RedisFailure, Sample};

/// Longest time for the connection, and for each question.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What was seen.
pub struct Seen {
    look: Look,
    /// Why Redis is not ready, where it is not.
    unready: Option<String>,
    clocks: Vec<(String, Result<Option<Sample>, RedisFailure>)>,
    min_replicas: u32,
}

impl Seen {
    /// Connects as the sidecar does, and looks once; an error where nothing was answered in time.
    pub async fn look(config: &Config, metrics: &Arc<Metrics>) -> Result<Seen, String> {
        let in_flight = InFlight::new(config.redis.max_in_flight);
        let redis = Redis::connect(&config.redis, in_flight, Arc::clone(metrics));
        let space = KeySpace::of(&config.locks, &redis, config.redis.database.unwrap_or(0));
        let directory = config.auth.user_directory.then(|| Directory::new(redis.clone(), space.users()));
        let (_stop, drain) = Drain::channel();
        let shared = Arc::new(Shared::new(&config.locks, drain, Arc::clone(metrics), None));
        let locks = Locks::new(redis.clone(), space, shared);
        let unready = connected(&redis).await.err();
        let probe = Probe::new(locks.tidy_prober(), directory);
        let silent = |_| format!("no answer within {} s", PATIENCE.as_secs());
        let look = timeout(PATIENCE, look(&redis, &probe)).await.map_err(silent)?;
        let clocks = timeout(PATIENCE, redis.clocks()).await.map_err(silent)?;
        Ok(Seen { look, unready, clocks, min_replicas: config.redis.min_replicas })
    }

    /// The check of the rights where nothing was answered in time.
    pub fn silence(why: &str) -> Check {
        Check::fail(Name::Rights, format!("no lock was granted: {why}"), "look into the log of Redis: is it too slow?")
    }

    pub fn check(&self, name: Name) -> Check {
        let of: &[Warning] = match name {
            Name::Rights => return self.rights(),
            Name::Clock => return self.clock(),
            Name::Version => &[Warning::Version],
            Name::Persistence => &[Warning::Persistence],
            Name::Eviction => &[Warning::Eviction, Warning::Memory],
            _ => &[
                Warning::Cluster,
                Warning::Replica,
                Warning::NoGoodReplica,
                Warning::Partial,
                Warning::MinReplicas,
                Warning::NoReplica,
            ],
        };
        let found = Check::found(name, &self.findings(of));
        found.unwrap_or_else(|| match name {
            Name::Version => self.fact(name, "redis_version", |info| info.version.clone()),
            Name::Persistence => {
                self.fact(name, "aof_enabled", |info| info.appends.map(|_| "appendonly is yes".to_owned()))
            }
            Name::Eviction => self.eviction(),
            _ => self.replicas(),
        })
    }

    fn findings(&self, of: &[Warning]) -> Vec<&Finding> {
        self.look.findings.iter().filter(|finding| of.contains(&finding.warning)).collect()
    }

    /// What of the check stays in Redis is said here, too.
    fn rights(&self) -> Check {
        self.look.leftovers.iter().fold(self.grants(), |check, leftover| check.with(leftover))
    }

    fn grants(&self) -> Check {
        const CHANGE: &str = "look into the log of Redis, and give its user the rights of deploy/redis/lockside.acl";
        let of_rights = Check::found(Name::Rights, &self.findings(&[Warning::Rights]));
        match (&self.unready, of_rights) {
            // Whichever says what to change, such as that this is a sentinel.
            (Some(why), found) if found.is_none() || why.contains("; ") => {
                return Check::said(Name::Rights, Status::Fail, why, CHANGE);
            }
            (_, Some(found)) => return found,
            _ => {}
        }
        if let Some(found) = Check::found(Name::Rights, &self.findings(&[Warning::Probe])) {
            return found;
        }
        let places = joined(&self.look.granted);
        match self.look.findings.iter().find(|finding| finding.blocks) {
            Some(Finding { text, .. }) if places.is_empty() => {
                return Check::skipped(Name::Rights, format!("no lock can be granted for another reason: {text}"));
            }
            Some(Finding { text, .. }) => {
                let why = format!("a lock was granted on {places}, and not everywhere for another reason: {text}");
                return Check::skipped(Name::Rights, why);
            }
            None if places.is_empty() => {
                return Check::fail(Name::Rights, "no lock was granted: no master answered", CHANGE);
            }
            None => {}
        }
        Check::ok(Name::Rights, format!("a lock was acquired, renewed and released on {places}; no right is missing"))
    }

    /// Of each server one thing that INFO says, each text once; not known where it says nothing of it.
    fn fact(&self, name: Name, fact: &str, of: impl Fn(&Info) -> Option<String>) -> Check {
        let mut all: Vec<String> = Vec::new();
        for info in &self.look.infos {
            let Some(text) = of(info) else { return self.unknown(name, fact) };
            if !all.contains(&text) {
                all.push(text);
            }
        }
        if all.is_empty() { self.unknown(name, fact) } else { Check::ok(name, joined(all)) }
    }

    fn unknown(&self, name: Name, fact: &str) -> Check {
        match &self.look.silence {
            Some(why) if self.unready.is_some() => Check::skipped(name, why),
            Some(why) => Check::said(name, Status::Warn, why, "look into the log of Redis: is it too slow?"),
            None => Check::skipped(name, format!("redis does not report {fact}")),
        }
    }

    /// Where nothing is evicted yet, since there is no maxmemory, the policy is wrong all the same.
    fn eviction(&self) -> Check {
        let policies = self.look.infos.iter().filter_map(|info| info.maxmemory_policy.as_deref());
        match policies.clone().find(|policy| *policy != "noeviction") {
            Some(policy) => Check::fail(
                Name::Eviction,
                format!(
                    "maxmemory-policy is `{policy}`: redis drops locks as soon as it has a maxmemory and reaches it"
                ),
                "set maxmemory-policy to noeviction",
            ),
            None => self.fact(Name::Eviction, "maxmemory_policy", |info| {
                info.maxmemory_policy.as_ref().map(|policy| format!("maxmemory-policy is {policy}"))
            }),
        }
    }

    fn replicas(&self) -> Check {
        let asked = match self.min_replicas {
            0 => "--min-replicas asks for none".to_owned(),
            count => format!("--min-replicas asks for {count}"),
        };
        self.fact(Name::Replicas, "connected_slaves", |info| {
            let count = info.replicas?;
            Some(format!("{count} replica{} connected; {asked}", if count == 1 { "" } else { "s" }))
        })
    }

    fn clock(&self) -> Check {
        let mut known = 0;
        for (server, clock) in &self.clocks {
            let Ok(Some(sample)) = clock else { continue };
            known += 1;
            if let Some(apart_us) = apart_us(sample) {
                let direction = if apart_us > 0 { "ahead of" } else { "behind" };
                let seconds = apart_us.unsigned_abs() as f64 / 1e6;
                return Check::warn(
                    Name::Clock,
                    format!("the clock of {server} is {seconds:.1} s {direction} that of this machine"),
                    "synchronize the clocks of both hosts, slewing them: leases end by redis's clock, credentials expire \
                     by this machine's",
                );
            }
        }
        match self.clocks.iter().find_map(|(_, clock)| clock.as_ref().err()) {
            Some(failure) if known == 0 => Check::skipped(Name::Clock, failure.to_string()),
            _ if known == 0 => Check::skipped(Name::Clock, "no server said what time it is"),
            _ => Check::ok(Name::Clock, "redis's clock is within a second of this machine's"),
        }
    }
}

/// Waits until all masters are connected to and answer; why, if they do not in time.
async fn connected(redis: &Redis) -> Result<(), String> {
    let (health, begun) = (redis.health(), Instant::now());
    loop {
        let ready = health.ready();
        if ready.is_ok() && redis.away().is_empty() {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return ready;
        }
        sleep(LOOK_AGAIN).await;
    }
}
