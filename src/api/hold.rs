//! `POST /v1/locks/{key}/hold`: a lock that lives as long as a connection. lockside renews it; when the connection
//! closes, for whatever reason, the lock is released.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode};
use prometheus::IntCounterVec;
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::Context;
use super::failure::Failure;
use super::native::{AcquireBody, LeaseView, caller, idempotency_key, key_in};
use super::permit::Permit;
use super::wire::rfc3339;
use crate::lock::{Acquired, Changed, Delivery, Lease, Locks, Loss, Ttl, Which};
use crate::server::{Body, Broken, Response};

/// Lines that may wait for a slow reader. What does not fit is left out, but never the last one's effect: the
/// connection closes.
const LINES: usize = 16;
/// A renewal is asked for after this part of the ttl, less a little by chance, so that many holds spread over time.
const RENEWALS_IN_A_TTL: u32 = 3;
/// After a renewal that Redis did not answer, or refused.
const RETRY: Duration = Duration::from_millis(200);

/// So long before the promise ends, the word that it is lost goes out.
const LAST_WORD: Duration = Duration::from_millis(5);

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event<'a> {
    Acquired(LeaseView<'a>),
    #[serde(rename_all = "camelCase")]
    Renewed {
        valid_for_ms: u64,
        valid_until: String,
    },
    Lost {
        reason: &'a str,
    },
    #[serde(rename_all = "camelCase")]
    Draining {
        grace_ms: u64,
    },
}

