//! Names for attempts and for owners that gave none: unique over all sidecars.

use std::sync::atomic::{AtomicU64, Ordering};

/// 64 random bits of this process, and a count.
pub struct Nonces {
    process: u64,
    count: AtomicU64,
}

impl Nonces {
    pub fn new() -> Nonces {
        let process = getrandom::u64().expect("the operating system has random bytes");
        Nonces { process, count: AtomicU64::new(0) }
    }

    pub fn next(&self) -> String {
        format!("{:016x}-{:x}", self.process, self.count.fetch_add(1, Ordering::Relaxed))
    }
}
