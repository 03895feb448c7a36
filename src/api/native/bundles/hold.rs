//! `POST /v1/bundles/hold`: several locks tied to one connection, which live and end as one.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use tokio::sync::watch;
use tokio::time::Instant;

use super::acquire::legs;
use super::group::GroupKeeper;
use super::request::{self, Asked};
use crate::api::context::Context;
use crate::api::failure::Failure;
use crate::api::native::hold::need_ttl;
use crate::api::native::lines::{Event, Lines};
use crate::api::native::permit::Permit;
use crate::api::native::progress::{AT_ONCE, moved, refuse};
use crate::api::native::request::idempotency_key;
use crate::api::native::view::HolderView;
use crate::api::quotas::BundlePlaces;
use crate::api::rights::Rights;
use crate::auth::Anonymous;
use crate::bundle::{Leg, Wanted};
use crate::lock::held::SIGN_OF_LIFE;
use crate::lock::{Key, Progress};
use crate::policy::Verb;
use crate::request::continued;
use crate::server::{Peer, Response};

/// Answers once all locks are granted, so that a refusal has its own status; at once where progress is asked for.
pub async fn hold_all(cx: &Context, request: Request<Incoming>, peer: &Peer) -> Result<Response, Failure> {
    let caller = cx.caller(&request, Anonymous::Lock).await?;
    let name = idempotency_key(request.headers())?;
    let permit = Arc::new(Permit::of(cx, cx.shown(&request)));
    let (Asked { order, keys, common }, streams_progress) = request::read_hold(request).await?;
    order.iter().try_for_each(|key| caller.rights.need(Verb::Lock, key))?;
    let (mut attempt, rights, quota) = common.attempt(cx, caller, name)?;
    attempt.is_hold = true;
    need_ttl(cx, attempt.ttl)?;
    let places = BundlePlaces::reserve(quota.as_ref(), &keys, &attempt)?;
    peer.watch(Duration::from_millis(attempt.ttl.as_ms()));
    let keeper = GroupKeeper::new(cx, Arc::clone(&permit), attempt.ttl, order);
    let wanted = Wanted { keys, attempt, waits_for: None };
    if streams_progress {
        return stream(cx, wanted, keeper, permit, (rights, places)).await;
    }
    let legs = Box::pin(legs(&cx.locks, &wanted, || permit)).await;
    let legs = legs.map_err(|failure| rights.shown_failure(failure))?;
    let (lines, response) = Lines::open();
    let seat = places.taken(legs.iter().map(|leg| &leg.lease));
    tokio::spawn(continued(keeper.keep(legs, seat, lines)));
    Ok(response)
}

type Acquiring = Pin<Box<dyn Future<Output = Result<Vec<Leg>, Failure>> + Send>>;

/// What a request that waits tells of.
struct Waiting {
    acquiring: Acquiring,
    progress: watch::Receiver<Option<Progress>>,
    key: watch::Receiver<Key>,
}

/// Answers with a stream of `waiting` lines, then `acquired` and the lines of the hold, or `refused`.
async fn stream(
    cx: &Context,
    mut wanted: Wanted,
    keeper: GroupKeeper,
    permit: Arc<Permit>,
    (rights, places): (Rights, BundlePlaces),
) -> Result<Response, Failure> {
    let (tell, progress) = watch::channel(None);
    let (waits_for, key) = watch::channel(wanted.keys[0].0.clone());
    if let Some(wait) = &mut wanted.attempt.wait {
        wait.progress = Some(tell);
    }
    wanted.waits_for = Some(waits_for);
    let locks = cx.locks.clone();
    let acquiring: Acquiring = Box::pin(async move { legs(&locks, &wanted, || permit).await });
    let mut waiting = Waiting { acquiring, progress, key };
    let outcome = tokio::select! {
        biased;
        outcome = &mut waiting.acquiring => Some(outcome),
        () = moved(&mut waiting.progress) => None,
        () = tokio::time::sleep(AT_ONCE) => None,
    };
    if let Some(Err(failure)) = &outcome
        && failure.row().status == StatusCode::TOO_MANY_REQUESTS
    {
        return Err(failure.clone());
    }
    let (lines, response) = Lines::open();
    let (docs, audit) = (cx.docs.clone(), cx.locks.audit().cloned());
    tokio::spawn(continued(async move {
        let outcome = match outcome {
            Some(outcome) => outcome,
            None => match waiting.end(&lines, &rights).await {
                Some(outcome) => outcome,
                None => return,
            },
        };
        match outcome {
            Ok(legs) => {
                let seat = places.taken(legs.iter().map(|leg| &leg.lease));
                keeper.keep(legs, seat, lines).await;
            }
            Err(failure) => refuse(failure, audit.as_ref(), &rights, &docs, &lines),
        }
    }));
    Ok(response)
}

impl Waiting {
    /// Streams the request's position in the queue of the key that it waits for, until all are granted or one is refused;
    /// `None` where the client closes before. What was granted by then is dropped here, and so rolled back.
    async fn end(mut self, lines: &Lines, rights: &Rights) -> Option<Result<Vec<Leg>, Failure>> {
        loop {
            self.say(lines, rights);
            let next = Instant::now() + SIGN_OF_LIFE;
            tokio::select! {
                biased;
                () = lines.closed() => return None,
                outcome = &mut self.acquiring => return Some(outcome),
                () = moved(&mut self.progress) => {}
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    fn say(&mut self, lines: &Lines, rights: &Rights) {
        let progress = self.progress.borrow_and_update().clone();
        let position = progress.as_ref().map(|progress| progress.position);
        let holder = progress.and_then(|progress| progress.holder).map(|holder| rights.shown(holder));
        let holder = holder.as_ref().map(|holder| Box::new(HolderView::from(holder)));
        lines.say(&Event::Waiting { key: Some(self.key.borrow().as_str()), position, holder });
    }
}
