//! `POST /v1/locks/{key}/hold`: a lock that lives as long as a connection. lockside renews it; when the connection
//! closes, for whatever reason, the lock is released.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Incoming;
use prometheus::{IntCounterVec, IntGauge};
use tokio::sync::watch;

use super::Context;
use super::failure::Failure;
use super::holds::Holds;
use super::lines::{Event, Lines};
use super::native::{AcquireBody, LeaseView, caller, explained, idempotency_key, key_in};
use super::permit::{Permit, Turn, turn};
use super::progress;
use super::wire::rfc3339;
use crate::lock::held::{Effect, End, Held, Input};
use crate::lock::{Acquired, Attempt, Changed, Key, Lease, Locks, Loss, News, Ttl, Unconfirmed};
use crate::request::continued;
use crate::server::{Peer, Response};

/// Shortest ttl that can be kept by renewals, milliseconds.
const MIN_TTL_MS: u64 = 50;
/// After a release that Redis did not answer, or refused.
const RETRY: Duration = Duration::from_millis(200);

/// Longest time by which the first word of a hold is put off until it is told what becomes of its lease.
const LISTENING: Duration = Duration::from_millis(200);
/// Answers once the lock is granted, so that every refusal is still possible before; at once where progress is asked for.
pub async fn hold(cx: &Context, request: Request<Incoming>, key: String, peer: &Peer) -> Result<Response, Failure> {
    let caller = caller(cx, &request).await?;
    let key = key_in(&key)?;
    let name = idempotency_key(&request)?;
    let permit = Arc::new(Permit::new(cx, request.headers()));
    let (body, streams_progress) = AcquireBody::read_hold(request).await?;
    if body.is_reentrant() {
        return Err(Failure::BadRequest("reentrant: not for hold, whose lock ends with its connection".to_owned()));
    }
    let mut attempt = body.attempt(cx, caller, name)?;
    attempt.is_hold = true;
    let ttl = attempt.ttl;
    if ttl.as_ms() < MIN_TTL_MS {
        let max_ms = cx.limits.max_ttl_ms;
        return Err(Failure::BadRequest(format!(
            "ttlMs: expected an integer from {MIN_TTL_MS} to {max_ms} for a hold"
        )));
    }
    peer.watch(Duration::from_millis(ttl.as_ms()));
    if streams_progress {
        return progress::stream(cx, key, attempt, permit).await;
    }
    let granted = acquire(cx.locks.clone(), key, attempt, Arc::clone(&permit)).await?;
    let (lines, response) = Lines::open();
    let keeper = Keeper::of(cx);
    tokio::spawn(continued(keeper.keep(granted, permit, ttl, lines)));
    Ok(response)
}

/// A lease, and what undoes it unless its hold sees to it.
pub struct Granted {
    lease: Lease,
    unconfirmed: Unconfirmed,
    /// Until when it is promised.
    promised: Instant,
}

impl Granted {
    /// At once, so that the promise counts from when it was made.
    fn now(lease: Lease, unconfirmed: Unconfirmed) -> Granted {
        Granted { promised: Instant::now() + Duration::from_millis(lease.valid_for_ms), lease, unconfirmed }
    }
}

/// Acquires what is to be held, for as long as the permit lasts.
pub async fn acquire(locks: Locks, key: Key, attempt: Attempt, permit: Arc<Permit>) -> Result<Granted, Failure> {
    let owner = attempt.owner.clone();
    let Turn { content: mut granted, checked_for } =
        turn(&owner, || permit, acquire_whole(locks, key, attempt)).await?;
    granted.lease.age(checked_for)?;
    Ok(granted)
}

/// What an earlier sending of the attempt got is renewed at once: little may be left of it.
async fn acquire_whole(locks: Locks, key: Key, attempt: Attempt) -> Result<Granted, Failure> {
    loop {
        let acquired = locks.acquire(key.clone(), attempt.clone()).await;
        let (content, unconfirmed) = match acquired {
            Ok(acquired) => acquired,
            Err(failure) => return Err(explained(&locks, &key, failure).await),
        };
        let lease = match content {
            Acquired::Granted(lease) => return Ok(Granted::now(lease, unconfirmed)),
            Acquired::Replayed(lease) | Acquired::Renewed(lease) => lease,
            Acquired::Held(holder) => return Err(Failure::Held(holder)),
        };
        let is_whole = lease.valid_for_ms >= attempt.ttl.as_ms();
        let granted = Granted::now(lease, unconfirmed);
        if is_whole {
            return Ok(granted);
        }
        let Granted { lease, unconfirmed, .. } = &granted;
        match locks.renew_hold(lease, unconfirmed.sending(), attempt.ttl).await {
            Ok(Changed::Done(lease)) => return Ok(Granted::now(lease, granted.unconfirmed)),
            // The hold tries again, for as long as the promise lasts.
            Err(_) => return Ok(granted),
            // It has ended meanwhile, and so the attempt is an ordinary one.
            Ok(Changed::Lost(_) | Changed::NotYours) => drop(granted),
        }
    }
}

