//! The highest sequence that this process has seen in each shard. Sent with every acquire as a floor, so that tokens
//! rise even on a new master whose clock and data are behind.

use std::sync::atomic::{AtomicU64, Ordering};

use super::types::{SHARDS, Shard, Token};

pub struct Floors([AtomicU64; SHARDS as usize]);

impl Floors {
    pub fn new() -> Floors {
        Floors(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    pub fn floor(&self, shard: Shard) -> u64 {
        self.0[shard.index()].load(Ordering::Relaxed)
    }

    pub fn saw(&self, token: Token) {
        self.0[token.shard().index()].fetch_max(token.sequence(), Ordering::Relaxed);
    }
}
