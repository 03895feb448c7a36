//! `--redis-url`: where Redis is, and perhaps who we are there.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

use super::{RedisServer, Secret};

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
    const EXPECTED: &str = "expected redis://host:6379, rediss://host:6379 or redis+unix:///path/to/socket";
    let url = Url::parse(text).map_err(|error| format!("{error}; {EXPECTED}"))?;
    let decoded = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded.map(String::from).map_err(|_| "a part of it is not UTF-8".to_owned())
    };
    let filled = |text: String| Some(text).filter(|text| !text.is_empty());
    let (server, database) = match url.scheme() {
        "redis" | "rediss" => {
            let host = url.host_str().filter(|host| !host.is_empty()).ok_or(format!("no host; {EXPECTED}"))?;
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let database = url.path().trim_start_matches('/');
            (RedisServer::Tcp { host, port: url.port().unwrap_or(6379) }, database.to_owned())
        }
        "redis+unix" => {
            let path = PathBuf::from(decoded(url.path())?);
            if !path.is_absolute() || url.path() == "/" {
                return Err(format!("no path; {EXPECTED}"));
            }
            let database = url.query_pairs().find(|(name, _)| name == "db").map(|(_, value)| value.into_owned());
            (RedisServer::Unix { path }, database.unwrap_or_default())
        }
        other => return Err(format!("the scheme `{other}` is not served; {EXPECTED}")),
    };
    let database = match database.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| format!("the database is no number from 0 to 255; {EXPECTED}/0"))?),
    };
    Ok(RedisUrl {
        server,
        is_tls: url.scheme() == "rediss",
        database,
        username: filled(decoded(url.username())?),
        password: filled(decoded(url.password().unwrap_or_default())?).map(Secret::new),
    })
}
