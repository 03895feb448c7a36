//! Who is asking in the leases, the native and the Dapr API: a user, or a service caller.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request};

use super::context::Context;
use super::failure::Failure;
use super::rights::Rights;
use crate::auth::{Anonymous, DEFAULT_TOKEN, Principal, ServiceCredential, User};
use crate::lock::{Key, Owner};
use crate::policy::{Subject, UserFacts, Verb};
use crate::quota::Quota;

/// Longest name of a certificate that begins the generated names of its owners, bytes: as --owner-prefix.
const LONGEST_OWNER_PREFIX: usize = 128;

/// Who is asking.
pub struct Caller {
    /// The user; `None` for a service caller.
    pub owner: Option<Owner>,
    /// Whether the caller may force-release a lock where no policy says who may.
    pub manages_locks: bool,
    /// What the policy lets the caller do.
    pub rights: Rights,
    /// How much the caller may have; `None`: as much as there is.
    pub quota: Option<Quota>,
    /// What the generated names of its owners begin with; `None`: --owner-prefix.
    pub owner_prefix: Option<Arc<str>>,
}

impl Caller {
    /// Counts a request.
    pub fn spend(&self) -> Result<(), Failure> {
        self.quota.as_ref().map_or(Ok(()), |quota| quota.spend().map_err(Failure::from))
    }

    /// [`Caller::spend`], of a request that is a renewal where the caller is a user who has this key.
    pub fn spend_on(&self, key: Option<&Key>) -> Result<(), Failure> {
        match (&self.owner, key, &self.quota) {
            (Some(_), Some(key), Some(quota)) => Ok(quota.spend_unless_renewing(key)?),
            _ => self.spend(),
        }
    }

    /// The owner whose leases this caller may change.
    pub fn claimant(&self) -> Owner {
        self.owner.clone().unwrap_or_else(|| self.rights.system(String::new()))
    }

    /// Whether the caller may force-release the lock.
    pub fn may_force(&self, key: &Key) -> bool {
        if self.rights.are_ruled() { self.rights.may(Verb::ForceRelease, key) } else { self.manages_locks }
    }

    /// Whether there may be a lock that the caller may see.
    pub fn has_sight(&self) -> bool {
        self.rights.may_somewhere(Verb::Lock) || self.rights.may_somewhere(Verb::Read)
    }

    /// Whether there may be a lock that the caller may force-release.
    pub fn may_force_some(&self) -> bool {
        if self.rights.are_ruled() { self.rights.may_somewhere(Verb::ForceRelease) } else { self.manages_locks }
    }

    /// 403 where the caller may not force-release the lock.
    pub fn need_force(&self, cx: &Context, key: &Key) -> Result<(), Failure> {
        match self.may_force(key) {
            true => Ok(()),
            false if self.rights.are_ruled() => Err(self.rights.denied(Verb::ForceRelease)),
            false => Err(Failure::Forbidden(cx.lacks_permission())),
        }
    }
}

impl Context {
    /// Admits those who may see an election: callers who may lock, and those without a credential who come directly to a
    /// listener that only this machine reaches, whatever `--anonymous` says: apps written for other leader electors send none.
    /// What they see of it the policy says.
    pub async fn observer(&self, request: &Request<Incoming>) -> Result<Caller, Failure> {
        let caller = match self.principal(request).await? {
            Principal::User(user) => self.user(user),
            Principal::System(credential) => self.service(credential),
            Principal::Anonymous if self.is_local || self.anonymous >= Anonymous::Lock => {
                self.gate.admit_direct(request.method(), request.headers())?;
                self.unnamed()
            }
            Principal::Anonymous => return Err(Failure::Unauthorized("no credentials".to_owned())),
        };
        caller.spend()?;
        Ok(caller)
    }

    /// [`Context::identify`], which counts the request, unless it renews or releases.
    pub async fn caller(&self, request: &Request<Incoming>, least: Anonymous) -> Result<Caller, Failure> {
        let caller = self.identify(request, least).await?;
        if !matches!(*request.method(), Method::PUT | Method::DELETE) {
            caller.spend()?;
        }
        Ok(caller)
    }

    /// The caller: a user, or a service caller. A caller without a credential is a service caller if `--anonymous` allows
    /// `least`, and if no proxy and no cross-origin page sent the request.
    pub async fn identify(&self, request: &Request<Incoming>, least: Anonymous) -> Result<Caller, Failure> {
        match self.principal(request).await? {
            Principal::User(user) => Ok(self.user(user)),
            Principal::System(credential) => Ok(self.service(credential)),
            Principal::Anonymous if self.anonymous >= least => {
                self.gate.admit_direct(request.method(), request.headers())?;
                self.gate.admit_page(request.method(), request.headers())?;
                Ok(self.unnamed())
            }
            Principal::Anonymous => Err(Failure::Unauthorized("no credentials".to_owned())),
        }
    }

    fn user(&self, user: User) -> Caller {
        let (rights, quota) = self.standing_of(&user);
        Caller { manages_locks: user.manages_locks, owner: Some(user.into()), rights, quota, owner_prefix: None }
    }

    /// A caller with an API token or a client certificate.
    pub fn service(&self, credential: ServiceCredential) -> Caller {
        let (rights, quota) = self.standing(|| match &credential {
            ServiceCredential::Token(name) => Subject::Token(Arc::clone(name)),
            ServiceCredential::Certificate(name) => Subject::Certificate(Arc::clone(name)),
        });
        let owner_prefix = match credential {
            ServiceCredential::Token(name) => (*name != *DEFAULT_TOKEN).then_some(name),
            ServiceCredential::Certificate(name) => (name.len() <= LONGEST_OWNER_PREFIX).then_some(name),
        };
        Caller { owner: None, manages_locks: true, rights, quota, owner_prefix }
    }

    /// A caller without a credential.
    fn unnamed(&self) -> Caller {
        let (rights, quota) = self.standing(|| Subject::Anonymous);
        let manages_locks = self.anonymous == Anonymous::Full;
        Caller { owner: None, manages_locks, rights, quota, owner_prefix: None }
    }

    pub fn standing_of(&self, user: &User) -> (Rights, Option<Quota>) {
        self.standing(|| {
            Subject::User(UserFacts { sub: Some(user.id.clone()), claims: user.claims.clone().unwrap_or_default() })
        })
    }

    /// What a caller may do, and how much of it. Nothing is made where nothing is configured.
    fn standing(&self, subject: impl FnOnce() -> Subject) -> (Rights, Option<Quota>) {
        if self.enforcement.is_none() && self.quotas.is_none() {
            return (Rights::default(), None);
        }
        let subject = Arc::new(subject());
        let quota = self.quotas.as_ref().and_then(|quotas| quotas.of(&subject));
        (Rights::of(self.enforcement.as_ref(), subject), quota)
    }
}
