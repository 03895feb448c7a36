//! The leases API: locks that their holder renews by token, and a list of all locks.

mod dto;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, LINK};
use hyper::{Request, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::body;
use super::caller::Caller;
use super::context::Context;
use super::failure::Failure;
use super::known;
use super::language::Language;
use super::pagination::{self, Bounds, Form, Page, Text};
use super::quotas;
use super::wire::{confirming, json, number, reason};
use crate::auth::Anonymous;
use crate::lock::{
    Acquired, Attempt, Changed, Forced, Key, Lease, LeaseRef, Listed, LockConfig, Reentry, Target, Token, Ttl,
};
use crate::policy::Verb;
use crate::request;
use crate::server::{Response, read_body};
use dto::LeaseDto;
pub use dto::message;

/// Bytes after which a page ends. A page is made as a whole, because its head has the cursor of the next one.
const PAGE_BYTES: usize = 192 * 1024;

/// `GET /cmn/leasable-locks`: every active lock of every API, oldest grant first; streamed, or a page of it.
pub async fn list(cx: &Context, request: Request<Incoming>) -> Result<Response, Failure> {
    let rights = cx.caller(&request, Anonymous::Full).await?.rights;
    let page = Page::of(request.uri().query().unwrap_or_default())?;
    let wanted = page.limit.unwrap_or(usize::MAX);
    let listing = cx.locks.list(page.prefix.clone(), page.cursor, wanted)?;
    let Some(leases) = page.limit else { return Text::new(listing, FORM, Bounds::NONE, rights).answer().await };
    let bounds = Bounds { leases, bytes: PAGE_BYTES, looking: pagination::LOOKING };
    let (mut response, next) = Text::new(listing, FORM, bounds, rights).answer_at_once().await?;
    if let Some(last) = next {
        let next = format!("<{}?{}>; rel=\"next\"", request.uri().path(), page.after(&last));
        let next = HeaderValue::try_from(next).expect("a path and an encoded query fit a header");
        response.headers_mut().insert(LINK, next);
    }
    Ok(response)
}

/// `POST /cmn/leasable-locks`: acquires a key, or renews it for the user who has it.
pub async fn create(cx: &Context, request: Request<Incoming>) -> Result<Response, Failure> {
    let caller = cx.identify(&request, Anonymous::Full).await?;
    let asked = CreateBody::read(cx, request).await;
    caller.spend_on(asked.as_ref().ok().map(|(key, _)| key))?;
    let (key, ttl) = asked?;
    caller.rights.need(Verb::Lock, &key)?;
    let Caller { owner, rights, quota, owner_prefix, .. } = caller;
    let ttl = quotas::within(quota.as_ref(), "leasePeriod", ttl)?;
    let attempt = match (owner, owner_prefix) {
        (Some(user), _) => Attempt::plain(user, ttl, Reentry::Extend),
        (None, Some(prefix)) => Attempt::plain(rights.system(cx.owner_names.next_of(&prefix)), ttl, Reentry::Refuse),
        (None, None) => Attempt::plain(rights.system(cx.owner_names.next()), ttl, Reentry::Refuse),
    };
    let mut seat = quotas::reserve(quota.as_ref(), &key, &attempt)?;
    let (content, unconfirmed) = cx.locks.acquire(key, attempt).await?;
    let granted = |status, lease: &Lease| {
        seat.iter_mut().for_each(|seat| seat.granted(lease));
        Ok(confirming(json(status, &LeaseDto::from(lease)), unconfirmed, seat))
    };
    match content {
        Acquired::Granted(lease) => granted(StatusCode::CREATED, &lease),
        Acquired::Renewed(lease) | Acquired::Replayed(lease) => granted(StatusCode::OK, &lease),
        Acquired::Held(holder, _) => Err(Failure::Held(rights.shown(holder))),
    }
}

/// `PUT /cmn/leasable-locks/{token}?leasePeriod=SECONDS`: valid from now for that long.
pub async fn renew(cx: &Context, request: Request<Incoming>, token: String) -> Result<Response, Failure> {
    let caller = cx.caller(&request, Anonymous::Full).await?;
    let token = token_in(&token)?;
    let query = request.uri().query().unwrap_or_default();
    let ttl = ttl(&cx.limits, number(query, "leasePeriod")?.ok_or_else(|| missing("leasePeriod"))?)?;
    let ttl = quotas::within(caller.quota.as_ref(), "leasePeriod", ttl)?;
    let token = token.ok_or(Failure::NoSuchLease)?;
    let key = of_a_change(cx, &caller, token).await?;
    if let Some(key) = key
        && !caller.rights.may(Verb::Lock, &key)
    {
        return Err(unseen(&caller, Verb::Lock));
    }
    match cx.locks.renew(LeaseRef::Token(token), caller.claimant(), Some(ttl)).await? {
        Changed::Done(lease) => {
            cx.renewed(&lease, caller.quota.as_ref());
            Ok(json(StatusCode::OK, &LeaseDto::from(&lease)))
        }
        Changed::Lost(_) => {
            cx.ended(token);
            Err(Failure::NoSuchLease)
        }
        Changed::NotYours => Err(Failure::NotYours),
    }
}

/// `DELETE /cmn/leasable-locks/{token}`: releases the holder's lease.
pub async fn release(
    cx: &Context,
    request: Request<Incoming>,
    token: String,
    language: Language,
) -> Result<Response, Failure> {
    let caller = cx.caller(&request, Anonymous::Full).await?;
    let token = token_in(&token)?.ok_or(Failure::NoSuchLease)?;
    if let Some(key) = of_a_change(cx, &caller, token).await? {
        match caller.rights.need_release(&cx.locks, &key, Some(token)).await {
            Err(Failure::Forbidden(_)) => return Err(Failure::NoSuchLease),
            other => other?,
        }
    }
    match cx.holds.release(&cx.locks, LeaseRef::Token(token), caller.claimant(), None).await? {
        Changed::Done(()) => {
            cx.released(token, None);
            let text = language.choose("The lock was released.", "Die Sperre wurde freigegeben.");
            Ok(message(StatusCode::OK, "released", text, language))
        }
        Changed::Lost(_) => {
            cx.ended(token);
            Err(Failure::NoSuchLease)
        }
        Changed::NotYours => Err(Failure::NotYours),
    }
}

/// `DELETE /cmn/leasable-locks/custom/{token}?reason=TEXT`: force-releases a lease.
pub async fn remove(
    cx: &Context,
    request: Request<Incoming>,
    token: String,
    language: Language,
) -> Result<Response, Failure> {
    let caller = cx.caller(&request, Anonymous::Full).await?;
    if !caller.may_force_some() {
        return Err(if caller.rights.are_ruled() {
            unseen(&caller, Verb::ForceRelease)
        } else {
            Failure::Forbidden(cx.lacks_permission())
        });
    }
    let token = token_in(&token)?.ok_or(Failure::NoSuchLease)?;
    let reason = reason(request.uri().query().unwrap_or_default())?;
    if let Some(key) = of_a_policy(cx, &caller, token).await?
        && !caller.may_force(&key)
    {
        return Err(unseen(&caller, Verb::ForceRelease));
    }
    match cx.locks.force(Target::Lease(LeaseRef::Token(token)), request::caller(), reason.as_deref()).await? {
        Forced::Taken(_) => {
            cx.ended(token);
            let text = language.choose("The lock was force-released.", "Die Sperre wurde zwangsweise freigegeben.");
            Ok(message(StatusCode::OK, "removed", text, language))
        }
        Forced::Free | Forced::Other => Err(Failure::NoSuchLease),
    }
}

/// The key of a lease of which nothing but the token is known, where the policy is to be asked about it: 404 where
/// there is none. `None` without a policy.
async fn of_a_policy(cx: &Context, caller: &Caller, token: Token) -> Result<Option<Key>, Failure> {
    if !caller.rights.are_ruled() {
        return Ok(None);
    }
    cx.locks.key_of(token).await?.map(Some).ok_or(Failure::NoSuchLease)
}

/// [`of_a_policy`] for a renewal or a release, whose caller has lost the lease where there is none.
async fn of_a_change(cx: &Context, caller: &Caller, token: Token) -> Result<Option<Key>, Failure> {
    let key = of_a_policy(cx, caller, token).await;
    if let Err(Failure::NoSuchLease) = &key {
        cx.locks.gone(token);
    }
    key
}

/// Of a caller who may not: as if there were no such lease, since only its token was known.
fn unseen(caller: &Caller, verb: Verb) -> Failure {
    caller.rights.denied(verb);
    Failure::NoSuchLease
}

/// Body of a creation.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CreateBody {
    key: String,
    lease_period: i64,
}

