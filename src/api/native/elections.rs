//! `/v1/elections/{name}`: who leads, and that this sidecar is to lead no longer. The first two fields of the answer are
//! those of the elector of NAIS and of the old leader-elector of Kubernetes, whose apps ask here unchanged.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::HeaderName;
use hyper::{Request, StatusCode};
use serde::Serialize;
use tokio::time::Instant;

use super::events::{SILENCE, ended};
use super::permit::Permit;
use super::request::no_body;
use super::sse::{self, COMMENT, Chunks, SIGN_OF_LIFE};
use crate::api::caller::Caller;
use crate::api::context::Context;
use crate::api::failure::Failure;
use crate::api::known;
use crate::api::origin::is_of_another_site;
use crate::api::quotas;
use crate::api::rights::Rights;
use crate::api::wire::{json, no_content, parameter, rfc3339, segment};
use crate::auth::Anonymous;
use crate::drain::Drain;
use crate::election::{self, Answer, Asker, Election, Listener};
use crate::lock::Token;
use crate::policy::Verb;
use crate::request::continued;
use crate::server::{Peer, Response};

/// With it a question says nothing of the app: `--elect-while asked:` does not count it.
static OBSERVE: HeaderName = HeaderName::from_static("lockside-observe");

/// `GET /v1/elections/{name}`.
pub async fn election(cx: &Context, request: Request<Incoming>, name: String) -> Result<Response, Failure> {
    let Asked { election, caller, .. } = asked(cx, request, |cx| named(cx, &name)).await?;
    Ok(json(StatusCode::OK, &ElectionView::from(&shown(election, &caller.rights, election.answer()))))
}

/// `GET /`: the election, where this sidecar takes part in exactly one.
pub async fn leader(cx: &Context, request: Request<Incoming>) -> Result<Response, Failure> {
    let asked = asked(cx, request, |cx| cx.elections.only().ok_or(Failure::NoSuchRoute));
    let Asked { election, caller, .. } = asked.await?;
    Ok(json(StatusCode::OK, &ElectionView::from(&shown(election, &caller.rights, election.answer()))))
}

/// `GET /v1/elections/{name}/events`: the same at once, when it changes, and while this sidecar leads at each renewal.
pub async fn election_events(
    cx: &Context,
    request: Request<Incoming>,
    name: String,
    peer: &Peer,
) -> Result<Response, Failure> {
    let credential = cx.shown(&request);
    let Asked { election, caller, by } = asked(cx, request, |cx| named(cx, &name)).await?;
    let seat = quotas::watch(caller.quota.as_ref())?;
    let (owner, permit) = (caller.claimant(), Permit::of(cx, credential));
    peer.watch(SILENCE);
    let (events, response) = sse::open(1);
    let (listener, election, rights) = (election.listen(by), Arc::clone(election), caller.rights);
    let telling = tell(listener, move |answer| shown(&election, &rights, answer), events, cx.drain.clone());
    tokio::spawn(continued(async move {
        let _seat = seat;
        tokio::select! {
            () = ended(&permit, &owner) => {}
            () = telling => {}
        }
    }));
    Ok(response)
}

/// `DELETE /v1/elections/{name}`: leads no longer, and stands again behind all others; `?for=30s`: not before.
pub async fn resign(cx: &Context, request: Request<Incoming>, name: String) -> Result<Response, Failure> {
    const PARAMETERS: &[&str] = &["for"];
    let caller = cx.caller(&request, Anonymous::Lock).await?;
    let election = named(cx, &name)?;
    caller.rights.need(Verb::Lock, &election.key)?;
    known::parameters(request.uri().query(), PARAMETERS, known::no_fields)?;
    let absence = parameter(request.uri().query().unwrap_or_default(), "for")?;
    let absence = absence.map(|text| election::absence(&text)).transpose();
    let absence = absence.map_err(|problem| Failure::BadRequest(format!("for: {problem}")))?;
    no_body(request, PARAMETERS).await?;
    if election.resign(absence).await { Ok(no_content()) } else { Err(Failure::Draining) }
}

fn named<'a>(cx: &'a Context, name: &str) -> Result<&'a Arc<Election>, Failure> {
    let name = segment(name, "name")?;
    cx.elections.find(&name).ok_or_else(|| {
        let names: Vec<&str> = cx.elections.names().collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Failure::NoSuchElection(format!("this sidecar takes part in no election `{name}`; its elections: {known}"))
    })
}

