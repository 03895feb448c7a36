//! How the client library is set up.

use std::time::Duration;

use fred::types::config::{Config, ConnectionConfig, ServerConfig, TcpConfig, TlsConnector, UnresponsiveConfig};

use super::credentials::Credentials;
use crate::redis::settings::{RedisConfig, RedisServer};

/// Pause between two attempts to connect, milliseconds.
pub const RECONNECT_DELAY_MS: u32 = 100;
/// Deadline of one attempt to connect, and of each step of its greeting.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// How to connect to one server: where it is, its certificate, and who we are there.
#[derive(Clone, Debug)]
pub struct Setup(pub(super) Config);

impl Setup {
    /// To the server that `config` names; of several to the first.
    pub fn of(config: &RedisConfig) -> Setup {
        let server = match &config.server {
            RedisServer::Tcp { host, port } | RedisServer::ClusterNode { host, port } => one_server(host, *port),
            RedisServer::Unix { path } => ServerConfig::Unix { path: path.clone() },
            // A connection to another one puts its address here.
            RedisServer::Sentinel { hosts, .. } | RedisServer::Cluster { hosts } => one_server(&hosts[0].0, hosts[0].1),
        };
        Setup(Config {
            fail_fast: false,
            server,
            tls: config.tls.as_ref().map(|tls| TlsConnector::from(tls.client()).into()),
            credential_provider: Credentials::of(config),
            database: config.database,
            ..Config::default()
        })
    }

    /// To one of the sentinels that `config` names.
    pub fn of_a_sentinel(config: &RedisConfig, host: &str, port: u16) -> Setup {
        Setup(Config {
            server: one_server(host, port),
            credential_provider: Credentials::of_sentinels(config),
            database: None,
            ..Setup::of(config).0
        })
    }

    /// To a server that asks for nothing.
    #[cfg(test)]
    pub fn plain(host: &str, port: u16) -> Setup {
        Setup(Config { server: one_server(host, port), ..Config::default() })
    }
}

fn one_server(host: &str, port: u16) -> ServerConfig {
    ServerConfig::new_centralized(host, port)
}

pub(super) fn connection() -> ConnectionConfig {
    ConnectionConfig {
        connection_timeout: CONNECT_TIMEOUT,
        internal_command_timeout: CONNECT_TIMEOUT,
        max_command_attempts: 1,
        // Above what --max-in-flight lets through: a net below the net.
        max_command_buffer_len: 65_536,
        auto_client_setname: true,
        tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
        // Its timer restarts with every write, so that it never fires under load: see `watch`.
        unresponsive: UnresponsiveConfig { max_timeout: None, ..UnresponsiveConfig::default() },
        // With an error listed here fred answers every command in flight with that error, executed or not.
        reconnect_errors: Vec::new(),
        ..ConnectionConfig::default()
    }
}
