//! Whether the servers can be connected to, one connection to each: those that the settings name, and the masters that
//! sentinels and nodes of a cluster name in turn. For who asks once; what is kept connected is `servers`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::connection::{CONNECT_TIMEOUT, Link, Setup};
use super::diagnosis::{Step, Target, diagnose};
use super::{Status, cluster, sentinel};
use crate::metrics::Metrics;
use crate::redis::settings::{RedisConfig, RedisServer};

/// Longest time for all steps of one connection, and for the question who is master.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server to connect to.
#[derive(Clone, Debug)]
pub struct Endpoint {
    target: Target,
    setup: Setup,
    is_tls: bool,
    /// Whether others may take its place: it is one of several that were named, and no master.
    pub is_one_of_several: bool,
}

/// What became of a connection.
#[derive(Clone, Debug)]
pub struct Reached {
    /// The server, in backticks.
    pub place: String,
    /// What the name of its host resolves to; `None` where it has none, but an address, or the name does not resolve.
    pub addresses: Option<Vec<IpAddr>>,
    /// Whether it is to speak TLS.
    pub is_tls: bool,
    pub is_one_of_several: bool,
    /// The step at which it failed, and why.
    pub outcome: Result<(), (Step, String)>,
}

impl Endpoint {
    /// The servers that the settings name.
    pub fn named(config: &RedisConfig) -> Vec<Endpoint> {
        let whole = |target| Endpoint {
            target,
            setup: Setup::of(config),
            is_tls: config.tls.is_some(),
            is_one_of_several: false,
        };
        match &config.server {
            RedisServer::Tcp { .. } | RedisServer::ClusterNode { .. } | RedisServer::Unix { .. } => {
                vec![whole(Target::of(config))]
            }
            RedisServer::Sentinel { hosts, .. } => {
                let one = |address: &(String, u16)| Endpoint {
                    setup: Setup::of_a_sentinel(config, &address.0, address.1),
                    is_one_of_several: hosts.len() > 1,
                    ..whole(Target::new(address, config))
                };
                hosts.iter().map(one).collect()
            }
            RedisServer::Cluster { hosts } => {
                let of_several = |endpoint| Endpoint { is_one_of_several: hosts.len() > 1, ..endpoint };
                hosts.iter().map(|address| of_several(Endpoint::master(config, address))).collect()
            }
        }
    }

    /// The masters that the servers of the settings name, where they name others; or why they name none.
    pub async fn masters(config: &RedisConfig, metrics: &Arc<Metrics>) -> Result<Vec<Endpoint>, String> {
        let named = async {
            match &config.server {
                RedisServer::Tcp { .. } | RedisServer::ClusterNode { .. } | RedisServer::Unix { .. } => Ok(Vec::new()),
                RedisServer::Sentinel { hosts, master } => {
                    sentinel::master(hosts, master, config).await.map(|address| vec![address])
                }
                RedisServer::Cluster { hosts } => {
                    cluster::masters(hosts, config, &Status::new(Arc::clone(metrics))).await
                }
            }
        };
        let silent = |_| Err(format!("no answer within {} s to the question who is master", PATIENCE.as_secs()));
        let named = timeout(PATIENCE, named).await.unwrap_or_else(silent)?;
        Ok(named.iter().map(|address| Endpoint::master(config, address)).collect())
    }

    fn master(config: &RedisConfig, address: &(String, u16)) -> Endpoint {
        let server = RedisServer::ClusterNode { host: address.0.clone(), port: address.1 };
        let config = RedisConfig { server, ..config.clone() };
        Endpoint {
            target: Target::of(&config),
            setup: Setup::of(&config),
            is_tls: config.tls.is_some(),
            is_one_of_several: false,
        }
    }

    /// Connects to all of them side by side, and closes the connections.
    pub async fn reach(all: &[Endpoint]) -> Vec<Reached> {
        join_all(all.iter().map(Endpoint::connect)).await
    }

    async fn connect(&self) -> Reached {
        let Endpoint { target, setup, is_tls, is_one_of_several } = self;
        let connected = async {
            match Link::open(setup, CONNECT_TIMEOUT).await {
                Ok(_) => Ok(()),
                Err(problem) => Err(diagnose(&problem, target, setup).await),
            }
        };
        let (addresses, outcome) = tokio::join!(timeout(PATIENCE, self.resolve()), timeout(PATIENCE, connected));
        let silent = |_| Err((Step::Connection, format!("no answer from {target} within {} s", PATIENCE.as_secs())));
        Reached {
            place: target.to_string(),
            addresses: addresses.ok().flatten(),
            is_tls: *is_tls,
            is_one_of_several: *is_one_of_several,
            outcome: outcome.unwrap_or_else(silent),
        }
    }

    async fn resolve(&self) -> Option<Vec<IpAddr>> {
        let Target::Host { host, port, .. } = &self.target else { return None };
        if host.parse::<IpAddr>().is_ok() {
            return None;
        }
        let found = tokio::net::lookup_host((host.as_str(), *port)).await.ok()?;
        Some(found.map(|address| address.ip()).collect())
    }
}
