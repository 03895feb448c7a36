//! The engine: acquire, renew, release, take away, list. Knows no HTTP. [`Locks`] is the only door.
//!
//! Architecture invariant: once an operation has begun it runs to its end, whether or not its caller still listens,
//! and a grant that reaches nobody is taken back.

mod floors;
mod keys;
mod list;
mod nonce;
mod record;
mod scripts;
mod sweep;
mod types;
mod undo;
mod waiters;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::{oneshot, watch};

pub use keys::KeySpace;
pub use list::Listing;
pub use types::{Claim, Key, KeyError, Lease, Owner, OwnerKind, SHARDS, Shard, Token, Ttl};

use crate::metrics::Metrics;
use crate::redis::{Flight, Redis, RedisFailure};
use floors::Floors;
use nonce::Nonces;
use scripts::{AcquireArgs, AcquireRow, ForceRow, Found, ReleaseRow, RenewRow, Scripts, Seen};
use sweep::Ledger;
use undo::{Undo, Undoer};
use waiters::{Joining, Line, Turn};

/// What one acquire asks for.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub owner: Owner,
    pub ttl: Ttl,
    pub own: Own,
    /// JSON that comes back with the lease, byte for byte; at most 1 KiB.
    pub meta: Option<String>,
    /// The caller's name for this attempt: repeated while its lease lives, it is the same lease. Owner and name
    /// together are the attempt.
    pub name: Option<String>,
    /// How long to wait in line for a key that is held.
    pub wait: Option<Wait>,
}

/// A wait in line.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub until: Instant,
}

/// What an acquire does when its owner has the key already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// The key is held.
    Refuse,
    /// The lease is renewed: valid from now for the attempt's ttl, same token.
    Renew,
    /// The same, where that is longer than what is left; else it stays as it is.
    Extend,
}

/// How an acquire ended.
#[derive(Clone, Debug)]
pub enum Acquired {
    Granted(Lease),
    /// This very attempt has it, by an earlier sending.
    Replayed(Lease),
    /// The owner had it already, by another attempt.
    Renewed(Lease),
    /// Somebody else has it; `None` for a stranger, of whom nothing is known.
    Held(Option<Box<Lease>>),
}

/// How a change of a lease ended.
#[derive(Clone, Debug)]
pub enum Changed<T> {
    Done(T),
    /// There is no such lease any more.
    Lost,
    /// It is another owner's.
    NotYours,
}

/// How taking a lease away ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forced {
    Taken,
    /// There was nothing to take.
    Free,
    /// A stranger's, which is not ours to take; or, where a token was given, another lease.
    Other,
}

/// What lies under a key.
#[derive(Clone, Debug)]
pub enum State {
    Free,
    /// `None` for a stranger, of whom nothing is known.
    Held(Option<Box<Lease>>),
}

/// Which lease an operation is about.
#[derive(Clone, Debug)]
pub enum Which {
    /// By its token alone: the index says of which key it is.
    Token(Token),
    /// The lease of a key with this token.
    Of(Key, Token),
}

/// What is taken away.
#[derive(Clone, Debug)]
pub enum Target {
    Lease(Which),
    /// Whichever lease of the key there is.
    Key(Key),
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LockFailure {
    #[error(transparent)]
    Redis(#[from] RedisFailure),
    /// It was granted, but nothing was left of its validity when the answer came. Taken back.
    #[error("granted, but too late to be of use: redis took {0} ms of the ttl")]
    TooLate(u64),
    /// It was renewed, but nothing was left of its validity when the answer came.
    #[error("renewed, but too late to be of use: redis took {0} ms of the ttl")]
    RenewedTooLate(u64),
    /// It was not this waiter's turn in time.
    #[error("not granted within the time to wait")]
    WaitTimeout,
    #[error("{0} requests wait for locks already")]
    TooManyWaiters(usize),
    /// The process is being stopped, and waits for nothing any more.
    #[error("being stopped")]
    Draining,
}

/// The parts of the engine that all threads of a process share.
pub struct Shared {
    floors: Arc<Floors>,
    nonces: Nonces,
    ledger: Arc<Ledger>,
    /// Requests that wait in line, and how many may.
    waiters: AtomicUsize,
    max_waiters: usize,
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
            draining,
            metrics,
        }
    }
}

/// The engine over one Redis connection. Cheap to clone.
#[derive(Clone)]
pub struct Locks(Arc<Engine>);

