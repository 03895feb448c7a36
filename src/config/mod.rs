//! The settings: one struct a concern, checked all in one run, so that whoever set them wrongly learns of every
//! mistake at once. Reads the files that the flags name; opens no socket.

mod anonymous;
mod environment;
mod flags;
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/config.rs"]
pub mod fuzz;
mod parse;
mod redis_url;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use anonymous::{Anonymous, Facts};
pub use environment::Environment;
pub use flags::{Flags, ListenFlags, ProcessFlags};
pub use parse::duration;
pub use tls::Tls;

use crate::auth::jwt::Verifier;
use crate::lock::Ttl;
use crate::secret::{Reloaded, Secret, Watched};

/// Everything `serve` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    pub redis: RedisConfig,
    pub listen: ListenConfig,
    pub locks: LockConfig,
    pub auth: AuthConfig,
    pub process: ProcessConfig,
    /// What is unwise but allowed, a sentence each, for the log.
    pub warnings: Vec<String>,
    /// What is worth saying at start, a sentence each.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct RedisConfig {
    pub server: RedisServer,
    /// `None`: Redis is spoken to plainly.
    pub tls: Option<Tls>,
    pub database: Option<u8>,
    pub username: Option<String>,
    /// Counts from the next connection on.
    pub password: Option<Reloaded<Secret>>,
    /// Who we are at the sentinels, where there are any.
    pub sentinel_username: Option<String>,
    pub sentinel_password: Option<Reloaded<Secret>>,
    /// Deadline of one round trip.
    pub timeout: Duration,
    /// Replicas that must have a grant or a renewal before it counts.
    pub min_replicas: u32,
    /// How long they may take for that.
    pub replica_timeout: Duration,
    /// Requests that may wait for Redis at once.
    pub max_in_flight: usize,
}

impl RedisConfig {
    /// Where it is, as people say it.
    pub fn place(&self) -> String {
        let all = |hosts: &[(String, u16)]| {
            hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(", ")
        };
        match &self.server {
            RedisServer::Tcp { host, port } | RedisServer::ClusterNode { host, port } => format!("{host}:{port}"),
            RedisServer::Unix { path } => path.display().to_string(),
            RedisServer::Sentinel { hosts, .. } | RedisServer::Cluster { hosts } => all(hosts),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisServer {
    Tcp {
        host: String,
        port: u16,
    },
    Unix {
        path: PathBuf,
    },
    /// The master of this name, wherever the sentinels at these addresses say it is.
    Sentinel {
        hosts: Vec<(String, u16)>,
        master: String,
    },
    /// One node of a cluster; no URL says so.
    ClusterNode {
        host: String,
        port: u16,
    },
    /// The masters of the cluster that these are nodes of.
    Cluster {
        hosts: Vec<(String, u16)>,
    },
}

#[derive(Clone, Debug)]
pub struct ListenConfig {
    /// At least one; the first is the one to show.
    pub api: Vec<Address>,
    /// At least one; the first is the one to show.
    pub ops: Vec<Address>,
    /// Whether the ops listeners were asked for; of the default's one may be missing.
    pub ops_is_set: bool,
    pub sockets: SocketAccess,
    /// In lower case, an IPv6 address in brackets. Empty: not set.
    pub allowed_hosts: Vec<String>,
    pub allowed_origins: Vec<String>,
    pub max_connections: usize,
    /// Whether so many connections were asked for; the default is what the machine has, at most.
    pub max_connections_is_set: bool,
    /// Whether callers need not say who they are even beyond loopback.
    pub insecure: bool,
    /// The lock stores that the Dapr dialect offers.
    pub dapr_stores: Vec<DaprStore>,
}

/// Who may connect to the unix sockets that are listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketAccess {
    pub mode: u32,
    /// `None`: the group of the process.
    pub group: Option<u32>,
}

/// A lock store of the Dapr dialect: its resource `r` is the lock `prefix||r`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaprStore {
    pub name: String,
    pub prefix: String,
}

/// Where a listener stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Address::Tcp(address) => address.ip().is_loopback(),
            Address::Unix(_) => true,
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[derive(Clone, Debug)]
pub struct LockConfig {
    pub key_prefix: String,
    /// Whether a lock's Redis key is its name.
    pub raw_keys: bool,
    /// What the name of an owner begins with that a service caller did not name.
    pub owner_prefix: String,
    pub admin_ttl: Ttl,
    /// Where a native acquire names none.
    pub default_ttl: Ttl,
    /// Longest ttl that may be asked for, milliseconds.
    pub max_ttl_ms: u64,
    /// Longest time that anybody may wait for a lock, milliseconds.
    pub max_wait_ms: u64,
    /// Requests that may wait for locks at once.
    pub max_waiters: usize,
}

#[derive(Clone, Debug)]
pub struct AuthConfig {
    pub jwt: Option<Reloaded<Verifier>>,
    pub api_token: Option<Reloaded<Secret>>,
    pub user_directory: bool,
    /// What callers without a credential may do, where that was said.
    pub anonymous: Option<Anonymous>,
}

impl AuthConfig {
    /// What callers without a credential may do on a listener; an error where it must not be so.
    fn anonymous_on(&self, listener: &Address, is_insecure: bool) -> Result<Anonymous, String> {
        let facts = Facts {
            has_key: self.jwt.is_some(),
            has_token: self.api_token.is_some(),
            is_local: listener.is_local(),
            is_insecure,
        };
        Anonymous::on(self.anonymous, facts)
    }

