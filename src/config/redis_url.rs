//! `--redis-url`: where Redis is, and perhaps who we are there. Every part is used, or refused by name.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

use super::RedisServer;
use crate::secret::Secret;

const EXPECTED: &str = "expected redis://host:6379, rediss://host:6379, redis+unix:///path/to/socket, \
                        redis-sentinel://host:26379,host:26379?master=NAME or redis-cluster://host:6379,host:6379";

#[derive(Debug)]
pub(super) struct RedisUrl {
    pub server: RedisServer,
    /// Whether the scheme asks for TLS.
    pub is_tls: bool,
    pub database: Option<u8>,
    pub username: Option<String>,
    pub password: Option<Secret>,
}

/// Errors never show the URL, since a password may be in it.
pub(super) fn redis_url(text: &str) -> Result<RedisUrl, String> {
    let text = text.trim();
    if text.starts_with(['"', '\'', '`', '“', '‘']) || text.ends_with(['"', '\'']) {
        return Err(format!("the value is in quotes; leave them out: {EXPECTED}"));
    }
    // The parser would drop some of them without a word.
    if text.contains(char::is_control) {
        return Err(format!("a control character in it; percent-encode it; {EXPECTED}"));
    }
    let parts = Parts::of(text);
    // Behind the first of these nothing is user, password or host any more.
    if let Some(odd) = parts.rest.chars().next().filter(|_| !parts.is_unix_path() && parts.rest.contains('@')) {
        return Err(format!(
            "a `{odd}` before the `@`: percent-encode it in the user and the password, as %{:02X}, or use \
             --redis-password-file",
            u32::from(odd)
        ));
    }
    parts.read(text)
}

/// The URL as it is typed: a list of hosts is no URL's grammar.
struct Parts<'a> {
    scheme: &'a str,
    /// User and password, with the `@` behind them.
    credentials: &'a str,
    hosts: Vec<&'a str>,
    /// Path, query and fragment.
    rest: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Parts<'a> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (credentials, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        Parts { scheme, credentials, hosts: hosts.split(',').collect(), rest }
    }

    /// Whether the rest begins with a socket's path, where an `@` may stand.
    fn is_unix_path(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("redis+unix") && self.credentials.is_empty() && self.hosts == [""]
    }

    fn read(&self, text: &str) -> Result<RedisUrl, String> {
        let scheme = self.scheme.to_ascii_lowercase();
        let has_list = scheme.ends_with("-sentinel") || scheme.ends_with("-cluster");
        let is_bare_ip6 = |host: &&str| !host.starts_with('[') && host.matches(':').count() > 1;
        if self.hosts.iter().any(is_bare_ip6) {
            return Err(format!("two colons in a host: put an IPv6 address in brackets, as in [::1]:6379; {EXPECTED}"));
        }
        if self.hosts.len() > 1 && !has_list {
            return Err(format!("several hosts; {EXPECTED}"));
        }
        // All before the last `@` counts as the credentials: a host between two of them would be a part of the password.
        let credentials = self.credentials.strip_suffix('@').unwrap_or_default();
        let (has_comma, has_at) = (credentials.contains(','), credentials.contains('@'));
        if (has_list && (has_comma || has_at)) || (has_comma && has_at) {
            return Err(format!(
                "user and password stand once, before all hosts; percent-encode a `,` in them as %2C and an `@` as %40; \
                 {EXPECTED}"
            ));
        }
        if self.scheme.eq_ignore_ascii_case("redis+unix") && !self.is_unix_path() {
            return Err(format!(
                "a user, a password or a host before the path is not used; use --redis-username and \
                 --redis-password-file; {EXPECTED}"
            ));
        }
        let first = format!("{}://{}{}{}", self.scheme, self.credentials, self.hosts[0], self.rest);
        let url = Url::parse(if has_list { &first } else { text }).map_err(|error| format!("{error}; {EXPECTED}"))?;
        if url.fragment().is_some() {
            return Err(format!(
                "what stands behind the `#` is not used; leave it out, or percent-encode it as %23; {EXPECTED}"
            ));
        }
        let mut parameters = Parameters::of(&url)?;
        let path = url.path().strip_prefix('/').unwrap_or(url.path());
        let (server, path) = match url.scheme() {
            "redis" | "rediss" => {
                let (host, port) = host(&url, 6379)?;
                (RedisServer::Tcp { host, port }, path)
            }
            "redis-sentinel" | "rediss-sentinel" => {
                let hosts = self.all_hosts(&url, 26379)?;
                let master = parameters.take(&["master", "sentinelServiceName"])?.filter(|name| !name.is_empty());
                let master = master.ok_or(format!("no name of the master that the sentinels watch; {EXPECTED}"))?;
                (RedisServer::Sentinel { hosts, master }, path)
            }
            "redis+unix" => {
                let path = PathBuf::from(decoded(url.path())?);
                if !path.is_absolute() || url.path() == "/" {
                    return Err(format!("no path; {EXPECTED}"));
                }
                (RedisServer::Unix { path }, "")
            }
            "redis-cluster" | "rediss-cluster" => {
                if !matches!(path, "" | "0") || parameters.take(&["db"])?.is_some() {
                    return Err(format!("a cluster has database 0 alone; {EXPECTED}"));
                }
                (RedisServer::Cluster { hosts: self.all_hosts(&url, 6379)? }, "")
            }
            other => return Err(format!("the scheme `{other}` is not served; {EXPECTED}")),
        };
        let database = match (path, parameters.take(&["db"])?) {
            ("", None) => None,
            ("", Some(text)) => Some(number(&text)?),
            (path, None) => Some(number(path)?),
            (_, Some(_)) => return Err(format!("the database is named twice, by the path and by `db`; {EXPECTED}")),
        };
        parameters.end()?;
        let filled = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(RedisUrl {
            server,
            is_tls: url.scheme().starts_with("rediss"),
            database,
            username: filled(decoded(url.username())?),
            password: filled(decoded(url.password().unwrap_or_default())?).map(Secret::new),
        })
    }

    fn all_hosts(&self, first: &Url, port: u16) -> Result<Vec<(String, u16)>, String> {
        let mut hosts = vec![host(first, port)?];
        for further in &self.hosts[1..] {
            let url = Url::parse(&format!("redis://{further}")).map_err(|error| format!("{error}; {EXPECTED}"))?;
            hosts.push(host(&url, port)?);
        }
        Ok(hosts)
    }
}

