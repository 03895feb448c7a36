//! How many requests wait for Redis, and the bound on that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::RedisFailure;

/// How many requests wait for Redis, and how many may. Shared by all threads.
pub struct InFlight {
    now: AtomicUsize,
    max: usize,
}

impl InFlight {
    pub fn new(max: usize) -> Arc<InFlight> {
        Arc::new(InFlight { now: AtomicUsize::new(0), max })
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