impl CreateBody {
    /// The key and the ttl that a request asks for, which takes nothing in its query.
    async fn read(cx: &Context, request: Request<Incoming>) -> Result<(Key, Ttl), Failure> {
        known::parameters(request.uri().query(), &[], known::fields_of::<CreateBody>)?;
        body::strict::<CreateBody>(&read_body(request).await?, &[])?.asked(&cx.limits)
    }

    pub(super) fn asked(&self, limits: &LockConfig) -> Result<(Key, Ttl), Failure> {
        let key = Key::parse(&self.key).map_err(|error| Failure::BadRequest(error.to_string()))?;
        request::asks_for(|| key.share());
        Ok((key, ttl(limits, self.lease_period)?))
    }
}

fn missing(name: &str) -> Failure {
    Failure::BadRequest(format!("{name} is missing"))
}

/// The token in a path: 400 if it is not an int64, `None` for an int64 that no lease can have.
pub(super) fn token_in(segment: &str) -> Result<Option<Token>, Failure> {
    let text = percent_decode_str(segment).decode_utf8_lossy();
    let number = text.parse().map_err(|_| Failure::BadRequest("token: expected an int64".to_owned()))?;
    let token = Token::from_i64(number);
    token.inspect(|token| request::shows(token.get()));
    Ok(token)
}

fn ttl(limits: &LockConfig, seconds: i64) -> Result<Ttl, Failure> {
    let max_ms = limits.max_ttl_ms;
    let ms = u64::try_from(seconds).ok().filter(|seconds| *seconds >= 1).and_then(|seconds| seconds.checked_mul(1000));
    ms.and_then(|ms| Ttl::from_ms(ms, max_ms))
        .ok_or_else(|| Failure::BadRequest(format!("leasePeriod: expected 1 to {} seconds", max_ms / 1000)))
}

const FORM: Form = Form { opening: "[", entry, has_rests: false, closing: |_| "]".to_owned() };

fn entry(Listed { lease, .. }: &Listed, text: &mut Vec<u8>) {
    serde_json::to_writer(text, &LeaseDto::from(lease)).expect("a lease is always JSON");
}
