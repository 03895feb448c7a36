//! Looks at one key: what lies under it, and who waits for it.

use serde::Deserialize;

use super::Locks;
use super::entry::Entry;
use super::holder::{Holder, Sharing, State};
use super::key::Key;
use super::lease::{Lease, OwnerKind};
use super::record;
use super::request::LockFailure;
use super::scripts::{Scripts, Seen, StoredOrNone};
use super::token::{self, Token};
use crate::redis::RedisFailure;

/// What was seen of a key.
#[derive(Clone)]
pub struct Looked {
    pub state: State,
    /// How many wait for it, over all sidecars.
    pub waiters: u64,
}

impl Looked {
    pub(super) fn of(scripts: &Scripts, key: &Key, Seen { under, waiters }: Seen) -> Looked {
        let state = match under {
            StoredOrNone::Nothing => State::Free,
            StoredOrNone::Stranger => State::Held(Holder::UNKNOWN),
            StoredOrNone::Text(found) => State::Held(record::holder(key, &found)),
            StoredOrNone::Shared { count, left_ms, first_ms, newest, others, leases } => {
                let (leases, others, first_ms) = (record::leases(key, &leases), others.into(), Some(first_ms));
                let sharing = Sharing { leases, count, newest, first_ms, others, waiters: None, left_ms };
                State::Held(Holder::Shared(Box::new(sharing)))
            }
        };
        if let State::Held(holder) = &state {
            holder.leases().iter().for_each(|lease| scripts.high_water.saw(lease.token));
        }
        Looked { state, waiters }
    }
}

/// One who waits for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    pub owner: String,
    pub kind: OwnerKind,
    /// When it began to wait, Redis's clock, milliseconds since 1970: never earlier, and later where many began in one
    /// millisecond.
    pub since_ms: u64,
}

impl Waiter {
    /// Of an entry of a queue, as queue.lua has them; `None` for what no sidecar made.
    fn of(entry: &[u8], position: u64) -> Option<Waiter> {
        #[derive(Deserialize)]
        struct Identity {
            kind: OwnerKind,
            owner: String,
        }
        let identity = std::str::from_utf8(entry).ok()?.split('\n').nth(3)?;
        let identity = format!("{{{}}}", identity.strip_suffix(',')?);
        let Identity { kind, owner } = serde_json::from_str(&identity).ok()?;
        Some(Waiter { owner, kind, since_ms: token::sequence_ms(position) })
    }
}

impl Locks {
    /// What lies under a key, and how many wait for it.
    pub async fn look(&self, key: Key) -> Result<Looked, LockFailure> {
        let scripts = &self.0.scripts;
        let _flight = scripts.redis.enter()?;
        let found = scripts.read(std::slice::from_ref(&key)).await.map_err(RedisFailure::of_a_read)?;
        let nothing = Looked { state: State::Free, waiters: 0 };
        Ok(found.into_iter().next().map_or(nothing, |seen| Looked::of(scripts, &key, seen)))
    }

    /// Whether the lease of this token holds a key, alone or with others.
    pub async fn is_held_by(&self, key: &Key, token: Token) -> Result<bool, LockFailure> {
        Ok(self.lease_of(key, token).await?.is_some_and(|lease| lease.is_promised()))
    }

    /// The lease of this token, which has a key alone or with others; `None` where there is none.
    pub async fn lease_of(&self, key: &Key, token: Token) -> Result<Option<Lease>, LockFailure> {
        let scripts = &self.0.scripts;
        let _flight = scripts.redis.enter()?;
        let entry = Entry { key: key.clone(), token: token.get(), is_shared: true };
        let found = scripts.read_entries(&[entry]).await.map_err(RedisFailure::of_a_read)?;
        let found = found.into_iter().next().map(|seen| Looked::of(scripts, key, seen).state);
        Ok(match found {
            Some(State::Held(Holder::Lease(lease))) if lease.token == token => Some(*lease),
            _ => None,
        })
    }

    /// The key of the lease with this token; `None` where there is none.
    pub async fn key_of(&self, token: Token) -> Result<Option<Key>, LockFailure> {
        let _flight = self.0.scripts.redis.enter()?;
        self.0.key_of(token).await
    }

    /// Those who wait for a key, over all sidecars, in the order of their turns; at most `most`.
    pub async fn queue(&self, key: &Key, most: u32) -> Result<Vec<Waiter>, LockFailure> {
        let Scripts { redis, space, .. } = &self.0.scripts;
        let _flight = redis.enter()?;
        match redis.members_above(&space.queue(key).into(), 0, most).await.map_err(RedisFailure::of_a_read) {
            // Under the queue's name lies something else: no caller waits there.
            Err(RedisFailure::Refused(reason)) if reason.starts_with("WRONGTYPE") => Ok(Vec::new()),
            Err(failure) => Err(failure.into()),
            Ok(entries) => {
                let waiters = entries.iter().filter_map(|(entry, position)| Waiter::of(entry, *position));
                Ok(waiters.collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiter_is_read_from_its_entry_and_its_position() {
        let entry = "p-1\nw-1\n30000\n\"kind\":\"user\",\"owner\":\"a\\\"\\nb\",\n\"nonce\":\"n\",\n,\"meta\":\"1\"";
        let second = 64 * 1000;
        let waiter = Waiter::of(entry.as_bytes(), second + 63).expect("a waiter");
        assert_eq!((waiter.owner.as_str(), waiter.kind), ("a\"\nb", OwnerKind::User));
        assert_eq!(waiter.since_ms, token::sequence_ms(0) + 1000);
        for other in ["", "a\nb\nc", "p-1\nw-1\n1\nx,\n\n", "offer\n7\np-1"] {
            assert_eq!(Waiter::of(other.as_bytes(), 1), None, "{other}");
        }
        assert_eq!(Waiter::of(b"p\nw\n1\n\xff,\n\n", 1), None);
    }
}
