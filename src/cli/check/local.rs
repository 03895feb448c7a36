//! What is checked without Redis: whether the policy's tokens are there, and whether calls of the app come to lockside.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::report::{Check, Name};
use crate::config::{Address, AuthConfig};

/// The variables that name a proxy for http:// URLs.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// A mistake in the file is one of the settings, and refused before.
pub fn policy(auth: &AuthConfig) -> Check {
    let Some(policy) = &auth.policy else { return Check::skipped(Name::Policy, "--policy-file is not set") };
    let (policy, tokens) = (policy.now(), auth.api_tokens.names());
    let missing: BTreeSet<&str> =
        policy.tokens().filter(|name| !tokens.iter().any(|token| **token == **name)).collect();
    if !missing.is_empty() {
        let missing = missing.iter().map(|name| format!("token:{name}")).collect::<Vec<_>>().join(", ");
        return Check::warn(
            Name::Policy,
            format!("the policy names {missing}, and there is no such API token"),
            "add a file of this name to --api-tokens-dir (token:default is --api-token-file), or correct the policy",
        );
    }
    if auth.jwt.is_none() && policy.names_users() {
        return Check::warn(
            Name::Policy,
            "the policy names users, and without a JWT key no caller is one",
            "set --jwks-url, --jwks-file, --jwt-public-key-file or --jwt-secret-file, or leave those lines out",
        );
    }
    Check::ok(Name::Policy, format!("rules: {}; each API token that they name is there", policy.rules()))
}

/// Whether HTTP clients that follow these variables would send calls of a listener to a proxy.
pub fn proxies(listeners: &[Address], variable: impl Fn(&str) -> Option<String>) -> Check {
    let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
    let Some(proxy) = PROXIES.iter().find(|name| set(name).is_some()) else {
        return Check::ok(Name::Proxies, "neither HTTP_PROXY nor ALL_PROXY is set");
    };
    let ips: Vec<IpAddr> =
        listeners.iter().filter_map(|address| Some(crate::cli::place::connectable(address.socket()?).ip())).collect();
    if ips.is_empty() {
        return Check::skipped(
            Name::Proxies,
            "the API listens on unix sockets alone, and no client uses a proxy for those",
        );
    }
    let exceptions: Vec<String> = EXCEPTIONS.iter().filter_map(set).collect();
    // Some clients read the one variable, some the other.
    let excepted = |ip: &IpAddr| exceptions.iter().map(|list| excepts(list, *ip)).min().unwrap_or(Excepts::Nothing);
    let Some((ip, excepted)) = ips.iter().map(|ip| (ip, excepted(ip))).min_by_key(|(_, excepted)| *excepted) else {
        return Check::skipped(Name::Proxies, "no address is listened on");
    };
    let why = match excepted {
        Excepts::Address => return Check::ok(Name::Proxies, format!("{proxy} is set, and NO_PROXY excepts lockside")),
        Excepts::Network => format!("has {ip} as a part of a network alone, which many clients do not understand"),
        Excepts::Nothing if exceptions.len() > 1 => format!("does not name {ip}, or no_proxy does not"),
        Excepts::Nothing => format!("does not name {ip}"),
    };
    Check::warn(
        Name::Proxies,
        format!(
            "{proxy} is set, and NO_PROXY {why}: in an app with this environment, HTTP clients that follow it, such as \
             Python's requests and urllib, send calls to lockside to that proxy (lockside itself uses none)"
        ),
        format!("add {ip} to NO_PROXY and no_proxy in the environment of the app"),
    )
}

/// What a list of exceptions has of an address, from the least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Excepts {
    Nothing,
    Network,
    Address,
}

fn excepts(list: &str, ip: IpAddr) -> Excepts {
    let of_an_entry = |entry: &str| match entry.split_once('/') {
        Some((network, bits)) if contains(network, bits, ip).unwrap_or(false) => Excepts::Network,
        None if entry == "*" || entry.trim_matches(['[', ']']).parse() == Ok(ip) => Excepts::Address,
        _ => Excepts::Nothing,
    };
    list.split(',').map(|entry| of_an_entry(entry.trim())).max().unwrap_or(Excepts::Nothing)
}

fn contains(network: &str, bits: &str, ip: IpAddr) -> Option<bool> {
    let bits: u32 = bits.parse().ok()?;
    match (network.parse().ok()?, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0);
            Some(network.to_bits() & mask == ip.to_bits() & mask)
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => {
            let mask = u128::MAX.checked_shl(128_u32.checked_sub(bits)?).unwrap_or(0);
            Some(network.to_bits() & mask == ip.to_bits() & mask)
        }
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    fn status(listeners: &[&str], variables: &[(&str, &str)]) -> Status {
        let listeners: Vec<Address> = listeners.iter().map(|text| text.parse().expect("an address")).collect();
        let of = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        proxies(&listeners, of).status
    }

    #[test]
    fn a_proxy_is_a_warning_unless_lockside_is_excepted() {
        let proxy = ("HTTP_PROXY", "http://proxy:3128");
        assert_eq!(status(&["127.0.0.1:7420"], &[]), Status::Ok);
        assert_eq!(status(&["127.0.0.1:7420"], &[("HTTP_PROXY", "")]), Status::Ok);
        assert_eq!(status(&["127.0.0.1:7420"], &[("HTTPS_PROXY", "http://proxy:3128")]), Status::Ok);
        for name in PROXIES {
            assert_eq!(status(&["127.0.0.1:7420"], &[(name, "http://proxy:3128")]), Status::Warn, "{name}");
        }
        for (exceptions, expected) in [
            ("localhost", Status::Warn),
            ("10.0.0.0/8,.svc", Status::Warn),
            ("127.0.0.1", Status::Ok),
            ("localhost, 127.0.0.1", Status::Ok),
            ("127.0.0.0/8", Status::Warn),
            ("127.0.0.0/8,127.0.0.1", Status::Ok),
            ("127.0.0.0/40", Status::Warn),
            ("*", Status::Ok),
        ] {
            for name in EXCEPTIONS {
                assert_eq!(status(&["127.0.0.1:7420"], &[proxy, (name, exceptions)]), expected, "{exceptions}");
            }
        }
        let both = |capitals, small| status(&["127.0.0.1:7420"], &[proxy, ("NO_PROXY", capitals), ("no_proxy", small)]);
        assert_eq!(both("127.0.0.1", "*"), Status::Ok);
        assert_eq!(both("127.0.0.1", "localhost"), Status::Warn, "each client reads one of them");
        assert_eq!(both("127.0.0.0/8", "127.0.0.1"), Status::Warn);
        assert_eq!(status(&["0.0.0.0:7420"], &[proxy, ("NO_PROXY", "127.0.0.1")]), Status::Ok, "asked on loopback");
        assert_eq!(status(&["[::1]:7420"], &[proxy, ("NO_PROXY", "127.0.0.1")]), Status::Warn);
        assert_eq!(status(&["[::1]:7420"], &[proxy, ("NO_PROXY", "::1")]), Status::Ok);
        assert_eq!(status(&["unix:/run/lockside.sock"], &[proxy]), Status::Skipped);
    }
}
