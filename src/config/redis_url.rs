//! `--redis-url`: where Redis is, and perhaps who we are there.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

use super::{RedisServer, Secret};

const EXPECTED: &str = "expected redis://host:6379, rediss://host:6379, redis+unix:///path/to/socket, \
                        redis-sentinel://host:26379,host:26379?master=NAME or redis-cluster://host:6379,host:6379";

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
    let (text, further) = first_host(text);
    let url = Url::parse(&text).map_err(|error| format!("{error}; {EXPECTED}"))?;
    if !further.is_empty() && !url.scheme().ends_with("-sentinel") && !url.scheme().ends_with("-cluster") {
        return Err(format!("several hosts; {EXPECTED}"));
    }
    let parameter =
        |name: &str| url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
    let database = || url.path().trim_start_matches('/').to_owned();
    let (server, database) = match url.scheme() {
        "redis" | "rediss" => {
            let (host, port) = host(&url, 6379)?;
            (RedisServer::Tcp { host, port }, database())
        }
        "redis-sentinel" | "rediss-sentinel" => {
            let hosts = hosts(&url, further, 26379)?;
            let master =
                parameter("master").or_else(|| parameter("sentinelServiceName")).filter(|name| !name.is_empty());
            let master = master.ok_or(format!("no name of the master that the sentinels watch; {EXPECTED}"))?;
            (RedisServer::Sentinel { hosts, master }, database())
        }
        "redis+unix" => {
            let path = PathBuf::from(decoded(url.path())?);
            if !path.is_absolute() || url.path() == "/" {
                return Err(format!("no path; {EXPECTED}"));
            }
            (RedisServer::Unix { path }, parameter("db").unwrap_or_default())
        }
        "redis-cluster" | "rediss-cluster" => {
            if !matches!(url.path(), "" | "/" | "/0") {
                return Err(format!("a cluster has database 0 alone; {EXPECTED}"));
            }
            (RedisServer::Cluster { hosts: hosts(&url, further, 6379)? }, String::new())
        }
        other => return Err(format!("the scheme `{other}` is not served; {EXPECTED}")),
    };
    let database = match database.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| format!("the database is no number from 0 to 255; {EXPECTED}/0"))?),
    };
    let filled = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(RedisUrl {
        server,
        is_tls: url.scheme().starts_with("rediss"),
        database,
        username: filled(decoded(url.username())?),
        password: filled(decoded(url.password().unwrap_or_default())?).map(Secret::new),
    })
}

/// The URL with its first host alone, and the others: a list of hosts is no URL's grammar.
fn first_host(text: &str) -> (String, Vec<String>) {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let hosts = authority.rfind('@').map_or(0, |at| at + 1);
    match authority[hosts..].split_once(',') {
        Some((first, further)) => {
            let further = further.split(',').map(str::to_owned).collect();
            (format!("{scheme}://{}{first}{rest}", &authority[..hosts]), further)
        }
        None => (text.to_owned(), Vec::new()),
    }
}

fn hosts(first: &Url, further: Vec<String>, port: u16) -> Result<Vec<(String, u16)>, String> {
    let mut hosts = vec![host(first, port)?];
    for further in further {
        let url = Url::parse(&format!("redis://{further}")).map_err(|error| format!("{error}; {EXPECTED}"))?;
        hosts.push(host(&url, port)?);
    }
    Ok(hosts)
}

fn host(url: &Url, port: u16) -> Result<(String, u16), String> {
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(format!("no host; {EXPECTED}"))?;
    Ok((host.trim_start_matches('[').trim_end_matches(']').to_owned(), url.port().unwrap_or(port)))
}

fn decoded(text: &str) -> Result<String, String> {
    percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| "a part of it is not UTF-8".to_owned())
}
