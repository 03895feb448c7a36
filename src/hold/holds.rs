//! The leases that connections to this process hold. When the owner of one releases it through this process, its hold ends
//! at once as released. Redis publishes a release, too, but a message may be lost or forbidden by the ACL; and a renewal
//! that finds the lease gone cannot tell a release from an expiry.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::lock::{Changed, Key, Lease, LeaseRef, LockFailure, Locks, Owner, Shard, Token};

/// All held leases of a process, over its threads; by shard, so that a release looks at few.
pub struct Holds(Vec<Mutex<Vec<Arc<Held>>>>);

struct Held {
    key: Key,
    token: Token,
    owner: Owner,
    /// Whether a release of it was sent.
    is_released: AtomicBool,
    told: Notify,
}

impl Default for Holds {
    fn default() -> Holds {
        Holds(Shard::all().map(|_| Mutex::default()).collect())
    }
}

impl Holds {
    fn of(&self, shard: Shard) -> MutexGuard<'_, Vec<Arc<Held>>> {
        self.0[shard.index()].lock().expect("no holder of this lock panics")
    }

    /// Enters a lease that a connection holds, until the entry is dropped.
    pub fn enter(self: &Arc<Holds>, lease: &Lease) -> Entry {
        let held = Arc::new(Held {
            key: lease.key.clone(),
            token: lease.token,
            owner: lease.owner.clone(),
            is_released: AtomicBool::new(false),
            told: Notify::new(),
        });
        self.of(lease.token.shard()).push(Arc::clone(&held));
        Entry { held, holds: Arc::clone(self) }
    }

    /// Releases a lease, and ends its hold, if this process has it. `rest_ms`: see [`Locks::release`].
    pub async fn release(
        &self,
        locks: &Locks,
        which: LeaseRef,
        owner: Owner,
        rest_ms: Option<u64>,
    ) -> Result<Changed<()>, LockFailure> {
        let (LeaseRef::Token(token) | LeaseRef::KeyToken(_, token)) = which;
        let holds = self.releasing(token.shard(), |held| held.token == token);
        settled(&holds, locks.release(which, owner, rest_ms).await)
    }

    /// Releases this owner's lease of `key`, and ends its hold, if this process has it.
    pub async fn release_key(&self, locks: &Locks, key: Key, owner: Owner) -> Result<Changed<()>, LockFailure> {
        let is_meant = |held: &Held| {
            let (one, other) = (&held.owner, &owner);
            held.key == key && (one.kind, &one.id, &one.credential) == (other.kind, &other.id, &other.credential)
        };
        let holds = self.releasing(key.shard(), is_meant);
        settled(&holds, locks.release_key(key, owner).await)
    }

    /// Marks the leases that are about to be released. A renewal under way may find them gone already.
    fn releasing(&self, shard: Shard, is_meant: impl Fn(&Held) -> bool) -> Vec<Arc<Held>> {
        let meant: Vec<Arc<Held>> = self.of(shard).iter().filter(|held| is_meant(held)).cloned().collect();
        meant.iter().for_each(|held| held.is_released.store(true, Ordering::Relaxed));
        meant
    }
}

/// One hold's entry among [`Holds`].
pub struct Entry {
    held: Arc<Held>,
    holds: Arc<Holds>,
}

impl Entry {
    /// Ends when the lease has been released.
    pub async fn released(&self) {
        self.held.told.notified().await;
    }

    /// Whether this process has released the lease, or is about to.
    pub fn is_released(&self) -> bool {
        self.held.is_released.load(Ordering::Relaxed)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.holds.of(self.held.token.shard()).retain(|held| !Arc::ptr_eq(held, &self.held));
    }
}

/// Ends the holds of leases that were released. If the outcome is unknown, the next renewal decides.
fn settled(holds: &[Arc<Held>], outcome: Result<Changed<()>, LockFailure>) -> Result<Changed<()>, LockFailure> {
    for held in holds {
        match &outcome {
            Ok(Changed::Done(())) => held.told.notify_one(),
            Ok(Changed::Lost(_) | Changed::NotYours) => held.is_released.store(false, Ordering::Relaxed),
            Err(_) => {}
        }
    }
    outcome
}
