//! How locks are named, how long they last, and how long callers may wait for them.

use super::lease::Ttl;

#[derive(Clone, Debug)]
pub struct LockConfig {
    pub key_prefix: String,
    /// Whether a lock's Redis key is its name.
    pub raw_keys: bool,
    /// What the name of an owner begins with that a service caller did not name.
    pub owner_prefix: String,
    pub admin_ttl: Ttl,
    /// Where a native acquire names none.
    pub default_ttl: Ttl,
    /// Longest ttl that may be asked for, milliseconds.
    pub max_ttl_ms: u64,
    /// How long a lease can be renewed at most, from its grant on, milliseconds.
    pub max_hold_ms: Option<u64>,
    /// Longest time that anybody may wait for a lock, milliseconds.
    pub max_wait_ms: u64,
    /// Requests that may wait for locks at once.
    pub max_waiters: usize,
    /// Streams of events that there may be at once.
    pub max_watchers: usize,
}

impl LockConfig {
    /// Shortest time for which a lease can be renewed at most: longer than an offer lasts, for a waiter that takes its turn
    /// late must get something of it.
    pub const SHORTEST_CAP_MS: u64 = 2_000;

    /// Longest lease that can be had without a renewal, milliseconds.
    pub fn longest_lease_ms(&self) -> u64 {
        self.max_hold_ms.map_or(self.max_ttl_ms, |max_ms| max_ms.min(self.max_ttl_ms))
    }

    /// Longest `max_hold_ms` that an attempt may ask for: a year, where no bound is set.
    pub fn longest_hold_ms(&self) -> u64 {
        self.max_hold_ms.unwrap_or(365 * 24 * 60 * 60 * 1000)
    }
}
