//! `GET /v1/locks/{key}/events` and `GET /v1/events?prefix=`: the state first, then each change, as server-sent events.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request};

use super::permit::Permit;
use super::request::{key_in, no_body};
use super::sight::Sight;
use super::sse::{self, Closed, SIGN_OF_LIFE, Sender};
use crate::api::caller::Caller;
use crate::api::context::Context;
use crate::api::failure::Failure;
use crate::api::known;
use crate::api::quotas;
use crate::api::wire::parameter;
use crate::auth::Anonymous;
use crate::drain::Drain;
use crate::lock::{Events, Interest, Look, MOST_STATES, Owner, WatchNews};
use crate::quota::WatchSeat;
use crate::request::continued;
use crate::server::{Peer, Response};
use crate::timer::sleep_until;

/// How long a reader may take nothing of what is sent, or not answer at all, before its connection is cut.
pub(super) const SILENCE: Duration = Duration::from_secs(30);
/// How long a reader waits before it connects again, milliseconds; and by how much that differs from reader to reader.
const RETRY_MS: [u64; 2] = [800, 400];

/// `GET /v1/locks/{key}/events`.
pub async fn events_of_key(
    cx: &Context,
    request: Request<Incoming>,
    key: String,
    peer: &Peer,
) -> Result<Response, Failure> {
    let caller = cx.caller(&request, Anonymous::Lock).await?;
    let key = key_in(&key)?;
    known::parameters(request.uri().query(), &[], known::no_fields)?;
    caller.rights.need_sight(&key)?;
    stream(cx, request, Interest::Key(key), caller, peer, &[]).await
}

/// `GET /v1/events?prefix=`.
pub async fn events_of_prefix(cx: &Context, request: Request<Incoming>, peer: &Peer) -> Result<Response, Failure> {
    const PARAMETERS: &[&str] = &["prefix"];
    let caller = cx.caller(&request, Anonymous::Lock).await?;
    known::parameters(request.uri().query(), PARAMETERS, known::no_fields)?;
    let prefix = parameter(request.uri().query().unwrap_or_default(), "prefix")?.unwrap_or_default();
    stream(cx, request, Interest::Prefix(prefix), caller, peer, PARAMETERS).await
}

async fn stream(
    cx: &Context,
    request: Request<Incoming>,
    interest: Interest,
    caller: Caller,
    peer: &Peer,
    parameters: &[&str],
) -> Result<Response, Failure> {
    let (is_head, credential) = (request.method() == Method::HEAD, cx.shown(&request));
    no_body(request, parameters).await?;
    if is_head {
        return Ok(sse::head_alone());
    }
    let seat = quotas::watch(caller.quota.as_ref())?;
    let (permit, owner) = (Permit::of(cx, credential), caller.claimant());
    let sight = Sight::of(caller.rights, &interest);
    let mut events = cx.locks.events(interest)?;
    peer.watch(SILENCE);
    let states = begin(&mut events, cx.drain.begun()).await?;
    let (sender, response) = Sender::open(sight);
    let watched = Stream { events, sender, permit, owner, drain: cx.drain.clone(), seat };
    tokio::spawn(continued(watched.run(states)));
    Ok(response)
}

/// The first states, or why there is no stream.
async fn begin(events: &mut Events, draining: impl Future<Output = ()>) -> Result<Arc<Vec<Arc<Look>>>, Failure> {
    let mut draining = pin!(draining);
    loop {
        let news = tokio::select! {
            biased;
            () = &mut draining => return Err(Failure::Draining),
            news = events.next() => news.ok_or(Failure::Draining)?,
        };
        match news {
            WatchNews::States(states) if states.len() <= MOST_STATES => return Ok(states),
            WatchNews::States(_) | WatchNews::TooMany => {
                let reason = format!("prefix: more than {MOST_STATES} locks are held; expected a narrower prefix");
                return Err(Failure::BadRequest(reason));
            }
            WatchNews::Failed(failure) => return Err(failure.into()),
            WatchNews::Gap | WatchNews::Change(_) => {}
        }
    }
}

/// A stream that is open.
struct Stream {
    events: Events,
    sender: Sender,
    permit: Permit,
    owner: Owner,
    drain: Drain,
    /// Its place among its caller's, where there is a limit.
    seat: Option<WatchSeat>,
}

impl Stream {
    /// Tells until the reader closes, its credential ends, or the process is stopped.
    async fn run(self, states: Arc<Vec<Arc<Look>>>) {
        let Stream { events, sender, permit, owner, drain, seat: _seat } = self;
        tokio::select! {
            () = sender.closed() => {}
            () = drain.begun() => {}
            () = ended(&permit, &owner) => {}
            _ = tell(events, sender, states) => {}
        }
    }
}

async fn tell(mut events: Events, mut sender: Sender, states: Arc<Vec<Arc<Look>>>) -> Result<(), Closed> {
    let chance = getrandom::u64().expect("the operating system has random bytes");
    sender.retry(RETRY_MS[0] + chance % RETRY_MS[1]);
    sender.states(&states).await?;
    drop(states);
    loop {
        match tokio::time::timeout(SIGN_OF_LIFE, events.next()).await {
            _ if !sender.has_sight() => return Ok(()),
            Err(_) => sender.comment(),
            Ok(None) => return Ok(()),
            Ok(Some(WatchNews::States(states))) => sender.states(&states).await?,
            Ok(Some(WatchNews::Change(change))) => sender.change(&change),
            Ok(Some(WatchNews::Gap)) => sender.gap(),
            Ok(Some(WatchNews::Failed(_) | WatchNews::TooMany)) => {}
        }
        sender.send().await?;
    }
}

/// Resolves when the credential of the caller is valid no longer.
pub(super) async fn ended(permit: &Permit, owner: &Owner) {
    let refused = async {
        loop {
            tokio::time::sleep(SIGN_OF_LIFE).await;
            // Where the user directory cannot be read, it is asked again.
            if matches!(permit.is_valid(owner).await, Ok(false)) {
                return;
            }
        }
    };
    tokio::select! {
        () = sleep_until(permit.ends()) => {}
        () = refused => {}
    }
}
