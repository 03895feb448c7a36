//! Where to listen, who may connect, and what a listener offers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use super::{Check, given, names, of_nothing};
use crate::config::flags::ListenFlags;
use crate::config::{Address, DaprStore, ListenConfig, SocketAccess};

const LONGEST_STORE: usize = 64;
const OPS_PORT: u16 = 9420;
/// Where nothing says how many there may be.
const CONNECTIONS: usize = 16_384;
const SOCKET_MODE: u32 = 0o660;

impl Check {
    /// What can be read, whatever is wrong with the rest.
    pub fn listen(&mut self, flags: &ListenFlags) -> ListenConfig {
        let api = self.addresses("--listen", &flags.listen);
        let has_dapr_grpc = flags.dapr_grpc_listen.iter().any(|text| !text.is_empty());
        let dapr_grpc =
            if has_dapr_grpc { self.addresses("--dapr-grpc-listen", &flags.dapr_grpc_listen) } else { Vec::new() };
        let (ops, ops_of_any_family) = self.ops(flags);
        for (flag, addresses) in [("--dapr-grpc-listen", &dapr_grpc), ("--ops-listen", &ops)] {
            for address in addresses.iter().filter(|address| matches!(address, Address::Tls(_))) {
                self.mistake(flag, format!("`{address}`: TLS is for --listen alone; expected ip:port or unix:/path"));
            }
        }
        let tls = self.tls(flags, &api);
        let mut all = api.iter().chain(&dapr_grpc).chain(&ops);
        let sockets = self.sockets(flags, all.any(|address| matches!(address, Address::Unix(_))));
        let max_connections = given(&flags.max_connections);
        let max_connections_is_set = max_connections.is_some();
        let max_connections =
            max_connections.map_or(Some(CONNECTIONS), |text| self.count("--max-connections", text, 1, 1_000_000));
        let insecure = self.switch("--insecure", &flags.insecure);
        let mut allowed_hosts = Vec::new();
        if let Some(text) = of_nothing(&flags.allowed_hosts) {
            self.mistake("--allowed-hosts", no_host(&text));
        }
        for text in names(&flags.allowed_hosts) {
            allowed_hosts.extend(self.take("--allowed-hosts", host(&text)));
        }
        let no_origin = |text: &str| format!("`{text}` is no origin; expected scheme://host[:port] without a path");
        if let Some(text) = of_nothing(&flags.allowed_origins) {
            self.mistake("--allowed-origins", no_origin(&text));
        }
        let allowed_origins = names(&flags.allowed_origins);
        for origin in &allowed_origins {
            if Url::parse(origin).map(|url| url.origin().ascii_serialization()).as_ref() != Ok(origin) {
                self.mistake("--allowed-origins", no_origin(origin));
            }
        }
        ListenConfig {
            api,
            dapr_grpc,
            ops,
            ops_of_any_family,
            sockets,
            tls,
            allowed_hosts,
            allowed_origins,
            max_connections: max_connections.unwrap_or(CONNECTIONS),
            max_connections_is_set,
            insecure: insecure.unwrap_or_default(),
            dapr_stores: self.dapr_stores(&flags.dapr_stores),
            docs_url: given(&flags.docs_url).and_then(|text| self.take("--docs-url", docs_url(text))),
        }
    }

    /// The addresses of `--ops-listen`, and those of them that stand for any family.
    fn ops(&mut self, flags: &ListenFlags) -> (Vec<Address>, Vec<Address>) {
        const FLAG: &str = "--ops-listen";
        if flags.ops_listen.iter().all(String::is_empty) {
            let both = of_any_family(OPS_PORT);
            return (both.to_vec(), both.to_vec());
        }
        let (mut texts, mut of_any) = (Vec::new(), Vec::new());
        for text in names(&flags.ops_listen) {
            match text.strip_prefix("*:") {
                None => texts.push(text),
                Some(port) => {
                    let Some(port) = self.take(FLAG, port_of_any_family(&text, port)) else { continue };
                    let both = of_any_family(port);
                    texts.extend(both.iter().map(Address::to_string));
                    of_any.extend(both);
                }
            }
        }
        // Of nothing but `*:` that is none, which is told.
        let is_told = texts.is_empty() && !names(&flags.ops_listen).is_empty();
        let all = if is_told { Vec::new() } else { self.addresses(FLAG, &texts) };
        (all, of_any)
    }

    /// Every address that was asked for, once.
    fn addresses(&mut self, flag: &str, texts: &[String]) -> Vec<Address> {
        let mut addresses = Vec::new();
        let texts = names(texts);
        if texts.is_empty() {
            self.mistake(flag, format!("no address; {EXPECTED}"));
        }
        for text in texts {
            let Some(address) = self.take(flag, text.parse::<Address>()) else { continue };
            let is_any_port = address.socket().is_some_and(|address| address.port() == 0);
            if !is_any_port && addresses.contains(&address) {
                self.mistake(flag, format!("`{text}` is given twice; expected each address once"));
            }
            addresses.push(address);
        }
        addresses
    }

    fn sockets(&mut self, flags: &ListenFlags, has_sockets: bool) -> SocketAccess {
        let (mode, group) = (given(&flags.listen_mode), given(&flags.listen_group));
        for (flag, is_given) in [("--listen-mode", mode.is_some()), ("--listen-group", group.is_some())] {
            if is_given && !has_sockets {
                self.mistake(flag, "given, but no listener is a unix socket; expected --listen unix:/path with it");
            }
        }
        SocketAccess {
            mode: mode.and_then(|text| self.take("--listen-mode", socket_mode(text))).unwrap_or(SOCKET_MODE),
            group: group.and_then(|text| self.take("--listen-group", group_number(text))),
        }
    }

