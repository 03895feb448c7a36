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
            let (LeaseRef::Token(token) | LeaseRef::KeyToken(_, token)) = which;
            let Some((key, token)) = engine.find(which).await? else {
                let lost = Changed::Lost(Loss::Expired);
                engine.note_lost(&lost, None, token);
                return Ok(lost);
            };
            let identity = record::claim(owner.claim());
            let by = By::Owner { rest_ms, shows: engine.tells_releases() };
            let changed = match engine.scripts.release(&key, Some(token), &identity, by).await? {
                ReleaseRow::Released(lease) => {
                    engine.note_released(&key, lease);
                    rest_ms.inspect(|rest_ms| engine.shared.ledger.extended(key.shard(), *rest_ms));
                    Changed::Done(())
                }
                ReleaseRow::Lost => Changed::Lost(Loss::Expired),
                ReleaseRow::Told | ReleaseRow::Stranger => Changed::Lost(Loss::Superseded),
                ReleaseRow::Other(text) => not_mine(&key, token, &text),
            };
            engine.note_lost(&changed, Some(&key), token);
            Ok(changed)
        })
        .await
    }

    /// Releases a lease that the `sending` holds by a connection, unless another sending was told of it later; or lets it
    /// end, where its terms say so. `resigns`: its holder has stopped counting on it, and the next waiter is to know.
    /// A lease that is gone leaves no line in the audit trail: the hold knows whether there is one already.
    pub async fn release_hold(&self, lease: &Lease, sending: &str, resigns: bool) -> Result<Changed<()>, LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter_always();
        let (key, token, sending) = (lease.key.clone(), lease.token, sending.to_owned());
        let noted = engine.tells_releases().then(|| lease.clone());
        let identity = record::identity(&lease.owner);
        detached(flight, async move {
            let by = By::Sending { sending: &sending, resigns };
            Ok(match engine.scripts.release(&key, Some(token), &identity, by).await? {
                ReleaseRow::Released(_) => {
                    noted.inspect(|lease| engine.note_released_lease(lease));
                    Changed::Done(())
                }
                ReleaseRow::Told => Changed::Done(()),
                ReleaseRow::Lost => Changed::Lost(Loss::Expired),
                ReleaseRow::Other(_) | ReleaseRow::Stranger => Changed::Lost(Loss::Superseded),
            })
        })
        .await
    }

    /// Releases whichever lease of `key` this owner has.
    pub async fn release_key(&self, key: Key, owner: Owner) -> Result<Changed<()>, LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter_always();
        detached(flight, async move {
            let by = By::Owner { rest_ms: None, shows: engine.tells_releases() };
            Ok(match engine.scripts.release(&key, None, &record::identity(&owner), by).await? {
                ReleaseRow::Released(lease) => {
                    engine.note_released(&key, lease);
                    Changed::Done(())
                }
                ReleaseRow::Lost => Changed::Lost(Loss::Expired),
                ReleaseRow::Other(text) if record::is_rest(&key, &text) => Changed::Lost(Loss::Expired),
                ReleaseRow::Told | ReleaseRow::Other(_) | ReleaseRow::Stranger => Changed::NotYours,
            })
        })
        .await
    }
}
