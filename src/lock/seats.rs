//! Seats: how many requests of this process may wait for a lock at once, and how many may watch.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use super::events::Interest;
use super::request::LockFailure;

/// One of them, until it is dropped.
pub struct Seat {
    shared: Arc<Shared>,
    /// What it is taken by, where that watches.
    watches: Option<&'static str>,
}

impl Seat {
    /// A seat for one that waits for a lock, or for a change of one.
    pub fn of_a_waiter(shared: &Arc<Shared>) -> Result<Seat, LockFailure> {
        let taken = shared.waiters.fetch_add(1, Ordering::Relaxed);
        shared.metrics.waiters.with_label_values::<&str>(&[]).inc();
        let seat = Seat { shared: Arc::clone(shared), watches: None };
        if taken >= shared.max_waiters { Err(LockFailure::TooManyWaiters(taken)) } else { Ok(seat) }
    }

    /// A seat for one that watches.
    pub fn of_a_watcher(shared: &Arc<Shared>, interest: &Interest) -> Result<Seat, LockFailure> {
        let kind = match interest {
            Interest::Key(_) => "key",
            Interest::Prefix(_) => "prefix",
        };
        let taken = shared.watchers.fetch_add(1, Ordering::Relaxed);
        shared.metrics.watchers.with_label_values(&[kind]).inc();
        let seat = Seat { shared: Arc::clone(shared), watches: Some(kind) };
        if taken >= shared.max_watchers { Err(LockFailure::TooManyWatchers(taken)) } else { Ok(seat) }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        match self.watches {
            Some(kind) => {
                self.shared.watchers.fetch_sub(1, Ordering::Relaxed);
                self.shared.metrics.watchers.with_label_values(&[kind]).dec();
            }
            None => {
                self.shared.waiters.fetch_sub(1, Ordering::Relaxed);
                self.shared.metrics.waiters.with_label_values::<&str>(&[]).dec();
            }
        }
    }
}
