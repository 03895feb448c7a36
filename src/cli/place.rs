//! Where a sidecar is, as the command line is told.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use crate::config::Address;

/// Where a sidecar listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Tcp {
        host: String,
        port: u16,
    },
    /// Over TLS.
    Tls {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

impl Default for Place {
    fn default() -> Place {
        Place::Tcp { host: "127.0.0.1".to_owned(), port: 7420 }
    }
}

impl From<Address> for Place {
    /// An address that is listened on, as it is connected to.
    fn from(address: Address) -> Place {
        let host = |address| match connectable(address).ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        match address {
            Address::Tcp(address) => Place::Tcp { host: host(address), port: address.port() },
            Address::Tls(address) => Place::Tls { host: host(address), port: address.port() },
            Address::Unix(path) => Place::Unix(path),
        }
    }
}

/// An address that is listened on, as it is connected to: the loopback address where it is every address.
pub fn connectable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// The first of the addresses that `serve` takes by one variable; empty where there is none.
pub fn first(addresses: &str) -> &str {
    all(addresses).next().unwrap_or_default()
}

/// The first of them that needs no certificate, or else the first.
pub fn nearest(addresses: &str) -> &str {
    all(addresses).find(|address| !address.starts_with("tls:")).unwrap_or_else(|| first(addresses))
}

fn all(addresses: &str) -> impl Iterator<Item = &str> {
    addresses.split(',').map(str::trim).filter(|address| !address.is_empty())
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        const EXPECTED: &str = "expected http://127.0.0.1:7420, https://host:7420 or unix:/path";
        if text.is_empty() {
            // As an unset variable in a pod's manifest gives.
            return Ok(Place::default());
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.starts_with('/') {
                true => Ok(Place::Unix(PathBuf::from(path))),
                false => Err(format!("the path is not absolute; {EXPECTED}")),
            };
        }
        let url = Url::parse(text).map_err(|error| format!("{error}; {EXPECTED}"))?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err(EXPECTED.to_owned());
        }
        let host = url.host_str().ok_or_else(|| format!("no host; {EXPECTED}"))?.to_owned();
        match url.scheme() {
            "http" => Ok(Place::Tcp { host, port: url.port().unwrap_or(80) }),
            "https" => Ok(Place::Tls { host, port: url.port().unwrap_or(443) }),
            _ => Err(EXPECTED.to_owned()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp { host, port } => write!(f, "http://{host}:{port}"),
            Place::Tls { host, port } => write!(f, "https://{host}:{port}"),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_is_found_by_http_or_unix() {
        let tcp = |host: &str, port| Ok(Place::Tcp { host: host.to_owned(), port });
        assert_eq!("http://127.0.0.1:7420".parse(), tcp("127.0.0.1", 7420));
        assert_eq!("http://[::1]:7420/".parse(), tcp("[::1]", 7420));
        assert_eq!("".parse(), tcp("127.0.0.1", 7420));
        assert_eq!("unix:/run/lockside.sock".parse(), Ok(Place::Unix("/run/lockside.sock".into())));
        assert_eq!("unix:///run/lockside.sock".parse(), Ok(Place::Unix("/run/lockside.sock".into())));
        let tls = |host: &str, port| Ok(Place::Tls { host: host.to_owned(), port });
        assert_eq!("https://locks.example.com:7443".parse(), tls("locks.example.com", 7443));
        assert_eq!("https://[::1]".parse(), tls("[::1]", 443));
        for bad in ["https://x/api", "ftp://x", "http://x/api", "unix:run.sock", "127.0.0.1:7420", "x"] {
            assert!(
                bad.parse::<Place>().expect_err("no place").contains("expected http://127.0.0.1:7420, https://"),
                "{bad}"
            );
        }
    }

    #[test]
    fn an_address_that_is_listened_on_is_connected_to() {
        for (listened, place) in [
            ("127.0.0.1:7420", "http://127.0.0.1:7420"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:80", "http://[::1]:80"),
            ("[2001:db8::1]:80", "http://[2001:db8::1]:80"),
            ("localhost:81", "http://127.0.0.1:81"),
            ("unix:/run/api", "unix:/run/api"),
            ("tls:0.0.0.0:7443", "https://127.0.0.1:7443"),
        ] {
            assert_eq!(Place::from(listened.parse::<Address>().expect("an address")).to_string(), place);
        }
    }

    #[test]
    fn the_container_s_own_sidecar_is_asked_where_no_certificate_is_needed() {
        assert_eq!(nearest("tls:0.0.0.0:7443, 127.0.0.1:7420"), "127.0.0.1:7420");
        assert_eq!(nearest(" ,tls:0.0.0.0:7443,tls:[::]:7443"), "tls:0.0.0.0:7443");
        assert_eq!(nearest(""), "");
    }
}
