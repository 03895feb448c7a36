//! One look at Redis, for who asks once: what its servers say of themselves, and what a probe of each master finds, in
//! the words of `/readyz`.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::merge;
use super::probe::Probe;
use super::server;
use super::warnings::{Finding, Warning};
use crate::lock::{Checks, Rights};
use crate::redis::{Info, Redis, RedisFailure};

/// What a look found.
pub struct Look {
    /// What each server says of itself.
    pub infos: Vec<Info>,
    /// Why a server says nothing of itself.
    pub silence: Option<String>,
    /// What is wrong, one finding a warning. It blocks where a part of the locks cannot be granted, unlike that of
    /// `/readyz`: a single look is not there for those that can.
    pub findings: Vec<Finding>,
    /// What is said of keys that could not be deleted.
    pub leftovers: Vec<String>,
    /// The masters at which a lock was acquired, renewed and released.
    pub granted: BTreeSet<String>,
}

/// Looks at the masters that are connected to. Probes leave nothing behind where `probe` is made of a
/// [`crate::lock::Locks::tidy_prober`].
pub async fn look(redis: &Redis, probe: &Probe) -> Look {
    // Before the probes: a refusal of theirs may cost the connection.
    let told = redis.infos().await;
    let probed = probe_all(probe).await;
    let granted = probed.iter().filter(|one| one.is_granted).map(|one| one.place.clone()).collect();
    let leftovers = probed.iter().filter_map(|one| one.leftover.clone()).collect();
    let unavailable = redis.away();
    let (mut of_servers, mut infos, mut silence) = (Vec::new(), Vec::new(), None);
    for (place, info) in told {
        match &info {
            Ok(info) => infos.push(info.clone()),
            Err(failure) => silence = Some(said(failure)),
        }
        of_servers.extend(server::findings(redis, info).ok().map(|findings| (place, findings)));
    }
    merge::join(&mut of_servers, probed.into_iter().map(|one| (one.place, one.finding)).collect());
    let are_several = of_servers.len() > 1 || !unavailable.is_empty();
    let mut findings = merge::merge(&of_servers, are_several);
    findings.extend(server::partial(&unavailable));
    for finding in &mut findings {
        let mut of_any = of_servers.iter().flat_map(|(_, found)| found);
        finding.blocks |=
            finding.warning == Warning::Partial || of_any.any(|one| one.warning == finding.warning && one.blocks);
    }
    Look { infos, silence, findings, leftovers, granted }
}

/// What a probe of a master found.
struct Outcome {
    place: String,
    finding: Option<Finding>,
    is_granted: bool,
    leftover: Option<String>,
}

/// Of each master that has locks what a probe found.
async fn probe_all(probe: &Probe) -> Vec<Outcome> {
    let servers = probe.servers().into_iter();
    let probes = servers.filter_map(|server| Some((server.place, server.first?))).map(async |(place, shard)| {
        let (probed, tidied) = probe.run_tidily(shard, Checks::LockAndRights).await;
        let leftover = tidied.err().map(|leftover| format!("on {place}: {leftover}"));
        let is_granted = probed.is_ok();
        let finding = match probed {
            Ok(probed) => {
                let refused = probed.rights.and_then(|Rights { refused }| refused);
                refused.map(|refused| Finding::of_an_optional_right(&refused))
            }
            Err(failure) => Some(Finding::of_a_probe(&failure)),
        };
        Outcome { place, finding, is_granted, leftover }
    });
    join_all(probes).await
}

fn said(failure: &RedisFailure) -> String {
    match failure {
        RedisFailure::Refused(reason) => server::refuses_info(reason),
        failure => failure.to_string(),
    }
}
