//! The sockets that are listened on: bound all, or why not.

use std::io;

use rustix::io::Errno;

use crate::config::{Address, ListenConfig, SocketAccess};
use crate::server::{self, Bound};

/// A listener that could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}`: {error}; {}, or choose another address with {flag}", self.advice())]
pub struct BindError {
    address: Address,
    flag: &'static str,
    pub error: io::Error,
}

impl BindError {
    fn advice(&self) -> &'static str {
        match (Errno::from_io_error(&self.error), &self.address) {
            (Some(Errno::ACCESS | Errno::PERM), Address::Tcp(_) | Address::Tls(_)) => {
                "give the process CAP_NET_BIND_SERVICE for a port below 1024"
            }
            (Some(Errno::ACCESS | Errno::PERM), Address::Unix(_)) => {
                "give its user the right to write to the directory"
            }
            (Some(Errno::NOENT | Errno::NOTDIR), _) => "create its directory",
            (Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT), _) => "give this machine that address",
            _ => "free it",
        }
    }
}

/// Binds all of `addresses`, which become those that the sockets really have: an entry each, with a socket a thread. One of
/// `may_be_missing` is left out if this machine lacks its address family, unless nothing would be left.
pub fn bind(
    addresses: &mut Vec<Address>,
    flag: &'static str,
    access: SocketAccess,
    threads: usize,
    may_be_missing: &[Address],
) -> Result<Vec<Vec<Bound>>, BindError> {
    let (mut all, mut real, mut skipped) = (Vec::new(), Vec::new(), None);
    for address in addresses.iter() {
        let bound = server::bind(address, addresses, access, threads);
        match bound.and_then(|bound| Ok((bound[0].address()?, bound))) {
            Ok((address, bound)) => {
                real.push(address);
                all.push(bound);
            }
            Err(error) if may_be_missing.contains(address) && server::lacks_family(&error) => {
                tracing::info!(%address, %error, "this machine lacks the address family; {flag} continues without it");
                skipped = Some(BindError { address: address.clone(), flag, error });
            }
            Err(error) => return Err(BindError { address: address.clone(), flag, error }),
        }
    }
    match skipped {
        Some(error) if all.is_empty() => Err(error),
        _ => {
            *addresses = real;
            Ok(all)
        }
    }
}

/// A listener that was tried.
pub struct Tried {
    pub address: Address,
    pub flag: &'static str,
    pub outcome: Result<(), BindError>,
}

/// Binds each listener beside those before it, and closes all of them at the end. One that may be missing, because this
/// machine lacks its address family, is left out.
pub fn try_listeners(listen: &ListenConfig) -> Vec<Tried> {
    let of = [("--listen", &listen.api), ("--dapr-grpc-listen", &listen.dapr_grpc), ("--ops-listen", &listen.ops)];
    let (mut tried, mut kept) = (Vec::new(), Vec::new());
    for (flag, addresses) in of {
        for address in addresses {
            let may_be_missing = flag == "--ops-listen" && listen.ops_of_any_family.contains(address);
            let outcome = match server::bind(address, addresses, listen.sockets, 1) {
                Ok(bound) => {
                    kept.push(bound);
                    Ok(())
                }
                Err(error) if may_be_missing && server::lacks_family(&error) => continue,
                Err(error) => Err(BindError { address: address.clone(), flag, error }),
            };
            tried.push(Tried { address: address.clone(), flag, outcome });
        }
    }
    tried
}
