//! The lease of a hold: acquired within the credential's time, and whole.

use std::sync::Arc;

use super::permit::Permit;
use super::turn::{Turn, explained, turn};
use crate::api::failure::Failure;
use crate::hold::Granted;
use crate::lock::{Acquired, Attempt, Changed, Key, Locks};

/// Acquires a lock to hold it, for as long as the permit lasts.
pub async fn acquire(locks: Locks, key: Key, attempt: Attempt, permit: Arc<Permit>) -> Result<Granted, Failure> {
    let owner = attempt.owner.clone();
    let Turn { content: mut granted, checked_for } =
        turn(&owner, || permit, acquire_whole(locks, key, attempt)).await?;
    granted.lease.age(checked_for)?;
    Ok(granted)
}

/// Acquires a lease of a whole ttl: of one that an earlier sending of the attempt was granted, little may be left, and so
/// it is renewed at once.
async fn acquire_whole(locks: Locks, key: Key, attempt: Attempt) -> Result<Granted, Failure> {
    loop {
        let acquired = locks.acquire(key.clone(), attempt.clone()).await;
        let (content, unconfirmed) = match acquired {
            Ok(acquired) => acquired,
            Err(failure) => return Err(explained(&locks, &key, failure).await),
        };
        let lease = match content {
            Acquired::Granted(lease) => return Ok(Granted::of(lease, unconfirmed)),
            Acquired::Replayed(lease) | Acquired::Renewed(lease) => lease,
            Acquired::Held(holder, _) => return Err(Failure::Held(holder)),
        };
        let is_whole = lease.valid_for_ms >= attempt.ttl.as_ms();
        let granted = Granted::of(lease, unconfirmed);
        if is_whole {
            return Ok(granted);
        }
        let Granted { lease, unconfirmed, .. } = &granted;
        match locks.renew_hold(lease, unconfirmed.sending(), attempt.ttl).await {
            Ok(Changed::Done(lease)) => return Ok(Granted::of(lease, granted.unconfirmed)),
            // The hold tries again, for as long as the lease is guaranteed.
            Err(_) => return Ok(granted),
            // The lease has ended meanwhile: the attempt is made as if it had never been granted.
            Ok(Changed::Lost(_) | Changed::NotYours) => drop(granted),
        }
    }
}
