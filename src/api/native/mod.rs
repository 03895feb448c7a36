//! The native API: what app developers use from any language. JSON, and a truthful outcome in every error.

pub mod bundles;
mod connection;
mod elections;
mod events;
mod force;
mod grant;
mod hold;
mod lines;
mod list;
mod meta;
mod permit;
mod problem;
mod progress;
mod queue;
pub mod request;
mod show;
mod sight;
mod sse;
mod status;
mod turn;
mod view;

use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body;
use super::context::{Context, certificate_of};
use super::failure::Failure;
use super::known;
use super::quotas;
use super::wire::{confirming, flag, json, no_content, reason};
use crate::auth::{Anonymous, Shown};
use crate::lock::{Acquired, Attempt, Changed, Holder, Key, Lease, LeaseRef, State, Token, Unconfirmed};
use crate::policy::Verb;
use crate::server::{Peer, Response, read_body};
pub use bundles::{acquire_all, hold_all, release_all, renew_all};
pub use elections::{election, election_events, leader, resign};
pub use events::{events_of_key, events_of_prefix};
use force::force;
pub use hold::hold;
pub use list::list;
use permit::Permit;
pub use problem::Problem;
pub use queue::queue;
use request::{AcquireBody, given, idempotency_key, key_in, no_body, rest_in, token_in, ttl_of};
pub use show::show;
pub use status::{Status, status};
use turn::{Turn, explained, turn};
use view::LeaseView;

/// `POST /v1/locks/{key}`: acquires a key.
pub async fn acquire(cx: &Context, request: Request<Incoming>, key: String, peer: &Peer) -> Result<Response, Failure> {
    let caller = cx.caller(&request, Anonymous::Lock).await?;
    let key = key_in(&key)?;
    caller.rights.need(Verb::Lock, &key)?;
    let name = idempotency_key(request.headers())?;
    let (head, body) = request.into_parts();
    let body = AcquireBody::read(&head, body).await?;
    let (attempt, rights, quota) = body.attempt(cx, caller, name)?;
    let mut seat = quotas::reserve(quota.as_ref(), &key, &attempt)?;
    let acquired = if attempt.wait.is_some() {
        peer.watch(Duration::from_millis(attempt.ttl.as_ms()));
        let shown = cx.authenticator.shown(&head.headers, certificate_of(&head.extensions));
        drop(head);
        Box::pin(acquire_in_turn(cx, key, attempt, shown)).await.map_err(|failure| rights.shown_failure(failure))?
    } else {
        drop(head);
        cx.locks.acquire(key, attempt).await?
    };
    let (content, unconfirmed) = acquired;
    let granted = |status, lease: &Lease| {
        seat.iter_mut().for_each(|seat| seat.granted(lease));
        Ok(confirming(json(status, &LeaseView::from(lease)), unconfirmed, seat))
    };
    match content {
        Acquired::Granted(lease) => granted(StatusCode::CREATED, &lease),
        Acquired::Replayed(lease) | Acquired::Renewed(lease) => granted(StatusCode::OK, &lease),
        Acquired::Held(holder, _) => Err(Failure::Held(rights.shown(holder))),
    }
}

async fn acquire_in_turn(
    cx: &Context,
    key: Key,
    attempt: Attempt,
    shown: Shown,
) -> Result<(Acquired, Unconfirmed), Failure> {
    let owner = attempt.owner.clone();
    let acquiring = async {
        match cx.locks.acquire(key.clone(), attempt).await {
            Ok(acquired) => Ok(acquired),
            Err(failure) => Err(explained(&cx.locks, &key, failure).await),
        }
    };
    let Turn { content: (mut acquired, unconfirmed), checked_for } =
        turn(&owner, || Permit::of(cx, shown), acquiring).await?;
    if let Acquired::Granted(lease) | Acquired::Replayed(lease) | Acquired::Renewed(lease) = &mut acquired {
        lease.age(checked_for)?;
    }
    Ok((acquired, unconfirmed))
}

