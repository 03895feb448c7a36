//! `DELETE /v1/locks/{key}?force=true`: force-releases a lock, and says whose it was and whose it is now.

use hyper::header::{HeaderName, HeaderValue};

use crate::api::caller::Caller;
use crate::api::context::Context;
use crate::api::failure::{Denial, Failure};
use crate::api::wire::{HOLDER, no_content, spelled};
use crate::lock::{Forced, Holder, Key, Looked, State, Target};
use crate::request;
use crate::server::Response;

const RELEASED_OWNER: HeaderName = HeaderName::from_static("lockside-released-owner");
const RELEASED_TOKEN: HeaderName = HeaderName::from_static("lockside-released-token");

/// Force-releases the lock; `reason` is for the log.
pub async fn force(cx: &Context, caller: Caller, key: Key, reason: Option<&str>) -> Result<Response, Failure> {
    if !caller.manages_locks {
        return Err(Failure::Forbidden(Denial::Permission));
    }
    let lease = match cx.locks.force(Target::Key(key.clone()), request::caller(), reason).await? {
        Forced::Taken(lease) => lease,
        Forced::Free => return Ok(no_content()),
        Forced::Other => return Err(Failure::Held(Holder::UNKNOWN)),
    };
    let mut response = no_content();
    let headers = response.headers_mut();
    headers.insert(RELEASED_OWNER, spelled(&lease.owner.id));
    headers.insert(RELEASED_TOKEN, HeaderValue::from(lease.token.get()));
    // The lock has been released, whether or not it can be looked at once more.
    if let Ok(Looked { state: State::Held(Holder::Lease(next)), .. }) = cx.locks.look(key).await {
        headers.insert(HOLDER, spelled(&next.owner.id));
    }
    Ok(response)
}
