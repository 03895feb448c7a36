//! Merges the findings of each server into those of one Redis.

use std::fmt::Write;

use super::warnings::{Finding, Warning};

/// Adds what a probe of each master found to what an inspection found. A server without a probe is dropped: it is not a
/// master any more, or has none of the locks. Under one warning, a blocking finding of the inspection stays, because it
/// says more than the probe's.
pub fn join(of_servers: &mut Vec<(String, Vec<Finding>)>, probed: Vec<(String, Option<Finding>)>) {
    of_servers.retain(|(server, _)| probed.iter().any(|(place, _)| place == server));
    for (place, finding) in probed {
        let seen = match of_servers.iter_mut().find(|(server, _)| *server == place) {
            Some((_, seen)) => seen,
            None => {
                of_servers.push((place, Vec::new()));
                &mut of_servers.last_mut().expect("it was just added").1
            }
        };
        let Some(finding) = finding else { continue };
        if !seen.iter().any(|known| known.warning == finding.warning && known.blocks) {
            seen.retain(|known| known.warning != finding.warning);
            seen.push(finding);
        }
    }
}

/// Merges the findings of each server, given with its name, into at most one a warning. It names its servers if
/// `are_several`. It blocks only if no server takes writes.
pub fn merge(of_servers: &[(String, Vec<Finding>)], are_several: bool) -> Vec<Finding> {
    let blocks = of_servers.iter().all(|(_, findings)| findings.iter().any(|finding| finding.blocks));
    Warning::ALL.iter().filter_map(|warning| merged(*warning, of_servers, are_several, blocks)).collect()
}

fn merged(warning: Warning, of_servers: &[(String, Vec<Finding>)], are_several: bool, blocks: bool) -> Option<Finding> {
    // Servers with one and the same finding are named together.
    let mut sentences: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut is_blocked = false;
    for (server, findings) in of_servers {
        for finding in findings.iter().filter(|finding| finding.warning == warning) {
            is_blocked |= finding.blocks;
            match sentences.iter_mut().find(|(text, _)| *text == finding.text) {
                Some((_, servers)) => servers.push(server),
                None => sentences.push((&finding.text, vec![server])),
            }
        }
    }
    let mut whole = String::new();
    for (text, servers) in &sentences {
        let pause = if whole.is_empty() { "" } else { "; " };
        let place = if are_several { format!("on {}: ", servers.join(", ")) } else { String::new() };
        write!(whole, "{pause}{place}{text}").expect("a string takes all that is written");
    }
    (!sentences.is_empty()).then_some(Finding { warning, text: whole, blocks: is_blocked && blocks })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, findings: &[(Warning, &str)]) -> (String, Vec<Finding>) {
        (name.to_owned(), findings.iter().map(|(warning, text)| Finding::new(*warning, *text)).collect())
    }

    #[test]
    fn one_server_is_not_named() {
        let found = [server("a:1", &[(Warning::Eviction, "it drops locks"), (Warning::Replica, "a replica")])];
        let merged = merge(&found, false);
        assert_eq!(merged, [found[0].1[1].clone(), found[0].1[0].clone()], "in the order of the table");
        assert!(merged[0].blocks && !merged[1].blocks);
        assert_eq!(merge(&[server("a:1", &[])], false), []);
    }

    #[test]
    fn what_a_probe_found_is_added_to_what_was_seen() {
        let mut of_servers =
            vec![server("a:1", &[(Warning::Memory, "95 %")]), server("gone:1", &[(Warning::Eviction, "x")])];
        let full = Finding::blocking(Warning::Memory, "it is full");
        join(&mut of_servers, vec![("a:1".to_owned(), Some(full.clone())), ("b:1".to_owned(), None)]);
        assert_eq!(of_servers, [("a:1".to_owned(), vec![full]), server("b:1", &[])]);
        let mut of_servers = vec![server("a:1", &[(Warning::Replica, "a replica of b:1")])];
        join(&mut of_servers, vec![("a:1".to_owned(), Some(Finding::blocking(Warning::Replica, "READONLY")))]);
        assert_eq!(of_servers[0].1[0].text, "a replica of b:1");
    }

    #[test]
    fn several_are_named_together_where_the_same_is_to_be_said_of_them() {
        let merged = merge(
            &[
                server("a:1", &[(Warning::Eviction, "allkeys-lru")]),
                server("b:1", &[(Warning::Eviction, "volatile-lru")]),
                server("c:1", &[(Warning::Eviction, "allkeys-lru")]),
            ],
            true,
        );
        assert_eq!(merged, [Finding::new(Warning::Eviction, "on a:1, c:1: allkeys-lru; on b:1: volatile-lru")]);
        let one_of_some = merge(&[server("a:1", &[(Warning::Eviction, "allkeys-lru")])], true);
        assert_eq!(one_of_some[0].text, "on a:1: allkeys-lru", "the others are away");
    }

    #[test]
    fn a_server_that_takes_no_writes_blocks_only_while_none_does() {
        let (bad, worse) = ([(Warning::NoGoodReplica, "none keeps up")], [(Warning::Replica, "a replica")]);
        let merged = merge(&[server("a:1", &bad), server("b:1", &[])], true);
        assert_eq!((merged.len(), merged[0].blocks), (1, false));
        let merged = merge(&[server("a:1", &bad), server("b:1", &worse)], true);
        assert!(merged.len() == 2 && merged.iter().all(|finding| finding.blocks));
    }
}
