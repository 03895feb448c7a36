//! The engine: acquire, renew, release, take away, list. Knows no HTTP. [`Locks`] is the only door.
//!
//! Architecture invariant: once an operation has begun it runs to its end, whether or not its caller still listens,
//! and a grant that reaches no caller is undone.

mod acquire;
mod attempt;
mod detached;
mod entry;
mod events;
mod force;
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/lock.rs"]
pub mod fuzz;
mod high_water;
mod holder;
mod index;
mod key;
mod keys;
mod lease;
mod lua;
#[doc(hidden)]
pub mod model;
mod modes;
mod nonce;
mod probe;
mod promise;
mod queue;
mod read;
mod record;
mod release;
mod renew;
mod request;
mod row;
mod rows;
mod scripts;
mod seats;
mod settings;
mod several;
mod terms;
mod token;
mod trail;
mod undo;
mod watch;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::sync::Semaphore;

pub use attempt::held;
pub use events::{Change, Events, Interest, Look, MOST_STATES, News as WatchNews, Under, What};
pub use holder::{Expiry, Hidden, Holder, Sharing, State};
pub use index::{Counted, ListFailure, Listed, Listing, Overlong, Place, Walk};
pub use key::{Key, KeyError};
pub use keys::KeySpace;
pub use lease::{Claim, Lease, Mode, Owner, OwnerKind, Ttl};
pub use probe::{Checks, Leftover, ProbeFailure, Probed, Prober, Rights};
pub use queue::{News, Watch};
pub use read::{Looked, Waiter};
pub use request::{
    Acquired, Attempt, Changed, Forced, LeaseRef, LockFailure, Loss, Progress, Reentry, Succession, Target, Wait, Why,
};
pub use settings::LockConfig;
pub use several::{AcquiredAll, RenewedAll};
pub use terms::Terms;
pub use token::{SHARDS, Shard, Token};
pub use undo::{Unconfirmed, Unsettled};

use crate::audit::Audit;
use crate::drain::Drain;
use crate::metrics::Metrics;
use crate::redis::{Redis, RedisFailure};
use entry::Entry;
use events::Watcher;
use high_water::HighWater;
use index::{Census, Ledger, Waiting};
use modes::Modes;
use nonce::Nonces;
use queue::Queue;
use scripts::{Scripts, Stored};
use undo::Undoer;

/// The parts of the engine that all threads of a process share.
pub struct Shared {
    high_water: Arc<HighWater>,
    nonces: Nonces,
    ledger: Arc<Ledger>,
    /// Requests that wait in line, and how many may.
    waiters: AtomicUsize,
    max_waiters: usize,
    /// Streams of events, and how many there may be.
    watchers: AtomicUsize,
    max_watchers: usize,
    /// Longest ttl, with the delay of its lease, milliseconds.
    max_ttl_ms: u64,
    /// How long a lease can be renewed at most, milliseconds, where its attempt says nothing of it.
    max_hold_ms: Option<u64>,
    /// For lists that look at Redis.
    places: Arc<Semaphore>,
    census: Census,
    waiting: Waiting,
    drain: Drain,
    metrics: Arc<Metrics>,
    modes: Modes,
    audit: Option<Audit>,
}

impl Shared {
    pub fn new(config: &LockConfig, drain: Drain, metrics: Arc<Metrics>, audit: Option<Audit>) -> Shared {
        Shared {
            high_water: Arc::new(HighWater::new()),
            nonces: Nonces::new(),
            ledger: Arc::new(Ledger::new()),
            waiters: AtomicUsize::new(0),
            max_waiters: config.max_waiters,
            watchers: AtomicUsize::new(0),
            max_watchers: config.max_watchers,
            max_ttl_ms: config.max_ttl_ms,
            max_hold_ms: config.max_hold_ms,
            places: Arc::new(Semaphore::new(index::PLACES)),
            census: Census::default(),
            waiting: Waiting::default(),
            drain,
            modes: Modes::new(&metrics),
            metrics,
            audit,
        }
    }
}

/// What one thread's engine is made of.
pub struct Engine {
    scripts: Scripts,
    shared: Arc<Shared>,
    undoer: Undoer,
    queue: Queue,
    watcher: Watcher,
}

/// The engine over one Redis connection. Cheap to clone.
#[derive(Clone)]
pub struct Locks(Arc<Engine>);