struct Engine {
    scripts: Scripts,
    shared: Arc<Shared>,
    undoer: Undoer,
    line: Arc<Line>,
}

impl Locks {
    /// Must be called inside the runtime that owns `redis`: the undo task starts there.
    pub fn new(redis: Redis, space: KeySpace, shared: Arc<Shared>) -> Locks {
        let scripts = Scripts { redis, space, floors: Arc::clone(&shared.floors) };
        let undoer = Undoer::start(scripts.clone());
        let line = Line::new(shared.nonces.next(), scripts.clone());
        Locks(Arc::new(Engine { scripts, shared, undoer, line }))
    }

    /// Keeps the index small, for as long as the runtime lives. One a process.
    pub fn sweep(&self) -> impl Future<Output = ()> + Send + use<> {
        let Engine { scripts, shared, .. } = &*self.0;
        sweep::run(scripts.clone(), Arc::clone(&shared.ledger), Arc::clone(&shared.metrics))
    }

    /// Waits until every grant that reached nobody is taken back.
    pub async fn settled(&self) {
        self.0.undoer.idle().await;
    }

    /// A name for an owner that gave none.
    pub fn owner_name(&self) -> String {
        self.0.shared.nonces.next()
    }

    /// Asks for a key. When the caller has gone by the time it is granted, or Redis did not say in time whether it is,
    /// the grant is taken back.
    pub async fn acquire(&self, key: Key, attempt: Attempt) -> Result<Acquired, LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter()?;
        let (mut give, take) = oneshot::channel();
        // Detached: once sent, the outcome must be learned even if the caller has gone.
        tokio::spawn(async move {
            let sending = Sending::of(&attempt, engine.shared.nonces.next());
            let mut undo = Undo::new(key.clone(), sending.attempt(), sending.request.clone(), attempt.ttl);
            let mut outcome = engine.acquire(&key, &attempt, &sending).await;
            drop(flight);
            if let (Ok(Acquired::Held(_)), Some(wait)) = (&outcome, attempt.wait) {
                outcome = engine.wait(&key, &attempt, &sending, wait, &mut undo, give.closed()).await;
            }
            match outcome {
                Ok(content @ (Acquired::Granted(_) | Acquired::Replayed(_))) => {
                    let parcel = Parcel { content: Some(content), undo: Some(undo), undoer: engine.undoer.clone() };
                    // Whether it is lost on the way or never fetched, the parcel takes the grant back.
                    let _ = give.send(Ok(Acquisition::Parcel(parcel)));
                }
                Ok(other) => drop(give.send(Ok(Acquisition::Other(other)))),
                Err(failure) => {
                    if failure.leaves_a_grant() || !undo.waiter.is_empty() {
                        engine.undoer.push(undo);
                    }
                    let _ = give.send(Err(failure));
                }
            }
        });
        match arrived(take.await)? {
            Acquisition::Parcel(parcel) => Ok(parcel.open()),
            Acquisition::Other(other) => Ok(other),
        }
    }

    /// Sets the remaining time of a lease to `ttl`, or to its own where none is given.
    pub async fn renew(&self, which: Which, owner: Owner, ttl: Option<Ttl>) -> Result<Changed<Lease>, LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter()?;
        detached(flight, async move {
            let Some((key, token)) = engine.find(which).await? else { return Ok(Changed::Lost) };
            let identity = record::claim(owner.claim());
            let sent = Instant::now();
            Ok(match engine.scripts.renew(&key, token, &identity, ttl).await? {
                RenewRow::Renewed(found) => {
                    let lease = kept(lease(&key, &found)?, sent)?;
                    engine.shared.ledger.extended(key.shard(), lease.valid_for_ms);
                    Changed::Done(lease)
                }
                RenewRow::Lost | RenewRow::Stranger => Changed::Lost,
                RenewRow::Other(text) => not_mine(&key, token, &text),
            })
        })
        .await
    }

    /// Lets go of a lease.
    pub async fn release(&self, which: Which, owner: Owner) -> Result<Changed<()>, LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter()?;
        detached(flight, async move {
            let Some((key, token)) = engine.find(which).await? else { return Ok(Changed::Lost) };
            Ok(match engine.scripts.release(&key, Some(token), &record::claim(owner.claim())).await? {
                ReleaseRow::Released => Changed::Done(()),
                ReleaseRow::Lost | ReleaseRow::Stranger => Changed::Lost,
                ReleaseRow::Other(text) => not_mine(&key, token, &text),
            })
        })
        .await
    }

    /// Lets go of whichever lease of `key` this owner has.
    pub async fn release_key(&self, key: Key, owner: Owner) -> Result<Changed<()>, LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter()?;
        detached(flight, async move {
            Ok(match engine.scripts.release(&key, None, &record::identity(&owner)).await? {
                ReleaseRow::Released => Changed::Done(()),
                ReleaseRow::Lost => Changed::Lost,
                ReleaseRow::Other(_) | ReleaseRow::Stranger => Changed::NotYours,
            })
        })
        .await
    }

    /// Takes a lease away from whoever has it. `by` says who did it, for the log.
    pub async fn force(&self, target: Target, by: Owner) -> Result<Forced, LockFailure> {
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
                    let taken = lease(&key, &Found { text, valid_until_ms: 0, left_ms: 0 })?;
                    let (holder, holder_kind) = (taken.owner.id.as_str(), taken.owner.kind.label());
                    let (by, by_kind) = (by.id.as_str(), by.kind.label());
                    let token = taken.token.get();
                    tracing::warn!(key = %key, token, by, by_kind, holder, holder_kind, "a lock was taken away");
                    Ok(Forced::Taken)
                }
                ForceRow::Free => Ok(Forced::Free),
                ForceRow::Other | ForceRow::Stranger => Ok(Forced::Other),
            }
        })
        .await
    }

    /// How many wait for a key, over all sidecars.
    pub async fn waiters(&self, key: &Key) -> Result<u64, LockFailure> {
        let Scripts { redis, space, .. } = &self.0.scripts;
        let _flight = redis.enter()?;
        match redis.cardinality(&space.queue(key)).await.map_err(RedisFailure::of_a_read) {
            // Under the line's name lies something else: nobody waits there.
            Err(RedisFailure::Refused(reason)) if reason.starts_with("WRONGTYPE") => Ok(0),
            other => Ok(other?),
        }
    }

    /// What lies under a key.
    pub async fn look(&self, key: Key) -> Result<State, LockFailure> {
        let _flight = self.0.scripts.redis.enter()?;
        let found = self.0.scripts.read(std::slice::from_ref(&key)).await.map_err(RedisFailure::of_a_read)?;
        Ok(match found.into_iter().next() {
            Some(Seen::Text(found)) => State::Held(record::read(&key, &found).map(Box::new)),
            Some(Seen::Stranger) => State::Held(None),
            Some(Seen::Nothing) | None => State::Free,
        })
    }

    /// Every lease with a token above `after` whose key begins with `prefix`, oldest grant first.
    pub fn list(&self, prefix: String, after: Option<Token>) -> Result<Listing, LockFailure> {
        let flight = self.0.scripts.redis.enter()?;
        Ok(Listing::new(self.0.scripts.clone(), flight, prefix, after))
    }

    /// How many leases the indexes know, those included that expired and are not swept yet.
    pub async fn count(&self) -> Result<u64, RedisFailure> {
        let Scripts { redis, space, .. } = &self.0.scripts;
        let counts = Shard::all().map(|shard| redis.cardinality(space.tokens(shard)));
        Ok(futures_util::future::try_join_all(counts).await?.into_iter().sum())
    }
}

