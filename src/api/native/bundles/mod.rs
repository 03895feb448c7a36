//! `/v1/bundles`: several keys at once, all of them or none.

mod acquire;
mod group;
mod hold;
pub mod request;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use crate::api::context::Context;
use crate::api::failure::{Failure, OfBundle};
use crate::api::native::view::BundleView;
use crate::api::quotas;
use crate::api::wire::{json, no_content};
use crate::auth::Anonymous;
use crate::lock::{Changed, Key, LeaseRef, RenewedAll, Token};
use crate::policy::Verb;
use crate::server::Response;
pub use acquire::acquire_all;
pub use hold::hold_all;
use request::Named;

/// `PUT /v1/bundles`: sets the remaining time of leases, of all or of none.
pub async fn renew_all(cx: &Context, request: Request<Incoming>) -> Result<Response, Failure> {
    let caller = cx.caller(&request, Anonymous::Lock).await?;
    let (named, ttl) = request::read_renew(cx, request).await?;
    named.iter().try_for_each(|(key, _)| caller.rights.need(Verb::Lock, key))?;
    let ttl = ttl.map(|ttl| quotas::within(caller.quota.as_ref(), "ttlMs", ttl)).transpose()?;
    let leases = existing(&named)?;
    let leases = match cx.locks.renew_all(leases.clone(), caller.claimant(), ttl).await? {
        RenewedAll::Renewed(changed) => match sorted(cx, &leases, changed)? {
            (leases, lost) if lost.is_empty() => leases,
            (_, lost) => return Err(lost_of(lost)),
        },
        RenewedAll::Refused(checked) => return Err(lost_of(sorted(cx, &leases, checked)?.1)),
    };
    leases.iter().for_each(|lease| cx.renewed(lease, caller.quota.as_ref()));
    Ok(json(StatusCode::OK, &BundleView::of(leases.iter())))
}

/// `DELETE /v1/bundles`, `POST /v1/bundles/release`: releases leases, each by itself.
pub async fn release_all(cx: &Context, request: Request<Incoming>) -> Result<Response, Failure> {
    // No limit of a caller keeps it from releasing.
    let caller = cx.identify(&request, Anonymous::Lock).await?;
    let named = request::read_release(request).await?;
    let (mut unknown, mut failures, mut is_any_released) = (Vec::new(), Vec::new(), false);
    let (mut lost, mut leases) = (Vec::new(), Vec::new());
    for (key, token) in named {
        match (caller.rights.need_release(&cx.locks, &key, token).await, token) {
            (Ok(()), Some(token)) => leases.push((key, token)),
            (Ok(()), None) => lost.push(key),
            // What Redis does not say of one is no reason to keep the others.
            (Err(failure), _) if failure.row().status.is_server_error() => {
                unknown.push(key);
                failures.push(failure);
            }
            (Err(refusal), _) => return Err(refusal),
        }
    }
    if !leases.is_empty() {
        // Of another owner's leases nothing is released, nor of those beside them. What is not known is tried.
        let checked = cx.locks.check_all(leases.clone(), caller.claimant()).await?;
        if checked.iter().any(|checked| matches!(checked, Ok(Changed::NotYours))) {
            return Err(Failure::NotYours);
        }
    }
    let releases = leases.iter().map(|(key, token)| {
        let which = LeaseRef::KeyToken(key.clone(), *token);
        cx.holds.release(&cx.locks, which, caller.claimant(), None)
    });
    for ((key, token), released) in leases.iter().zip(futures_util::future::join_all(releases).await) {
        match released {
            Ok(Changed::Done(())) => {
                cx.released(*token, None);
                is_any_released = true;
            }
            Ok(Changed::Lost(_) | Changed::NotYours) => {
                cx.ended(*token);
                lost.push(key.clone());
            }
            Err(failure) => {
                unknown.push(key.clone());
                failures.push(Failure::from(failure));
            }
        }
    }
    match failures.into_iter().reduce(|one, other| if other.outcome() == "unknown" { other } else { one }) {
        // Nothing was changed.
        Some(failure) if !is_any_released && failure.outcome() == "not-applied" => Err(failure),
        Some(failure) => {
            let cause = Failure::OutcomeUnknown(failure.reason().to_owned());
            Err(Failure::OfBundle(Box::new(OfBundle { cause, key: None, lost, unknown })))
        }
        None if lost.is_empty() => Ok(no_content()),
        None => Err(lost_of(lost)),
    }
}

/// The leases that were named; 410 where one of the tokens can be none.
fn existing(named: &Named) -> Result<Vec<(Key, Token)>, Failure> {
    let lost: Vec<Key> = named.iter().filter(|(_, token)| token.is_none()).map(|(key, _)| key.clone()).collect();
    if !lost.is_empty() {
        return Err(lost_of(lost));
    }
    Ok(named.iter().filter_map(|(key, token)| Some((key.clone(), (*token)?))).collect())
}

/// Those that are there, and those that are lost. 403 where one is another owner's.
fn sorted<T>(cx: &Context, named: &[(Key, Token)], changed: Vec<Changed<T>>) -> Result<(Vec<T>, Vec<Key>), Failure> {
    let (mut leases, mut lost) = (Vec::with_capacity(named.len()), Vec::new());
    for ((key, token), changed) in named.iter().zip(changed) {
        match changed {
            Changed::Done(lease) => leases.push(lease),
            Changed::NotYours => return Err(Failure::NotYours),
            Changed::Lost(_) => {
                cx.ended(*token);
                lost.push(key.clone());
            }
        }
    }
    Ok((leases, lost))
}

fn lost_of(lost: Vec<Key>) -> Failure {
    Failure::OfBundle(Box::new(OfBundle { cause: Failure::Lost, key: None, lost, unknown: Vec::new() }))
}
