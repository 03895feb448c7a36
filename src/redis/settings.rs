//! Where Redis is, who we are there, and how long it may take.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::{Reloaded, Secret};
use crate::tls::{Identity, Tls};

#[derive(Clone, Debug)]
pub struct RedisConfig {
    pub server: RedisServer,
    /// `None`: Redis is spoken to plainly.
    pub tls: Option<Tls>,
    /// The client certificate that `tls` shows, to be followed.
    pub identity: Option<Identity>,
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
