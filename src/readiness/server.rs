//! What a server's INFO says of the locks in it.

use super::warnings::{Finding, Warning};
use crate::redis::{Info, Redis, RedisFailure, Role};

/// Share of its maxmemory from which a Redis that does not evict is nearly full, percent.
const NEARLY_FULL_PERCENT: u64 = 90;
/// Oldest Redis that has every command of the scripts.
const OLDEST_MAJOR: u32 = 7;

/// What is asked of each server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Demands {
    /// So many replicas must have each lock.
    pub min_replicas: u32,
    /// A replica is to take its place when it fails.
    pub failover: bool,
}

/// What is to be said of a server of `redis` by its answer to INFO; the failure where it gave none.
pub fn findings(redis: &Redis, info: Result<Info, RedisFailure>) -> Result<Vec<Finding>, RedisFailure> {
    match info {
        Ok(mut info) => {
            // Where all nodes are known, it is no fault that one has a part of the keys.
            info.in_cluster &= !redis.is_cluster();
            Ok(judge(&info, Demands { min_replicas: redis.min_replicas(), failover: redis.fails_over() }))
        }
        Err(RedisFailure::Refused(reason)) => Ok(vec![Finding::new(Warning::Unknown, refuses_info(&reason))]),
        Err(failure) => Err(failure),
    }
}

/// What is said of a server that refuses INFO.
pub fn refuses_info(reason: &str) -> String {
    format!("redis refused INFO ({reason}); allow its user +info")
}

/// What is said where a part of the masters is unavailable, a sentence of each.
pub fn partial(unavailable: &[String]) -> Option<Finding> {
    let text =
        "its locks are unavailable, all others are unaffected; bring it back, or give it a replica that takes over";
    (!unavailable.is_empty()).then(|| Finding::new(Warning::Partial, format!("{}; {text}", unavailable.join("; "))))
}

/// What a server's INFO says of the locks in it.
pub fn judge(info: &Info, Demands { min_replicas, failover }: Demands) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |warning, text: &str| findings.push(Finding::new(warning, text));
    if info.in_cluster {
        let part = "this is a node of a Redis Cluster, which has only a part of the keys";
        find(Warning::Cluster, &format!("{part}; use redis-cluster:// in --redis-url"));
    }
    if let Some(Role::Replica(master)) = &info.role {
        let text = format!("this is a replica (of `{master}`) and takes no writes; point --redis-url at the master");
        find(Warning::Replica, &text);
    }
    let is_master = info.role == Some(Role::Master);
    if let Some(replicas) = info.replicas.filter(|replicas| is_master && *replicas < u64::from(min_replicas)) {
        let asked = format!("--min-replicas asks for {min_replicas} replicas, and redis has {replicas}");
        find(Warning::NoGoodReplica, &format!("{asked}, so no grant can succeed; restore the replicas"));
    } else if info.good_replicas == Some(0) {
        let asked = "min-replicas-to-write asks for replicas, none keeps up";
        find(Warning::NoGoodReplica, &format!("{asked}, and so redis takes no writes; restore a replica"));
    } else if failover && is_master && info.replicas == Some(0) {
        let lone = "this master has no replica, so that none can take its place, and its locks end with it";
        find(Warning::NoReplica, &format!("{lone}; restore a replica"));
    }
    let (policy, limit) = (info.maxmemory_policy.as_deref(), info.maxmemory.filter(|bytes| *bytes > 0));
    match (policy, info.used_memory, limit) {
        (Some("noeviction"), Some(used), Some(limit))
            if used.saturating_mul(100) >= limit.saturating_mul(NEARLY_FULL_PERCENT) =>
        {
            let full = format!("redis uses {} % of its maxmemory", used.saturating_mul(100) / limit);
            let advice = "raise maxmemory, or delete data that is not a lock";
            find(Warning::Memory, &format!("{full}, and refuses new locks when it is full; {advice}"));
        }
        (Some("noeviction") | None, ..) | (.., None) => {}
        (Some(policy), ..) => {
            let drops = format!("redis drops locks when memory is short (maxmemory-policy `{policy}`)");
            find(Warning::Eviction, &format!("{drops}; set it to noeviction"));
        }
    }
    if info.appends == Some(false) {
        let text = "a restart of redis loses locks, all or those since its last snapshot; set appendonly to yes";
        find(Warning::Persistence, text);
    }
    if info.replicas.is_some_and(|replicas| replicas > 0) && info.good_replicas.is_none() {
        let goes_on = "a master that lost its replicas goes on granting locks that a failover loses";
        let advice = "set min-replicas-to-write to 1 and min-replicas-max-lag to 2";
        find(Warning::MinReplicas, &format!("{goes_on}; {advice}"));
    }
    if let (Some(version), Some(0..OLDEST_MAJOR)) = (&info.version, info.major()) {
        let too_old = format!("redis {version} is too old, and no lock is granted on it");
        find(Warning::Version, &format!("{too_old}; install Redis {OLDEST_MAJOR}.0 or later"));
    }
    let unsaid = unsaid(info);
    if !unsaid.is_empty() {
        find(Warning::Unknown, &format!("redis does not report {}", unsaid.join(", ")));
    }
    findings
}

