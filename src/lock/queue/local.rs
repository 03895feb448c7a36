//! The queue of one key, as far as its waiters are this thread's: who waits, and when to look at it next.
//!
//! Architecture invariant: no I/O, no clock, no channel, as for all [queues](super::state).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::event::{Entry, Turn};
use crate::lock::Token;
use crate::lock::record::{self, Relation};

/// Longest time between two looks at a queue: it bounds what any lost message, entry or queue costs, of whatever cause.
/// Less than the two seconds that are promised, by the time that a look and what follows may take.
pub const LOOK: Duration = Duration::from_millis(1600);
/// Added to what is left of a lease, so that Redis has let it expire.
const EXPIRY_SLACK: Duration = Duration::from_millis(3);
/// How often a free key is looked at that Redis did not grant.
pub const LOOK_AT_FREE: Duration = Duration::from_millis(300);
/// How often a key is looked at that another program holds, which tells nothing when it releases it: as often as redis-py's
/// lock looks, but once for all waiters of a sidecar.
pub const LOOK_AT_STRANGER: Duration = Duration::from_millis(100);
/// Of so many waiters a look tells the positions; the others' turn comes with the next ones. Lua takes some 8,000.
const ASKED_ABOUT: usize = 256;
/// And of so many whether they have a lease that shares the key: that takes longer.
const ASKED_ABOUT_SHARES: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Waiter {
    pub entry: Entry,
    /// As Redis said, once it did.
    pub position: Option<String>,
    /// Whether it was told that its turn has come.
    pub is_called: bool,
}

/// The waiters of one key, in the order in which they came, and when it is looked at next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocalQueue {
    pub waiters: Vec<Waiter>,
    pub look_at: Instant,
    /// A look is under way since then.
    pub asked: Option<Instant>,
    /// When a message or a joining last brought the look forward: an answer to what was asked before may be older news.
    pub brought_forward: Instant,
    /// Whether entries of ours may be missing: they join again after the next look that Redis answers.
    pub is_in_doubt: bool,
    /// Whether leases shared the key when it was last looked at.
    pub is_shared: bool,
    /// With which of those that want to know their positions the next look begins.
    progress_from: usize,
    /// And with which of those that may have a lease that shares the key.
    shares_from: usize,
}

impl LocalQueue {
    pub fn new(now: Instant) -> LocalQueue {
        LocalQueue {
            waiters: Vec::new(),
            look_at: now + LOOK,
            asked: None,
            brought_forward: now,
            is_in_doubt: false,
            is_shared: false,
            progress_from: 0,
            shares_from: 0,
        }
    }

    /// When it is looked at; `None` while it is.
    pub fn due(&self) -> Option<Instant> {
        self.asked.is_none().then_some(self.look_at)
    }

    pub fn waiter(&mut self, id: &str) -> Option<&mut Waiter> {
        self.waiters.iter_mut().find(|waiter| waiter.entry.id == id)
    }

    /// A message may only bring a look forward; an answer alone puts it off.
    pub fn bring_forward(&mut self, to: Instant, now: Instant) {
        self.look_at = self.look_at.min(to);
        self.brought_forward = now;
    }

    /// The entries that a look asks about: the first and the last of ours that are in the queue, since a Redis that lost a
    /// part of it lost the end, some of those that want to know their position, and, where leases share the key, some of those
    /// that may have one by another request. `None` while none is there.
    pub fn asked_about(&mut self) -> Option<Vec<&Entry>> {
        let waiting: Vec<&Waiter> =
            self.waiters.iter().filter(|waiter| !waiter.is_called && waiter.position.is_some()).collect();
        let mut asked = BTreeSet::from([0, waiting.len().checked_sub(1)?]);
        let those = |is_meant: fn(&Entry) -> bool| -> Vec<usize> {
            (0..waiting.len()).filter(|index| is_meant(&waiting[*index].entry)).collect()
        };
        asked.extend(some(those(|entry| entry.wants_progress), ASKED_ABOUT, &mut self.progress_from));
        if self.is_shared {
            let may_have_one = those(|entry| entry.is_named || entry.is_reentrant);
            asked.extend(some(may_have_one, ASKED_ABOUT_SHARES, &mut self.shares_from));
        }
        Some(asked.into_iter().map(|index| &waiting[index].entry).collect())
    }

    /// The turns of those that a lease is of: by this sending, or, while it is promised, by another of its attempt or by its
    /// owner.
    pub fn turns(&self, token: Token, lease: &str, is_promised: bool) -> Vec<(String, Turn)> {
        let waiting = self.waiters.iter().filter(|waiter| !waiter.is_called);
        let turns = waiting.filter_map(|Waiter { entry, .. }| {
            let turn = match record::relation(lease, &entry.identity, &entry.nonce, &entry.id)? {
                Relation::This => Turn::Offered(token),
                Relation::SameAttempt if is_promised => Turn::AskAgain,
                Relation::SameOwner if entry.is_reentrant && is_promised => Turn::AskAgain,
                Relation::SameAttempt | Relation::SameOwner => return None,
            };
            Some((entry.id.clone(), turn))
        });
        turns.collect()
    }
}

/// At most `most` of `all`, which begin where the last ones ended.
fn some(all: Vec<usize>, most: usize, from: &mut usize) -> Vec<usize> {
    if all.len() <= most {
        return all;
    }
    let begin = *from % all.len();
    *from = begin + most;
    all.iter().cycle().skip(begin).take(most).copied().collect()
}

/// When a lease must have ended of which so much is left; without an end, or where the key is free, it is looked at
/// as any other.
pub fn until_end(left_ms: i64) -> Duration {
    match u64::try_from(left_ms) {
        Ok(ms) => (Duration::from_millis(ms) + EXPIRY_SLACK).min(LOOK),
        Err(_) if left_ms == -2 => LOOK_AT_FREE,
        Err(_) => LOOK,
    }
}
