//! The place of an attempt among its caller's locks: reserved until it is answered, then its lease's; given back where
//! it was not granted, or where the grant did not reach its caller.

use std::time::{Duration, Instant};

use super::account::Lived;
use super::{Quota, Waits, until_of};
use crate::lock::{Lease, Token};

pub struct Seat {
    quota: Quota,
    /// Whether it takes room for a lock.
    is_reserved: bool,
    waits: Waits,
    /// The lease that it became, until its caller has heard of it.
    lease: Option<Token>,
}

impl Seat {
    pub(super) fn reserved(quota: Quota, is_reserved: bool, waits: Waits) -> Seat {
        Seat { quota, is_reserved, waits, lease: None }
    }

    /// The attempt was granted this lease, or told of it again.
    pub fn granted(&mut self, lease: &Lease) {
        self.enter(lease, false);
    }

    /// A connection holds the lease that it was granted.
    pub fn held(&mut self, lease: &Lease) {
        self.enter(lease, true);
    }

    fn enter(&mut self, lease: &Lease, is_held: bool) {
        self.give_back();
        if !self.quota.counts_locks() {
            return;
        }
        let now = Instant::now();
        let rests_until = now + Duration::from_millis(lease.terms.min_hold_ms);
        let until = until_of(lease, now).max(rests_until);
        let mut ledger = self.quota.quotas.ledger();
        let is_known = ledger.owners.contains_key(&lease.token.get());
        if is_known {
            ledger.alter(lease.token, |lived| lived.until = lived.until.max(until));
            return;
        }
        ledger.enter(&self.quota.name, lease.token, Lived { key: lease.key.clone(), until, rests_until, is_held });
        self.lease = Some(lease.token);
    }

    /// The caller has heard of its lease.
    pub fn settle(mut self) {
        self.lease = None;
    }

    /// What was reserved is no more.
    fn give_back(&mut self) {
        if self.is_reserved || self.waits == Waits::Yes {
            let mut ledger = self.quota.quotas.ledger();
            let account = ledger.account(&self.quota.name);
            account.reserved = account.reserved.saturating_sub(u64::from(self.is_reserved));
            account.waiting = account.waiting.saturating_sub(u64::from(self.waits == Waits::Yes));
        }
        (self.is_reserved, self.waits) = (false, Waits::No);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.give_back();
        if let Some(token) = self.lease {
            self.quota.quotas.ended(token);
        }
    }
}

/// The place of a hold among its caller's, until the hold has ended; with it those of its leases, which live on for as
/// long as their terms say.
pub struct HoldSeat {
    quota: Quota,
    leases: Vec<(Token, Duration)>,
}

impl HoldSeat {
    pub(super) fn of(quota: Quota) -> HoldSeat {
        HoldSeat { quota, leases: Vec::new() }
    }

    /// Holds a lease that its attempt was granted.
    pub fn takes(&mut self, mut seat: Seat, lease: &Lease) {
        seat.held(lease);
        // Where its end is left to its terms, the key may be taken for a whole ttl and the delay behind it.
        let delay_ms = lease.terms.delay_ms;
        let lingers_ms = if delay_ms > 0 { lease.ttl_ms.saturating_add(delay_ms) } else { 0 };
        self.leases.extend(seat.lease.map(|token| (token, Duration::from_millis(lingers_ms))));
        seat.settle();
    }
}

impl Drop for HoldSeat {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut ledger = self.quota.quotas.ledger();
        let account = ledger.account(&self.quota.name);
        account.holds = account.holds.saturating_sub(1);
        for (token, lingers) in self.leases.drain(..) {
            ledger.alter(token, |lived| lived.is_held = false);
            ledger.release(token, now + lingers, now);
        }
    }
}

/// The place of one that watches among its caller's waiters, until it is dropped.
pub struct WatchSeat {
    quota: Quota,
}

impl WatchSeat {
    pub(super) fn of(quota: Quota) -> WatchSeat {
        WatchSeat { quota }
    }
}

impl Drop for WatchSeat {
    fn drop(&mut self) {
        let mut ledger = self.quota.quotas.ledger();
        let account = ledger.account(&self.quota.name);
        account.waiting = account.waiting.saturating_sub(1);
    }
}