    /// What is said at start of callers without a credential: once where all API listeners have one level.
    fn levels(&self, listen: &ListenConfig) -> Result<Vec<String>, Vec<String>> {
        let (mut levels, mut problems) = (Vec::new(), Vec::new());
        for listener in &listen.api {
            match self.anonymous_on(listener, listen.insecure) {
                Ok(level) => levels.push((listener, level)),
                Err(problem) => problems.push(format!("{problem} (`{listener}`)")),
            }
        }
        let is_one = levels.windows(2).all(|pair| pair[0].1 == pair[1].1);
        match levels.first() {
            _ if !problems.is_empty() => Err(problems),
            Some((_, level)) if is_one => Ok(vec![level.sentence().to_owned()]),
            _ => Ok(levels.iter().map(|(listener, level)| format!("on `{listener}` {}", level.sentence())).collect()),
        }
    }

    /// Whether callers can authenticate: a JWT key or an API token is configured.
    pub fn has_credential(&self) -> bool {
        self.jwt.is_some() || self.api_token.is_some()
    }
}

#[derive(Clone, Debug)]
pub struct ProcessConfig {
    pub threads: usize,
    pub shutdown_grace: Duration,
    pub log: LogConfig,
}

#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    pub level: tracing::Level,
    pub json: bool,
}

/// One wrong setting, by its flag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flag}: {problem}")]
pub struct Mistake {
    pub flag: String,
    pub problem: String,
}

impl Config {
    /// The files of secrets, to be followed while we run.
    pub fn files(&self) -> Vec<Box<dyn Watched>> {
        let Config { redis: RedisConfig { password, sentinel_password, .. }, auth, .. } = self;
        let files = [
            password.as_ref().map(Reloaded::file),
            sentinel_password.as_ref().map(Reloaded::file),
            auth.jwt.as_ref().map(Reloaded::file),
            auth.api_token.as_ref().map(Reloaded::file),
        ];
        files.into_iter().flatten().flatten().collect()
    }

    /// What callers without a credential may do on an API listener.
    pub fn anonymous(&self, listener: &Address) -> Anonymous {
        self.auth.anonymous_on(listener, self.listen.insecure).unwrap_or(Anonymous::None)
    }

    /// Checks every flag; either all are good, or every mistake is in the list.
    pub fn resolve(flags: &Flags) -> Result<Config, Vec<Mistake>> {
        let mut check = parse::Check::default();
        let redis = check.redis(&flags.redis);
        let listen = check.listen(&flags.listen);
        let locks = check.locks(&flags.locks);
        let auth = check.auth(&flags.auth);
        let process = check.process(&flags.process);
        // A key file that does not fit is a mistake of its own.
        let is_open = auth.as_ref().is_some_and(|auth| !auth.has_credential()) && !listen.insecure;
        for exposed in listen.api.iter().filter(|address| is_open && !address.is_local()) {
            check.mistake(
                "--listen",
                format!(
                    "`{exposed}` can be reached from other machines and no credential is configured; set \
                     --jwt-secret-file, --jwt-public-key-file or --api-token-file, or add --insecure"
                ),
            );
        }
        if let Some(auth) = &auth {
            match auth.levels(&listen) {
                Ok(notes) => check.notes.extend(notes),
                Err(problems) => problems.into_iter().for_each(|problem| check.mistake("--anonymous", problem)),
            }
        }
        let is_cluster = |redis: &RedisConfig| matches!(redis.server, RedisServer::Cluster { .. });
        if redis.as_ref().is_some_and(is_cluster) && locks.as_ref().is_some_and(|locks| locks.raw_keys) {
            check.mistake(
                "--raw-keys",
                "a Redis Cluster has the parts of a lock together only under names of ours; leave it off, or name one \
                 Redis in --redis-url",
            );
        }
        match (redis, locks, auth, process) {
            (Some(redis), Some(locks), Some(auth), Some(process)) if check.mistakes.is_empty() => {
                let parse::Check { warnings, notes, .. } = check;
                Ok(Config { redis, listen, locks, auth, process, warnings, notes })
            }
            _ => Err(check.mistakes),
        }
    }
}

#[cfg(test)]
mod tests;
