//! Releases leases.

use std::sync::Arc;

use super::detached::detached;
use super::key::Key;
use super::lease::{Lease, Owner};
use super::request::{Changed, LeaseRef, LockFailure, Loss};
use super::scripts::{By, ReleaseRow};
use super::{Locks, not_mine, record};

impl Locks {
    /// Releases a lease. The key stays taken for `rest_ms` from now on at least, where that is given.
    pub async fn release(
        &self,
        which: LeaseRef,
        owner: Owner,
        rest_ms: Option<u64>,
    ) -> Result<Changed<()>, LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter_always();
        detached(flight, async move {
            let Some((key, token)) = engine.find(which).await? else { return Ok(Changed::Lost(Loss::Expired)) };
            let identity = record::claim(owner.claim());
            Ok(match engine.scripts.release(&key, Some(token), &identity, By::Owner { rest_ms }).await? {
                ReleaseRow::Released => {
                    rest_ms.inspect(|rest_ms| engine.shared.ledger.extended(key.shard(), *rest_ms));
                    Changed::Done(())
                }
                ReleaseRow::Lost => Changed::Lost(Loss::Expired),
                ReleaseRow::Told | ReleaseRow::Stranger => Changed::Lost(Loss::Superseded),
                ReleaseRow::Other(text) => not_mine(&key, token, &text),
            })
        })
        .await
    }

    /// Releases a lease that the `sending` holds by a connection, unless another sending was told of it later; or lets it
    /// end, where its terms say so. `resigns`: its holder has stopped counting on it, and the next waiter is to know.
    pub async fn release_hold(&self, lease: &Lease, sending: &str, resigns: bool) -> Result<(), LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter_always();
        let (key, token, sending) = (lease.key.clone(), lease.token, sending.to_owned());
        let identity = record::identity(&lease.owner);
        detached(flight, async move {
            let by = By::Sending { sending: &sending, resigns };
            engine.scripts.release(&key, Some(token), &identity, by).await?;
            Ok(())
        })
        .await
    }

    /// Releases whichever lease of `key` this owner has.
    pub async fn release_key(&self, key: Key, owner: Owner) -> Result<Changed<()>, LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter_always();
        detached(flight, async move {
            let by = By::Owner { rest_ms: None };
            Ok(match engine.scripts.release(&key, None, &record::identity(&owner), by).await? {
                ReleaseRow::Released => Changed::Done(()),
                ReleaseRow::Lost => Changed::Lost(Loss::Expired),
                ReleaseRow::Other(text) if record::is_rest(&key, &text) => Changed::Lost(Loss::Expired),
                ReleaseRow::Told | ReleaseRow::Other(_) | ReleaseRow::Stranger => Changed::NotYours,
            })
        })
        .await
    }
}
