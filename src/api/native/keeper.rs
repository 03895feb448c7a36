//! Keeps the lock of a hold: renews it until its connection closes, it is lost, or the drain's grace is over.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::{IntCounterVec, IntGauge};

use super::grant::Granted;
use super::lines::{Event, Lines};
use super::permit::Permit;
use super::view::LeaseView;
use crate::api::context::Context;
use crate::api::failure::Failure;
use crate::api::holds::Holds;
use crate::api::wire::rfc3339;
use crate::drain::Drain;
use crate::lock::held::{Effect, End, Held, Input};
use crate::lock::{Changed, Lease, Locks, Loss, News, Ttl};

/// Pause after a release that Redis did not answer, or refused.
const RETRY: Duration = Duration::from_millis(200);
/// Longest delay of a hold's first line while its lease's events are being subscribed to.
const LISTENING: Duration = Duration::from_millis(200);

/// What a hold uses of its process.
pub struct Keeper {
    locks: Locks,
    holds: Arc<Holds>,
    drain: Drain,
    /// How long a lock is kept once the drain has begun.
    grace: Duration,
    /// Gauge of the locks that are held.
    held: IntGauge,
    /// Counter of the holds that were lost, by reason.
    lost: IntCounterVec,
}

impl Keeper {
    pub fn of(cx: &Context) -> Keeper {
        Keeper {
            locks: cx.locks.clone(),
            holds: Arc::clone(&cx.holds),
            drain: cx.drain.clone(),
            grace: cx.hold_grace,
            held: cx.metrics.holds.with_label_values::<&str>(&[]),
            lost: cx.metrics.holds_lost.clone(),
        }
    }

    /// Keeps a lock until its connection closes or it is lost, and says so on `lines`.
    pub fn keep(
        self,
        granted: Granted,
        permit: Arc<Permit>,
        ttl: Ttl,
        lines: Lines,
    ) -> impl Future<Output = ()> + Send {
        let Granted { lease, unconfirmed, promised } = granted;
        // From here on the hold releases the lock, whether or not the answer is sent.
        let sending = unconfirmed.confirm();
        self.held.inc();
        // During the drain this connection may be the last one, and it closes before its lock is released: the process
        // waits for the release.
        let unsettled = self.locks.unsettled();
        async move {
            let count = self.held.clone();
            let chance = (lease.token.sequence() % 256) as u8;
            let (ttl_of, is_last, now) = (Duration::from_millis(ttl.as_ms()), lease.is_capped(), Instant::now());
            let held = Held::new(ttl_of, chance, promised, is_last, permit.ends(), now);
            let hold = Hold { keeper: self, lease, sending, permit, ttl, held, lines };
            hold.keep().await;
            count.dec();
            drop(unsettled);
        }
    }
}

/// A lock that is being held.
struct Hold {
    keeper: Keeper,
    lease: Lease,
    /// Which sending of the attempt holds the lock.
    sending: String,
    /// The credential that keeps the hold.
    permit: Arc<Permit>,
    ttl: Ttl,
    held: Held,
    lines: Lines,
}

/// A renewal under way: the lease, or what happened instead.
type Renewal = Pin<Box<dyn Future<Output = Result<Lease, Input>> + Send>>;

