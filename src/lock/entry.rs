//! An entry of the index, as it lies in Redis.

use super::key::Key;

/// What an index has of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: Key,
    pub token: u64,
    /// Whether it shares its key with others.
    pub is_shared: bool,
}

impl Entry {
    /// Of a member and its score; `None` for what no sidecar made.
    pub fn of(member: &[u8], token: u64) -> Option<Entry> {
        let name = std::str::from_utf8(member).ok()?;
        match name.split_once('\n') {
            None => Some(Entry { key: Key::parse(name).ok()?, token, is_shared: false }),
            Some((key, shared)) if shared.parse() == Ok(token) => {
                Some(Entry { key: Key::parse(key).ok()?, token, is_shared: true })
            }
            Some(_) => None,
        }
    }

    /// The member.
    pub fn name(&self) -> String {
        if self.is_shared { format!("{}\n{}", self.key, self.token) } else { self.key.as_str().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_a_shared_lease_names_its_key_and_its_token() {
        for (member, is_shared) in [("orders", false), ("orders\n640", true)] {
            let entry = Entry::of(member.as_bytes(), 640).expect("an entry");
            assert_eq!((entry.key.as_str(), entry.is_shared, entry.name().as_str()), ("orders", is_shared, member));
        }
        for other in ["", "\n640", "orders\n641", "orders\n", "orders\nx", "a\nb\n640", "\u{7f}"] {
            assert_eq!(Entry::of(other.as_bytes(), 640), None, "{other:?}");
        }
        assert_eq!(Entry::of(b"\xff", 640), None);
    }
}