impl LockFailure {
    /// Whether there may be a grant that nobody is told of.
    fn leaves_a_grant(&self) -> bool {
        match self {
            LockFailure::TooLate(_) => true,
            LockFailure::Redis(failure) => failure.may_have_happened(),
            _ => false,
        }
    }
}

/// One sending of an attempt, as its lease spells it.
struct Sending {
    identity: String,
    nonce: String,
    request: String,
    id: String,
}

impl Sending {
    fn of(attempt: &Attempt, id: String) -> Sending {
        let (nonce, request) = match &attempt.name {
            // In a space of its own, so that no caller's name is ever one of ours.
            Some(name) => (record::nonce(&format!("caller:{name}")), id.clone()),
            None => (record::nonce(&id), String::new()),
        };
        Sending { identity: record::identity(&attempt.owner), nonce, request, id }
    }

    /// Owner and nonce as the lease spells them.
    fn attempt(&self) -> String {
        format!("{}{}", self.identity, self.nonce)
    }
}

impl Engine {
    async fn acquire(&self, key: &Key, attempt: &Attempt, sending: &Sending) -> Result<Acquired, LockFailure> {
        let Attempt { owner, ttl, own, meta, .. } = attempt.clone();
        let args = AcquireArgs {
            ttl,
            identity: &sending.identity,
            nonce: &sending.nonce,
            further: record::further(&owner, meta.as_deref()),
            own: match own {
                Own::Refuse => "refuse",
                Own::Renew => "renew",
                Own::Extend => "extend",
            },
            request: &sending.request,
        };
        let sent = Instant::now();
        match self.scripts.acquire(key, args).await? {
            AcquireRow::Granted { token, since_ms, valid_until_ms } => {
                self.shared.ledger.granted(key.shard(), ttl.as_ms());
                self.shared.floors.saw(token);
                let (key, ttl_ms) = (key.clone(), ttl.as_ms());
                let lease = Lease { key, token, owner, since_ms, valid_until_ms, ttl_ms, valid_for_ms: ttl_ms, meta };
                promised(lease, ttl_ms, sent).map(Acquired::Granted).map_err(LockFailure::TooLate)
            }
            AcquireRow::Replayed(found) => kept(lease(key, &found)?, sent).map(Acquired::Replayed),
            AcquireRow::Renewed(found) => {
                let lease = kept(lease(key, &found)?, sent)?;
                self.shared.ledger.extended(key.shard(), lease.valid_for_ms);
                Ok(Acquired::Renewed(lease))
            }
            AcquireRow::Held(found) => Ok(Acquired::Held(record::read(key, &found).map(Box::new))),
            AcquireRow::Stranger => Ok(Acquired::Held(None)),
        }
    }

