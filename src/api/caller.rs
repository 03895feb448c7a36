//! Who is asking in the leases, the native and the Dapr dialect: a user, or a service caller.

use hyper::Request;
use hyper::body::Incoming;

use super::Context;
use super::failure::Failure;
use crate::auth::Anonymous;
use crate::auth::Principal;
use crate::lock::Owner;

/// Who is asking.
pub struct Caller {
    /// The user; `None` for a service caller.
    pub owner: Option<Owner>,
    /// Whether the caller may take a lock away from its holder.
    pub manages_locks: bool,
}

impl Caller {
    pub fn is_user(&self) -> bool {
        self.owner.is_some()
    }

    /// The owner whose leases this caller may change.
    pub fn claimant(self) -> Owner {
        self.owner.unwrap_or_else(|| Owner::system(String::new()))
    }
}

impl Context {
    /// A user, a service caller, or one without a credential, who is a service caller where such callers may do `least`.
    pub async fn caller(&self, request: &Request<Incoming>, least: Anonymous) -> Result<Caller, Failure> {
        match self.principal(request).await? {
            Principal::User(user) => Ok(Caller { manages_locks: user.manages_locks, owner: Some(user.into()) }),
            Principal::System => Ok(Caller { owner: None, manages_locks: true }),
            Principal::Anonymous if self.anonymous >= least => {
                self.gate.admit_direct(request.headers())?;
                self.gate.admit_page(request.method(), request.headers())?;
                Ok(Caller { owner: None, manages_locks: self.anonymous == Anonymous::Full })
            }
            Principal::Anonymous => Err(Failure::Unauthorized("no credentials".to_owned())),
        }
    }
}
