//! How many wait for any lock: counted when it is asked for, and no more than once in five seconds, however many ask, since
//! each queue is by itself.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::list::{ListFailure, Listed, Listing};
use crate::lock::Mode;

/// Between two counts.
const INTERVAL: Duration = Duration::from_secs(5);
/// Most locks whose queues are counted.
const MOST: usize = 10_000;
/// Locks that are read at a time.
const AT_ONCE: usize = 64;
/// Longest time of reading from Redis.
const LONGEST: Duration = Duration::from_millis(500);

/// The last count. One a process.
#[derive(Default)]
pub struct Waiting(Mutex<Option<(Instant, Option<u64>)>>);

impl Waiting {
    /// What the last count found, or a new one, over what `list` begins, where that was too long ago. `None` where there
    /// are too many locks, or Redis does not say.
    pub(in crate::lock) async fn take(&self, list: impl FnOnce(usize) -> Result<Listing, ListFailure>) -> Option<u64> {
        let mut last = self.0.lock().await;
        if let Some((at, counted)) = &*last
            && at.elapsed() < INTERVAL
        {
            return *counted;
        }
        let counted = match list(MOST) {
            // Its places are taken just now: the next one who asks counts.
            Err(_) => return last.and_then(|(_, counted)| counted),
            Ok(listing) => count(listing).await,
        };
        *last = Some((Instant::now(), counted));
        counted
    }
}

async fn count(mut listing: Listing) -> Option<u64> {
    let (mut seen, mut waiting) = (0, 0);
    // Those who wait for a key that leases share stand at each of them.
    let mut shared = HashSet::new();
    while seen <= MOST {
        let locks = listing.next_within(AT_ONCE, LONGEST).await.ok()?;
        seen += locks.len();
        for Listed { lease, waiters } in &locks {
            if lease.mode == Mode::Exclusive || shared.insert(lease.key.clone()) {
                waiting += waiters;
            }
        }
        if locks.len() < AT_ONCE {
            return listing.is_over().then_some(waiting);
        }
    }
    None
}
