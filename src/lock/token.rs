//! The words of the engine: key, token, ttl, owner, lease. Each is checked where it is made and trusted from there
//! on. Knows no Redis and no HTTP.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Number of shards, and so of hash slots, that the lock space is spread over; fixed, since it is part of every token.
pub const SHARDS: u8 = 64;

/// One of the [`SHARDS`] parts of the lock space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(u8);

impl Shard {
    /// Every shard, in order.
    pub fn all() -> impl Iterator<Item = Shard> {
        (0..SHARDS).map(Shard)
    }

    /// 0 to 63.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

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
        let shard = crc32fast::hash(self.0.as_bytes()) % u32::from(SHARDS);
        Shard(u8::try_from(shard).expect("a remainder of 64 fits a byte"))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lease's fencing token and identity: `(ms × 64 + seq) × 64 + shard`, positive, below 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Token(u64);

impl Token {
    const END: u64 = 1 << 53;

    /// Takes a number as a token; `None` for one that no lease can have.
    pub fn new(number: u64) -> Option<Token> {
        (1..Self::END).contains(&number).then_some(Token(number))
    }

    /// Takes an int64 as a token; `None` for one that no lease can have.
    pub fn from_i64(number: i64) -> Option<Token> {
        u64::try_from(number).ok().and_then(Token::new)
    }

    pub fn get(self) -> u64 {
        self.0
    }

    /// The shard of the token's key: its last six bits.
    pub fn shard(self) -> Shard {
        Shard((self.0 % u64::from(SHARDS)) as u8)
    }

    /// When it was granted, by Redis's clock: milliseconds since 1970.
    pub fn granted_ms(self) -> u64 {
        const YEAR_2025_MS: u64 = 1_735_689_600_000;
        YEAR_2025_MS + self.sequence() / 64
    }

    /// The part that rises within a shard: `ms × 64 + seq`.
    pub fn sequence(self) -> u64 {
        self.0 / u64::from(SHARDS)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How long a lease lasts unless renewed, in milliseconds; at least [`Ttl::MIN_MS`]. The upper bound is a setting, and
/// is checked where a ttl comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ttl(u64);

impl Ttl {
    /// Shortest ttl, milliseconds.
    pub const MIN_MS: u64 = 10;

    /// `None` outside [`Ttl::MIN_MS`] to `max_ms`.
    pub fn from_ms(ms: u64, max_ms: u64) -> Option<Ttl> {
        (Self::MIN_MS..=max_ms).contains(&ms).then_some(Ttl(ms))
    }

    pub fn as_ms(self) -> u64 {
        self.0
    }
}

/// What kind of owner: a user (from a JWT) and a system owner are never the same, whatever their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnerKind {
    User,
    System,
}

impl OwnerKind {
    /// The kind as a word.
    pub fn label(self) -> &'static str {
        match self {
            OwnerKind::User => "user",
            OwnerKind::System => "system",
        }
    }
}

/// Who holds a lease. `label` and `description` say more of a user and identify nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub kind: OwnerKind,
    pub id: String,
    pub label: Option<String>,
    pub description: Option<String>,
}

/// Whom a change of a lease must belong to.
#[derive(Clone, Copy, Debug)]
pub enum Claim<'a> {
    /// This user's lease, that user alone.
    User(&'a str),
    /// Any system lease: its token is all that a system caller needs.
    System,
}

impl Owner {
    /// A system owner of this name.
    pub fn system(name: String) -> Owner {
        Owner { kind: OwnerKind::System, id: name, label: None, description: None }
    }

    pub fn claim(&self) -> Claim<'_> {
        match self.kind {
            OwnerKind::User => Claim::User(&self.id),
            OwnerKind::System => Claim::System,
        }
    }
}

/// One grant of a key, as Redis has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub key: Key,
    pub token: Token,
    pub owner: Owner,
    /// When it was granted, Redis's clock, milliseconds since 1970.
    pub since_ms: u64,
    /// When it expires unless renewed, Redis's clock, milliseconds since 1970.
    pub valid_until_ms: u64,
    /// The ttl that it was granted for, milliseconds.
    pub ttl_ms: u64,
    /// What is left of it, milliseconds: for its owner what can be counted on, for others what Redis had left.
    pub valid_for_ms: u64,
    /// What its owner wanted to come back with it: JSON, byte for byte.
    pub meta: Option<String>,
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

    #[test]
    fn a_token_is_positive_and_below_2_pow_53() {
        assert_eq!(Token::from_i64(0), None);
        assert_eq!(Token::from_i64(-1), None);
        assert_eq!(Token::from_i64(i64::MAX), None);
        assert_eq!(Token::from_i64(i64::MIN), None);
        assert_eq!(Token::new(1 << 53), None);
        let token = Token::new((1 << 53) - 1).expect("the greatest token");
        assert_eq!(token.shard().index(), 63);
        assert_eq!(token.sequence(), (1 << 47) - 1);
    }

    #[test]
    fn a_ttl_lies_between_10_ms_and_the_cap() {
        assert_eq!(Ttl::from_ms(9, 1000), None);
        assert_eq!(Ttl::from_ms(1001, 1000), None);
        assert_eq!(Ttl::from_ms(10, 1000).map(Ttl::as_ms), Some(10));
        assert_eq!(Ttl::from_ms(1000, 1000).map(Ttl::as_ms), Some(1000));
    }
}
