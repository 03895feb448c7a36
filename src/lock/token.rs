//! Fencing tokens, and the shards that number them.

use std::fmt;

use serde::Serialize;

/// Number of shards, and so of hash slots, that a namespace is spread over; fixed, since it is part of every token.
pub const SHARDS: u8 = 64;

/// One of the [`SHARDS`] parts of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(u8);

impl Shard {
    /// Every shard, in order.
    pub fn all() -> impl Iterator<Item = Shard> {
        (0..SHARDS).map(Shard)
    }

    /// The one that a key of this hash is in.
    pub(super) fn of_hash(hash: u32) -> Shard {
        Shard((hash % u32::from(SHARDS)) as u8)
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
        sequence_ms(self.sequence())
    }

    /// The part that rises within a shard: `ms × 64 + seq`.
    pub fn sequence(self) -> u64 {
        self.0 / u64::from(SHARDS)
    }
}

/// When this was the next sequence of its shard, by Redis's clock: milliseconds since 1970.
pub fn sequence_ms(sequence: u64) -> u64 {
    const YEAR_2025_MS: u64 = 1_735_689_600_000;
    YEAR_2025_MS.saturating_add(sequence / 64)
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