impl Locks {
    /// Must be called inside the runtime that owns `redis`: what no caller was told of is undone there.
    pub fn new(redis: Redis, space: KeySpace, shared: Arc<Shared>) -> Locks {
        let scripts = Scripts { redis, space, high_water: Arc::clone(&shared.high_water) };
        let undoer = Undoer::new(scripts.clone());
        let queue = Queue::new(shared.nonces.next(), scripts.clone(), undoer.clone());
        scripts.know_rights(queue.sidecar());
        let watcher = Watcher::new(&scripts, Arc::clone(&shared.metrics));
        Locks(Arc::new(Engine { scripts, shared, undoer, queue, watcher }))
    }

    /// Keeps the index small, for as long as the runtime lives. One a process.
    pub fn sweep(&self) -> impl Future<Output = ()> + Send + use<> {
        let Engine { scripts, shared, .. } = &*self.0;
        index::sweep(scripts.clone(), Arc::clone(&shared.ledger), Arc::clone(&shared.metrics))
    }

    /// For a lease that is released when its connection closes: [`Locks::settled`] waits until it is dropped.
    pub fn unsettled(&self) -> Unsettled {
        self.0.undoer.unsettled()
    }

    /// Waits until every grant that reached no caller is undone, and everything [`Locks::unsettled`] is released.
    pub async fn settled(&self) {
        self.0.undoer.idle().await;
    }

    /// Hears what becomes of a lease by another's doing, as far as messages reach us; a renewal tells for sure.
    pub fn watch(&self, lease: &Lease) -> Watch {
        self.0.queue.watch(lease.key.clone(), lease.token)
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

    /// Whether sidecars with raw keys and sidecars without share this namespace, so that one key is two locks. Only the
    /// latter learn of it; the former leave a mark, kept for `keep_ms`.
    pub async fn disagree_on_raw_keys(&self, keep_ms: i64) -> Result<bool, RedisFailure> {
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

    /// How many wait for any lock, over all sidecars: as of five seconds ago at most. `None` where there are more than
    /// 10,000 locks, or Redis does not say.
    pub async fn waiting(&self) -> Option<u64> {
        self.0.shared.waiting.take(|most| self.list(String::new(), None, most)).await
    }

    /// What the keys of this namespace in Redis begin with.
    pub fn prefix(&self) -> &str {
        self.0.scripts.space.prefix()
    }
}

impl Engine {
    /// The lease that a script found under `key`.
    pub fn lease(&self, key: &Key, found: &Stored) -> Result<Lease, RedisFailure> {
        let lease = record::read(key, found)
            .ok_or_else(|| RedisFailure::Nonsense("a script took a stranger's text for a lease".to_owned()))?;
        self.saw(lease.token);
        Ok(lease)
    }

    /// Who holds `key`, by what a script found under it.
    pub fn holder(&self, key: &Key, found: &Stored) -> Holder {
        let holder = record::holder(key, found);
        if let Holder::Lease(lease) = &holder {
            self.saw(lease.token);
        }
        holder
    }

    /// Who holds `key` that so many leases share: of them a script told one.
    pub fn sharing(&self, key: &Key, count: u64, waiters: u64, found: &Stored) -> Holder {
        let left_ms = u64::try_from(found.left_ms).unwrap_or(0);
        let leases = record::leases(key, std::slice::from_ref(found));
        leases.iter().for_each(|lease| self.saw(lease.token));
        let (newest, first_ms, others) = (None, None, Arc::default());
        Holder::Shared(Box::new(Sharing { leases, count, newest, first_ms, others, waiters: Some(waiters), left_ms }))
    }

    /// Remembers a token that was seen, of any owner: all that are granted from now on are higher.
    fn saw(&self, token: Token) {
        self.shared.high_water.saw(token);
    }

    pub async fn find(&self, which: LeaseRef) -> Result<Option<(Key, Token)>, LockFailure> {
        match which {
            LeaseRef::KeyToken(key, token) => Ok(Some((key, token))),
            LeaseRef::Token(token) => Ok(self.key_of(token).await?.map(|key| (key, token))),
        }
    }

    async fn key_of(&self, token: Token) -> Result<Option<Key>, LockFailure> {
        let Scripts { redis, space, .. } = &self.scripts;
        let member =
            redis.member_at(space.tokens(token.shard()), token.get()).await.map_err(RedisFailure::of_a_read)?;
        Ok(member.and_then(|member| Entry::of(&member, token.get())).map(|entry| entry.key))
    }
}

/// What `{"other", lease}` means for the holder of `token`.
pub fn not_mine<T>(key: &Key, token: Token, text: &[u8]) -> Changed<T> {
    match record::token(key, text) {
        _ if record::is_rest(key, text) => Changed::Lost(Loss::Expired),
        Some(there) if there == token => Changed::NotYours,
        _ => Changed::Lost(Loss::Superseded),
    }
}
