//! One look at Redis, for who asks once: what its servers say of themselves, and what a probe of each master finds, in
//! the words of `/readyz`.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::merge;
use super::probe::Probe;
use super::server;
use super::warnings::Finding;
use crate::lock::{Checks, Rights};
use crate::redis::{Info, Redis, RedisFailure};

/// What a look found.
pub struct Look {
    /// What each server says of itself.
    pub infos: Vec<Info>,
    /// Why a server says nothing of itself.
    pub silence: Option<String>,
    /// What is wrong, one finding a warning.
    pub findings: Vec<Finding>,
    /// The masters at which a lock was acquired, renewed and released.
    pub granted: BTreeSet<String>,
}

/// Looks at the masters that are connected to. Probes leave nothing behind where `probe` is made of a
/// [`crate::lock::Locks::tidy_prober`].
pub async fn look(redis: &Redis, probe: &Probe) -> Look {
    let probed = probe_all(probe).await;
    let granted = probed.iter().filter(|(_, _, is_granted)| *is_granted).map(|(place, ..)| place.clone()).collect();
    let unavailable = redis.away();
    let (mut of_servers, mut infos, mut silence) = (Vec::new(), Vec::new(), None);
    for (place, info) in redis.infos().await {
        match &info {
            Ok(info) => infos.push(info.clone()),
            Err(failure) => silence = Some(said(failure)),
        }
        of_servers.extend(server::findings(redis, info).ok().map(|findings| (place, findings)));
    }
    merge::join(&mut of_servers, probed.into_iter().map(|(place, finding, _)| (place, finding)).collect());
    let are_several = of_servers.len() > 1 || !unavailable.is_empty();
    let mut findings = merge::merge(&of_servers, are_several);
    findings.extend(server::partial(&unavailable));
    Look { infos, silence, findings, granted }
}

/// Of each master that has locks what a probe found, and whether a lock was granted.
async fn probe_all(probe: &Probe) -> Vec<(String, Option<Finding>, bool)> {
    let servers = probe.servers().into_iter();
    let probes = servers.filter_map(|server| Some((server.place, server.first?))).map(async |(place, shard)| {
        let probed = probe.run(shard, Checks::LockAndRights).await;
        if let Err(failure) = probe.tidy(shard).await {
            tracing::debug!(%failure, place, "cannot delete what a probe left behind");
        }
        match probed {
            Ok(probed) => {
                let refused = probed.rights.and_then(|Rights { refused }| refused);
                (place, refused.map(|refused| Finding::of_an_optional_right(&refused)), true)
            }
            Err(failure) => (place, Some(Finding::of_a_probe(&failure)), false),
        }
    });
    join_all(probes).await
}

fn said(failure: &RedisFailure) -> String {
    match failure {
        RedisFailure::Refused(reason) => server::refuses_info(reason),
        failure => failure.to_string(),
    }
}
