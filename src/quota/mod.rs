//! How much each caller may have at once: locks, waiters, holds and requests. Counted by this process for its own
//! callers, from what it granted and still lives: a counter in Redis would drift, and a caller's locks lie in many
//! slots. Knows callers and leases; knows no HTTP.
//!
//! Architecture invariant: what is refused here is never a renewal nor a release. What no caller was told of is not
//! counted.

mod account;
mod ledger;
mod seat;
#[cfg(test)]
mod tests;

use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

pub use seat::{HoldSeat, Seat, WatchSeat};

use crate::lock::{Key, Lease, Token};
use crate::metrics::Metrics;
use crate::policy::{Limits, Policy, Subject};
use crate::secret::Reloaded;
use ledger::Ledger;

/// What a caller has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Locks,
    Waiters,
    Holds,
    Requests,
}

impl Limit {
    pub const ALL: [Limit; 4] = [Limit::Locks, Limit::Waiters, Limit::Holds, Limit::Requests];

    /// As the policy names it.
    pub fn label(self) -> &'static str {
        match self {
            Limit::Locks => "locks",
            Limit::Waiters => "waiters",
            Limit::Holds => "holds",
            Limit::Requests => "requests",
        }
    }
}

/// A caller is at its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    pub limit: Limit,
    pub max: u64,
}

/// For the caller.
impl Display for Exceeded {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Exceeded { limit, max } = self;
        let what = match limit {
            Limit::Locks => "locks at once, with those that it waits for",
            Limit::Waiters => "requests that wait or watch at once",
            Limit::Holds => "holds at once",
            Limit::Requests => "requests a second",
        };
        write!(f, "this sidecar allows this caller {max} {what}")
    }
}

/// Whose counts they are. Callers without credentials are one caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Name {
    User(Box<str>),
    Token(Arc<str>),
    Certificate(Arc<str>),
    Anonymous,
}

/// The accounts of all callers of a process, over its threads.
pub struct Quotas {
    /// Of callers of whom the policy says nothing.
    defaults: Limits,
    policy: Option<Reloaded<Policy>>,
    metrics: Arc<Metrics>,
    ledger: Mutex<Ledger>,
}

impl Quotas {
    pub fn new(defaults: Limits, policy: Option<Reloaded<Policy>>, metrics: Arc<Metrics>) -> Quotas {
        Quotas { defaults, policy, metrics, ledger: Mutex::default() }
    }

    /// The quota of a caller; `None` where it has no limit.
    pub fn of(self: &Arc<Quotas>, subject: &Subject) -> Option<Quota> {
        let of_the_policy = self.policy.as_ref().map(|policy| policy.now().limits(subject)).unwrap_or_default();
        let limits = of_the_policy.or(self.defaults);
        let name = || match subject {
            Subject::User(user) => Name::User(user.sub.as_deref().unwrap_or_default().into()),
            Subject::Token(name) => Name::Token(Arc::clone(name)),
            Subject::Certificate(name) => Name::Certificate(Arc::clone(name)),
            Subject::Anonymous => Name::Anonymous,
        };
        (!limits.is_none()).then(|| Quota { quotas: Arc::clone(self), name: Arc::new(name()), limits })
    }

    /// A lease was renewed, of which its owner can count on what is said there.
    pub fn renewed(&self, lease: &Lease) {
        let until = until_of(lease, Instant::now());
        self.ledger().alter(lease.token, |lived| lived.until = lived.until.max(until));
    }

    /// A lease was released; its key stays taken for so long.
    pub fn released(&self, token: Token, rest: Option<Duration>) {
        let now = Instant::now();
        let until = now + rest.unwrap_or_default();
        self.ledger().release(token, until, now);
    }

    /// A lease is no more.
    pub fn ended(&self, token: Token) {
        self.ledger().forget(token);
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no holder of this lock panics")
    }
}

/// Until when the key of a lease is taken, unless it is renewed.
fn until_of(lease: &Lease, now: Instant) -> Instant {
    let taken_ms = lease.valid_for_ms.saturating_add(lease.terms.delay_ms);
    now + Duration::from_millis(taken_ms.min(Limits::LONGEST_MS))
}

/// What one caller may have.
#[derive(Clone)]
pub struct Quota {
    quotas: Arc<Quotas>,
    name: Arc<Name>,
    limits: Limits,
}

impl Quota {
    pub fn ttl_ms(&self) -> Option<u64> {
        self.limits.ttl_ms
    }

    /// Counts a request.
    pub fn spend(&self) -> Result<(), Exceeded> {
        let Some(max) = self.limits.requests else { return Ok(()) };
        let mut ledger = self.quotas.ledger();
        match ledger.account(&self.name).spend(max, Instant::now()) {
            true => Ok(()),
            false => Err(self.exceeded(Limit::Requests, max)),
        }
    }

    /// Room for one more lock, and for a waiter where the attempt waits for it. `is_again`: it may be of a lease that
    /// the caller has by then, which needs no further room.
    pub fn reserve(&self, key: &Key, waits: Waits, again: Again) -> Result<Seat, Exceeded> {
        let (mut ledger, now) = (self.quotas.ledger(), Instant::now());
        let Limits { locks, waiters, .. } = self.limits;
        let has_it = again == Again::Perhaps && ledger.account(&self.name).has(key, now);
        if let Some(max) = locks
            && !has_it
            && ledger.locks(&self.name, max, now) >= max
        {
            return Err(self.exceeded(Limit::Locks, max));
        }
        let account = ledger.account(&self.name);
        if let Some(max) = waiters
            && waits == Waits::Yes
            && account.waiting >= max
        {
            return Err(self.exceeded(Limit::Waiters, max));
        }
        account.reserved += u64::from(!has_it);
        account.waiting += u64::from(waits == Waits::Yes);
        drop(ledger);
        Ok(Seat::reserved(self.clone(), !has_it, waits))
    }

    /// Room for one more lock that a connection holds.
    pub fn hold(&self) -> Result<HoldSeat, Exceeded> {
        let mut ledger = self.quotas.ledger();
        let account = ledger.account(&self.name);
        if let Some(max) = self.limits.holds
            && account.holds >= max
        {
            return Err(self.exceeded(Limit::Holds, max));
        }
        account.holds += 1;
        drop(ledger);
        Ok(HoldSeat::of(self.clone()))
    }

    /// Room for one that watches: it takes a place among those that wait.
    pub fn watch(&self) -> Result<WatchSeat, Exceeded> {
        let mut ledger = self.quotas.ledger();
        let account = ledger.account(&self.name);
        if let Some(max) = self.limits.waiters
            && account.waiting >= max
        {
            return Err(self.exceeded(Limit::Waiters, max));
        }
        account.waiting += 1;
        drop(ledger);
        Ok(WatchSeat::of(self.clone()))
    }

    /// The caller released its lease of a key.
    pub fn released_key(&self, key: &Key) {
        let (mut ledger, now) = (self.quotas.ledger(), Instant::now());
        if let Some(token) = ledger.account(&self.name).token_of(key) {
            ledger.release(token, now, now);
        }
    }

    fn exceeded(&self, limit: Limit, max: u64) -> Exceeded {
        self.quotas.metrics.quota_exceeded.with_label_values(&[limit.label()]).inc();
        Exceeded { limit, max }
    }

    fn counts_locks(&self) -> bool {
        self.limits.locks.is_some()
    }
}

/// Whether an attempt waits in the queue of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    Yes,
    No,
}

/// Whether an attempt may be answered with a lease that its caller has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    Perhaps,
    Never,
}
