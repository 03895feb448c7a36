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
use super::lines::{Event, Lines, SIGN_OF_LIFE};
use super::native::{AcquireBody, LeaseView, caller, explained, idempotency_key, key_in};
use super::permit::{Permit, Turn, turn};
use super::progress;
use super::wire::rfc3339;
use crate::lock::{Acquired, Attempt, Changed, Delivery, Key, Lease, Locks, Loss, News, Receipt, Ttl};
use crate::request::continued;
use crate::server::{Peer, Response};

/// Shortest ttl that can be kept by renewals, milliseconds.
const MIN_TTL_MS: u64 = 50;
/// A renewal is asked for after this part of the ttl, less a little by chance, so that many holds spread over time.
const RENEWALS_IN_A_TTL: u32 = 3;
/// After a renewal that Redis did not answer, or refused.
const RETRY: Duration = Duration::from_millis(200);

/// So long before the promise ends, the word that it is lost goes out.
const LAST_WORD: Duration = Duration::from_millis(5);

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
    receipt: Receipt,
    /// When its promise ends.
    deadline: Instant,
}

impl Granted {
    /// At once, so that the promise counts from when it was made.
    fn now(lease: Lease, receipt: Receipt) -> Granted {
        Granted { deadline: end_of_promise(&lease), lease, receipt }
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
        let Delivery { content, receipt } = match acquired {
            Ok(delivery) => delivery,
            Err(failure) => return Err(explained(&locks, &key, failure).await),
        };
        let lease = match content {
            Acquired::Granted(lease) => return Ok(Granted::now(lease, receipt)),
            Acquired::Replayed(lease) | Acquired::Renewed(lease) => lease,
            Acquired::Held(holder) => return Err(Failure::Held(holder)),
        };
        let is_whole = lease.valid_for_ms >= attempt.ttl.as_ms();
        let granted = Granted::now(lease, receipt);
        if is_whole {
            return Ok(granted);
        }
        let Granted { lease, receipt, .. } = &granted;
        match locks.renew_hold(lease, receipt.sending(), attempt.ttl).await {
            Ok(Changed::Done(lease)) => return Ok(Granted::now(lease, granted.receipt)),
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
        let Granted { lease, receipt, deadline } = granted;
        // From here on the hold sees to it, whether or not the answer goes out.
        let sending = receipt.sign();
        self.held.inc();
        // The connection may be the last one of a process that is being stopped, and is closed before its lock is
        // released.
        let unsettled = self.locks.unsettled();
        async move {
            let (held, said) = (self.held.clone(), Instant::now());
            let hold = Hold { keeper: self, lease, sending, permit, ttl, deadline, lines, said };
            hold.keep().await;
            held.dec();
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
    /// When the last promise ends, Redis or no Redis.
    deadline: Instant,
    lines: Lines,
    /// When the last line was written.
    said: Instant,
}

/// How a hold ends.
enum End {
    /// By its client.
    Closed,
    /// By a release of its lease, which was not the hold's own.
    Released,
    /// The lease is no more; the reason says why.
    Lost(&'static str),
    /// It has to be released; the reason says why.
    GivenUp(&'static str),
}

/// Why a lease was not renewed.
enum Missed {
    /// Redis did not do it, or did not say so.
    Again,
    /// The credential lets its owner go on no longer.
    Unauthorized,
}

/// A renewal that has been asked for.
type Renewal = Pin<Box<dyn Future<Output = Result<Changed<Lease>, Missed>> + Send>>;

impl Hold {
    /// Renews until the client closes, the lock is lost, or the process has been stopping for the grace.
    async fn keep(mut self) {
        self.lines.say(&Event::Acquired(LeaseView::from(&self.lease)));
        let mut renew_at = Instant::now() + self.pause();
        let mut renewal: Option<Renewal> = None;
        let mut give_up_at = None;
        let (lines, mut draining) = (self.lines.clone(), self.keeper.draining.clone());
        let mut watch = self.keeper.locks.watch(&self.lease);
        let entry = self.keeper.holds.enter(&self.lease);
        // Each is made once: 2,000 holds that sleep cost what it costs to be woken.
        let (mut closed, mut released) = (pin!(lines.closed()), pin!(entry.released()));
        let mut begun = pin!(draining.wait_for(|draining| *draining));
        let mut timer = pin!(tokio::time::sleep_until(renew_at.into()));
        let end = loop {
            // One timer for all.
            let (ends, renews_at) = (self.permit.ends(), renewal.is_none().then_some(renew_at));
            let times = [ends, give_up_at, renews_at, Some(self.said + SIGN_OF_LIFE)];
            let next = times.into_iter().flatten().fold(self.deadline, Instant::min);
            if timer.deadline() != next.into() {
                timer.as_mut().reset(next.into());
            }
            tokio::select! {
                biased;
                () = &mut closed => break End::Closed,
                () = &mut released => break End::Released,
                _ = &mut begun, if give_up_at.is_none() => {
                    give_up_at = Some(Instant::now() + self.keeper.grace);
                    self.say(&Event::Draining { grace_ms: millis(self.keeper.grace) });
                }
                news = watch.next() => {
                    match news {
                        News::Released => break End::Released,
                        News::Shortened { left_ms } => self.shortened(left_ms),
                        News::Forced | News::Repeated => {}
                    }
                    // A renewal says what became of it; not one that may have been sent before.
                    (renewal, renew_at) = (None, Instant::now());
                }
                renewed = answered(&mut renewal), if renewal.is_some() => match renewed {
                    Ok(Changed::Done(lease)) => {
                        self.deadline = end_of_promise(&lease);
                        renew_at = Instant::now() + self.pause();
                        let valid_until = rfc3339(lease.valid_until_ms);
                        self.say(&Event::Renewed { valid_for_ms: lease.valid_for_ms, valid_until });
                    }
                    Ok(Changed::Lost(Loss::Forced)) => break End::Lost("forced"),
                    Ok(_) if entry.is_released() => break End::Released,
                    Ok(Changed::Lost(Loss::Expired)) => break End::Lost("expired"),
                    Ok(Changed::Lost(Loss::Superseded) | Changed::NotYours) => break End::Lost("superseded"),
                    Err(Missed::Unauthorized) => break End::GivenUp("unauthorized"),
                    // Again, for as long as the promise lasts.
                    Err(Missed::Again) => renew_at = Instant::now() + RETRY.min(self.pause()),
                },
                () = &mut timer => {
                    let now = Instant::now();
                    if ends.is_some_and(|at| now >= at) {
                        break End::GivenUp("unauthorized");
                    }
                    if now >= self.deadline {
                        break End::GivenUp("redis");
                    }
                    if give_up_at.is_some_and(|at| now >= at) {
                        break End::GivenUp("draining");
                    }
                    if renewal.is_none() && now >= renew_at {
                        renewal = Some(self.renewal());
                    }
                    if now >= self.said + SIGN_OF_LIFE {
                        let valid_for_ms = millis(self.deadline + LAST_WORD - now);
                        self.say(&Event::Ping { valid_for_ms });
                    }
                }
            }
        };
        match end {
            End::Closed => {}
            End::Released => self.say(&Event::Released),
            End::Lost(reason) | End::GivenUp(reason) => {
                self.say(&Event::Lost { reason });
                self.keeper.lost.with_label_values(&[reason]).inc();
            }
        }
        // What was superseded is released, too: the sending that was told of it later may have been undone meanwhile.
        if matches!(end, End::Closed | End::GivenUp(_) | End::Lost("superseded")) {
            self.release().await;
        }
    }

    /// Its owner shortened the lease by its token: no more than this counts until it is renewed.
    fn shortened(&mut self, left_ms: u64) {
        let deadline = Instant::now() + Duration::from_millis(left_ms).saturating_sub(LAST_WORD);
        if deadline < self.deadline {
            self.deadline = deadline;
            self.say(&Event::Ping { valid_for_ms: left_ms });
        }
    }

    /// Boxed, so that a hold that sleeps is small.
    fn renewal(&self) -> Renewal {
        let (locks, lease, sending, ttl) =
            (self.keeper.locks.clone(), self.lease.clone(), self.sending.clone(), self.ttl);
        let (permit, longest) = (Arc::clone(&self.permit), self.pause().max(RETRY));
        Box::pin(async move {
            let not_renewed = |failure| {
                warn(&lease, failure, "a held lock was not renewed; trying again");
                Missed::Again
            };
            let renewed = async {
                // Whoever may hold it no longer gets no more time.
                match permit.is_valid(&lease.owner).await {
                    Ok(true) => {}
                    Ok(false) => return Err(Missed::Unauthorized),
                    Err(failure) => return Err(not_renewed(failure.into())),
                }
                locks.renew_hold(&lease, &sending, ttl).await.map_err(|failure| not_renewed(failure.into()))
            };
            // One that is not answered runs to its end, and the next need not wait for that: a short ttl has no time.
            tokio::time::timeout(longest, renewed).await.unwrap_or(Err(Missed::Again))
        })
    }

    /// Releases the lock; again where Redis does not answer, for as long as the lease may last.
    async fn release(&self) {
        loop {
            let released = Box::pin(self.keeper.locks.release_hold(&self.lease, &self.sending)).await;
            let Err(failure) = released else { return };
            if Instant::now() >= self.deadline {
                return warn(&self.lease, failure.into(), "a held lock was not released; it ends by itself");
            }
            until(Instant::now() + RETRY).await;
        }
    }

    /// A third of the ttl, less up to a tenth of that by chance.
    fn pause(&self) -> Duration {
        let third = Duration::from_millis(self.ttl.as_ms()) / RENEWALS_IN_A_TTL;
        third - third.mul_f64(0.1 * f64::from(u8::try_from(self.lease.token.sequence() % 256).unwrap_or(0)) / 256.0)
    }

    fn say(&mut self, event: &Event<'_>) {
        self.lines.say(event);
        self.said = Instant::now();
    }
}

fn warn(lease: &Lease, failure: Failure, text: &str) {
    let (key, token) = (lease.key.as_str(), lease.token.get());
    let (code, outcome, reason) = (failure.code(), failure.outcome(), failure.reason());
    tracing::warn!(operation = "hold", key, token, code, outcome, reason, "{text}");
}

/// The answer to a renewal, which there must be.
async fn answered(renewal: &mut Option<Renewal>) -> Result<Changed<Lease>, Missed> {
    let renewed = renewal.as_mut().expect("a renewal has been asked for").await;
    *renewal = None;
    renewed
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
