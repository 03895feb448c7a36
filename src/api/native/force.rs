//! `DELETE /v1/locks/{key}?force=true`: force-releases a lock, or with `&token=N` one of its leases, and says whose it was and whose it is now.

use hyper::header::{HeaderName, HeaderValue};

use crate::api::audit::held;
use crate::api::caller::Caller;
use crate::api::context::Context;
use crate::api::failure::Failure;
use crate::api::wire::{HOLDER, no_content, spelled};
use crate::lock::{Forced, Holder, Key, LeaseRef, Looked, State, Target, Token};
use crate::policy::Verb;
use crate::request;
use crate::server::Response;

const RELEASED_OWNER: HeaderName = HeaderName::from_static("lockside-released-owner");
const RELEASED_TOKEN: HeaderName = HeaderName::from_static("lockside-released-token");
/// Of all leases that ended, where that was not one whose owner is told.
const RELEASED_COUNT: HeaderName = HeaderName::from_static("lockside-released-count");

/// Force-releases the lock, or the lease of this token alone; `reason` is for the log.
pub async fn force(
    cx: &Context,
    caller: Caller,
    key: Key,
    token: Option<Token>,
    reason: Option<&str>,
) -> Result<Response, Failure> {
    caller.need_force(cx, &key)?;
    let target = match token {
        Some(token) => Target::Lease(LeaseRef::KeyToken(key.clone(), token)),
        None => Target::Key(key.clone()),
    };
    let leases = match cx.locks.force(target, request::caller(), reason).await? {
        Forced::Taken(leases) => {
            leases.iter().for_each(|lease| cx.ended(lease.token));
            leases
        }
        Forced::Free | Forced::Other if token.is_some() => return Err(Failure::Lost),
        Forced::Free => return Ok(no_content()),
        Forced::Other => {
            held(cx.locks.audit(), Verb::ForceRelease);
            return Err(Failure::Held(Holder::UNKNOWN));
        }
    };
    let mut response = no_content();
    let headers = response.headers_mut();
    if let [lease] = leases.as_slice()
        && caller.rights.see(lease)
    {
        headers.insert(RELEASED_OWNER, spelled(&lease.owner.id));
        headers.insert(RELEASED_TOKEN, HeaderValue::from(lease.token.get()));
    } else {
        headers.insert(RELEASED_COUNT, HeaderValue::from(leases.len()));
    }
    // The lock has been released, whether or not it can be looked at once more.
    if let Ok(Looked { state: State::Held(holder), .. }) = cx.locks.look(key).await
        && let Some(next) = holder.leases().iter().find(|lease| caller.rights.see(lease))
    {
        headers.insert(HOLDER, spelled(&next.owner.id));
    }
    Ok(response)
}
