//! `GET /v1/locks/{key}`: who holds it; with `If-None-Match` only if that has changed, and with `waitMs`, too, once it has.

use std::pin::pin;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
use hyper::{HeaderMap, Request, StatusCode};

use super::permit::Permit;
use super::request::{key_in, no_body, wait_in};
use super::turn::turn;
use super::view::StateView;
use crate::api::context::{Context, certificate_of};
use crate::api::etag::is_known;
use crate::api::failure::Failure;
use crate::api::known;
use crate::api::quotas;
use crate::api::rights::Rights;
use crate::api::wire::json;
use crate::auth::Anonymous;
use crate::lock::{Key, Looked, State, Under, WatchNews};
use crate::server::{Body, Peer, Response};

/// A client that vanished is noticed so soon, or in half a minute at the latest.
const SILENCE: Duration = Duration::from_secs(15);

pub async fn show(cx: &Context, request: Request<Incoming>, key: String, peer: &Peer) -> Result<Response, Failure> {
    const PARAMETERS: &[&str] = &["waitMs"];
    let caller = cx.caller(&request, Anonymous::Lock).await?;
    let key = key_in(&key)?;
    caller.rights.need_sight(&key)?;
    known::parameters(request.uri().query(), PARAMETERS, known::no_fields)?;
    let wait = wait_in(&cx.limits, request.uri().query().unwrap_or_default())?;
    let is_conditional = request.headers().contains_key(IF_NONE_MATCH);
    if wait.is_some() && !is_conditional {
        return Err(Failure::BadRequest("waitMs: needs If-None-Match, with the ETag of the last answer".to_owned()));
    }
    let asked = is_conditional.then(|| request.headers().clone());
    let certificate = certificate_of(request.extensions()).cloned();
    no_body(request, PARAMETERS).await?;
    let rights = &caller.rights;
    let shown = cx.locks.look(key.clone()).await?;
    let Some(asked) = asked.filter(|asked| is_known(asked, &tag(rights, &shown.state))) else {
        return Ok(answer(&key, shown, rights));
    };
    let Some(wait) = wait.filter(|wait| !wait.is_zero()) else { return Ok(not_modified(rights, &shown.state)) };
    let _seat = quotas::watch(caller.quota.as_ref())?;
    peer.watch(SILENCE);
    let credential = cx.authenticator.shown(&asked, certificate.as_ref());
    let changing = Box::pin(changed(cx, &key, &asked, rights, Instant::now() + wait));
    let changed = turn(&caller.claimant(), || Permit::of(cx, credential), changing).await?.content;
    Ok(match changed {
        Some(changed) => answer(&key, changed, rights),
        None => not_modified(rights, &shown.state),
    })
}

/// Waits until the key has another tag than those that are asked for; `None` where it has none until then.
async fn changed(
    cx: &Context,
    key: &Key,
    asked: &HeaderMap,
    rights: &Rights,
    until: Instant,
) -> Result<Option<Looked>, Failure> {
    let mut events = cx.locks.changes(key.clone())?;
    let mut draining = pin!(cx.drain.begun());
    let mut timeout = pin!(tokio::time::sleep_until(until.into()));
    // Whether it is known that there was no change.
    let mut is_sure = false;
    loop {
        let news = tokio::select! {
            biased;
            () = &mut draining => return Err(Failure::Draining),
            news = events.next() => news.ok_or(Failure::Draining)?,
            () = &mut timeout => break,
        };
        let found = match news {
            WatchNews::States(looks) => looks.first().cloned(),
            WatchNews::Change(change) => Some(change.look.clone()),
            WatchNews::Gap | WatchNews::Failed(_) | WatchNews::TooMany => None,
        };
        is_sure = found.is_some();
        // What is told may be older than what the caller was shown.
        if found.is_some_and(|found| !is_known(asked, &tag(rights, &found.state)))
            && let Some(changed) = look_for_change(cx, key, asked, rights).await?
        {
            return Ok(Some(changed));
        }
    }
    if is_sure { Ok(None) } else { look_for_change(cx, key, asked, rights).await }
}

async fn look_for_change(
    cx: &Context,
    key: &Key,
    asked: &HeaderMap,
    rights: &Rights,
) -> Result<Option<Looked>, Failure> {
    let shown = cx.locks.look(key.clone()).await?;
    Ok((!is_known(asked, &tag(rights, &shown.state))).then_some(shown))
}

/// Differs for every two states, but for those of a stranger; waiters and renewals do not change it.
fn tag(rights: &Rights, state: &State) -> HeaderValue {
    let text = match Under::of(state) {
        _ if let Some(mark) = rights.mark(state) => format!("\"{mark}\""),
        Under::Free => "\"0\"".to_owned(),
        Under::Lease(token) => format!("\"{token}\""),
        Under::Rest(token) => format!("\"{token}-rest\""),
        Under::Shared { newest, count, resting: 0 } => format!("\"{newest}-{count}\""),
        Under::Shared { newest, count, resting } => format!("\"{newest}-{count}-{resting}-rest\""),
        Under::Stranger => "\"stranger\"".to_owned(),
    };
    HeaderValue::try_from(text).expect("letters, digits, a hyphen and quotes")
}

fn answer(key: &Key, Looked { state, waiters }: Looked, rights: &Rights) -> Response {
    let tag = tag(rights, &state);
    tagged(json(StatusCode::OK, &StateView::of(key, &rights.shown_state(state), waiters)), tag)
}

fn not_modified(rights: &Rights, state: &State) -> Response {
    let mut response = Response::new(Body::Whole(None));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    tagged(response, tag(rights, state))
}

fn tagged(mut response: Response, tag: HeaderValue) -> Response {
    response.headers_mut().insert(ETAG, tag);
    // Not even to be checked: a renewal changes the answer, and not the tag.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