    fn dapr_stores(&mut self, texts: &[String]) -> Vec<DaprStore> {
        const FLAG: &str = "--dapr-stores";
        let (names, text) = (names(texts), texts.join(","));
        if names.is_empty() || (names.len() > 1 && names.iter().any(|name| name == "none")) {
            self.mistake(FLAG, format!("`{text}`; expected NAME or NAME=PREFIX, comma-separated, or `none` alone"));
        }
        let stores: Vec<DaprStore> = names.iter().filter(|name| *name != "none").map(|text| dapr_store(text)).collect();
        for (at, DaprStore { name, prefix }) in stores.iter().enumerate() {
            if stores[..at].iter().any(|other| other.name == *name) {
                self.mistake(FLAG, format!("`{name}` is named twice; expected each store once"));
            }
            let fits = |text: &str| (1..=LONGEST_STORE).contains(&text.len()) && !text.chars().any(char::is_control);
            // Behind a prefix that ends in one, a resource that begins with one would be another's.
            if !fits(name) || !fits(prefix) || name.contains("||") || prefix.ends_with('|') {
                self.mistake(
                    FLAG,
                    format!(
                        "`{name}={prefix}`; expected NAME or NAME=PREFIX, each of 1 to {LONGEST_STORE} bytes without \
                         control characters, NAME without `||`, and PREFIX without a `|` at its end"
                    ),
                );
            }
        }
        stores
    }
}

/// What `*:PORT` stands for.
fn of_any_family(port: u16) -> [Address; 2] {
    let families = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    families.map(|ip| Address::Tcp(SocketAddr::new(ip, port)))
}

fn port_of_any_family(text: &str, port: &str) -> Result<u16, String> {
    let is_digits = port.bytes().all(|byte| byte.is_ascii_digit());
    // Left to the kernel, each family would have another one.
    let port = port.parse().ok().filter(|port| is_digits && *port != 0);
    port.ok_or_else(|| format!("`{text}`; expected *: and a port, 1 to 65535, such as *:{OPS_PORT}"))
}

/// Without a prefix of its own: the name.
fn dapr_store(text: &str) -> DaprStore {
    let (name, prefix) = text.split_once('=').unwrap_or((text, text));
    DaprStore { name: name.to_owned(), prefix: prefix.to_owned() }
}

/// A host as the `Host` header names it, in lower case and without its port.
fn host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Ok(ip) = bare.unwrap_or(text).parse::<Ipv6Addr>() {
        return Ok(format!("[{ip}]"));
    }
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Ok(ip.to_string());
    }
    let labels: Vec<&str> = text.split('.').collect();
    let is_label = |label: &&str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // No name ends in a number: that is an address gone wrong.
    let is_number = |label: &&str| label.bytes().all(|byte| byte.is_ascii_digit());
    if text.len() > 253 || !labels.iter().all(is_label) || labels.last().is_some_and(is_number) {
        return Err(no_host(text));
    }
    Ok(text.to_ascii_lowercase())
}

/// An address that `/errors` can follow.
fn docs_url(text: &str) -> Result<String, String> {
    let problem = || {
        format!(
            "`{text}`; expected http://host/path or https://host/path, the host in ASCII (xn--...), without query and \
             fragment"
        )
    };
    let url = Url::parse(text).map_err(|_| problem())?;
    let is_plain =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    match url.scheme() {
        "http" | "https" if is_plain && url.has_host() => Ok(url.as_str().trim_end_matches('/').to_owned()),
        _ => Err(problem()),
    }
}

fn no_host(text: &str) -> String {
    format!(
        "`{text}`; expected a host name or an IP address, without scheme, port, path and `*`, such as locks.example.com"
    )
}

fn socket_mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal = (3..=4).contains(&digits.len()) && digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
    mode.ok_or_else(|| format!("`{text}`; expected three octal digits, such as 0660 or 600"))
}

/// A group's number, by its name in /etc/group: the static binary has no other directory of groups.
fn group_number(text: &str) -> Result<u32, String> {
    const GROUPS: &str = "/etc/group";
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // The highest one means "unchanged".
        let number = text.parse().ok().filter(|number| *number != u32::MAX);
        return number.ok_or_else(|| format!("`{text}`; expected a group's name or number"));
    }
    let groups = std::fs::read(GROUPS).map_err(|error| format!("cannot read {GROUPS}: {error}; give the number"))?;
    let groups = String::from_utf8_lossy(&groups);
    let number = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(text)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    number.ok_or_else(|| format!("no group `{text}` in {GROUPS}; expected a group's name or number"))
}

const EXPECTED: &str = "expected ip:port such as 127.0.0.1:7420, tls:ip:port, or unix:/path";

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                path if path.starts_with('/') => Ok(Address::Unix(PathBuf::from(path))),
                _ => Err(format!("`{text}`: the path is not absolute; {EXPECTED}")),
            };
        }
        let (bare, address): (_, fn(SocketAddr) -> Address) = match text.strip_prefix("tls:") {
            Some(bare) => (bare, Address::Tls),
            None => (text, Address::Tcp),
        };
        if let Some(port) = bare.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
            return Ok(address(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)));
        }
        bare.parse().map(address).map_err(|_| format!("`{text}`; {EXPECTED}"))
    }
}