/// A question who leads.
struct Asked<'a> {
    election: &'a Arc<Election>,
    caller: Caller,
    by: Asker,
}

/// Takes in a question for the election that `find` finds.
async fn asked<'a>(
    cx: &'a Context,
    request: Request<Incoming>,
    find: impl FnOnce(&'a Context) -> Result<&'a Arc<Election>, Failure>,
) -> Result<Asked<'a>, Failure> {
    let caller = cx.observer(&request).await?;
    let headers = request.headers();
    let is_app = !headers.contains_key(&OBSERVE) && !is_of_another_site(headers);
    let by = if is_app { Asker::App } else { Asker::Other };
    let election = find(cx)?;
    caller.rights.need_sight(&election.key)?;
    known::parameters(request.uri().query(), &[], known::no_fields)?;
    no_body(request, &[]).await?;
    election.ask(by);
    Ok(Asked { election, caller, by })
}

/// An answer as the caller may see it: without `read` on the election's key no more of another leader than that there
/// is one. While this sidecar leads, its own lease is the app's to know.
fn shown(election: &Election, rights: &Rights, mut answer: Answer) -> Answer {
    if answer.leads_for.is_none() && !rights.may(Verb::Read, &election.key) {
        answer.leader = None;
    }
    answer
}

/// Writes events for as long as they are read, each when the one before it was taken: who reads slowly misses what was
/// between, and nothing waits in memory.
async fn tell(mut listener: Listener, view: impl Fn(Answer) -> Answer, events: Chunks, drain: Drain) {
    let (mut told, mut spoke_at): (Option<Answer>, _) = (None, Instant::now());
    while let Ok(place) = events.reserve().await {
        let answer = view(listener.answer());
        let ends = drain.has_begun() && answer.leads_for.is_none();
        if told.as_ref().is_none_or(|told| is_news(told, &answer)) {
            let mut text = b"data: ".to_vec();
            serde_json::to_writer(&mut text, &ElectionView::from(&answer)).expect("an answer is always JSON");
            text.extend_from_slice(b"\n\n");
            place.send(Ok(Bytes::from(text)));
            (told, spoke_at) = (Some(answer), Instant::now());
        } else if spoke_at.elapsed() >= SIGN_OF_LIFE {
            place.send(Ok(Bytes::from_static(COMMENT)));
            spoke_at = Instant::now();
        }
        if ends {
            return;
        }
        let draining = drain.has_begun();
        tokio::select! {
            () = events.closed() => return,
            () = listener.changed() => {}
            () = drain.begun(), if !draining => {}
            () = tokio::time::sleep_until(spoke_at + SIGN_OF_LIFE) => {}
        }
    }
}

/// Whether there is more to say than that time has passed.
fn is_news(told: &Answer, answer: &Answer) -> bool {
    let state =
        |answer: &Answer| (answer.leader.clone(), answer.leads_for.is_some(), answer.candidates, answer.is_stale);
    state(told) != state(answer) || (answer.leads_for.is_some() && told.last_update_ms != answer.last_update_ms)
}

#[derive(Serialize)]
struct ElectionView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update: Option<String>,
    leader: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Token>,
    #[serde(rename = "validForMs", skip_serializing_if = "Option::is_none")]
    valid_for_ms: Option<u64>,
    #[serde(rename = "validUntil", skip_serializing_if = "Option::is_none")]
    valid_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stale: bool,
}

impl<'a> From<&'a Answer> for ElectionView<'a> {
    fn from(answer: &'a Answer) -> ElectionView<'a> {
        let leader = answer.leader.as_ref();
        ElectionView {
            name: leader.map(|(name, ..)| name.as_str()),
            last_update: answer.last_update_ms.map(rfc3339),
            leader: answer.leads_for.is_some(),
            token: leader.map(|(_, token, _)| *token),
            valid_for_ms: answer.leads_for.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
            valid_until: answer.leads_until_ms.map(rfc3339),
            since: leader.map(|(.., since_ms)| rfc3339(*since_ms)),
            candidates: answer.candidates,
            stale: answer.is_stale,
        }
    }
}