    /// Waits in line until it is the attempt's turn. A turn counts when it is taken: by a renewal to the whole ttl.
    async fn wait(
        &self,
        key: &Key,
        attempt: &Attempt,
        sending: &Sending,
        wait: Wait,
        undo: &mut Undo,
        gone: impl Future<Output = ()>,
    ) -> Result<Acquired, LockFailure> {
        let _seat = Seat::take(&self.shared)?;
        let claim = record::claim(attempt.owner.claim());
        let further = record::further(&attempt.owner, attempt.meta.as_deref());
        let mut draining = self.shared.draining.clone();
        let mut gone = pin!(gone);
        let mut stood = None;
        loop {
            let left = wait.until.saturating_duration_since(Instant::now());
            let joining = Joining {
                id: sending.id.clone(),
                identity: &sending.identity,
                nonce: &sending.nonce,
                request: &sending.request,
                ttl_ms: attempt.ttl.as_ms(),
                further: &further,
                longest_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
                stood,
            };
            let mut ticket = match self.line.join(key, joining).await {
                Ok(ticket) => ticket,
                Err((failure, entry)) => {
                    undo.waiter = entry;
                    return Err(failure);
                }
            };
            let turn = tokio::select! {
                biased;
                turn = ticket.turn() => turn.ok_or(LockFailure::Draining),
                () = tokio::time::sleep_until(wait.until.into()) => Err(LockFailure::WaitTimeout),
                () = gone.as_mut() => Err(LockFailure::WaitTimeout),
                () = begun(&mut draining) => Err(LockFailure::Draining),
            };
            undo.waiter.clone_from(&ticket.entry);
            stood = ticket.stood();
            drop(ticket);
            let token = match turn {
                Ok(Turn::Offered(token)) => token,
                other => {
                    // At once, so that the line moves on; where that fails, the undo that follows tries again.
                    if self.scripts.undo(key, &undo.attempt, &undo.request, &undo.waiter).await.is_ok() {
                        undo.waiter.clear();
                    }
                    other?;
                    match self.acquire(key, attempt, sending).await? {
                        Acquired::Held(_) => continue,
                        acquired => return Ok(acquired),
                    }
                }
            };
            let sent = Instant::now();
            match self.scripts.renew(key, token, &claim, Some(attempt.ttl)).await? {
                RenewRow::Renewed(found) => {
                    undo.waiter.clear();
                    self.shared.ledger.granted(key.shard(), attempt.ttl.as_ms());
                    self.shared.floors.saw(token);
                    let lease = lease(key, &found)?;
                    let ttl_ms = lease.valid_for_ms;
                    return promised(lease, ttl_ms, sent).map(Acquired::Granted).map_err(LockFailure::TooLate);
                }
                // The turn passed before it was taken: in line again.
                RenewRow::Lost | RenewRow::Other(_) | RenewRow::Stranger => {}
            }
        }
    }

