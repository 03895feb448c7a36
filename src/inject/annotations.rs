//! The annotations that a pod sets parameters by. Each wrong value is told, and each name that there is not.

use std::net::SocketAddr;

use super::quantity::billionths;
use super::told::{self, nearest, shown};
use super::{INJECT, INJECTED, image};
use crate::config::Address;
use crate::yaml::Node;

/// What the annotations of a pod ask for.
#[derive(Debug, Default)]
pub struct Wanted {
    pub image: Option<String>,
    pub cpu_request: Option<String>,
    pub cpu_limit: Option<String>,
    pub memory_request: Option<String>,
    pub memory_limit: Option<String>,
    pub config_map: Option<String>,
    pub secret: Option<String>,
    /// Whether the pod is to be ready only while lockside is.
    pub has_readiness: bool,
    /// Whether the containers are to have the command line.
    pub has_cli: bool,
    pub ops_port: Option<u16>,
    pub listen: Option<Listen>,
}

/// Where the sidecar of a pod listens.
#[derive(Clone, Debug)]
pub struct Listen {
    pub text: String,
    ports: Vec<u16>,
    /// For the containers of the pod; `None` where they can reach it over TLS only.
    pub url: Option<String>,
}

/// Where the sidecar listens by default.
pub const URL: &str = "http://127.0.0.1:7420";
const PORT: u16 = 7420;
/// Of metrics and probes, by default.
const OPS_PORT: u16 = 9420;
/// Longest list of addresses, bytes: each is compared with each.
const LONGEST_LISTEN: usize = 1000;
/// Of every label and annotation.
pub const PREFIX: &str = "lockside/";
/// The names behind the prefix.
const NAMES: [&str; 11] = [
    "image",
    "cpu-request",
    "cpu-limit",
    "memory-request",
    "memory-limit",
    "config-map",
    "secret",
    "readiness",
    "cli",
    "ops-port",
    "listen",
];

impl Wanted {
    /// From a pod's annotations, or everything that is wrong with them.
    pub fn parse(annotations: Option<&Node>) -> Result<Wanted, Vec<String>> {
        let (mut wanted, mut mistakes) = (Wanted::default(), Vec::new());
        let Some(Node::Map(entries, _)) = annotations else { return Ok(wanted) };
        for (key, value) in entries {
            let Some(key) = key.as_str() else { continue };
            let Some(name) = key.strip_prefix(PREFIX) else { continue };
            let taken = match value.as_str() {
                _ if key == INJECTED => Ok(()),
                _ if key == INJECT => Err("a label of the pod, not an annotation".to_owned()),
                _ if !is_known(name) => Err(unknown(name)),
                None => Err("expected a string; put the value in quotes".to_owned()),
                Some(value) => wanted.take(name, value),
            };
            if let Err(problem) = taken {
                mistakes.push(format!("annotation `{}`: {problem}", shown(key)));
            }
            if mistakes.len() == told::MOST {
                return Err(mistakes);
            }
        }
        mistakes.extend(wanted.contradictions());
        if mistakes.is_empty() { Ok(wanted) } else { Err(mistakes) }
    }

    /// What is wrong with the annotations together.
    fn contradictions(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.has_cli && self.listen.as_ref().is_some_and(|listen| listen.url.is_none()) {
            mistakes.push(
                "annotation `lockside/cli`: no address in `lockside/listen` that the containers reach without TLS; add \
                 one such as 127.0.0.1:7420"
                    .to_owned(),
            );
        }
        let ops = self.ops_port.unwrap_or(OPS_PORT);
        let ports = self.listen.as_ref().map_or(vec![PORT], |listen| listen.ports.clone());
        if ports.contains(&ops) {
            let (wrong, others) = match (&self.listen, self.ops_port) {
                (Some(_), Some(_)) => ("annotations `lockside/listen` and `lockside/ops-port`", "choose two ports"),
                (Some(_), None) => ("annotation `lockside/listen`", "choose another one, or set `lockside/ops-port`"),
                (None, _) => ("annotation `lockside/ops-port`", "choose another one, or set `lockside/listen`"),
            };
            mistakes.push(format!(
                "{wrong}: {ops} would be the port of the API (`lockside/listen`) and of the probes (`lockside/ops-port`); \
                 {others}"
            ));
        }
        mistakes
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        let some = |checked: Result<String, String>| checked.map(Some);
        match name {
            "image" => self.image = some(image::check(value))?,
            "cpu-request" => self.cpu_request = some(quantity(value, "50m"))?,
            "cpu-limit" => self.cpu_limit = some(quantity(value, "500m"))?,
            "memory-request" => self.memory_request = some(quantity(value, "16Mi"))?,
            "memory-limit" => self.memory_limit = some(quantity(value, "128Mi"))?,
            "config-map" => self.config_map = some(object_name(value, "ConfigMap"))?,
            "secret" => self.secret = some(object_name(value, "Secret"))?,
            "readiness" => self.has_readiness = switch(value)?,
            "cli" => self.has_cli = switch(value)?,
            "ops-port" => self.ops_port = Some(port(value)?),
            _ => self.listen = Some(listen(value)?),
        }
        Ok(())
    }
}

