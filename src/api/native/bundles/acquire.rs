//! `POST /v1/bundles`: acquires several keys, and waits for them where the request does.

use std::borrow::Borrow;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use super::request::{self, Asked};
use crate::api::context::Context;
use crate::api::failure::{Failure, OfBundle};
use crate::api::native::permit::Permit;
use crate::api::native::request::idempotency_key;
use crate::api::native::turn::{Turn, explained, turn};
use crate::api::native::view::BundleView;
use crate::api::quotas;
use crate::api::wire::{confirming_all, json};
use crate::auth::Anonymous;
use crate::bundle::{self, Leg, Refusal, Wanted};
use crate::lock::{Holder, Key, Lease, LockFailure, Locks, State};
use crate::policy::Verb;
use crate::server::{Peer, Response};

pub async fn acquire_all(cx: &Context, request: Request<Incoming>, peer: &Peer) -> Result<Response, Failure> {
    let caller = cx.caller(&request, Anonymous::Lock).await?;
    let name = idempotency_key(request.headers())?;
    let shown = cx.shown(&request);
    let Asked { order, keys, common } = request::read_acquire(request).await?;
    order.iter().try_for_each(|key| caller.rights.need(Verb::Lock, key))?;
    let (attempt, rights, quota) = common.attempt(cx, caller, name)?;
    let mut seats = quotas::reserve_all(quota.as_ref(), &keys, &attempt)?;
    if attempt.wait.is_some() {
        peer.watch(Duration::from_millis(attempt.ttl.as_ms()));
    }
    let wanted = Wanted { keys, attempt, waits_for: None };
    let legs = Box::pin(legs(&cx.locks, &wanted, || Permit::of(cx, shown))).await;
    let legs = legs.map_err(|failure| rights.shown_failure(failure))?;
    seats.iter_mut().zip(&legs).for_each(|(seat, leg)| seat.granted(&leg.lease));
    let status = if legs.iter().any(|leg| leg.is_new) { StatusCode::CREATED } else { StatusCode::OK };
    let response = json(status, &BundleView::of(as_asked(&order, &legs)));
    let unconfirmed: Vec<_> = legs.into_iter().map(|leg| leg.unconfirmed).collect();
    Ok(confirming_all(response, unconfirmed, seats))
}

/// The leases in the order of the request.
fn as_asked<'a>(order: &'a [Key], legs: &'a [Leg]) -> impl Iterator<Item = &'a Lease> {
    order.iter().filter_map(|key| legs.iter().map(|leg| &leg.lease).find(|lease| lease.key == *key))
}

/// Acquires all keys, or none, for as long as the permit lasts.
pub async fn legs<P: Borrow<Permit>>(
    locks: &Locks,
    wanted: &Wanted,
    permit: impl FnOnce() -> P,
) -> Result<Vec<Leg>, Failure> {
    let acquiring = async {
        match bundle::acquire(locks, wanted).await {
            Ok(legs) => Ok(legs),
            Err(refusal) => Err(failure_of(locks, refusal).await),
        }
    };
    let Turn { content: mut legs, .. } = turn(&wanted.attempt.owner, permit, acquiring).await?;
    // The first lease was kept back for as long as the last one took, and all while the permit was looked at.
    let now = Instant::now();
    legs.iter_mut().try_for_each(|leg| leg.lease.count_down(now).map_err(LockFailure::TooLate))?;
    Ok(legs)
}

async fn failure_of(locks: &Locks, refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Held(key, holder) => Failure::Held(holder).because_of(key),
        Refusal::Lost(key) => {
            let holder = match locks.look(key.clone()).await.map(|looked| looked.state) {
                Ok(State::Held(holder)) => holder,
                Ok(State::Free) | Err(_) => Holder::UNKNOWN,
            };
            let (cause, lost) = (Failure::Held(holder), vec![key.clone()]);
            Failure::OfBundle(Box::new(OfBundle { cause, key: Some(key), lost, unknown: Vec::new() }))
        }
        Refusal::Failed(key, failure) => match explained(locks, &key, failure).await {
            timeout @ Failure::WaitTimeout(_) => timeout.because_of(key),
            failure => failure,
        },
    }
}