    async fn find(&self, which: Which) -> Result<Option<(Key, Token)>, LockFailure> {
        match which {
            Which::Of(key, token) => Ok(Some((key, token))),
            Which::Token(token) => Ok(self.key_of(token).await?.map(|key| (key, token))),
        }
    }

    async fn key_of(&self, token: Token) -> Result<Option<Key>, LockFailure> {
        let Scripts { redis, space, .. } = &self.scripts;
        let member =
            redis.member_at(space.tokens(token.shard()), token.get()).await.map_err(RedisFailure::of_a_read)?;
        Ok(member.and_then(|key| Key::parse(std::str::from_utf8(&key).ok()?).ok()))
    }
}

/// What the owner of `lease` can count on from now: what Redis had left − time since the command was sent − drift (1 %
/// of the ttl + 2 ms). Nothing left is an error: how many milliseconds went.
fn promised(mut lease: Lease, ttl_ms: u64, sent: Instant) -> Result<Lease, u64> {
    let elapsed_ms = u64::try_from(sent.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    let drift_ms = ttl_ms.div_ceil(100) + 2;
    lease.valid_for_ms = lease.valid_for_ms.saturating_sub(elapsed_ms.saturating_add(drift_ms));
    if lease.valid_for_ms == 0 { Err(elapsed_ms) } else { Ok(lease) }
}

/// [`promised`], for a lease that its owner had already: `valid_for_ms` is what a renewal set, or what was left.
fn kept(lease: Lease, sent: Instant) -> Result<Lease, LockFailure> {
    let ttl_ms = lease.valid_for_ms;
    promised(lease, ttl_ms, sent).map_err(LockFailure::RenewedTooLate)
}

fn lease(key: &Key, found: &Found) -> Result<Lease, RedisFailure> {
    record::read(key, found)
        .ok_or_else(|| RedisFailure::Nonsense("a script took a stranger's text for a lease".to_owned()))
}

/// What `{"other", lease}` means for the holder of `token`.
fn not_mine<T>(key: &Key, token: Token, text: &[u8]) -> Changed<T> {
    match record::token(key, text) {
        Some(there) if there == token => Changed::NotYours,
        _ => Changed::Lost,
    }
}

/// Waits until the process is being stopped.
async fn begun(draining: &mut watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}

/// One of the seats for those who wait.
struct Seat<'a>(&'a Shared);

impl Seat<'_> {
    fn take(shared: &Shared) -> Result<Seat<'_>, LockFailure> {
        let taken = shared.waiters.fetch_add(1, Ordering::Relaxed);
        shared.metrics.waiters.with_label_values::<&str>(&[]).inc();
        let seat = Seat(shared);
        if taken >= shared.max_waiters { Err(LockFailure::TooManyWaiters(taken)) } else { Ok(seat) }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.waiters.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.waiters.with_label_values::<&str>(&[]).dec();
    }
}

enum Acquisition {
    Parcel(Parcel),
    Other(Acquired),
}

/// A grant, or the lease of a repeated attempt, on its way to its caller. Dropped unopened, it is taken back.
struct Parcel {
    content: Option<Acquired>,
    undo: Option<Undo>,
    undoer: Undoer,
}

impl Parcel {
    fn open(mut self) -> Acquired {
        self.undo = None;
        self.content.take().expect("a parcel is opened once")
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        if let Some(undo) = self.undo.take() {
            self.undoer.push(undo);
        }
    }
}

/// Runs `work` to its end even if its caller goes.
async fn detached<T: Send + 'static>(
    flight: Flight,
    work: impl Future<Output = Result<T, LockFailure>> + Send + 'static,
) -> Result<T, LockFailure> {
    let (give, take) = oneshot::channel();
    tokio::spawn(async move {
        let outcome = work.await;
        drop(flight);
        let _ = give.send(outcome);
    });
    arrived(take.await)
}

/// A task that ends without a word panicked, or went with its runtime: nobody knows how far it came.
fn arrived<T>(outcome: Result<Result<T, LockFailure>, oneshot::error::RecvError>) -> Result<T, LockFailure> {
    outcome.unwrap_or_else(|_| Err(RedisFailure::NoAnswer("the operation was broken off".to_owned()).into()))
}
