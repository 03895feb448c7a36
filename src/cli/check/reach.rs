//! Whether each server can be reached: its name, its port, TLS, and who we are there.

use std::sync::Arc;

use super::report::{Check, Name, Status, joined};
use crate::metrics::Metrics;
use crate::redis::{Endpoint, Reached, RedisConfig, Step};

const STEPS: [(Step, Name); 4] =
    [(Step::Name, Name::Dns), (Step::Connection, Name::Tcp), (Step::Tls, Name::Tls), (Step::Login, Name::Auth)];

/// The four checks, and the step that stopped all servers, where one did.
pub async fn reach(config: &RedisConfig, metrics: &Arc<Metrics>) -> (Vec<Check>, Option<Name>) {
    let mut all = Endpoint::reach(&Endpoint::named(config)).await;
    let mut unnamed = None;
    if all.iter().any(|reached| reached.outcome.is_ok()) {
        match Endpoint::masters(config, metrics).await {
            Ok(masters) => {
                // Of a cluster some were named, and reached already.
                let known: Vec<String> = all.iter().map(|reached| reached.place.clone()).collect();
                let masters = Endpoint::reach(&masters).await;
                all.extend(masters.into_iter().filter(|master| !known.contains(&master.place) || is_lost(master)));
            }
            Err(problem) => unnamed = Some(problem),
        }
    }
    let mut checks: Vec<Check> = STEPS.into_iter().map(|(step, name)| check(step, name, &all)).collect();
    if let Some(problem) = unnamed {
        let change = "correct --redis-url, or the sentinels or nodes that it names";
        checks[1] = Check::said(Name::Tcp, Status::Fail, &problem, change);
    }
    let stopped = checks.iter().find(|check| check.status == Status::Fail).map(|check| check.name);
    (checks, stopped)
}

/// Whether a master cannot be connected to: as one of the named servers it is nothing that locks need.
fn is_lost(master: &Reached) -> bool {
    master.outcome.is_err()
}

/// What became of one step at all servers.
fn check(step: Step, name: Name, all: &[Reached]) -> Check {
    let begun: Vec<&Reached> =
        all.iter().filter(|one| one.outcome.as_ref().err().is_none_or(|(at, _)| *at >= step)).collect();
    if begun.is_empty() {
        let before = all.iter().filter_map(|one| one.outcome.as_ref().err().map(|(at, _)| *at)).max();
        let before = STEPS.iter().find(|(at, _)| Some(*at) == before).map_or("dns", |(_, name)| name.label());
        return Check::skipped(name, format!("`{before}` failed"));
    }
    let failed: Vec<(&Reached, &str)> = begun
        .iter()
        .filter_map(|one| one.outcome.as_ref().err().filter(|(at, _)| *at == step).map(|(_, why)| (*one, why.as_str())))
        .collect();
    // Of sentinels and nodes that are named beside others, one that answers is enough.
    let is_needed = |(reached, _): &&(&Reached, &str)| !reached.is_one_of_several;
    let is_another_good = all.iter().any(|one| one.is_one_of_several && one.outcome.is_ok());
    if let Some((_, why)) = failed.iter().find(is_needed).or_else(|| failed.first().filter(|_| !is_another_good)) {
        return Check::said(name, Status::Fail, why, change(step, why));
    }
    if let Some((_, why)) = failed.first() {
        let others = format!("{why}; the other servers in --redis-url answer; bring it back, or leave it out there");
        return Check::said(name, Status::Warn, &others, change(step, why));
    }
    good(step, name, &begun)
}

fn good(step: Step, name: Name, begun: &[&Reached]) -> Check {
    let places = joined(begun.iter().map(|one| &one.place));
    match step {
        Step::Name => {
            let named: Vec<String> = begun.iter().filter_map(|one| resolved(one)).collect();
            match named.as_slice() {
                [] => Check::skipped(name, "no name to look up: Redis is named by an address or a unix socket"),
                named => Check::ok(name, joined(named)),
            }
        }
        Step::Connection => Check::ok(name, format!("{places} accepts connections")),
        Step::Tls if !begun.iter().any(|one| one.is_tls) => {
            Check::skipped(name, "--redis-url asks for no TLS: its scheme is not rediss")
        }
        Step::Tls => Check::ok(name, format!("the certificate of {places} is accepted")),
        Step::Login | Step::Service => Check::ok(name, format!("{places} accepts the user")),
    }
}

/// A host and its addresses.
fn resolved(reached: &Reached) -> Option<String> {
    let mut addresses = reached.addresses.clone()?;
    addresses.sort_unstable();
    addresses.dedup();
    Some(format!("{} is {}", reached.place, addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")))
}

fn change(step: Step, why: &str) -> &'static str {
    match step {
        Step::Name => "correct the host in --redis-url, or the DNS of this machine",
        Step::Connection => of_the_connection(why),
        Step::Tls => "give Redis a certificate for this name, or name its CA with --redis-ca-file",
        Step::Login | Step::Service => "correct --redis-username or --redis-password-file, or the ACL user in Redis",
    }
}

/// What the error of the system call says.
fn of_the_connection(why: &str) -> &'static str {
    let is = |said: &str| why.contains(said);
    match () {
        () if is("no such file") => "start Redis there, or correct the path in --redis-url",
        () if is("permission denied") => "give the user who runs lockside the right to write to this socket",
        () if is("refused") => "start Redis there, or correct the host and port in --redis-url",
        () if is("no answer") || is("unreachable") || is("no route") || is("timed out") => {
            "let a firewall or NetworkPolicy pass it, correct the host and port in --redis-url, or see whether Redis hangs"
        }
        () => {
            "start Redis there, correct the host and port in --redis-url, or let a firewall or NetworkPolicy pass them"
        }
    }
}
