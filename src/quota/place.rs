//! One place among a caller's locks: of an attempt from when it is sent until its lease has ended.

use std::time::{Duration, Instant};

use crate::lock::{Key, Lease, Token};
use crate::policy::Limits;

/// Which attempt a place is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Id {
    /// A hash of its keys, its owner and its name: an attempt that is sent again is the same one.
    Named(u64),
    /// A number that no other one has.
    Unnamed(u64),
}

/// It is there as long as it counts.
#[derive(Default)]
pub struct Place {
    /// Sendings of the attempt that are not answered yet.
    pub under_way: u32,
    pub lease: Option<Lived>,
}

/// A lease that lives.
pub struct Lived {
    pub token: Token,
    pub key: Key,
    /// A hash of its owner.
    pub owner: u64,
    /// How long its owner can count on it, unless it is renewed.
    promised_until: Instant,
    /// How long its key is taken, unless it is renewed.
    until: Instant,
    /// Until then its key stays taken, even where it is released.
    rests_until: Instant,
    /// Who has it for as long as they last: connections that hold it, which renew it unseen, and answers that are on their
    /// way.
    pub holders: u32,
    /// Whether it goes on until it expires when the last of those has gone: its caller has heard of it, and no connection
    /// holds it since.
    pub is_kept: bool,
}

impl Place {
    pub fn counts(&self) -> bool {
        self.under_way > 0 || self.lease.is_some()
    }

    /// Whether the attempt has a lease that it may be told of again.
    pub fn is_promised(&self, now: Instant) -> bool {
        self.lease.as_ref().is_some_and(|lived| lived.is_promised(now))
    }
}

impl Lived {
    /// A lease that its caller knows of.
    pub fn of(lease: &Lease, owner: u64, now: Instant) -> Lived {
        let granted_for_ms = lease.valid_until_ms.saturating_sub(lease.valid_for_ms).saturating_sub(lease.since_ms);
        let rests_until = now + Duration::from_millis(lease.terms.min_hold_ms.saturating_sub(granted_for_ms));
        let (token, key) = (lease.token, lease.key.clone());
        let mut lived = Lived {
            token,
            key,
            owner,
            promised_until: now,
            until: rests_until,
            rests_until,
            holders: 0,
            is_kept: true,
        };
        lived.extend(lease, now);
        lived
    }

    /// Whether its key is taken.
    pub fn lives(&self, now: Instant) -> bool {
        self.holders > 0 || now < self.until
    }

    /// Whether it is neither released nor over for its owner.
    pub fn is_promised(&self, now: Instant) -> bool {
        self.holders > 0 || now < self.promised_until
    }

    /// It is promised for as long as it is said there, or as it was.
    pub fn extend(&mut self, lease: &Lease, now: Instant) {
        let after = |ms: u64| now + Duration::from_millis(ms.min(Limits::LONGEST_MS));
        let taken_ms = lease.valid_for_ms.saturating_add(lease.terms.delay_ms);
        self.promised_until = self.promised_until.max(after(lease.valid_for_ms));
        self.until = self.until.max(after(taken_ms));
    }

    /// It was released, and nothing is left but that its key stays taken until then.
    pub fn release(&mut self, until: Instant, now: Instant) {
        (self.promised_until, self.until) = (now, self.rests_until.max(until));
        (self.holders, self.is_kept) = (0, true);
    }
}
