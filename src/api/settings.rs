//! Settings of the API listeners: addresses, limits, and who may call.

use std::time::Duration;

use crate::auth::{Anonymous, AuthConfig};
use crate::lock::LockConfig;
use crate::server::{Address, SocketAccess};
use crate::tls::ListenerTls;

/// What the API on one listener is made of.
pub struct Settings<'a> {
    pub listen: &'a ListenConfig,
    pub locks: &'a LockConfig,
    pub auth: &'a AuthConfig,
    /// What callers without a credential may do on this listener.
    pub anonymous: Anonymous,
    /// How long held locks are kept once the drain has begun: shorter than connections are, so that a hold's last line
    /// arrives.
    pub hold_grace: Duration,
}

#[derive(Clone, Debug)]
pub struct ListenConfig {
    /// At least one; the first is the one to show.
    pub api: Vec<Address>,
    /// Listeners of the Dapr API over gRPC; empty: none.
    pub dapr_grpc: Vec<Address>,
    /// At least one; the first is the one to show.
    pub ops: Vec<Address>,
    /// Those of `ops` that stand for each address family that this machine has, and may be missing.
    pub ops_of_any_family: Vec<Address>,
    pub sockets: SocketAccess,
    /// In lower case, an IPv6 address in brackets. Empty: not set.
    pub allowed_hosts: Vec<String>,
    pub allowed_origins: Vec<String>,
    /// `None` where no listener speaks TLS.
    pub tls: Option<ListenerTls>,
    pub max_connections: usize,
    /// Whether `--max-connections` was set; the default shrinks to what the machine allows.
    pub max_connections_is_set: bool,
    /// Whether callers need not authenticate even on listeners beyond loopback.
    pub insecure: bool,
    /// The lock stores of the Dapr API.
    pub dapr_stores: Vec<DaprStore>,
    /// Where `/errors` is served, without a slash at its end; `None`: the sidecar itself.
    pub docs_url: Option<String>,
}

impl ListenConfig {
    /// Whether all callers of a listener authenticate by a certificate before they ask for anything.
    pub fn has_certificates(&self, listener: &Address) -> bool {
        matches!(listener, Address::Tls(_)) && self.tls.as_ref().is_some_and(ListenerTls::asks_for_certificates)
    }

    /// Every listener that serves locks, with its flag: what holds for one holds for all.
    pub fn serving(&self) -> impl Iterator<Item = (&'static str, &Address)> {
        let api = self.api.iter().map(|address| ("--listen", address));
        api.chain(self.dapr_grpc.iter().map(|address| ("--dapr-grpc-listen", address)))
    }
}

/// A lock store of the Dapr API: its resource `r` is the lock `prefix||r`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaprStore {
    pub name: String,
    pub prefix: String,
}
