//! The address of a listener, and who may connect to it.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The address of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    /// Over TLS.
    Tls(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    /// Of TCP, whether TLS is spoken there or not.
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Address::Tcp(address) | Address::Tls(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }

    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Address::Tcp(address) | Address::Tls(address) => address.ip().is_loopback(),
            Address::Unix(_) => true,
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Tls(address) => write!(f, "tls:{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Who may connect to the unix sockets that are listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketAccess {
    pub mode: u32,
    /// `None`: the group of the process.
    pub group: Option<u32>,
}