/// What stands behind the `?`: each is taken once, and none is left over.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn of(url: &Url) -> Result<Parameters, String> {
        let all: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let is_twice = |at: usize| all[..at].iter().any(|(name, _)| *name == all[at].0);
        if let Some(at) = (0..all.len()).find(|at| is_twice(*at)) {
            return Err(format!("the parameter {} comes twice; {EXPECTED}", shown(&all[at].0)));
        }
        Ok(Parameters(all))
    }

    /// The value of the first of these names, which all mean the same.
    fn take(&mut self, names: &[&str]) -> Result<Option<String>, String> {
        let mut found = None;
        for name in names {
            let Some(at) = self.0.iter().position(|(known, _)| known == name) else { continue };
            let (_, value) = self.0.remove(at);
            if found.replace(value).is_some() {
                return Err(format!("{} mean the same, and only one can be used; {EXPECTED}", names.join(" and ")));
            }
        }
        Ok(found)
    }

    /// Refuses what nothing took.
    fn end(self) -> Result<(), String> {
        let Some((name, _)) = self.0.first() else { return Ok(()) };
        let instead = match name.to_ascii_lowercase().as_str() {
            "password" | "pass" | "auth" => "use --redis-password-file",
            "username" | "user" => "use --redis-username",
            "database" | "db" => "use `db`",
            "master" | "mastername" | "sentinelservicename" => "it is for redis-sentinel://, as `master`",
            "timeout" | "socket_timeout" => "use --redis-timeout",
            "ssl" | "tls" => "use rediss://",
            "ssl_ca_certs" | "cacert" => "use --redis-ca-file",
            _ => "leave it out",
        };
        Err(format!("the parameter {} is not used; {instead}; {EXPECTED}", shown(name)))
    }
}

/// A parameter's name, unless it may be something else that lost its place.
fn shown(name: &str) -> String {
    let is_name = (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if is_name { format!("`{name}`") } else { "behind the `?`".to_owned() }
}

fn number(text: &str) -> Result<u8, String> {
    let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.ok_or_else(|| format!("the database is no number from 0 to 255; {EXPECTED}/0"))
}

fn host(url: &Url, port: u16) -> Result<(String, u16), String> {
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(format!("no host; {EXPECTED}"))?;
    let port = url.port().unwrap_or(port);
    if port == 0 {
        return Err(format!("port 0 is no port; {EXPECTED}"));
    }
    Ok((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port))
}

fn decoded(text: &str) -> Result<String, String> {
    percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| "a part of it is not UTF-8".to_owned())
}
