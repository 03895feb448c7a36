//! What is told of the modes in which keys are asked for: in metrics and, where the limits of two callers differ, in the log.

use std::time::Instant;

use prometheus::IntCounter;

use super::holder::Holder;
use super::key::Key;
use super::lease::Mode;
use super::request::{Acquired, Why};
use crate::log::{LogThrottle, Suppressed};
use crate::metrics::Metrics;

/// One a process.
pub struct Modes {
    exclusive: IntCounter,
    shared: IntCounter,
    refused_exclusive: IntCounter,
    refused_full: IntCounter,
    refused_queue: IntCounter,
    differing: LogThrottle,
}

impl Modes {
    pub fn new(metrics: &Metrics) -> Modes {
        let [exclusive, shared] = ["exclusive", "shared"].map(|mode| metrics.acquires.with_label_values(&[mode]));
        let refused = ["exclusive", "full", "queue"].map(|reason| metrics.shared_refused.with_label_values(&[reason]));
        let [refused_exclusive, refused_full, refused_queue] = refused;
        let differing = LogThrottle::new();
        Modes { exclusive, shared, refused_exclusive, refused_full, refused_queue, differing }
    }

    pub fn asked(&self, mode: Mode) {
        match mode {
            Mode::Exclusive => self.exclusive.inc(),
            Mode::Shared { .. } => self.shared.inc(),
        }
    }

    /// How a request for a share of a key ended; what was not free in time was not refused.
    pub fn answered(&self, key: &Key, mode: Mode, acquired: &Acquired) {
        let (Mode::Shared { limit }, Acquired::Held(holder, why)) = (mode, acquired) else { return };
        match why {
            Why::Exclusive | Why::Shared | Why::Own => self.refused_exclusive.inc(),
            Why::Queue => self.refused_queue.inc(),
            Why::Full => {
                self.refused_full.inc();
                if let Some(limit) = limit
                    && let Some(other) = other_limit(holder, limit)
                {
                    self.tell_of_limits(key, limit, other);
                }
            }
        }
    }

    fn tell_of_limits(&self, key: &Key, limit: u16, holders_limit: u16) {
        if let Some(Suppressed(withheld)) = self.differing.admit(Instant::now()) {
            let key = key.as_str();
            tracing::info!(key, limit, holders_limit, withheld, "requests with different limits share a lock");
        }
    }
}

/// The limit of one of those who share the key, where it named another one than this.
fn other_limit(holder: &Holder, limit: u16) -> Option<u16> {
    holder.leases().iter().filter_map(|lease| lease.mode.limit()).find(|other| *other != limit)
}
