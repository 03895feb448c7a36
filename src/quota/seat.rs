//! The seat of a request: while it is not answered its attempt has a place among its caller's locks, then its lease has it;
//! given back where it was not granted, or where the grant did not reach its caller.

use std::time::{Duration, Instant};

use super::Quota;
use super::ledger::Ledger;
use super::place::Id;
use crate::lock::{Lease, Token};

pub struct Seat {
    quota: Quota,
    id: Id,
    /// Whether the attempt has a place for a lock by it.
    is_under_way: bool,
    waits: bool,
    /// The lease that it was answered with, until its caller has heard of it.
    lease: Option<Token>,
}

impl Seat {
    pub(super) fn of(quota: Quota, id: Id, is_under_way: bool, waits: bool) -> Seat {
        Seat { quota, id, is_under_way, waits, lease: None }
    }

    /// The attempt was granted this lease, or told of it again.
    pub fn granted(&mut self, lease: &Lease) {
        let quota = self.quota.clone();
        let mut ledger = quota.quotas.ledger();
        if quota.keeps_leases() {
            let is_known = ledger.lease(lease.token).is_some();
            let lived = ledger.enter(&quota.name, self.id, lease, Instant::now());
            lived.holders += 1;
            lived.is_kept &= is_known;
            self.lease = Some(lease.token);
        }
        self.give_back(&mut ledger);
    }

    /// The caller has heard of its lease.
    pub fn settle(mut self) {
        if let Some(token) = self.lease.take() {
            let mut ledger = self.quota.quotas.ledger();
            if let Some(lived) = ledger.lease(token) {
                lived.is_kept = true;
            }
            ledger.leave(token);
        }
    }

    /// The request is not under way any more.
    fn give_back(&mut self, ledger: &mut Ledger) {
        if std::mem::take(&mut self.is_under_way) {
            ledger.answered(&self.quota.name, self.id);
        }
        if std::mem::take(&mut self.waits) {
            ledger.account(&self.quota.name).waiting.give_back(self.id);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.is_under_way && !self.waits && self.lease.is_none() {
            return;
        }
        let quota = self.quota.clone();
        let mut ledger = quota.quotas.ledger();
        self.give_back(&mut ledger);
        if let Some(token) = self.lease
            && ledger.leave(token)
        {
            ledger.forget(token);
        }
    }
}

/// The place of a hold among its caller's, until the hold has ended; with it those of its leases, which live on for as
/// long as their terms say, or for as long as another sending of the attempt has them.
pub struct HoldSeat {
    quota: Quota,
    id: Id,
    leases: Vec<(Token, Duration)>,
}

impl HoldSeat {
    pub(super) fn of(quota: Quota, id: Id) -> HoldSeat {
        HoldSeat { quota, id, leases: Vec::new() }
    }

    /// Holds a lease that its attempt was granted.
    pub fn takes(&mut self, mut seat: Seat, lease: &Lease) {
        seat.granted(lease);
        let Some(token) = seat.lease.take() else { return };
        if let Some(lived) = self.quota.quotas.ledger().lease(token) {
            lived.is_kept = false;
        }
        // Where its end is left to its terms, the key may be taken for a whole ttl and the delay behind it.
        let delay_ms = lease.terms.delay_ms;
        let lingers_ms = if delay_ms > 0 { lease.ttl_ms.saturating_add(delay_ms) } else { 0 };
        self.leases.push((token, Duration::from_millis(lingers_ms)));
    }
}

impl Drop for HoldSeat {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut ledger = self.quota.quotas.ledger();
        ledger.account(&self.quota.name).holds.give_back(self.id);
        for (token, lingers) in self.leases.drain(..) {
            if ledger.leave(token) {
                ledger.release(token, now + lingers, now);
            }
        }
    }
}

/// The place of one that watches among its caller's waiters, until it is dropped.
pub struct WatchSeat {
    quota: Quota,
    id: Id,
}

impl WatchSeat {
    pub(super) fn of(quota: Quota, id: Id) -> WatchSeat {
        WatchSeat { quota, id }
    }
}

impl Drop for WatchSeat {
    fn drop(&mut self) {
        self.quota.quotas.ledger().account(&self.quota.name).waiting.give_back(self.id);
    }
}
