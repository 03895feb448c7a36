//! Where Redis is, who we are there, and how long it may take.

use std::path::Path;
use std::time::Duration;

use super::{Check, given, or_none, written};
use crate::config::flags::RedisFlags;
use crate::config::redis_url::redis_url;
use crate::config::{RedisConfig, RedisServer};
use crate::secret::{Reloaded, Secret};
use crate::tls::Tls;

const ADD: &str = "add --redis-password-file, with any text for a user that needs none";
const ADD_SENTINELS: &str = "add --redis-sentinel-password-file, with any text for a user that needs none";

impl Check {
    pub fn redis(&mut self, flags: &RedisFlags) -> Option<RedisConfig> {
        let url = self.take("--redis-url", redis_url(&flags.redis_url));
        let file = given(&flags.redis_password_file)
            .map(|file| self.secret_file("--redis-password-file", Path::new(file), Secret::parse));
        let sentinel_file = given(&flags.redis_sentinel_password_file)
            .map(|file| self.secret_file("--redis-sentinel-password-file", Path::new(file), Secret::parse));
        let sentinel_username = given(&flags.redis_sentinel_username);
        let has_sentinels = url.as_ref().is_none_or(|url| matches!(url.server, RedisServer::Sentinel { .. }));
        for (flag, is_given) in [
            ("--redis-sentinel-username", sentinel_username.is_some()),
            ("--redis-sentinel-password-file", sentinel_file.is_some()),
        ] {
            if is_given && !has_sentinels {
                self.mistake(flag, "given, but --redis-url names no sentinels; expected redis-sentinel:// there");
            }
        }
        let timeout =
            self.duration("--redis-timeout", &flags.redis_timeout, Duration::from_millis(10), Duration::from_secs(60));
        let min_replicas = self.count("--min-replicas", &flags.min_replicas, 0, 16);
        let shortest = Duration::from_millis(1);
        let replica_timeout =
            self.duration("--replica-timeout", &flags.replica_timeout, shortest, Duration::from_secs(60));
        if let (Some(1..), Some(replicas), Some(redis)) = (min_replicas, replica_timeout, timeout)
            && replicas >= redis
        {
            self.mistake(
                "--replica-timeout",
                format!(
                    "{} leaves no time for an answer within --redis-timeout, {}",
                    written(replicas),
                    written(redis)
                ),
            );
        }
        let max_in_flight = self.count("--max-in-flight", &flags.max_in_flight, 1, 65_536);
        let ca_file = given(&flags.redis_ca_file).map(Path::new);
        let tls = match &url {
            Some(url) if url.is_tls => Some(self.take("--redis-ca-file", Tls::trusting(ca_file))),
            Some(_) if ca_file.is_some() => {
                self.mistake("--redis-ca-file", "given, but --redis-url asks for no TLS; expected rediss:// there");
                None
            }
            _ => None,
        };
        let is_tls = url.as_ref().is_none_or(|url| url.is_tls);
        let identity = self.redis_identity(flags, is_tls);
        let url = url?;
        if url.password.is_some() {
            self.warnings.push(
                "the password in --redis-url is visible in the process list; use --redis-password-file".to_owned(),
            );
        }
        for (flag, is_given, is_in_url) in [
            ("--redis-username", given(&flags.redis_username).is_some(), url.username.is_some()),
            ("--redis-password-file", file.is_some(), url.password.is_some()),
        ] {
            if is_given && is_in_url {
                self.mistake(flag, "given, and --redis-url has one, too; expected one of them");
            }
        }
        for (flag, is_user, is_password, missing) in [
            ("--redis-username", given(&flags.redis_username).is_some(), file.is_some() || url.password.is_some(), ADD),
            ("--redis-url", url.username.is_some(), file.is_some() || url.password.is_some(), ADD),
            (
                "--redis-sentinel-username",
                has_sentinels && sentinel_username.is_some(),
                sentinel_file.is_some(),
                ADD_SENTINELS,
            ),
        ] {
            // Redis would take us for its default user.
            if is_user && !is_password {
                self.mistake(flag, format!("a user name is given without a password; {missing}"));
            }
        }
        let password = or_none(file)?.or(url.password.map(Reloaded::fixed));
        let (tls, identity) = (or_none(tls)?, or_none(identity)?);
        Some(RedisConfig {
            server: url.server,
            tls: match (tls, &identity) {
                (Some(tls), Some(identity)) => Some(tls.showing(identity.clone())),
                (tls, _) => tls,
            },
            identity,
            database: url.database,
            username: given(&flags.redis_username).map(str::to_owned).or(url.username),
            password,
            sentinel_username: sentinel_username.map(str::to_owned),
            sentinel_password: or_none(sentinel_file)?,
            timeout: timeout?,
            min_replicas: u32::try_from(min_replicas?).expect("at most 16"),
            replica_timeout: replica_timeout?,
            max_in_flight: max_in_flight?,
        })
    }
}
