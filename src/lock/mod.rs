//! The engine: acquire, renew, release, take away, list. Knows no HTTP. [`Locks`] is the only door.
//!
//! Architecture invariant: once an operation has begun it runs to its end, whether or not its caller still listens,
//! and a grant that reaches no caller is undone.

mod census;
mod delivery;
mod engine;
mod floors;
mod keys;
mod list;
mod nonce;
mod outcome;
mod overlong;
mod probe;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod queue;
mod record;
mod scripts;
mod sweep;
mod types;
mod undo;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use tokio::sync::{Semaphore, oneshot, watch};

pub use census::Counted;
pub use delivery::{Delivery, Receipt};
pub use keys::KeySpace;
pub use list::{ListFailure, Listing, Place};
pub use outcome::{
    Acquired, Attempt, Changed, Expiry, Forced, Holder, LockFailure, Loss, Own, Progress, State, Target, Wait, Which,
};
pub use overlong::{Overlong, Walk};
pub use probe::{Checks, Probed, Prober, Rights};
pub use queue::{News, Watch};
pub use types::{Claim, Key, KeyError, Lease, Owner, OwnerKind, SHARDS, Shard, Token, Ttl};
pub use undo::Unsettled;

use crate::metrics::Metrics;
use crate::redis::{Redis, RedisFailure};
use crate::request::Caller;
use census::Census;
use delivery::{Detached, detached};
use engine::{Engine, kept, not_mine};
use floors::Floors;
use nonce::Nonces;
use queue::Queue;
use scripts::{ForceRow, Found, How, ReleaseRow, RenewRow, Scripts, Seen};
use sweep::Ledger;
use undo::Undoer;

/// The parts of the engine that all threads of a process share.
pub struct Shared {
    floors: Arc<Floors>,
    nonces: Nonces,
    ledger: Arc<Ledger>,
    /// Requests that wait in line, and how many may.
    waiters: AtomicUsize,
    max_waiters: usize,
    /// For lists that look at Redis.
    places: Arc<Semaphore>,
    census: Census,
    draining: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
}

impl Shared {
    /// `draining` turns true when the process is being stopped.
    pub fn new(max_waiters: usize, draining: watch::Receiver<bool>, metrics: Arc<Metrics>) -> Shared {
        Shared {
            floors: Arc::new(Floors::new()),
            nonces: Nonces::new(),
            ledger: Arc::new(Ledger::new()),
            waiters: AtomicUsize::new(0),
            max_waiters,
            places: Arc::new(Semaphore::new(list::PLACES)),
            census: Census::default(),
            draining,
            metrics,
        }
    }
}

/// The engine over one Redis connection. Cheap to clone.
#[derive(Clone)]
pub struct Locks(Arc<Engine>);

impl Locks {
    /// Must be called inside the runtime that owns `redis`: what no caller was told of is undone there.
    pub fn new(redis: Redis, space: KeySpace, shared: Arc<Shared>) -> Locks {
        let scripts = Scripts { redis, space, floors: Arc::clone(&shared.floors) };
        let undoer = Undoer::new(scripts.clone());
        let queue = Queue::new(shared.nonces.next(), scripts.clone());
        scripts.know_rights(queue.sidecar());
        Locks(Arc::new(Engine { scripts, shared, undoer, queue }))
    }

    /// Keeps the index small, for as long as the runtime lives. One a process.
    pub fn sweep(&self) -> impl Future<Output = ()> + Send + use<> {
        let Engine { scripts, shared, .. } = &*self.0;
        sweep::run(scripts.clone(), Arc::clone(&shared.ledger), Arc::clone(&shared.metrics))
    }

    /// For a lease that is released when its connection closes: [`Locks::settled`] waits until it is dropped.
    pub fn unsettled(&self) -> Unsettled {
        self.0.undoer.unsettled()
    }

    /// Waits until every grant that reached no caller is undone, and everything [`Locks::unsettled`] is released.
    pub async fn settled(&self) {
        self.0.undoer.idle().await;
    }

