//! A lease: how long it lasts, and whose it is.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::terms::Terms;
use super::token::Token;

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

/// Who holds a lease. `label` and `description` describe a user, and do not identify one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub kind: OwnerKind,
    pub id: String,
    pub label: Option<String>,
    pub description: Option<String>,
    /// By which credential a system owner came, where a policy tells them apart: two of one name are two owners then.
    pub credential: Option<Box<str>>,
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
        Owner { kind: OwnerKind::System, id: name, label: None, description: None, credential: None }
    }

    pub fn claim(&self) -> Claim<'_> {
        match self.kind {
            OwnerKind::User => Claim::User(&self.id),
            OwnerKind::System => Claim::System,
        }
    }
}

/// Whether a lease has its key alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    Exclusive,
    /// With others: where fewer than `limit` leases have it; without a limit as many as may.
    Shared {
        limit: Option<u16>,
    },
}

impl Mode {
    /// Most leases that may share a key.
    pub const MOST: u16 = 10_000;

    /// The mode as a word.
    pub fn label(self) -> &'static str {
        match self {
            Mode::Exclusive => "exclusive",
            Mode::Shared { .. } => "shared",
        }
    }

    /// The limit that was asked for.
    pub fn limit(self) -> Option<u16> {
        match self {
            Mode::Exclusive => None,
            Mode::Shared { limit } => limit,
        }
    }
}

/// One grant of a key, as Redis has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub key: Key,
    pub token: Token,
    /// By where it lies: a waiter that would share the key may be granted it alone, by an older sidecar.
    pub mode: Mode,
    pub owner: Owner,
    /// When it was granted, Redis's clock, milliseconds since 1970.
    pub since_ms: u64,
    /// When it expires unless renewed, Redis's clock, milliseconds since 1970: for its owner when the promise ends, for
    /// others when the key gets free.
    pub valid_until_ms: u64,
    /// The ttl that it was granted for, milliseconds.
    pub ttl_ms: u64,
    /// What is left of it, milliseconds: for its owner what can be counted on, for others what Redis had left.
    pub valid_for_ms: u64,
    /// Until when its owner can count on it, by this machine's clock; `None` for others.
    pub promised_until: Option<Instant>,
    pub terms: Terms,
    /// Whether it was released already, and nothing is left but that the key is still taken.
    pub is_resting: bool,
    /// What its owner wanted to come back with it: JSON, byte for byte.
    pub meta: Option<String>,
}

impl Lease {
    /// What its owner can count on, milliseconds, where the request asked for `ttl_ms`, and its times are the key's.
    pub fn promise_ms(&self, ttl_ms: u64) -> u64 {
        if self.terms == Terms::NONE {
            return self.valid_for_ms;
        }
        let now_ms = self.valid_until_ms.saturating_sub(self.valid_for_ms);
        self.terms.left_ms(self.valid_for_ms, now_ms.saturating_sub(self.since_ms), ttl_ms)
    }

    /// Whether no renewal can promise more than now, where its times are those of the promise.
    pub fn is_capped(&self) -> bool {
        self.terms.max_hold_ms.is_some_and(|max_ms| self.valid_until_ms >= self.since_ms.saturating_add(max_ms))
    }

    /// Whether its owner has it still, where its times are the key's.
    pub fn is_promised(&self) -> bool {
        !self.is_resting && self.promise_ms(self.ttl_ms) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_lies_between_10_ms_and_the_cap() {
        assert_eq!(Ttl::from_ms(9, 1000), None);
        assert_eq!(Ttl::from_ms(1001, 1000), None);
        assert_eq!(Ttl::from_ms(10, 1000).map(Ttl::as_ms), Some(10));
        assert_eq!(Ttl::from_ms(1000, 1000).map(Ttl::as_ms), Some(1000));
    }
}
