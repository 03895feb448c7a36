//! A wait for a lock, as its caller may see it: bounded by the credential, and explained where it timed out.

use std::borrow::Borrow;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::{timeout, timeout_at};

use super::permit::Permit;
use crate::api::failure::{Failure, Queue};
use crate::lock::{Key, LockFailure, Locks, Looked, Owner, State};

/// A credential that was verified so lately needs no second look.
const FRESH: Duration = Duration::from_secs(1);
/// Longest look at the holder of a key that was not free in time: the answer is due.
const LONGEST_LOOK: Duration = Duration::from_millis(100);

/// What a wait ended with.
pub struct Turn<T> {
    pub content: T,
    /// How long the credential was verified: the validity that `content` promises is shorter by that.
    pub checked_for: Duration,
}

/// Waits for a grant to `owner`, for no longer than the credential lasts, which is verified again when the grant comes,
/// unless it just was. Where it is no longer valid, the grant is dropped here, and so rolled back.
pub async fn turn<T, P: Borrow<Permit>>(
    owner: &Owner,
    permit: impl FnOnce() -> P,
    acquiring: impl Future<Output = Result<T, Failure>>,
) -> Result<Turn<T>, Failure> {
    let ended = || Failure::Unauthorized("the credential is good no longer: it ended during the wait".to_owned());
    let mut acquiring = pin!(acquiring);
    if let Ok(content) = timeout(FRESH, acquiring.as_mut()).await {
        return Ok(Turn { content: content?, checked_for: Duration::ZERO });
    }
    let permit = permit();
    let permit = permit.borrow();
    let acquiring = async {
        tokio::select! {
            content = acquiring => Some(content),
            () = permit.certificate_refused() => None,
        }
    };
    let content = match permit.ends() {
        Some(end) => timeout_at(end.into(), acquiring).await.unwrap_or_default(),
        None => acquiring.await,
    };
    let content = content.ok_or_else(ended)??;
    let granted = Instant::now();
    permit.settle().await?;
    match permit.is_valid(owner).await? {
        true => Ok(Turn { content, checked_for: granted.elapsed() }),
        false => Err(ended()),
    }
}

/// A failure to acquire `key`: after a timeout in the queue with the holder of the key, unless to look takes long.
pub async fn explained(locks: &Locks, key: &Key, failure: LockFailure) -> Failure {
    if !matches!(failure, LockFailure::WaitTimeout) {
        return failure.into();
    }
    match tokio::time::timeout(LONGEST_LOOK, locks.look(key.clone())).await {
        Ok(Ok(Looked { state, waiters })) => {
            let holder = match state {
                State::Held(holder) => Some(holder),
                State::Free => None,
            };
            Failure::WaitTimeout(Some(Box::new(Queue { holder, waiters })))
        }
        _ => Failure::WaitTimeout(None),
    }
}
