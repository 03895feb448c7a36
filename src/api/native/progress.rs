//! A hold with `"progress":true`: it is answered at once, and streams its position in the queue until it is granted or
//! refused.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use tokio::sync::watch;
use tokio::time::Instant;

use super::connection::ConnectionKeeper;
use super::grant::acquire;
use super::lines::{Event, Lines};
use super::permit::Permit;
use super::problem::Problem;
use super::view::HolderView;
use crate::api::audit::refused;
use crate::api::context::Context;
use crate::api::errors::Docs;
use crate::api::failure::Failure;
use crate::api::quotas::Places;
use crate::api::rights::Rights;
use crate::audit::Audit;
use crate::hold::Granted;
use crate::lock::held::SIGN_OF_LIFE;
use crate::lock::{Attempt, Key, Progress};
use crate::policy::Verb;
use crate::request::continued;
use crate::server::Response;

/// How long the answer waits for a refusal that has its own status: too many requests.
pub const AT_ONCE: Duration = Duration::from_secs(1);

type Acquiring = Pin<Box<dyn Future<Output = Result<Granted, Failure>> + Send>>;

/// Answers with a stream of `waiting` lines, then `acquired` and the lines of the hold, or `refused`.
pub async fn stream(
    cx: &Context,
    key: Key,
    mut attempt: Attempt,
    permit: Arc<Permit>,
    (rights, places): (Rights, Places),
) -> Result<Response, Failure> {
    let (tell, mut progress) = watch::channel(None);
    let ttl = attempt.ttl;
    if let Some(wait) = &mut attempt.wait {
        wait.progress = Some(tell);
    }
    let mut acquiring: Acquiring = Box::pin(acquire(cx.locks.clone(), key, attempt, Arc::clone(&permit)));
    let outcome = tokio::select! {
        biased;
        outcome = &mut acquiring => Some(outcome),
        () = moved(&mut progress) => None,
        () = tokio::time::sleep(AT_ONCE) => None,
    };
    if let Some(Err(failure)) = &outcome
        && failure.row().status == StatusCode::TOO_MANY_REQUESTS
    {
        return Err(failure.clone());
    }
    let (lines, response) = Lines::open();
    let (keeper, docs, audit) = (ConnectionKeeper::of(cx), cx.docs.clone(), cx.locks.audit().cloned());
    tokio::spawn(continued(async move {
        let outcome = match outcome {
            Some(outcome) => outcome,
            None => match wait(acquiring, progress, &lines, &rights).await {
                Some(outcome) => outcome,
                None => return,
            },
        };
        match outcome {
            Ok(granted) => {
                let seat = places.taken(&granted.lease);
                keeper.keep(granted, (permit, seat), ttl, lines).await;
            }
            Err(failure) => refuse(failure, audit.as_ref(), &rights, &docs, &lines),
        }
    }));
    Ok(response)
}

/// Streams the request's position until it is granted or refused; `None` where the client closes before. A grant that
/// came by then is dropped here, and so rolled back.
async fn wait(
    mut acquiring: Acquiring,
    mut progress: watch::Receiver<Option<Progress>>,
    lines: &Lines,
    rights: &Rights,
) -> Option<Result<Granted, Failure>> {
    loop {
        say(progress.borrow_and_update().as_ref(), lines, rights);
        let next = Instant::now() + SIGN_OF_LIFE;
        tokio::select! {
            biased;
            () = lines.closed() => return None,
            outcome = &mut acquiring => return Some(outcome),
            () = moved(&mut progress) => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

fn say(progress: Option<&Progress>, lines: &Lines, rights: &Rights) {
    let position = progress.map(|progress| progress.position);
    let holder = progress.and_then(|progress| progress.holder.clone()).map(|holder| rights.shown(holder));
    let holder = holder.as_ref().map(|holder| Box::new(HolderView::from(holder)));
    lines.say(&Event::Waiting { key: None, position, holder });
}

/// Tells that a hold was refused whose answer has begun: the audit trail, the log, and the caller as far as it may see.
pub fn refuse(failure: Failure, audit: Option<&Audit>, rights: &Rights, docs: &Docs, lines: &Lines) {
    if let (Some(audit), Some(refusal)) = (audit, failure.refusal()) {
        refused(audit, Some(Verb::Lock), refusal);
    }
    let failure = rights.shown_failure(failure);
    tracing::debug!(code = failure.code(), reason = failure.reason(), "hold refused");
    lines.say(&Event::Refused(Box::new(Problem::of(&failure, docs))));
}

/// Ends when the position or the holder has changed; never once the wait is over.
pub async fn moved(progress: &mut watch::Receiver<Option<Progress>>) {
    if progress.changed().await.is_err() {
        std::future::pending().await
    }
}