/// Answers once the lock is granted, so that every refusal is still possible before.
pub async fn hold(cx: &Context, request: Request<Incoming>, key: String) -> Result<Response, Failure> {
    let caller = caller(cx, &request).await?;
    let key = key_in(&key)?;
    let name = idempotency_key(&request)?;
    let permit = Arc::new(Permit::new(cx, request.headers()));
    let body = AcquireBody::read(request).await?;
    if body.is_reentrant() {
        return Err(Failure::BadRequest("reentrant: not for hold, whose lock ends with its connection".to_owned()));
    }
    let attempt = body.attempt(cx, caller, name)?;
    let ttl = attempt.ttl;
    let Delivery { content, receipt } = cx.locks.acquire(key, attempt).await?;
    let lease = match content {
        Acquired::Granted(lease) | Acquired::Replayed(lease) | Acquired::Renewed(lease) => lease,
        Acquired::Held(holder) => return Err(Failure::Held(holder)),
    };
    let (lines, body) = mpsc::channel(LINES);
    let hold = Hold {
        deadline: end_of_promise(&lease),
        locks: cx.locks.clone(),
        lease,
        permit,
        ttl,
        lines,
        draining: cx.draining.clone(),
        grace: cx.hold_grace,
        lost: cx.metrics.holds_lost.clone(),
    };
    // From here on the hold sees to it, whether or not the answer goes out.
    receipt.sign();
    let gauge = cx.metrics.holds.with_label_values::<&str>(&[]);
    gauge.inc();
    // The connection may be the last one of a process that is being stopped, and is closed before its lock is released.
    let unsettled = cx.locks.unsettled();
    tokio::spawn(async move {
        hold.keep().await;
        gauge.dec();
        drop(unsettled);
    });
    let mut response = Response::new(Body::Stream(body));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// A lock that is being held.
struct Hold {
    locks: Locks,
    lease: Lease,
    permit: Arc<Permit>,
    ttl: Ttl,
    /// When the last promise ends, Redis or no Redis.
    deadline: Instant,
    lines: mpsc::Sender<Result<Bytes, Broken>>,
    draining: watch::Receiver<bool>,
    /// How long it is kept once the process is being stopped.
    grace: Duration,
    /// Counts the holds that were lost, by reason.
    lost: IntCounterVec,
}

impl Hold {
    /// Renews until the client closes, the lock is lost, or the process has been stopping for the grace.
    async fn keep(mut self) {
        self.say(&Event::Acquired(LeaseView::from(&self.lease)));
        let mut renew_at = Instant::now() + self.pause();
        let mut give_up_at = None;
        let (lines, mut draining) = (self.lines.clone(), self.draining.clone());
        let removal = self.locks.removal(&self.lease);
        let permit_ends = self.permit.ends();
        let reason = loop {
            tokio::select! {
                biased;
                () = lines.closed() => break None,
                () = until(permit_ends.unwrap_or(self.deadline)), if permit_ends.is_some() => break Some("unauthorized"),
                () = until(self.deadline) => break Some("redis"),
                () = until(give_up_at.unwrap_or(self.deadline)), if give_up_at.is_some() => break Some("draining"),
                _ = draining.wait_for(|draining| *draining), if give_up_at.is_none() => {
                    give_up_at = Some(Instant::now() + self.grace);
                    self.say(&Event::Draining { grace_ms: millis(self.grace) });
                }
                // The renewal says what became of it.
                () = removal.told() => renew_at = Instant::now(),
                renewed = self.renewal(renew_at) => match renewed {
                    Ok(Changed::Done(lease)) => {
                        self.deadline = end_of_promise(&lease);
                        renew_at = Instant::now() + self.pause();
                        let valid_until = rfc3339(lease.valid_until_ms);
                        self.say(&Event::Renewed { valid_for_ms: lease.valid_for_ms, valid_until });
                    }
                    Ok(Changed::Lost(Loss::Forced)) => break Some("forced"),
                    Ok(Changed::Lost(Loss::Expired)) => break Some("expired"),
                    Ok(Changed::Lost(Loss::Superseded) | Changed::NotYours) => break Some("superseded"),
                    Err(Missed::Unauthorized) => break Some("unauthorized"),
                    // Again, for as long as the promise lasts.
                    Err(Missed::Again) => renew_at = Instant::now() + RETRY.min(self.pause()),
                },
            }
        };
        if let Some(reason) = reason {
            self.say(&Event::Lost { reason });
            self.lost.with_label_values(&[reason]).inc();
        }
        if !matches!(reason, Some("forced" | "expired" | "superseded")) {
            self.release().await;
        }
    }

    async fn renewal(&self, at: Instant) -> Result<Changed<Lease>, Missed> {
        until(at).await;
        let not_renewed = |failure: &dyn Display| {
            tracing::warn!(key = %self.lease.key, %failure, "a held lock was not renewed; trying again");
            Missed::Again
        };
        // Boxed, so that a hold that sleeps is small.
        let renewal = Box::pin(async {
            // Whoever may hold it no longer gets no more time.
            match self.permit.is_valid(&self.lease.owner).await {
                Ok(true) => {}
                Ok(false) => return Err(Missed::Unauthorized),
                Err(failure) => return Err(not_renewed(&failure)),
            }
            let which = Which::Of(self.lease.key.clone(), self.lease.token);
            let renewed = self.locks.renew(which, self.lease.owner.clone(), Some(self.ttl)).await;
            renewed.map_err(|failure| not_renewed(&failure))
        });
        // One that is not answered runs to its end, and the next need not wait for that: a short ttl has no time.
        tokio::time::timeout(self.pause().max(RETRY), renewal).await.unwrap_or(Err(Missed::Again))
    }

    /// Lets go; again where Redis does not answer, for as long as the lease may last.
    async fn release(&self) {
        loop {
            let which = Which::Of(self.lease.key.clone(), self.lease.token);
            let released = Box::pin(self.locks.release(which, self.lease.owner.clone())).await;
            let Err(failure) = released else { return };
            if Instant::now() >= self.deadline {
                tracing::warn!(key = %self.lease.key, %failure, "a held lock was not released; it ends by itself");
                return;
            }
            until(Instant::now() + RETRY).await;
        }
    }

    /// A third of the ttl, less up to a tenth of that by chance.
    fn pause(&self) -> Duration {
        let third = Duration::from_millis(self.ttl.as_ms()) / RENEWALS_IN_A_TTL;
        third - third.mul_f64(0.1 * f64::from(u8::try_from(self.lease.token.sequence() % 256).unwrap_or(0)) / 256.0)
    }

    fn say(&self, event: &Event<'_>) {
        let mut line = serde_json::to_vec(event).expect("an event is always JSON");
        line.push(b'\n');
        let _ = self.lines.try_send(Ok(Bytes::from(line)));
    }
}

/// Why a lease was not renewed.
enum Missed {
    /// Redis did not do it, or did not say so.
    Again,
    /// The credential lets its owner go on no longer.
    Unauthorized,
}

/// When the holder must have been told that nothing is left: a little before it is so.
fn end_of_promise(lease: &Lease) -> Instant {
    Instant::now() + Duration::from_millis(lease.valid_for_ms).saturating_sub(LAST_WORD)
}

async fn until(at: Instant) {
    tokio::time::sleep_until(at.into()).await;
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