/// What INFO leaves out.
fn unsaid(info: &Info) -> Vec<&'static str> {
    let facts = [
        ("redis_version", info.major().is_some()),
        ("role", info.role.is_some()),
        ("connected_slaves", info.replicas.is_some()),
        ("maxmemory", info.maxmemory.is_some()),
        ("maxmemory_policy", info.maxmemory_policy.is_some()),
        ("aof_enabled", info.appends.is_some()),
    ];
    facts.into_iter().filter(|(_, is_said)| !is_said).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Info {
        Info {
            version: Some("7.0.15".to_owned()),
            role: Some(Role::Master),
            in_cluster: false,
            replicas: Some(2),
            good_replicas: Some(2),
            used_memory: Some(1 << 20),
            maxmemory: Some(1 << 30),
            maxmemory_policy: Some("noeviction".to_owned()),
            appends: Some(true),
        }
    }

    fn warnings(info: &Info) -> Vec<Warning> {
        judge(info, Demands::default()).into_iter().map(|finding| finding.warning).collect()
    }

    #[test]
    fn a_redis_as_recommended_has_no_warning() {
        assert_eq!(warnings(&good()), []);
        assert_eq!(
            warnings(&Info { replicas: Some(0), good_replicas: None, ..good() }),
            [],
            "no replica to fail over to"
        );
        let unlimited = Info { maxmemory: Some(0), maxmemory_policy: Some("allkeys-lru".to_owned()), ..good() };
        assert_eq!(warnings(&unlimited), [], "nothing is evicted without a limit");
    }

    #[test]
    fn each_fault_has_its_warning() {
        let lru = Some("volatile-lru".to_owned());
        assert_eq!(warnings(&Info { maxmemory_policy: lru, ..good() }), [Warning::Eviction]);
        assert_eq!(warnings(&Info { appends: Some(false), ..good() }), [Warning::Persistence]);
        assert_eq!(warnings(&Info { good_replicas: None, ..good() }), [Warning::MinReplicas]);
        assert_eq!(warnings(&Info { good_replicas: Some(0), ..good() }), [Warning::NoGoodReplica]);
        assert_eq!(warnings(&Info { version: Some("6.2.14".to_owned()), ..good() }), [Warning::Version]);
        assert_eq!(warnings(&Info { version: Some("8.0.1".to_owned()), ..good() }), []);
        assert_eq!(warnings(&Info { in_cluster: true, ..good() }), [Warning::Cluster]);
        assert_eq!(warnings(&Info { role: Some(Role::Replica("x:1".to_owned())), ..good() }), [Warning::Replica]);
    }

    #[test]
    fn too_few_replicas_for_a_grant_are_no_good() {
        let demand = |min_replicas| Demands { min_replicas, failover: true };
        let findings = judge(&good(), demand(3));
        assert_eq!(findings.len(), 1);
        assert!(findings[0].blocks && findings[0].text.contains("--min-replicas asks for 3"));
        assert_eq!(judge(&good(), demand(2)), []);
        let none = Info { replicas: Some(0), good_replicas: None, ..good() };
        let warnings: Vec<_> = judge(&none, demand(1)).into_iter().map(|finding| finding.warning).collect();
        assert_eq!(warnings, [Warning::NoGoodReplica], "which says more than that there is none");
    }

    #[test]
    fn a_lone_master_is_a_warning_where_a_replica_is_to_take_its_place() {
        let lone = Info { replicas: Some(0), good_replicas: None, ..good() };
        let of = |failover| judge(&lone, Demands { min_replicas: 0, failover });
        assert_eq!(of(false), []);
        assert_eq!(
            of(true).iter().map(|found| (found.warning, found.blocks)).collect::<Vec<_>>(),
            [(Warning::NoReplica, false)]
        );
    }

    #[test]
    fn memory_that_is_nearly_full_is_a_warning_where_nothing_is_evicted() {
        let at = |used_memory, policy: &str| {
            let info = Info {
                used_memory: Some(used_memory),
                maxmemory: Some(1000),
                maxmemory_policy: Some(policy.to_owned()),
                ..good()
            };
            warnings(&info)
        };
        assert_eq!(at(899, "noeviction"), []);
        assert_eq!(at(900, "noeviction"), [Warning::Memory]);
        assert_eq!(at(2000, "noeviction"), [Warning::Memory], "only a probe knows that it is full");
        assert_eq!(at(999, "allkeys-lru"), [Warning::Eviction], "which is full as a rule");
        assert_eq!(warnings(&Info { used_memory: Some(u64::MAX), maxmemory: Some(0), ..good() }), [], "no limit");
    }

    #[test]
    fn what_redis_does_not_say_is_unknown() {
        let findings = judge(&Info { maxmemory_policy: None, ..good() }, Demands::default());
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].warning, Warning::Unknown);
        assert!(findings[0].text.contains("report maxmemory_policy"), "{}", findings[0].text);
    }
}
