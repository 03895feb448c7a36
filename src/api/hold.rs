//! `POST /v1/locks/{key}/hold`: a lock that lives as long as a connection. lockside renews it; when the connection
//! closes, for whatever reason, the lock is released.

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
use super::wire::rfc3339;
use crate::lock::{Acquired, Changed, Delivery, Lease, LockFailure, Locks, Loss, News, Ttl};
use crate::request::continued;
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
    let body = AcquireBody::read(request).await?;
    if body.is_reentrant() {
        return Err(Failure::BadRequest("reentrant: not for hold, whose lock ends with its connection".to_owned()));
    }
    let mut attempt = body.attempt(cx, caller, name)?;
    attempt.is_hold = true;
    let ttl = attempt.ttl;
    let Delivery { content, receipt } = cx.locks.acquire(key, attempt).await?;
    let lease = match content {
        Acquired::Granted(lease) | Acquired::Replayed(lease) | Acquired::Renewed(lease) => lease,
        Acquired::Held(holder) => return Err(Failure::Held(holder)),
    };
    let (lines, body) = mpsc::channel(LINES);
    // From here on the hold sees to it, whether or not the answer goes out.
    let sending = receipt.sign().unwrap_or_default();
    let hold = Hold {
        sending,
        deadline: end_of_promise(&lease),
        locks: cx.locks.clone(),
        lease,
        ttl,
        lines,
        draining: cx.draining.clone(),
        grace: cx.hold_grace,
        lost: cx.metrics.holds_lost.clone(),
    };
    let gauge = cx.metrics.holds.with_label_values::<&str>(&[]);
    gauge.inc();
    // The connection may be the last one of a process that is being stopped, and is closed before its lock is released.
    let unsettled = cx.locks.unsettled();
    tokio::spawn(continued(async move {
        hold.keep().await;
        gauge.dec();
        drop(unsettled);
    }));
    let mut response = Response::new(Body::Stream(body));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// A lock that is being held.
struct Hold {
    locks: Locks,
    /// The sending of the attempt that this is.
    sending: String,
    lease: Lease,
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
        let mut watch = self.locks.watch(&self.lease);
        let reason = loop {
            tokio::select! {
                biased;
                () = lines.closed() => break None,
                () = until(self.deadline) => break Some("redis"),
                () = until(give_up_at.unwrap_or(self.deadline)), if give_up_at.is_some() => break Some("draining"),
                _ = draining.wait_for(|draining| *draining), if give_up_at.is_none() => {
                    give_up_at = Some(Instant::now() + self.grace);
                    self.say(&Event::Draining { grace_ms: millis(self.grace) });
                }
                news = watch.next() => {
                    if let News::Shortened { left_ms } = news {
                        self.deadline = self.deadline.min(Instant::now() + Duration::from_millis(left_ms));
                    }
                    // The renewal says what became of it.
                    renew_at = Instant::now();
                }
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
                    // Again, for as long as the promise lasts.
                    Err(()) => renew_at = Instant::now() + RETRY.min(self.pause()),
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

    async fn renewal(&self, at: Instant) -> Result<Changed<Lease>, ()> {
        until(at).await;
        // Boxed, so that a hold that sleeps is small.
        let renewal = Box::pin(self.locks.renew_hold(&self.lease, &self.sending, self.ttl));
        // One that is not answered runs to its end, and the next need not wait for that: a short ttl has no time.
        match tokio::time::timeout(self.pause().max(RETRY), renewal).await {
            Ok(renewed) => renewed.map_err(|failure| {
                self.warn(failure, "a held lock was not renewed; trying again");
            }),
            Err(_) => Err(()),
        }
    }

    /// Lets go; again where Redis does not answer, for as long as the lease may last.
    async fn release(&self) {
        loop {
            let released = Box::pin(self.locks.release_hold(&self.lease, &self.sending)).await;
            let Err(failure) = released else { return };
            if Instant::now() >= self.deadline {
                self.warn(failure, "a held lock was not released; it ends by itself");
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

    fn warn(&self, failure: LockFailure, text: &str) {
        let (key, token, failure) = (self.lease.key.as_str(), self.lease.token.get(), Failure::from(failure));
        let (code, outcome, reason) = (failure.code(), failure.outcome(), failure.reason());
        tracing::warn!(operation = "hold", key, token, code, outcome, reason, "{text}");
    }

    fn say(&self, event: &Event<'_>) {
        let mut line = serde_json::to_vec(event).expect("an event is always JSON");
        line.push(b'\n');
        let _ = self.lines.try_send(Ok(Bytes::from(line)));
    }
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
