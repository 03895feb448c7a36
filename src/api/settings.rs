//! Where the API is served, and for whom.

use std::time::Duration;

use crate::auth::{Anonymous, AuthConfig};
use crate::lock::LockConfig;
use crate::server::{Address, SocketAccess};

/// What the API on one listener is made of.
pub struct Settings<'a> {
    pub listen: &'a ListenConfig,
    pub locks: &'a LockConfig,
    pub auth: &'a AuthConfig,
    /// What callers without a credential may do there.
    pub anonymous: Anonymous,
    /// How long held locks are kept while the process is being stopped: less than connections are, so that their last word
    /// arrives.
    pub hold_grace: Duration,
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
    /// Where `/errors` is served, without a slash at its end; `None`: the sidecar itself.
    pub docs_url: Option<String>,
}

/// A lock store of the Dapr dialect: its resource `r` is the lock `prefix||r`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaprStore {
    pub name: String,
    pub prefix: String,
}