    /// Asks for a key. When the caller has gone by the time it is granted, does not sign for it, or Redis did not say in
    /// time whether it is granted, it is undone.
    pub async fn acquire(&self, key: Key, attempt: Attempt) -> Result<Delivery, LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter()?;
        // A caller that waits leaves the queue when it goes: `stays` is dropped then.
        let (stays, gone) = attempt.wait.as_ref().map(|_| oneshot::channel::<()>()).unzip();
        // Detached: once sent, the outcome must be learned even if the caller has gone.
        let work = Detached::new(async move {
            let mut sending = engine.another(&attempt);
            let mut outcome = engine.acquire(&key, &attempt, &sending).await;
            drop(flight);
            if let (Ok(Acquired::Held(_)), Some(wait), Some(gone)) = (&outcome, &attempt.wait, gone) {
                outcome = Box::pin(engine.wait(&key, &attempt, &mut sending, wait, async { drop(gone.await) })).await;
            }
            match outcome {
                Ok(content @ Acquired::Held(_)) => Ok(Delivery { content, receipt: Receipt::none() }),
                Ok(content) => {
                    // Never fetched, it undoes the grant.
                    let receipt = Receipt::new(sending.into_undo(key, &attempt), engine.undoer.clone());
                    Ok(Delivery { content, receipt })
                }
                Err(failure) => {
                    let undo = sending.into_undo(key, &attempt);
                    let failure = engine.undone(failure, &undo).await;
                    if failure.leaves_a_grant() {
                        engine.undoer.push(undo);
                    }
                    Err(failure)
                }
            }
        });
        let outcome = work.await;
        drop(stays);
        outcome
    }

    /// Sets the remaining time of a lease to `ttl`, or to its own where none is given.
    pub async fn renew(&self, which: Which, owner: Owner, ttl: Option<Ttl>) -> Result<Changed<Lease>, LockFailure> {
        self.renew_as(which, owner, ttl, None).await
    }

    /// Renews a lease that the `sending` holds by a connection. A time that is longer already stays.
    pub async fn renew_hold(&self, lease: &Lease, sending: &str, ttl: Ttl) -> Result<Changed<Lease>, LockFailure> {
        let which = Which::Of(lease.key.clone(), lease.token);
        self.renew_as(which, lease.owner.clone(), Some(ttl), Some(sending.to_owned())).await
    }

    async fn renew_as(
        &self,
        which: Which,
        owner: Owner,
        ttl: Option<Ttl>,
        hold: Option<String>,
    ) -> Result<Changed<Lease>, LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter_always();
        detached(flight, async move {
            let Some((key, token)) = engine.find(which).await? else { return Ok(Changed::Lost(Loss::Expired)) };
            let identity = record::claim(owner.claim());
            let how = hold.as_deref().map_or(How::Set, How::Extend);
            let sent = Instant::now();
            Ok(match engine.scripts.renew(&key, token, &identity, ttl, how).await? {
                RenewRow::Renewed(found) => {
                    let lease = kept(engine.lease(&key, &found)?, sent)?;
                    engine.shared.ledger.extended(key.shard(), lease.valid_for_ms);
                    Changed::Done(lease)
                }
                RenewRow::Lost => Changed::Lost(Loss::Expired),
                RenewRow::Forced => Changed::Lost(Loss::Forced),
                RenewRow::Superseded | RenewRow::Stranger => Changed::Lost(Loss::Superseded),
                RenewRow::Other(text) => not_mine(&key, token, &text),
            })
        })
        .await
    }

    /// Releases a lease.
    pub async fn release(&self, which: Which, owner: Owner) -> Result<Changed<()>, LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter_always();
        detached(flight, async move {
            let Some((key, token)) = engine.find(which).await? else { return Ok(Changed::Lost(Loss::Expired)) };
            let identity = record::claim(owner.claim());
            Ok(match engine.scripts.release(&key, Some(token), &identity, "").await? {
                ReleaseRow::Released => Changed::Done(()),
                ReleaseRow::Lost => Changed::Lost(Loss::Expired),
                ReleaseRow::Told | ReleaseRow::Stranger => Changed::Lost(Loss::Superseded),
                ReleaseRow::Other(text) => not_mine(&key, token, &text),
            })
        })
        .await
    }

    /// Releases a lease that the `sending` holds by a connection, unless another sending was told of it later.
    pub async fn release_hold(&self, lease: &Lease, sending: &str) -> Result<(), LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter_always();
        let (key, token, sending) = (lease.key.clone(), lease.token, sending.to_owned());
        let identity = record::identity(&lease.owner);
        detached(flight, async move {
            engine.scripts.release(&key, Some(token), &identity, &sending).await?;
            Ok(())
        })
        .await
    }

    /// Releases whichever lease of `key` this owner has.
    pub async fn release_key(&self, key: Key, owner: Owner) -> Result<Changed<()>, LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter_always();
        detached(flight, async move {
            Ok(match engine.scripts.release(&key, None, &record::identity(&owner), "").await? {
                ReleaseRow::Released => Changed::Done(()),
                ReleaseRow::Lost => Changed::Lost(Loss::Expired),
                ReleaseRow::Told | ReleaseRow::Other(_) | ReleaseRow::Stranger => Changed::NotYours,
            })
        })
        .await
    }

    /// Removes a lease, whoever holds it. `by` says who did it, for the log.
    pub async fn force(&self, target: Target, by: Caller) -> Result<Forced, LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter()?;
        detached(flight, async move {
            let (key, token) = match target {
                Target::Key(key) => (key, None),
                Target::Lease(which) => match engine.find(which).await? {
                    Some((key, token)) => (key, Some(token)),
                    None => return Ok(Forced::Free),
                },
            };
            match engine.scripts.force(&key, token).await? {
                ForceRow::Forced(text) => {
                    let taken = engine.lease(&key, &Found { text, valid_until_ms: 0, left_ms: 0 })?;
                    let (holder, holder_kind) = (taken.owner.id.as_str(), taken.owner.kind.label());
                    let (by, by_kind) = (by.id(), by.kind());
                    let (key, token) = (key.as_str(), taken.token.get());
                    tracing::warn!(target: "lockside.audit", key, token, by, by_kind, holder, holder_kind, "a lock was taken away");
                    Ok(Forced::Taken)
                }
                ForceRow::Free => Ok(Forced::Free),
                ForceRow::Other | ForceRow::Stranger => Ok(Forced::Other),
            }
        })
        .await
    }

    /// Hears what becomes of a lease by another's doing, as far as messages reach us; a renewal tells for sure.
    pub fn watch(&self, lease: &Lease) -> Watch {
        self.0.queue.watch(lease.key.clone(), lease.token)
    }

    /// How many wait for a key, over all sidecars.
    pub async fn waiters(&self, key: &Key) -> Result<u64, LockFailure> {
        let Scripts { redis, space, .. } = &self.0.scripts;
        let _flight = redis.enter()?;
        match redis.count_above(&space.queue(key).into(), 0).await.map_err(RedisFailure::of_a_read) {
            // Under the queue's name lies something else: no caller waits there.
            Err(RedisFailure::Refused(reason)) if reason.starts_with("WRONGTYPE") => Ok(0),
            other => Ok(other?),
        }
    }

    /// What lies under a key.
    pub async fn look(&self, key: Key) -> Result<State, LockFailure> {
        let _flight = self.0.scripts.redis.enter()?;
        let found = self.0.scripts.read(std::slice::from_ref(&key)).await.map_err(RedisFailure::of_a_read)?;
        Ok(match found.into_iter().next() {
            Some(Seen::Text(found)) => State::Held(self.0.holder(&key, &found)),
            Some(Seen::Stranger) => State::Held(Holder::UNKNOWN),
            Some(Seen::Nothing) | None => State::Free,
        })
    }

    /// Every lease with a token above `after` whose key begins with `prefix`, oldest grant first; `wanted` of them at
    /// most will be asked for. Refused while as many lists as may are being read.
    pub fn list(&self, prefix: String, after: Option<Token>, wanted: usize) -> Result<Listing, ListFailure> {
        Listing::new(&self.0.scripts, &self.0.shared.places, prefix, after, wanted)
    }

    /// Looks at some more leases, at most `pages` of 64, for those that last longer than `cap_ms`.
    pub async fn look_for_overlong(&self, walk: &mut Walk, cap_ms: u64, pages: usize) -> Result<(), RedisFailure> {
        walk.on(&self.0.scripts, cap_ms, pages).await
    }

    /// Whether sidecars with raw keys and sidecars without share this lock space, so that one key is two locks. Only the
    /// latter learn of it; the former leave a mark, kept for `keep_ms`.
    pub async fn is_mixed(&self, keep_ms: i64) -> Result<bool, RedisFailure> {
        let Scripts { redis, space, .. } = &self.0.scripts;
        if space.is_raw() {
            return redis.mark(space.raw_mark(), keep_ms).await.map(|()| false);
        }
        redis.is_marked(space.raw_mark()).await
    }

    /// How many leases the indexes know, and the oldest grant, those included that expired and are not swept yet: as of
    /// a second ago at most. `None` where Redis does not say.
    pub async fn census(&self) -> Option<Counted> {
        self.0.shared.census.take(&self.0.scripts).await
    }
}
