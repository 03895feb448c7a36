//! The name of a lock. Checked where it is made, and trusted from there on.

use std::fmt;
use std::sync::Arc;

use super::token::Shard;

/// The name of a lock: 1 to 512 bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("key: empty; expected 1 to {} bytes", Key::MAX_BYTES)]
    Empty,
    #[error("key: {0} bytes; expected at most {max}", max = Key::MAX_BYTES)]
    TooLong(usize),
    #[error("key: a control character at byte {0}; expected none")]
    ControlCharacter(usize),
}

impl Key {
    /// Longest key, bytes.
    pub const MAX_BYTES: usize = 512;

    /// Takes `text` as a key.
    pub fn parse(text: &str) -> Result<Key, KeyError> {
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(KeyError::TooLong(text.len()));
        }
        let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if let (false, Some((at, _))) = (is_plain, text.char_indices().find(|(_, c)| c.is_control())) {
            return Err(KeyError::ControlCharacter(at));
        }
        Ok(Key(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as a text, without a copy.
    pub fn share(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The shard that holds everything of this lock: `crc32(key) % 64`, on every topology.
    pub fn shard(&self) -> Shard {
        Shard::of_hash(crc32fast::hash(self.0.as_bytes()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_1_to_512_bytes_without_control_characters() {
        assert_eq!(Key::parse(""), Err(KeyError::Empty));
        assert_eq!(Key::parse(&"x".repeat(513)), Err(KeyError::TooLong(513)));
        assert_eq!(Key::parse("a\nb"), Err(KeyError::ControlCharacter(1)));
        assert_eq!(Key::parse("a\u{85}b"), Err(KeyError::ControlCharacter(1)));
        assert!(Key::parse(&"x".repeat(512)).is_ok());
        assert!(Key::parse("Straße/7 {}|\"").is_ok());
    }
}
