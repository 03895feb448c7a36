//! Sets the remaining time of a lease.

use std::sync::Arc;
use std::time::Instant;

use super::detached::detached;
use super::lease::{Lease, Owner, Ttl};
use super::request::{Changed, LeaseRef, LockFailure, Loss};
use super::scripts::{How, RenewRow};
use super::{Locks, not_mine, promised, record};

impl Locks {
    /// Sets the remaining time of a lease to `ttl`, or to its own where none is given.
    pub async fn renew(&self, which: LeaseRef, owner: Owner, ttl: Option<Ttl>) -> Result<Changed<Lease>, LockFailure> {
        self.renew_as(which, owner, ttl, None).await
    }

    /// Renews a lease that the `sending` holds by a connection. A time that is longer already stays.
    pub async fn renew_hold(&self, lease: &Lease, sending: &str, ttl: Ttl) -> Result<Changed<Lease>, LockFailure> {
        let which = LeaseRef::KeyToken(lease.key.clone(), lease.token);
        self.renew_as(which, lease.owner.clone(), Some(ttl), Some(sending.to_owned())).await
    }

    async fn renew_as(
        &self,
        which: LeaseRef,
        owner: Owner,
        ttl: Option<Ttl>,
        hold: Option<String>,
    ) -> Result<Changed<Lease>, LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter_always();
        detached(flight, async move {
            let Some((key, token)) = engine.find(which).await? else { return Ok(Changed::Lost(Loss::Expired)) };
            let identity = record::claim(owner.claim());
            let how = hold.as_deref().map_or(How::Set, How::Extend);
            let sent = Instant::now();
            Ok(match engine.scripts.renew(&key, token, &identity, ttl, how).await? {
                RenewRow::Renewed(found) => {
                    let lease = kept(engine.lease(&key, &found)?, sent)?;
                    engine.shared.ledger.extended(key.shard(), lease.valid_for_ms);
                    Changed::Done(lease)
                }
                RenewRow::Lost => Changed::Lost(Loss::Expired),
                RenewRow::Forced => Changed::Lost(Loss::Forced),
                RenewRow::Superseded | RenewRow::Stranger => Changed::Lost(Loss::Superseded),
                RenewRow::Other(text) => not_mine(&key, token, &text),
            })
        })
        .await
    }
}

/// [`promised`], for a lease that its owner had already: `valid_for_ms` is what a renewal set, or what was left.
fn kept(lease: Lease, sent: Instant) -> Result<Lease, LockFailure> {
    let ttl_ms = lease.valid_for_ms;
    promised(lease, ttl_ms, sent).map_err(LockFailure::RenewedTooLate)
}
