//! The Dapr API: Dapr's distributed lock over HTTP and over gRPC, so that code written for Dapr runs against lockside
//! unchanged. The order of checks is Dapr's own; lockside's further checks come last.
//!
//! As with Dapr, any caller who knows a lock's owner may release it. Users are refused, because a user's lock is that
//! user's alone, and a Dapr owner is only a name.

pub(super) mod frame;
mod grpc;
mod http;
pub(super) mod messages;

pub use grpc::DaprGrpc;
#[cfg(any(test, fuzzing))]
pub(super) use http::LockBody;
pub(super) use http::{answer, health, metadata, refuse, try_lock, unlock};

use hyper::Request;
use hyper::body::Incoming;

use super::audit;
use super::caller::Caller;
use super::context::{Context, asked_by_service, certificate_of};
use super::failure::{Denial, Failure};
use super::owner_names;
use super::quotas;
use super::settings::DaprStore;
use crate::audit::Event;
use crate::auth::{Anonymous, ServiceCredential};
use crate::lock::{Acquired, Attempt, Changed, Key, LockConfig, Owner, Reentry, Ttl, Unconfirmed};
use crate::policy::Verb;
use crate::quota::Seat;
use crate::request;

/// Between the parts of a lock's name.
const SEPARATOR: &str = "||";
/// What the sidecar calls itself.
const ID: &str = "lockside";
/// The type of a lock store.
const STORE_TYPE: &str = "lock.lockside";
const STORE_VERSION: &str = "v1";

/// How an unlock ended, by its number in Dapr's protocol. The fourth, an internal error, is never answered: the call
/// fails then, as with Dapr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unlocked {
    Success = 0,
    DoesNotExist = 1,
    BelongsToOthers = 2,
}

/// The lock that a call is about, as it was sent: a field that was not is empty or 0.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub resource: String,
    pub owner: String,
    pub expiry_in_seconds: i32,
}

/// What a lock asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LockTerms {
    pub key: Key,
    pub owner: Owner,
    pub ttl: Ttl,
}

impl Asked {
    pub(super) fn into_terms(
        self,
        store: &str,
        stores: &[DaprStore],
        limits: &LockConfig,
    ) -> Result<LockTerms, Failure> {
        let seconds = u64::try_from(self.expiry_in_seconds).ok().filter(|seconds| *seconds > 0);
        let seconds = seconds
            .ok_or_else(|| Failure::BadRequest(format!("ExpiryInSeconds is not positive in lock store {store}")))?;
        let (key, owner) = self.into_lock(store, stores)?;
        // The answer has no room for a lease that is shorter than this.
        let longest_ms = limits.longest_lease_ms();
        let ttl = Ttl::from_ms(seconds * 1000, longest_ms);
        let ttl = ttl.ok_or_else(|| {
            Failure::BadRequest(format!("expiryInSeconds: expected 1 to {} seconds", longest_ms / 1000))
        })?;
        Ok(LockTerms { key, owner, ttl })
    }

    /// The key of a lock and its owner.
    pub(super) fn into_lock(self, store: &str, stores: &[DaprStore]) -> Result<(Key, Owner), Failure> {
        if stores.is_empty() {
            return Err(Failure::NoStores);
        }
        for (name, value) in [("ResourceId", &self.resource), ("LockOwner", &self.owner)] {
            if value.is_empty() {
                return Err(Failure::BadRequest(format!("{name} is empty in lock store {store}")));
            }
        }
        let Some(DaprStore { prefix, .. }) = stores.iter().find(|known| known.name == store) else {
            return Err(Failure::NoSuchStore(format!("lock store {store} not found")));
        };
        let Asked { resource, owner, .. } = self;
        if resource.contains(SEPARATOR) {
            return Err(Failure::BadRequest(format!("resourceId: expected a text without `{SEPARATOR}`")));
        }
        owner_names::check("lockOwner", &owner)?;
        request::speaks_for(&owner);
        let key = Key::parse(&format!("{prefix}{SEPARATOR}{resource}"));
        let key = key.map_err(|error| Failure::BadRequest(error.to_string()))?;
        request::asks_for(|| key.share());
        Ok((key, Owner::system(owner)))
    }
}

/// Acquires a key: whether it was granted, and what confirms that. Its owner is refused, too: there is no renewal.
async fn acquire(cx: &Context, caller: &Caller, terms: LockTerms) -> Result<(bool, Grant), Failure> {
    let LockTerms { key, owner, ttl } = terms;
    let quota = caller.quota.as_ref();
    caller.rights.need(Verb::Lock, &key)?;
    let ttl = quotas::within(quota, "expiryInSeconds", ttl)?;
    let attempt = Attempt::plain(caller.rights.system(owner.id), ttl, Reentry::Refuse);
    let mut seat = quotas::reserve(quota, &key, &attempt)?;
    let (content, unconfirmed) = cx.locks.acquire(key, attempt).await?;
    if let Acquired::Granted(lease) | Acquired::Replayed(lease) | Acquired::Renewed(lease) = &content {
        seat.iter_mut().for_each(|seat| seat.granted(lease));
    }
    Ok((!matches!(content, Acquired::Held(..)), (unconfirmed, seat)))
}

/// What confirms a grant, and its place among the caller's locks.
type Grant = (Unconfirmed, Option<Seat>);

/// Releases the owner's lease of a key. Under a policy that is one which the same credential got: two callers may
/// choose one name.
async fn release(cx: &Context, caller: &Caller, key: Key, owner: Owner) -> Result<Unlocked, Failure> {
    let rights = &caller.rights;
    let (may_lock, owner) = (rights.may(Verb::Lock, &key), rights.system(owner.id));
    Ok(match cx.holds.release_key(&cx.locks, key.clone(), owner).await? {
        Changed::Done(()) => {
            caller.quota.as_ref().inspect(|quota| quota.released_key(&key));
            Unlocked::Success
        }
        // Whether another owner has it, or none, is nothing that the caller may know.
        _ if !may_lock => return Err(rights.denied(Verb::Lock)),
        Changed::Lost(_) => Unlocked::DoesNotExist,
        Changed::NotYours => {
            // Dapr's clients are told so in an answer that is no failure.
            cx.locks.audit().inspect(|audit| audit::refused(audit, Some(Verb::Lock), (Event::Conflict, "not-yours")));
            Unlocked::BelongsToOthers
        }
    })
}

/// Admits service callers, as the native API does, and callers with Dapr's API token.
async fn admit(cx: &Context, request: &Request<Incoming>) -> Result<Caller, Failure> {
    if let Some(name) = cx.authenticator.dapr_system(request.headers(), certificate_of(request.extensions())).await? {
        let credential = ServiceCredential::Token(name);
        asked_by_service(&credential);
        return Ok(cx.service(credential));
    }
    let caller = cx.identify(request, Anonymous::Lock).await?;
    if caller.owner.is_some() {
        return Err(Failure::Forbidden(Denial::User));
    }
    Ok(caller)
}
