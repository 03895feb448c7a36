//! How much each caller may have at once: locks, waiters, holds and requests. Counted by this process for its own
//! callers, from what it granted and still lives: a counter in Redis would drift, and a caller's locks lie in many
//! slots. Knows callers and leases; knows no HTTP.
//!
//! An attempt has one place, however often it is sent: it has no more than one lease.
//!
//! Architecture invariant: what is refused here is never a renewal nor a release. What no caller was told of is not
//! counted.

mod account;
mod ledger;
mod place;
mod seat;
#[cfg(test)]
mod tests;

use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

pub use seat::{HoldSeat, Seat, WatchSeat};

use crate::lock::{Attempt, Key, Lease, Mode, Reentry, Token};
use crate::metrics::Metrics;
use crate::policy::{Limits, Policy, Subject};
use crate::secret::Reloaded;
use account::{Account, Sendings};
use ledger::Ledger;
use place::{Id, Lived};

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

    /// A lease was renewed by this caller, whose it is from now on where it is not known yet: another sidecar granted it.
    pub fn renewed(&self, lease: &Lease, by: Option<&Quota>) {
        let (mut ledger, now) = (self.ledger(), Instant::now());
        match (ledger.lease(lease.token), by) {
            (Some(lived), _) => lived.extend(lease, now),
            (None, Some(quota)) if quota.keeps_leases() => {
                let id = ledger.unnamed();
                ledger.enter(&quota.name, id, lease, now);
            }
            (None, _) => {}
        }
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

    /// [`Quota::spend`], unless the request renews a lease that the caller has of this key.
    pub fn spend_unless_renewing(&self, key: &Key) -> Result<(), Exceeded> {
        if self.limits.requests.is_none() || self.has_lease(key) {
            return Ok(());
        }
        self.spend()
    }

    fn has_lease(&self, key: &Key) -> bool {
        self.quotas.ledger().account(&self.name).leases(key, Instant::now()).next().is_some()
    }

    /// A place for the lock that the attempt asks for, unless it has one already, and one for a waiter where it waits.
    pub fn reserve(&self, key: &Key, attempt: &Attempt) -> Result<Seat, Exceeded> {
        let (mut ledger, now) = (self.quotas.ledger(), Instant::now());
        let (id, owner) = (ledger.id_of(std::iter::once(key), attempt), ledger.owner_of(&attempt.owner));
        let account = ledger.account(&self.name);
        let has_place = account.has_place(id, now);
        let needs_none = !has_place && needs_no_place(account, key, attempt, owner, now);
        if let Some(max) = self.limits.locks
            && !has_place
            && !needs_none
            && ledger.locks(&self.name, max, now) >= max
        {
            return Err(self.exceeded(Limit::Locks, max));
        }
        ledger.part(&self.name, id, now);
        let account = ledger.account(&self.name);
        let waits = attempt.wait.is_some();
        if waits {
            self.take(&mut account.waiting, id, Limit::Waiters, self.limits.waiters)?;
        }
        if !needs_none {
            account.places.entry(id).or_default().under_way += 1;
        }
        drop(ledger);
        Ok(Seat::of(self.clone(), id, !needs_none, waits))
    }

    /// A place for a connection that holds what the attempt for these keys asks for.
    pub fn hold<'a>(&self, keys: impl Iterator<Item = &'a Key>, attempt: &Attempt) -> Result<HoldSeat, Exceeded> {
        let mut ledger = self.quotas.ledger();
        let id = ledger.id_of(keys, attempt);
        self.take(&mut ledger.account(&self.name).holds, id, Limit::Holds, self.limits.holds)?;
        drop(ledger);
        Ok(HoldSeat::of(self.clone(), id))
    }

    /// A place for one that watches: it takes one among those that wait.
    pub fn watch(&self) -> Result<WatchSeat, Exceeded> {
        let mut ledger = self.quotas.ledger();
        let id = ledger.unnamed();
        self.take(&mut ledger.account(&self.name).waiting, id, Limit::Waiters, self.limits.waiters)?;
        drop(ledger);
        Ok(WatchSeat::of(self.clone(), id))
    }

    fn take(&self, sendings: &mut Sendings, id: Id, limit: Limit, max: Option<u64>) -> Result<(), Exceeded> {
        match sendings.take(id, max) {
            true => Ok(()),
            false => Err(self.exceeded(limit, max.unwrap_or_default())),
        }
    }

    /// The caller released its lease of a key.
    pub fn released_key(&self, key: &Key) {
        let (mut ledger, now) = (self.quotas.ledger(), Instant::now());
        let token = ledger.account(&self.name).leases(key, now).next().map(|lived| lived.token);
        if let Some(token) = token {
            ledger.release(token, now, now);
        }
    }

    fn exceeded(&self, limit: Limit, max: u64) -> Exceeded {
        self.quotas.metrics.quota_exceeded.with_label_values(&[limit.label()]).inc();
        Exceeded { limit, max }
    }

    /// Whether its leases decide anything: how many they are, or whether a user's POST is a renewal.
    fn keeps_leases(&self) -> bool {
        self.limits.locks.is_some() || (self.limits.requests.is_some() && matches!(*self.name, Name::User(_)))
    }
}

/// Whether no lease can come of the attempt but one that the caller has: its owner has the key and takes that lease on; or
/// the caller has the key, which is asked for alone and not waited for. Of attempts without a name or a reentry, which may
/// not be told of a lease again, that is not asked.
fn needs_no_place(account: &Account, key: &Key, attempt: &Attempt, owner: u64, now: Instant) -> bool {
    let takes_on = attempt.reentry == Reentry::Extend;
    if !takes_on && attempt.name.is_none() {
        return false;
    }
    let asks_alone = attempt.mode == Mode::Exclusive && attempt.wait.is_none();
    let takes_on = |lived: &Lived| takes_on && lived.owner == owner && lived.is_promised(now);
    account.leases(key, now).any(|lived| asks_alone || takes_on(lived))
}
