//! Names for attempts: unique over all sidecars.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// 64 random bits of this process, and a count.
pub struct Nonces {
    /// In hexadecimal digits, and the hyphen that follows them.
    process: String,
    count: AtomicU64,
}

impl Nonces {
    pub fn new() -> Nonces {
        let process = getrandom::u64().expect("the operating system has random bytes");
        Nonces { process: format!("{process:016x}-"), count: AtomicU64::new(0) }
    }

    pub fn next(&self) -> String {
        let mut name = String::with_capacity(self.process.len() + 16);
        name.push_str(&self.process);
        write!(name, "{:x}", self.count.fetch_add(1, Ordering::Relaxed)).expect("memory takes all that is written");
        name
    }
}
