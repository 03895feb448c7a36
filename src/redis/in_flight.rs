//! How many requests wait for Redis, and the bound on that.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::RedisFailure;
use super::acl::Verdicts;

/// How many requests wait for Redis, and how many may. Shared by all threads.
pub struct InFlight {
    now: AtomicUsize,
    max: usize,
    is_closed: AtomicBool,
    /// Why nothing is let through, while nothing is.
    closed: Mutex<String>,
    /// What each master is known to refuse.
    pub(super) verdicts: Verdicts,
}

impl InFlight {
    pub fn new(max: usize) -> Arc<InFlight> {
        let (is_closed, closed) = (AtomicBool::new(false), Mutex::default());
        Arc::new(InFlight { now: AtomicUsize::new(0), max, is_closed, closed, verdicts: Verdicts::default() })
    }

    /// Lets nothing through any more, and why; or all again.
    pub(super) fn close(&self, why: Option<String>) {
        let is_closed = why.is_some();
        *self.closed.lock().expect("no holder of this lock panics") = why.unwrap_or_default();
        self.is_closed.store(is_closed, Ordering::Release);
    }

    /// Whether anybody waits beside the one who asks.
    pub(super) fn others(&self) -> bool {
        self.now.load(Ordering::Relaxed) > 1
    }

    pub(super) fn enter_always(self: &Arc<InFlight>) -> Flight {
        self.now.fetch_add(1, Ordering::Relaxed);
        Flight(Arc::clone(self))
    }

    pub(super) fn enter(self: &Arc<InFlight>) -> Result<Flight, RedisFailure> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(RedisFailure::Refused(self.closed.lock().expect("no holder of this lock panics").clone()));
        }
        let waiting = self.now.fetch_add(1, Ordering::Relaxed);
        let flight = Flight(Arc::clone(self));
        if waiting >= self.max {
            return Err(RedisFailure::Overloaded(waiting));
        }
        Ok(flight)
    }
}

/// One request that waits for Redis, until it is dropped.
pub struct Flight(Arc<InFlight>);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}
