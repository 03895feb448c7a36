//! The annotations that a pod sets parameters by. Each wrong value is told, and each name that there is not.

use super::quantity::billionths;
use super::{INJECT, INJECTED};
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
    /// For the containers of the pod; `None` where they can reach it over TLS only.
    pub url: Option<String>,
}

/// Where the sidecar listens by default.
pub const URL: &str = "http://127.0.0.1:7420";
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
                mistakes.push(format!("annotation `{key}`: {problem}"));
            }
        }
        if wanted.has_cli && wanted.listen.as_ref().is_some_and(|listen| listen.url.is_none()) {
            mistakes.push(
                "annotation `lockside/cli`: no address in `lockside/listen` that the containers reach without TLS; add \
                 one such as 127.0.0.1:7420"
                    .to_owned(),
            );
        }
        if mistakes.is_empty() { Ok(wanted) } else { Err(mistakes) }
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        let some = |checked: Result<String, String>| checked.map(Some);
        match name {
            "image" => self.image = some(image(value))?,
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
    let near = NAMES.iter().map(|known| (strsim::damerau_levenshtein(name, known), known)).min();
    match near {
        Some((distance, near)) if distance <= 3 => {
            format!("there is none of this name; did you mean `{PREFIX}{near}`?")
        }
        _ => format!("there is none of this name; expected {PREFIX} and one of {}", NAMES.join(", ")),
    }
}

/// An image's name, as far as it can be told without a registry.
pub fn image(text: &str) -> Result<String, String> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if text.chars().all(is_fit) && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}`; expected an image such as registry.example.com/lockside:1.0"))
}

fn quantity(text: &str, example: &str) -> Result<String, String> {
    billionths(text)
        .map(|_| text.to_owned())
        .ok_or_else(|| format!("`{text}`; expected a quantity above zero, such as {example}"))
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
    Err(format!("`{text}`; expected the name of a {kind}: lower-case letters, digits, `-` and `.`"))
}

fn switch(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("`{text}`; expected \"true\" or \"false\""))
}

fn port(text: &str) -> Result<u16, String> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| is_digits && *port > 0);
    port.ok_or_else(|| format!("`{text}`; expected a port, 1 to 65535"))
}

fn listen(text: &str) -> Result<Listen, String> {
    let addresses = addresses(text)?;
    for address in &addresses {
        match address {
            Address::Unix(_) => {
                return Err(format!(
                    "`{address}`: a unix socket of the sidecar is out of reach for the other containers; expected ip:port"
                ));
            }
            Address::Tcp(of) | Address::Tls(of) if of.port() == 0 => {
                return Err(format!("`{text}`; expected a port other than 0"));
            }
            _ => {}
        }
    }
    Ok(Listen { text: text.to_owned(), url: reachable(&addresses) })
}

/// The URL of a sidecar for the containers of its pod, by what it listens on.
pub fn url_of(listen: &str) -> Option<String> {
    addresses(listen).ok().and_then(|addresses| reachable(&addresses))
}

fn addresses(text: &str) -> Result<Vec<Address>, String> {
    text.split(',').map(|one| one.trim().parse()).collect()
}

fn reachable(addresses: &[Address]) -> Option<String> {
    addresses.iter().find_map(|address| match address {
        Address::Tcp(of) if of.ip().is_unspecified() => Some(format!("http://127.0.0.1:{}", of.port())),
        Address::Tcp(of) => Some(format!("http://{of}")),
        _ => None,
    })
}
