//! Keeps a lock for as long as its client wants it: renews it until the client goes, it is lost, or the drain's grace is
//! over; then it is released. Who the client is does not matter here: see [`Client`].

mod holds;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use crate::drain::Drain;
use crate::lock::held::{Effect, End, Held, Input};
use crate::lock::{Changed, Lease, LockFailure, Locks, Loss, News, Owner, Ttl, Unconfirmed};
use crate::redis::RedisFailure;
pub use holds::Holds;

/// Pause after a release that Redis did not answer, or refused.
const RETRY: Duration = Duration::from_millis(200);
/// Longest delay of a hold's first news while its lease's events are being subscribed to.
const LISTENING: Duration = Duration::from_millis(200);

/// Who wants a lock to be kept: the far end of a connection, or an election of this process.
pub trait Client: Send + Sync {
    /// Hears of its lock, which it can count on until then.
    fn told(&self, news: Told<'_>, until: Instant);
    /// Ends when it wants the lock no longer.
    fn gone(&self) -> BoxFuture<'_, ()>;
    /// When it loses its right to the lock, whatever it says by then.
    fn rights_end(&self) -> Option<Instant>;
    /// Resolves when its right to the lock ends before that, between two renewals.
    fn refused(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
    /// Whether `owner` may still hold; asked before each renewal.
    fn may_hold<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Result<bool, RedisFailure>>;
    /// Whether the next in the queue is to know that neither this client nor one before it counts on the lock any more; asked
    /// when the lock is released.
    fn resigns(&self) -> bool;
    /// Something failed that is tried again, or that only time will end.
    fn failed(&self, lease: &Lease, failure: LockFailure, what: &str);
}

/// What a client hears of its lock.
pub enum Told<'a> {
    Acquired(&'a Lease),
    Renewed(&'a Lease),
    /// A sign of life, or the lease ends sooner than it did; so much is left, milliseconds.
    Left(u64),
    /// The process is being stopped, and keeps the lock for so long, milliseconds.
    Draining(u64),
    /// It is lost, and why, in a word.
    Lost(&'static str),
    /// It was released by its token.
    Released,
}

/// A lease, and what rolls it back unless a hold keeps it.
pub struct Granted {
    pub lease: Lease,
    pub unconfirmed: Unconfirmed,
    /// Until when the lease is guaranteed.
    pub promised: Instant,
}

impl Granted {
    /// Of a lease that was granted to a caller of this process.
    pub fn of(lease: Lease, unconfirmed: Unconfirmed) -> Granted {
        Granted { promised: promised(&lease), lease, unconfirmed }
    }
}

/// What a hold uses of its process.
#[derive(Clone)]
pub struct Keeper {
    pub locks: Locks,
    pub holds: Arc<Holds>,
    pub drain: Drain,
    /// How long a lock is kept once the drain has begun.
    pub grace: Duration,
}

impl Keeper {
    /// Keeps a lock until its client goes or it is lost, and tells the client.
    pub fn keep(self, granted: Granted, ttl: Ttl, client: Arc<dyn Client>) -> impl Future<Output = ()> + Send + use<> {
        let Granted { lease, unconfirmed, promised } = granted;
        // From here on the hold releases the lock, whether or not the answer is sent.
        let sending = unconfirmed.confirm();
        // During the drain this connection may be the last one, and it closes before its lock is released: the process
        // waits for the release.
        let unsettled = self.locks.unsettled();
        async move {
            let chance = (lease.token.sequence() % 256) as u8;
            let (ttl_of, is_last, now) = (Duration::from_millis(ttl.as_ms()), lease.is_capped(), Instant::now());
            let held = Held::new(ttl_of, chance, promised, is_last, client.rights_end(), now);
            Hold { keeper: self, lease, sending, ttl, held, client }.keep().await;
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
    ttl: Ttl,
    held: Held,
    client: Arc<dyn Client>,
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
        self.tell(Told::Acquired(&self.lease));
        let (client, mut renewal) = (Arc::clone(&self.client), None);
        let entry = self.keeper.holds.enter(&self.lease);
        // Each future is made once, so that 2,000 sleeping holds cost only their wake-ups.
        let (mut gone, mut refused, mut released) = (client.gone(), client.refused(), pin!(entry.released()));
        let (mut begun, mut is_draining) = (pin!(self.keeper.drain.begun()), false);
        let mut timer = pin!(tokio::time::sleep_until(self.held.next_due().into()));
        let end = 'ended: loop {
            let next = self.held.next_due().into();
            if timer.deadline() != next {
                timer.as_mut().reset(next);
            }
            let input = tokio::select! {
                biased;
                () = &mut gone => Input::Closed,
                () = &mut refused => Input::Over(End::Unauthorized),
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
                        let (until, is_last) = (promised(&lease), lease.is_capped());
                        self.lease = lease;
                        Input::Renewed { until, is_last }
                    }
                    Err(Input::Over(End::Expired | End::Superseded)) if entry.is_released() => Input::Released,
                    Err(input) => input,
                },
                () = &mut timer => Input::Due,
            };
            for effect in self.held.handle(input, Instant::now()) {
                match effect {
                    Effect::Renew => renewal = Some(self.renewal()),
                    Effect::SayRenewed => self.tell(Told::Renewed(&self.lease)),
                    Effect::SayLeft(left) => self.tell(Told::Left(millis(left))),
                    Effect::SayDraining => self.tell(Told::Draining(millis(self.keeper.grace))),
                    Effect::End(end) => break 'ended end,
                }
            }
        };
        match end.loss() {
            Some(reason) => {
                self.keeper.locks.lost(&self.lease, reason);
                self.tell(Told::Lost(reason));
            }
            None if end == End::Released => self.tell(Told::Released),
            None => {}
        }
        if end.leaves_a_lease(self.lease.terms.outlast_the_promise()) {
            self.release(end.loss().is_some()).await;
        }
    }

    fn tell(&self, news: Told<'_>) {
        self.client.told(news, self.held.deadline());
    }

    /// A renewal; boxed, so that a sleeping hold is small.
    fn renewal(&self) -> Renewal {
        let (locks, lease, sending, ttl) =
            (self.keeper.locks.clone(), self.lease.clone(), self.sending.clone(), self.ttl);
        let (client, longest) = (Arc::clone(&self.client), self.held.longest_renewal());
        Box::pin(async move {
            let not_renewed = |failure| {
                client.failed(&lease, failure, "renewal failed; retrying");
                Input::NotRenewed
            };
            let renewed = async {
                // The lease of an owner whose credential is no longer valid is not renewed.
                match client.may_hold(&lease.owner).await {
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
                    Err(failure) => not_renewed(failure),
                })
            };
            // A renewal without an answer runs until its timeout.
            tokio::time::timeout(longest, renewed).await.unwrap_or(Err(Input::NotRenewed))
        })
    }

    /// Releases the lock, and retries for as long as the lease may last. `is_known`: the audit trail has its end already.
    async fn release(&self, is_known: bool) {
        // A repetition may reach a Redis that lost what the first one did, and whom it told.
        let (mut resigns, mut is_repeated) = (self.client.resigns(), false);
        loop {
            let released = Box::pin(self.keeper.locks.release_hold(&self.lease, &self.sending, resigns)).await;
            resigns = false;
            let failure = match released {
                Ok(Changed::Lost(loss)) if !is_known => return self.gone(loss, is_repeated),
                Ok(_) => return,
                Err(failure) => failure,
            };
            is_repeated = true;
            if Instant::now() >= self.held.deadline() {
                return self.client.failed(&self.lease, failure, "release failed; the lease will expire");
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// The release found no lease: an earlier one without an answer released it, or it was lost.
    fn gone(&self, loss: Loss, is_repeated: bool) {
        match loss {
            _ if is_repeated => self.keeper.locks.released(&self.lease),
            Loss::Superseded => self.keeper.locks.lost(&self.lease, "superseded"),
            _ => self.keeper.locks.lost(&self.lease, "expired"),
        }
    }
}

/// The answer to a renewal; there must be one under way.
async fn answered(renewal: &mut Option<Renewal>) -> Result<Lease, Input> {
    let renewed = renewal.as_mut().expect("a renewal has been asked for").await;
    *renewal = None;
    renewed
}

/// Until when a lease can be counted on that was granted or renewed for this process.
fn promised(lease: &Lease) -> Instant {
    lease.promised_until.unwrap_or_else(Instant::now)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
