//! Who is asking in the leases, the native and the Dapr API: a user, or a service caller.

use hyper::Request;
use hyper::body::Incoming;

use super::context::Context;
use super::failure::Failure;
use crate::auth::{Anonymous, Principal};
use crate::lock::Owner;

/// Who is asking.
pub struct Caller {
    /// The user; `None` for a service caller.
    pub owner: Option<Owner>,
    /// Whether the caller may force-release a lock.
    pub manages_locks: bool,
}

impl Caller {
    /// The owner whose leases this caller may change.
    pub fn claimant(self) -> Owner {
        self.owner.unwrap_or_else(|| Owner::system(String::new()))
    }
}

impl Context {
    /// Admits those who may see an election: callers who may lock, and those without a credential who come directly to a
    /// listener that only this machine reaches, whatever `--anonymous` says: apps written for other leader electors send none.
    pub async fn observer(&self, request: &Request<Incoming>) -> Result<Owner, Failure> {
        match self.principal(request).await? {
            Principal::User(user) => Ok(user.into()),
            Principal::System => Ok(Owner::system(String::new())),
            Principal::Anonymous if self.is_local || self.anonymous >= Anonymous::Lock => {
                self.gate.admit_direct(request.method(), request.headers())?;
                Ok(Owner::system(String::new()))
            }
            Principal::Anonymous => Err(Failure::Unauthorized("no credentials".to_owned())),
        }
    }

    /// The caller: a user, or a service caller. A caller without a credential is a service caller if `--anonymous` allows
    /// `least`, and if no proxy and no cross-origin page sent the request.
    pub async fn caller(&self, request: &Request<Incoming>, least: Anonymous) -> Result<Caller, Failure> {
        match self.principal(request).await? {
            Principal::User(user) => Ok(Caller { manages_locks: user.manages_locks, owner: Some(user.into()) }),
            Principal::System => Ok(Caller { owner: None, manages_locks: true }),
            Principal::Anonymous if self.anonymous >= least => {
                self.gate.admit_direct(request.method(), request.headers())?;
                self.gate.admit_page(request.method(), request.headers())?;
                Ok(Caller { owner: None, manages_locks: self.anonymous == Anonymous::Full })
            }
            Principal::Anonymous => Err(Failure::Unauthorized("no credentials".to_owned())),
        }
    }
}