impl Hold {
    /// Renews until the client closes, the lock is lost, or the drain's grace is over.
    async fn keep(mut self) {
        let mut watch = self.keeper.locks.watch(&self.lease);
        // Subscribes before the client knows of the lock, so that no event caused by the client is missed.
        let at_most = self.held.next_due().min(Instant::now() + LISTENING);
        let _ = tokio::time::timeout_at(at_most.into(), watch.listens()).await;
        self.lease.valid_for_ms = millis(self.held.left(Instant::now()));
        self.lines.say(&Event::Acquired(LeaseView::from(&self.lease)));
        let (lines, mut renewal) = (self.lines.clone(), None);
        let entry = self.keeper.holds.enter(&self.lease);
        // Each future is made once, so that 2,000 sleeping holds cost only their wake-ups.
        let (mut closed, mut released) = (pin!(lines.closed()), pin!(entry.released()));
        let (mut begun, mut is_draining) = (pin!(self.keeper.drain.begun()), false);
        let mut timer = pin!(tokio::time::sleep_until(self.held.next_due().into()));
        let end = 'ended: loop {
            let next = self.held.next_due().into();
            if timer.deadline() != next {
                timer.as_mut().reset(next);
            }
            let input = tokio::select! {
                biased;
                () = &mut closed => Input::Closed,
                () = &mut released => Input::Released,
                () = &mut begun, if !is_draining => {
                    is_draining = true;
                    Input::Draining { grace: self.keeper.grace }
                }
                news = watch.next() => match news {
                    News::Released => Input::Released,
                    // It is told when the key gets free.
                    News::Shortened { left_ms } => {
                        let left_ms = left_ms.saturating_sub(self.lease.terms.delay_ms);
                        Input::Shortened { left: Duration::from_millis(left_ms) }
                    }
                    News::Forced | News::Repeated => Input::Changed,
                },
                renewed = answered(&mut renewal), if renewal.is_some() => match renewed {
                    Ok(lease) => {
                        let (valid_for, is_last) = (Duration::from_millis(lease.valid_for_ms), lease.is_capped());
                        self.lease = lease;
                        Input::Renewed { valid_for, is_last }
                    }
                    Err(Input::Over(End::Expired | End::Superseded)) if entry.is_released() => Input::Released,
                    Err(input) => input,
                },
                () = &mut timer => Input::Due,
            };
            for effect in self.held.handle(input, Instant::now()) {
                match effect {
                    Effect::Renew => renewal = Some(self.renewal()),
                    Effect::SayRenewed => self.lines.say(&Event::Renewed {
                        valid_for_ms: self.lease.valid_for_ms,
                        valid_until: rfc3339(self.lease.valid_until_ms),
                    }),
                    Effect::SayLeft(left) => self.lines.say(&Event::Ping { valid_for_ms: millis(left) }),
                    Effect::SayDraining => self.lines.say(&Event::Draining { grace_ms: millis(self.keeper.grace) }),
                    Effect::End(end) => break 'ended end,
                }
            }
        };
        match end.loss() {
            Some(reason) => {
                self.lines.say(&Event::Lost { reason });
                self.keeper.lost.with_label_values(&[reason]).inc();
            }
            None if end == End::Released => self.lines.say(&Event::Released),
            None => {}
        }
        if end.leaves_a_lease(self.lease.terms.outlast_the_promise()) {
            self.release().await;
        }
    }

    /// A renewal; boxed, so that a sleeping hold is small.
    fn renewal(&self) -> Renewal {
        let (locks, lease, sending, ttl) =
            (self.keeper.locks.clone(), self.lease.clone(), self.sending.clone(), self.ttl);
        let (permit, longest) = (Arc::clone(&self.permit), self.held.longest_renewal());
        Box::pin(async move {
            let not_renewed = |failure| {
                warn(&lease, failure, "renewal failed; retrying");
                Input::NotRenewed
            };
            let renewed = async {
                // The lease of an owner whose credential is no longer valid is not renewed.
                match permit.is_valid(&lease.owner).await {
                    Ok(true) => {}
                    Ok(false) => return Err(Input::Over(End::Unauthorized)),
                    Err(failure) => return Err(not_renewed(failure.into())),
                }
                Err(match locks.renew_hold(&lease, &sending, ttl).await {
                    Ok(Changed::Done(lease)) => return Ok(lease),
                    Ok(Changed::Lost(Loss::Forced)) => Input::Over(End::Forced),
                    Ok(Changed::Lost(Loss::Expired)) => Input::Over(End::Expired),
                    Ok(Changed::Lost(Loss::Capped)) => Input::Over(End::Capped),
                    Ok(Changed::Lost(Loss::Superseded) | Changed::NotYours) => Input::Over(End::Superseded),
                    Err(failure) => not_renewed(failure.into()),
                })
            };
            // A renewal without an answer runs until its timeout.
            tokio::time::timeout(longest, renewed).await.unwrap_or(Err(Input::NotRenewed))
        })
    }

    /// Releases the lock, and retries for as long as the lease may last.
    async fn release(&self) {
        loop {
            let released = Box::pin(self.keeper.locks.release_hold(&self.lease, &self.sending)).await;
            let Err(failure) = released else { return };
            if Instant::now() >= self.held.deadline() {
                return warn(&self.lease, failure.into(), "release failed; the lease will expire");
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

fn warn(lease: &Lease, failure: Failure, text: &str) {
    let (key, token) = (lease.key.as_str(), lease.token.get());
    let (code, outcome, reason) = (failure.code(), failure.outcome(), failure.reason());
    tracing::warn!(operation = "hold", key, token, code, outcome, reason, "{text}");
}

/// The answer to a renewal; there must be one under way.
async fn answered(renewal: &mut Option<Renewal>) -> Result<Lease, Input> {
    let renewed = renewal.as_mut().expect("a renewal has been asked for").await;
    *renewal = None;
    renewed
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
