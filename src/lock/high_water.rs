//! The highest sequence that this process has seen in each shard. Sent with every acquire as a floor, so that tokens
//! rise even on a new master whose clock and data are behind.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::{SHARDS, Shard, Token};

/// Longest time by which a clock of Redis is taken to be ahead of ours.
const FUTURE: Duration = Duration::from_secs(24 * 60 * 60);

pub struct HighWater([AtomicU64; SHARDS as usize]);

impl HighWater {
    pub fn new() -> HighWater {
        HighWater(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    pub fn floor(&self, shard: Shard) -> u64 {
        self.0[shard.index()].load(Ordering::Relaxed)
    }

    /// A token that was granted to this process.
    pub fn granted(&self, token: Token) {
        self.0[token.shard().index()].fetch_max(token.sequence(), Ordering::Relaxed);
    }

    /// A token that a lease names. Where other programs may write the lease's key, it may be any: one that lies far in the
    /// future would leave none above it, and is no lease of ours.
    pub fn saw(&self, token: Token) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if u128::from(token.granted_ms()) <= (now + FUTURE).as_millis() {
            self.granted(token);
        }
    }
}
