//! `POST /v1/locks/{key}/hold`: a lock tied to a connection. lockside renews it; when the connection closes, for
//! whatever reason, the lock is released.

use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;

use super::connection::ConnectionKeeper;
use super::grant::acquire;
use super::lines::Lines;
use super::permit::Permit;
use super::progress;
use super::request::{AcquireBody, idempotency_key, key_in};
use crate::api::context::Context;
use crate::api::failure::Failure;
use crate::api::quotas::Places;
use crate::auth::Anonymous;
use crate::lock::Ttl;
use crate::policy::Verb;
use crate::request::continued;
use crate::server::{Peer, Response};

/// Shortest ttl that can be kept by renewals, milliseconds.
const MIN_TTL_MS: u64 = 50;

/// Answers once the lock is granted, so that a refusal has its own status; at once where progress is asked for.
pub async fn hold(cx: &Context, request: Request<Incoming>, key: String, peer: &Peer) -> Result<Response, Failure> {
    let caller = cx.caller(&request, Anonymous::Lock).await?;
    let key = key_in(&key)?;
    caller.rights.need(Verb::Lock, &key)?;
    let name = idempotency_key(request.headers())?;
    let permit = Arc::new(Permit::of(cx, cx.shown(&request)));
    let (body, streams_progress) = AcquireBody::read_hold(request).await?;
    if body.is_reentrant() {
        return Err(Failure::BadRequest("reentrant: not for hold, whose lock ends with its connection".to_owned()));
    }
    let (mut attempt, rights, quota) = body.attempt(cx, caller, name)?;
    attempt.is_hold = true;
    let ttl = attempt.ttl;
    need_ttl(cx, ttl)?;
    let places = Places::reserve(quota.as_ref(), &key, &attempt)?;
    peer.watch(Duration::from_millis(ttl.as_ms()));
    if streams_progress {
        return progress::stream(cx, key, attempt, permit, (rights, places)).await;
    }
    let granted = acquire(cx.locks.clone(), key, attempt, Arc::clone(&permit)).await;
    let granted = granted.map_err(|failure| rights.shown_failure(failure))?;
    let (lines, response) = Lines::open();
    let seat = places.taken(&granted.lease);
    tokio::spawn(continued(ConnectionKeeper::of(cx).keep(granted, (permit, seat), ttl, lines)));
    Ok(response)
}

/// 400 where a ttl is too short to be kept.
pub fn need_ttl(cx: &Context, ttl: Ttl) -> Result<(), Failure> {
    if ttl.as_ms() >= MIN_TTL_MS {
        return Ok(());
    }
    let max_ms = cx.limits.max_ttl_ms;
    Err(Failure::BadRequest(format!("ttlMs: expected an integer from {MIN_TTL_MS} to {max_ms} for a hold")))
}
