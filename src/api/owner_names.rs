//! Names of owners: which ones service callers may send, and the unique ones that are made for callers who send none.

use std::sync::atomic::{AtomicU64, Ordering};

use super::failure::Failure;

/// Longest owner, bytes.
const MAX_OWNER_BYTES: usize = 256;

/// Hexadecimal digits of a number in a name.
const DIGITS: usize = 16;

/// Makes the owners' names of one thread.
pub struct OwnerNames {
    prefix: String,
    next: AtomicU64,
}

impl OwnerNames {
    /// The numbers begin at 64 random bits, since host names repeat: no two processes, threads, or pods on one host's
    /// network make one name.
    pub fn new(prefix: &str) -> OwnerNames {
        let first = getrandom::u64().expect("the operating system has random bytes");
        OwnerNames { prefix: prefix.to_owned(), next: AtomicU64::new(first) }
    }

    /// `PREFIX-N`, N as 16 hexadecimal digits.
    pub fn next(&self) -> String {
        self.next_of(&self.prefix)
    }

    /// `PREFIX-N` with a prefix of the caller's own, N as 16 hexadecimal digits.
    pub fn next_of(&self, prefix: &str) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // Most acquires make a name: without the formatter they take 1 % fewer instructions.
        let digits =
            (0..DIGITS).rev().map(|place| char::from(b"0123456789abcdef"[(number >> (4 * place)) as usize & 0xf]));
        let mut name = String::with_capacity(prefix.len() + 1 + DIGITS);
        name.push_str(prefix);
        name.push('-');
        name.extend(digits);
        name
    }
}

/// Refuses a text that cannot be the name of a service caller's owner; `field` names the field that has it.
pub fn check(field: &str, owner: &str) -> Result<(), Failure> {
    if (1..=MAX_OWNER_BYTES).contains(&owner.len()) && !owner.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Failure::BadRequest(format!("{field}: expected 1 to {MAX_OWNER_BYTES} bytes without control characters")))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_names_are_equal_over_all_makers() {
        let makers = [0; 4].map(|_| OwnerNames::new("web-3"));
        makers[0].next.store(u64::MAX - 1, Ordering::Relaxed);
        let names: Vec<String> = makers.iter().flat_map(|maker| [0; 100].map(|_| maker.next())).collect();
        assert!(names.iter().all(|name| name.starts_with("web-3-") && name.len() == 22), "{names:?}");
        assert_eq!(names[..3], ["web-3-fffffffffffffffe", "web-3-ffffffffffffffff", "web-3-0000000000000000"]);
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }
}
