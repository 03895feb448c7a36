//! What the engine is asked for, and how each operation can end.

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::watch;

use super::holder::Holder;
use super::{Key, Lease, Mode, Owner, Terms, Token, Ttl};
use crate::redis::RedisFailure;

/// What one acquire asks for.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub owner: Owner,
    pub mode: Mode,
    pub ttl: Ttl,
    pub terms: Terms,
    pub reentry: Reentry,
    /// JSON that comes back with the lease, byte for byte; at most 1 KiB.
    pub meta: Option<String>,
    /// The caller's name for this attempt: repeated while its lease lives, it is the same lease. Owner and name
    /// together are the attempt.
    pub name: Option<String>,
    /// How long to wait in the queue for a key that is held.
    pub wait: Option<Wait>,
    /// Whether a connection of ours holds what it is granted.
    pub is_hold: bool,
}

impl Attempt {
    /// For an exclusive lease, with nothing beside it: no terms, no meta, no name, no wait.
    pub fn plain(owner: Owner, ttl: Ttl, reentry: Reentry) -> Attempt {
        let (mode, terms) = (Mode::Exclusive, Terms::NONE);
        Attempt { owner, mode, ttl, terms, reentry, meta: None, name: None, wait: None, is_hold: false }
    }

    /// Whether a candidate of an election makes it.
    pub(super) fn is_candidate(&self) -> bool {
        self.wait.as_ref().is_some_and(|wait| wait.succession.is_some())
    }

    /// For how long a grant of it takes the key, milliseconds.
    pub(super) fn key_ms(&self) -> u64 {
        self.terms.key_ms(self.ttl.as_ms())
    }
}

/// A wait in the queue.
#[derive(Clone, Debug)]
pub struct Wait {
    pub until: Instant,
    /// Told every two seconds how it stands.
    pub progress: Option<watch::Sender<Option<Progress>>>,
    /// Where a candidate of an election waits: it takes no seat of `--max-waiters`, and its lease may be renewed for ever.
    pub succession: Option<Succession>,
}

/// Of which lease a candidate knows that it came straight from a holder which had stopped counting on its own: no other
/// process can take itself for the holder by then, whatever Redis lost before.
/// That lapses with the offer: a lease that is taken later may be another one's by then, though it has its token.
#[derive(Clone, Debug, Default)]
pub struct Succession(Arc<Mutex<Option<(Token, Instant)>>>);

impl Succession {
    /// The lease of this token was offered, until then.
    pub(super) fn mark(&self, token: Token, until: Instant) {
        *self.0.lock().expect("no holder of this lock panics") = Some((token, until));
    }

    pub fn is_of(&self, token: Token, now: Instant) -> bool {
        let mark = *self.0.lock().expect("no holder of this lock panics");
        mark.is_some_and(|(marked, until)| marked == token && now < until)
    }
}

/// How a request that waits stands.
#[derive(Clone, Debug)]
pub struct Progress {
    /// 1 is the next to be served.
    pub position: u64,
    pub holder: Option<Holder>,
}

/// What an acquire does when its owner has the key already, by another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reentry {
    /// The key is held.
    Refuse,
    /// The lease is valid from now for the attempt's ttl, same token; where more than that is left, it stays as it is.
    Extend,
}

impl Reentry {
    /// As the scripts have it.
    pub fn word(self) -> &'static str {
        match self {
            Reentry::Refuse => "refuse",
            Reentry::Extend => "extend",
        }
    }
}

/// How an acquire ended.
#[derive(Clone, Debug)]
pub enum Acquired {
    Granted(Lease),
    /// This very attempt has it, by an earlier sending.
    Replayed(Lease),
    /// The owner had it already, by another attempt.
    Renewed(Lease),
    /// Others have it, or wait for it.
    Held(Holder, Why),
}

/// Why a key was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// It is held alone, or by another program.
    Exclusive,
    /// Others share it, and it was to be had alone.
    Shared,
    /// As many share it as may.
    Full,
    /// Others wait for it.
    Queue,
    /// Its owner has it in the other mode, and would have had that lease: a wait would be in vain.
    Own,
}

/// How a change of a lease ended.
#[derive(Clone, Debug)]
pub enum Changed<T> {
    Done(T),
    /// There is no such lease any more.
    Lost(Loss),
    /// It is another owner's.
    NotYours,
}

/// What became of a lease that is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It ended by itself, was released, or Redis lost its data.
    Expired,
    /// It was removed by force.
    Forced,
    /// Another owner has the key now.
    Superseded,
    /// It may be renewed no longer.
    Capped,
}

/// How a force-release ended.
#[derive(Clone, Debug)]
pub enum Forced {
    /// The leases that were: one, or all that shared the key; none where only its mark as a shared one was left.
    Taken(Vec<Lease>),
    /// There was nothing to take.
    Free,
    /// Another program's, which lockside does not remove; or, where a token was given, another lease.
    Other,
}

/// Which lease an operation is about.
#[derive(Clone, Debug)]
pub enum LeaseRef {
    /// By its token alone: the index says of which key it is.
    Token(Token),
    /// The lease of a key with this token.
    KeyToken(Key, Token),
}

/// What is force-released.
#[derive(Clone, Debug)]
pub enum Target {
    Lease(LeaseRef),
    /// Whichever lease of the key there is.
    Key(Key),
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LockFailure {
    #[error(transparent)]
    Redis(#[from] RedisFailure),
    /// It was granted, or told of again, but nothing was left of its validity when the answer came. It is undone.
    #[error("granted too late: redis took {0} ms of the TTL")]
    TooLate(u64),
    /// It was granted, but too few replicas have it. It is undone.
    #[error("granted, and rolled back: {0}")]
    TakenBack(String),
    /// It was renewed, but nothing was left of its validity when the answer came.
    #[error("renewed too late to rely on: redis took {0} ms of the TTL")]
    RenewedTooLate(u64),
    /// It was not this waiter's turn in time.
    #[error("not granted within the time to wait")]
    WaitTimeout,
    #[error("{0} requests wait for locks already")]
    TooManyWaiters(usize),
    #[error("{0} streams of events are open already; raise --max-watchers")]
    TooManyWatchers(usize),
    /// It was not renewed: behind such a promise the lease's own delay would last longer than anybody may ask for.
    #[error("the TTL and the {delay_ms} ms of delay of the lease are together above --max-ttl, {longest_ms} ms")]
    TooLong { delay_ms: u64, longest_ms: u64 },
    /// The process is being stopped, and waits for nothing any more.
    #[error("shutting down")]
    Draining,
}

impl LockFailure {
    /// Whether Redis may answer again soon.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, LockFailure::Redis(RedisFailure::NotSent(_) | RedisFailure::NoAnswer(_) | RedisFailure::Late))
    }

    /// Whether there may be a grant that no caller is told of.
    pub(super) fn leaves_a_grant(&self) -> bool {
        match self {
            LockFailure::TooLate(_) => true,
            LockFailure::Redis(failure) => failure.may_have_happened(),
            _ => false,
        }
    }
}