/// `PUT /v1/locks/{key}?token=N`: sets the remaining time of a lease.
pub async fn renew(cx: &Context, request: Request<Incoming>, key: String) -> Result<Response, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct RenewBody {
        #[serde(default, deserialize_with = "given")]
        ttl_ms: Option<Box<RawValue>>,
    }
    const PARAMETERS: &[&str] = &["token"];
    let caller = cx.caller(&request, Anonymous::Lock).await?;
    let key = key_in(&key)?;
    caller.rights.need(Verb::Lock, &key)?;
    known::parameters(request.uri().query(), PARAMETERS, known::fields_of::<RenewBody>)?;
    let token = token_in(&request)?.ok_or_else(|| Failure::BadRequest("token is missing".to_owned()))?;
    let body = read_body(request).await?;
    let body = if body.is_empty() { RenewBody { ttl_ms: None } } else { body::strict(&body, PARAMETERS)? };
    let ttl = body.ttl_ms.map(|ttl| ttl_of(&cx.limits, &ttl)).transpose()?;
    let ttl = ttl.map(|ttl| quotas::within(caller.quota.as_ref(), "ttlMs", ttl)).transpose()?;
    let token = token.ok_or(Failure::Lost)?;
    match cx.locks.renew(LeaseRef::KeyToken(key, token), caller.claimant(), ttl).await? {
        Changed::Done(lease) => {
            cx.renewed(&lease, caller.quota.as_ref());
            Ok(json(StatusCode::OK, &LeaseView::from(&lease)))
        }
        Changed::Lost(_) => {
            cx.ended(token);
            Err(Failure::Lost)
        }
        Changed::NotYours => Err(Failure::NotYours),
    }
}

/// `DELETE /v1/locks/{key}?token=N`: releases a lease; `&restMs=M`: the key stays taken for so long. `?force=true`:
/// force-releases the lock.
pub async fn release(cx: &Context, request: Request<Incoming>, key: String) -> Result<Response, Failure> {
    let caller = cx.caller(&request, Anonymous::Lock).await?;
    let key = key_in(&key)?;
    const PARAMETERS: &[&str] = &["token", "force", "reason", "restMs"];
    known::parameters(request.uri().query(), PARAMETERS, known::no_fields)?;
    let query = request.uri().query().unwrap_or_default();
    let (is_forced, reason) = (flag(query, "force")?, reason(query)?);
    let rest_ms = rest_in(&cx.limits, query)?;
    let token = token_in(&request)?;
    no_body(request, PARAMETERS).await?;
    match (token, is_forced) {
        (_, true) if rest_ms.is_some() => Err(Failure::BadRequest("restMs: goes with token=N".to_owned())),
        (Some(_), false) if reason.is_some() => Err(Failure::BadRequest("reason: goes with force=true".to_owned())),
        (Some(token), false) => {
            caller.rights.need_release(&cx.locks, &key, token).await?;
            // To keep the key taken for longer is more than to release it.
            rest_ms.map_or(Ok(()), |_| caller.rights.need(Verb::Lock, &key))?;
            let token = token.ok_or(Failure::Lost)?;
            let which = LeaseRef::KeyToken(key, token);
            match cx.holds.release(&cx.locks, which, caller.claimant(), rest_ms).await? {
                Changed::Done(()) => {
                    cx.released(token, rest_ms);
                    Ok(no_content())
                }
                Changed::Lost(_) => {
                    cx.ended(token);
                    Err(Failure::Lost)
                }
                Changed::NotYours => Err(Failure::NotYours),
            }
        }
        (None, true) => force(cx, caller, key, None, reason.as_deref()).await,
        (Some(token), true) => {
            let token = token.ok_or(Failure::Lost)?;
            force(cx, caller, key, Some(token), reason.as_deref()).await
        }
        (None, false) => Err(Failure::BadRequest("expected token=N or force=true".to_owned())),
    }
}

/// `GET /v1/locks/{key}/fence?token=N`: whether the lease N holds the key now.
pub async fn fence(cx: &Context, request: Request<Incoming>, key: String) -> Result<Response, Failure> {
    #[derive(Serialize)]
    struct FenceView<'a> {
        key: &'a str,
        token: Token,
    }
    let caller = cx.caller(&request, Anonymous::Lock).await?;
    let key = key_in(&key)?;
    caller.rights.need(Verb::Read, &key)?;
    const PARAMETERS: &[&str] = &["token"];
    known::parameters(request.uri().query(), PARAMETERS, known::no_fields)?;
    let token = token_in(&request)?.ok_or_else(|| Failure::BadRequest("token is missing".to_owned()))?;
    no_body(request, PARAMETERS).await?;
    if let Some(token) = token
        && cx.locks.is_held_by(&key, token).await?
    {
        return Ok(json(StatusCode::OK, &FenceView { key: key.as_str(), token }));
    }
    Err(match cx.locks.look(key).await?.state {
        State::Held(Holder::Lease(lease)) if lease.is_promised() => {
            Failure::Fenced { token: Some(lease.token), is_shared: false }
        }
        State::Held(Holder::Shared(sharing)) => Failure::Fenced { token: sharing.newest, is_shared: true },
        State::Held(_) | State::Free => Failure::Fenced { token: None, is_shared: false },
    })
}
