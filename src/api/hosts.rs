//! Which host names and addresses a listener answers to.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use hyper::HeaderMap;
use hyper::header::HOST;
use hyper::http::uri::Authority;

use super::failure::Failure;
use crate::headers::values;

/// The host names that a listener answers to: against DNS rebinding, and where `--allowed-hosts` names them.
#[derive(Debug)]
pub struct Hosts {
    /// The address that is listened on; `None` for a unix socket.
    pub own: Option<IpAddr>,
    pub allowed: Vec<String>,
}

impl Hosts {
    /// Whether it answers to this name or address.
    pub fn admit(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let Ok(ip) = name.parse::<IpAddr>() else {
            let is_loopback_name = name == "localhost" || name.ends_with(".localhost");
            let has_loopback = self.own.is_none_or(|own| own.is_loopback() || own.is_unspecified());
            return (is_loopback_name && has_loopback) || self.allowed.contains(&host);
        };
        let is_own = match self.own {
            None => ip.is_loopback(),
            Some(own) if own.is_unspecified() => is_of_this_machine(ip),
            Some(own) => ip == own || (ip.is_loopback() && own.is_loopback()),
        };
        is_own || self.allowed.contains(&if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() })
    }
}

/// Whether an address is one of this machine's now, of any interface: only those can be bound.
fn is_of_this_machine(ip: IpAddr) -> bool {
    let is_one_place = !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::V4(Ipv4Addr::BROADCAST);
    is_one_place && UdpSocket::bind((ip, 0)).is_ok()
}

/// The host that a request is for; more than one is refused.
pub fn one_host(headers: &HeaderMap) -> Result<Option<Authority>, Failure> {
    let bad = || Failure::BadRequest("the Host header is no host".to_owned());
    let mut hosts = values(headers, HOST);
    let Some(host) = hosts.next() else { return Ok(None) };
    if hosts.next().is_some() {
        return Err(Failure::BadRequest("two Host headers".to_owned()));
    }
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| bad())?;
    if authority.as_str().contains('@') {
        return Err(bad());
    }
    Ok(Some(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_answers_to_its_own_addresses_and_to_every_name_unless_hosts_are_allowed() {
        for (own, admitted, refused) in [
            (Some("127.0.0.1"), &["localhost", "127.0.0.9", "[::1]", "locks.test"][..], &["10.0.0.1", "evil.test"][..]),
            (Some("10.0.0.1"), &["10.0.0.1", "locks.test"], &["localhost", "127.0.0.1", "10.0.0.2", "evil.test"]),
            (Some("0.0.0.0"), &["localhost", "127.0.0.1"], &["192.0.2.1", "224.0.0.1", "255.255.255.255", "0.0.0.0"]),
            (None, &["localhost", "127.0.0.1", "[::1]", "LOCKS.test"], &["10.0.0.1", "evil.test"]),
        ] {
            let own = own.map(|ip| ip.parse().expect("an address"));
            let hosts = Hosts { own, allowed: vec!["locks.test".to_owned(), "[2001:db8::1]".to_owned()] };
            for host in admitted.iter().chain(&["[2001:DB8:0::1]"]) {
                assert!(hosts.admit(host), "{own:?} {host}");
            }
            for host in refused {
                assert!(!hosts.admit(host), "{own:?} {host}");
            }
        }
    }
}