/// What holds need of their process.
pub struct Keeper {
    locks: Locks,
    holds: Arc<Holds>,
    draining: watch::Receiver<bool>,
    /// How long a lock is kept once the process is being stopped.
    grace: Duration,
    /// How many locks are held.
    held: IntGauge,
    /// Counts the holds that were lost, by reason.
    lost: IntCounterVec,
}

impl Keeper {
    pub fn of(cx: &Context) -> Keeper {
        Keeper {
            locks: cx.locks.clone(),
            holds: Arc::clone(&cx.holds),
            draining: cx.draining.clone(),
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
        // From here on the hold sees to it, whether or not the answer goes out.
        let sending = unconfirmed.confirm();
        self.held.inc();
        // The connection may be the last one of a process that is being stopped, and is closed before its lock is
        // released.
        let unsettled = self.locks.unsettled();
        async move {
            let count = self.held.clone();
            let chance = (lease.token.sequence() % 256) as u8;
            let held = Held::new(Duration::from_millis(ttl.as_ms()), chance, promised, permit.ends(), Instant::now());
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
    /// The sending of the attempt that this is.
    sending: String,
    /// What lets its owner go on.
    permit: Arc<Permit>,
    ttl: Ttl,
    held: Held,
    lines: Lines,
}

/// A renewal that has been asked for: the lease, or what happened instead.
type Renewal = Pin<Box<dyn Future<Output = Result<Lease, Input>> + Send>>;

impl Hold {
    /// Renews until the client closes, the lock is lost, or the process has been stopping for the grace.
    async fn keep(mut self) {
        let mut watch = self.keeper.locks.watch(&self.lease);
        // Before the client knows of the lock, so that it hears of whatever it causes.
        let at_most = self.held.next_due().min(Instant::now() + LISTENING);
        let _ = tokio::time::timeout_at(at_most.into(), watch.listens()).await;
        self.lease.valid_for_ms = millis(self.held.left(Instant::now()));
        self.lines.say(&Event::Acquired(LeaseView::from(&self.lease)));
        let (lines, mut draining, mut renewal) = (self.lines.clone(), self.keeper.draining.clone(), None);
        let entry = self.keeper.holds.enter(&self.lease);
        // Each is made once: 2,000 holds that sleep cost what it costs to be woken.
        let (mut closed, mut released) = (pin!(lines.closed()), pin!(entry.released()));
        let (mut begun, mut is_draining) = (pin!(draining.wait_for(|draining| *draining)), false);
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
                _ = &mut begun, if !is_draining => {
                    is_draining = true;
                    Input::Draining { grace: self.keeper.grace }
                }
                news = watch.next() => match news {
                    News::Released => Input::Released,
                    News::Shortened { left_ms } => Input::Shortened { left: Duration::from_millis(left_ms) },
                    News::Forced | News::Repeated => Input::Changed,
                },
                renewed = answered(&mut renewal), if renewal.is_some() => match renewed {
                    Ok(lease) => {
                        let valid_for = Duration::from_millis(lease.valid_for_ms);
                        self.lease = lease;
                        Input::Renewed { valid_for }
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
        if end.leaves_a_lease() {
            self.release().await;
        }
    }

    /// Boxed, so that a hold that sleeps is small.
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
                    Ok(Changed::Lost(Loss::Superseded) | Changed::NotYours) => Input::Over(End::Superseded),
                    Err(failure) => not_renewed(failure.into()),
                })
            };
            // One that is not answered runs to its end.
            tokio::time::timeout(longest, renewed).await.unwrap_or(Err(Input::NotRenewed))
        })
    }

    /// Releases the lock; again where Redis does not answer, for as long as the lease may last.
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

/// The answer to a renewal, which there must be.
async fn answered(renewal: &mut Option<Renewal>) -> Result<Lease, Input> {
    let renewed = renewal.as_mut().expect("a renewal has been asked for").await;
    *renewal = None;
    renewed
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
