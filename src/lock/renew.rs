//! Sets the remaining time of a lease.

use std::sync::Arc;
use std::time::Instant;

use super::detached::detached;
use super::lease::{Lease, Owner, Ttl};
use super::request::{Changed, LeaseRef, LockFailure, Loss};
use super::scripts::{How, RenewRow, Stored};
use super::{Engine, Key, Locks, Token, not_mine, record};

/// Who renews, but for a caller that has the token: a sending of the attempt, by its name.
enum Sending {
    /// By a connection that holds the lease.
    Holds(String),
    /// While it waits for other keys.
    Waits(String),
}

impl Locks {
    /// Sets the remaining time of a lease to `ttl`, or to its own where none is given; as far as its terms let it.
    pub async fn renew(&self, which: LeaseRef, owner: Owner, ttl: Option<Ttl>) -> Result<Changed<Lease>, LockFailure> {
        self.renew_as(which, owner, ttl, None).await
    }

    /// Renews a lease that the `sending` holds by a connection. A time that is longer already stays.
    pub async fn renew_hold(&self, lease: &Lease, sending: &str, ttl: Ttl) -> Result<Changed<Lease>, LockFailure> {
        let which = LeaseRef::KeyToken(lease.key.clone(), lease.token);
        self.renew_as(which, lease.owner.clone(), Some(ttl), Some(Sending::Holds(sending.to_owned()))).await
    }

    /// Renews a lease that the `sending` was told of while it waits for other keys, also where another sending of its attempt
    /// was told of it later. A time that is longer already stays.
    pub async fn renew_told(&self, lease: &Lease, sending: &str, ttl: Ttl) -> Result<Changed<Lease>, LockFailure> {
        let which = LeaseRef::KeyToken(lease.key.clone(), lease.token);
        self.renew_as(which, lease.owner.clone(), Some(ttl), Some(Sending::Waits(sending.to_owned()))).await
    }

    async fn renew_as(
        &self,
        which: LeaseRef,
        owner: Owner,
        ttl: Option<Ttl>,
        by: Option<Sending>,
    ) -> Result<Changed<Lease>, LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter_always();
        detached(flight, async move {
            let (LeaseRef::Token(token) | LeaseRef::KeyToken(_, token)) = which;
            let Some((key, token)) = engine.find(which).await? else {
                let lost = Changed::Lost(Loss::Expired);
                engine.note_lost(&lost, None, token);
                return Ok(lost);
            };
            let identity = record::claim(owner.claim());
            let longest_ms = engine.shared.max_ttl_ms;
            let how = match &by {
                None => How::Set { longest_ms },
                Some(Sending::Holds(sending)) => How::Extend(sending),
                Some(Sending::Waits(sending)) => How::Keep(sending),
            };
            let sent = Instant::now();
            let row = engine.scripts.renew(&key, token, &identity, ttl, how).await?;
            let changed = engine.renewed(&key, token, ttl, row, sent)?;
            // A hold says itself how it ends, and a bundle, too.
            if by.is_none() {
                engine.note_lost(&changed, Some(&key), token);
            }
            Ok(changed)
        })
        .await
    }
}

impl Engine {
    /// What Redis answered to the renewal of a lease.
    pub fn renewed(
        &self,
        key: &Key,
        token: Token,
        ttl: Option<Ttl>,
        row: RenewRow,
        sent: Instant,
    ) -> Result<Changed<Lease>, LockFailure> {
        self.changed(key, token, row, |found| {
            let mut lease = self.lease(key, &found)?;
            self.shared.ledger.extended(key.shard(), lease.valid_for_ms);
            let promise = lease.promise(ttl.map_or(lease.ttl_ms, Ttl::as_ms), sent);
            // The lease lives on, also where its caller hears of it too late.
            self.note_renewed(&lease);
            promise.map(|()| lease).map_err(LockFailure::RenewedTooLate)
        })
    }

    /// What Redis answered to the question whether it would renew a lease: it promises nothing.
    pub fn checked(&self, key: &Key, token: Token, row: RenewRow) -> Result<Changed<()>, LockFailure> {
        self.changed(key, token, row, |_| Ok(()))
    }

    fn changed<T>(
        &self,
        key: &Key,
        token: Token,
        row: RenewRow,
        done: impl FnOnce(Stored) -> Result<T, LockFailure>,
    ) -> Result<Changed<T>, LockFailure> {
        Ok(match row {
            RenewRow::Renewed(found) => Changed::Done(done(found)?),
            RenewRow::Lost => Changed::Lost(Loss::Expired),
            RenewRow::Forced => Changed::Lost(Loss::Forced),
            RenewRow::Superseded | RenewRow::Stranger => Changed::Lost(Loss::Superseded),
            RenewRow::Capped => Changed::Lost(Loss::Capped),
            RenewRow::TooLong { delay_ms } => {
                return Err(LockFailure::TooLong { delay_ms, longest_ms: self.shared.max_ttl_ms });
            }
            RenewRow::Other(text) => not_mine(key, token, &text),
        })
    }
}
