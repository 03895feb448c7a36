//! The settings: one struct a concern, checked all in one run, so that one start names every
//! mistake at once. Reads the files that the flags name; opens no socket.

mod environment;
mod flags;
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/config.rs"]
pub mod fuzz;
mod parse;
mod redis_url;

use std::time::Duration;

pub use environment::Environment;
pub use flags::{Flags, ListenFlags, ProcessFlags};
pub use parse::{check_prefix, duration};

pub use crate::api::{DaprStore, ListenConfig};
pub use crate::audit::AuditConfig;
pub use crate::auth::{Anonymous, AuthConfig};
use crate::auth::{Facts, KeySource};
pub use crate::election::ElectionConfig;
pub use crate::lock::LockConfig;
pub use crate::log::LogConfig;
pub use crate::redis::{RedisConfig, RedisServer};
use crate::secret::{Reloaded, Watched};
pub use crate::server::{Address, SocketAccess};
use crate::tls::{Identity, ListenerTls};

/// Everything `serve` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    pub redis: RedisConfig,
    pub listen: ListenConfig,
    pub locks: LockConfig,
    pub elections: ElectionConfig,
    pub auth: AuthConfig,
    /// `None`: no audit trail.
    pub audit: Option<AuditConfig>,
    pub process: ProcessConfig,
    /// What is unwise but allowed, a sentence each, for the log.
    pub warnings: Vec<String>,
    /// What is worth saying at start, a sentence each.
    pub notes: Vec<String>,
}

impl AuthConfig {
    /// What callers without a credential may do on a listener; an error where it must not be so.
    fn anonymous_on(&self, listener: &Address, listen: &ListenConfig) -> Result<Anonymous, String> {
        let facts = Facts {
            has_key: self.jwt.is_some(),
            has_token: self.api_tokens.are_set(),
            is_local: listener.is_local(),
            has_certificates: listen.has_certificates(listener),
            is_insecure: listen.insecure,
        };
        Anonymous::on(self.anonymous, facts)
    }

    /// What is said at start of callers without a credential: once where all listeners have one level.
    fn levels(&self, listen: &ListenConfig) -> Result<Vec<String>, Vec<String>> {
        let (mut levels, mut problems) = (Vec::new(), Vec::new());
        for (_, listener) in listen.serving() {
            match self.anonymous_on(listener, listen) {
                Ok(level) => levels.push((listener, level)),
                Err(problem) => problems.push(format!("{problem} (`{listener}`)")),
            }
        }
        let is_one = levels.windows(2).all(|pair| pair[0].1 == pair[1].1);
        let sentence = |level: Anonymous| match self.policy {
            Some(_) => level.sentence_under_a_policy(),
            None => level.sentence(),
        };
        match levels.first() {
            _ if !problems.is_empty() => Err(problems),
            Some((_, level)) if is_one => Ok(vec![sentence(*level).to_owned()]),
            _ => Ok(levels.iter().map(|(listener, level)| format!("on `{listener}` {}", sentence(*level))).collect()),
        }
    }
}

#[derive(Clone, Debug)]
pub struct ProcessConfig {
    pub threads: usize,
    pub shutdown_grace: Duration,
    pub log: LogConfig,
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
        let Config { redis: RedisConfig { password, sentinel_password, identity, .. }, listen, auth, .. } = self;
        let files = [
            password.as_ref().map(Reloaded::file),
            sentinel_password.as_ref().map(Reloaded::file),
            auth.jwt.as_ref().map(KeySource::file),
            auth.policy.as_ref().map(Reloaded::file),
        ];
        let of_tls = identity.as_ref().map(Identity::file).into_iter();
        let of_tls = of_tls.chain(listen.tls.iter().flat_map(ListenerTls::files));
        files.into_iter().flatten().flatten().chain(auth.api_tokens.files()).chain(of_tls).collect()
    }

    /// What callers without a credential may do on an API listener.
    pub fn anonymous(&self, listener: &Address) -> Anonymous {
        self.auth.anonymous_on(listener, &self.listen).unwrap_or(Anonymous::None)
    }

    /// Checks every flag; either all are good, or every mistake is in the list.
    pub fn resolve(flags: &Flags) -> Result<Config, Vec<Mistake>> {
        let mut check = parse::Check::default();
        let redis = check.redis(&flags.redis);
        let listen = check.listen(&flags.listen);
        let locks = check.locks(&flags.locks);
        let elections = check.elections(&flags.elections, locks.as_ref());
        let auth = check.auth(&flags.auth, &flags.quotas);
        let audit = check.audit(&flags.audit);
        let process = check.process(&flags.process);
        // A key file that does not fit is a mistake of its own.
        let is_open = auth.as_ref().is_some_and(|auth| !auth.has_credential()) && !listen.insecure;
        let is_exposed = |address: &Address| !address.is_local() && !listen.has_certificates(address);
        for (flag, exposed) in listen.serving().filter(|(_, address)| is_open && is_exposed(address)) {
            check.mistake(
                flag,
                format!(
                    "`{exposed}` can be reached from other machines and no authentication is configured; set \
                     --jwks-url, --jwks-file, --jwt-public-key-file, --jwt-secret-file, --api-token-file or \
                     --api-tokens-dir, or --tls-client-ca-file for tls:, or add --insecure"
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
        match (redis, locks, elections, auth, (audit, process)) {
            (Some(redis), Some(locks), Some(elections), Some(auth), (Some(audit), Some(process)))
                if check.mistakes.is_empty() =>
            {
                let parse::Check { warnings, notes, .. } = check;
                Ok(Config { redis, listen, locks, elections, auth, audit, process, warnings, notes })
            }
            _ => Err(check.mistakes),
        }
    }
}

#[cfg(test)]
mod tests;