/// Whether a parameter is set by an annotation of this name, which is the one behind the prefix.
pub fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

pub fn unknown(name: &str) -> String {
    match nearest(name, &NAMES) {
        Some(near) => format!("there is none of this name; did you mean `{PREFIX}{near}`?"),
        None => format!("there is none of this name; expected {PREFIX} and one of {}", NAMES.join(", ")),
    }
}

fn quantity(text: &str, example: &str) -> Result<String, String> {
    billionths(text)
        .map(|_| text.to_owned())
        .ok_or_else(|| format!("`{}`; expected a quantity above zero, such as {example}", shown(text)))
}

fn object_name(text: &str, kind: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(is_label) {
        return Ok(text.to_owned());
    }
    Err(format!("`{}`; expected the name of a {kind}: lower-case letters, digits, `-` and `.`", shown(text)))
}

fn switch(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("`{}`; expected \"true\" or \"false\"", shown(text)))
}

fn port(text: &str) -> Result<u16, String> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| is_digits && *port > 0);
    port.ok_or_else(|| format!("`{}`; expected a port, 1 to 65535", shown(text)))
}

fn listen(text: &str) -> Result<Listen, String> {
    let addresses = addresses(text)?;
    for address in &addresses {
        match address {
            Address::Unix(_) => {
                return Err(format!(
                    "`{}`: a unix socket of the sidecar is out of reach for the other containers; expected ip:port",
                    shown(&address.to_string())
                ));
            }
            Address::Tcp(of) | Address::Tls(of) if of.port() == 0 => {
                return Err(format!("`{address}`; expected a port other than 0"));
            }
            _ => {}
        }
    }
    let sockets: Vec<SocketAddr> = addresses.iter().filter_map(Address::socket).collect();
    for (at, socket) in sockets.iter().enumerate() {
        if let Some(other) = sockets[..at].iter().find(|other| overlap(**other, *socket)) {
            return Err(format!("`{other}` and `{socket}` are one port twice; expected each once"));
        }
    }
    let ports = sockets.iter().map(SocketAddr::port).collect();
    Ok(Listen { text: text.to_owned(), ports, url: reachable(&addresses) })
}

/// Whether only one of two addresses can be listened on.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && (one.ip() == other.ip() || is_everywhere)
}

/// The URL of a sidecar for the containers of its pod, by what it listens on.
pub fn url_of(listen: &str) -> Option<String> {
    addresses(listen).ok().and_then(|addresses| reachable(&addresses))
}

fn addresses(text: &str) -> Result<Vec<Address>, String> {
    if text.len() > LONGEST_LISTEN {
        return Err(format!("`{}`; expected a few addresses, of {LONGEST_LISTEN} bytes at most", shown(text)));
    }
    let parse = |one: &str| one.parse().map_err(|problem: String| problem.replace(one, &shown(one)));
    text.split(',').map(|one| parse(one.trim())).collect()
}

fn reachable(addresses: &[Address]) -> Option<String> {
    addresses.iter().find_map(|address| match address {
        Address::Tcp(of) if of.ip().is_unspecified() => Some(format!("http://127.0.0.1:{}", of.port())),
        Address::Tcp(of) => Some(format!("http://{of}")),
        _ => None,
    })
}
