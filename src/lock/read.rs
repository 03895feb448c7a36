//! Looks at one key.

use super::Locks;
use super::key::Key;
use super::request::{Holder, LockFailure, State};
use super::scripts::{Scripts, StoredOrNone};
use crate::redis::RedisFailure;

impl Locks {
    /// How many wait for a key, over all sidecars.
    pub async fn waiters(&self, key: &Key) -> Result<u64, LockFailure> {
        let Scripts { redis, space, .. } = &self.0.scripts;
        let _flight = redis.enter()?;
        match redis.count_above(&space.queue(key).into(), 0).await.map_err(RedisFailure::of_a_read) {
            // Under the queue's name lies something else: no caller waits there.
            Err(RedisFailure::Refused(reason)) if reason.starts_with("WRONGTYPE") => Ok(0),
            other => Ok(other?),
        }
    }

    /// What lies under a key.
    pub async fn look(&self, key: Key) -> Result<State, LockFailure> {
        let _flight = self.0.scripts.redis.enter()?;
        let found = self.0.scripts.read(std::slice::from_ref(&key)).await.map_err(RedisFailure::of_a_read)?;
        Ok(match found.into_iter().next() {
            Some(StoredOrNone::Text(found)) => State::Held(self.0.holder(&key, &found)),
            Some(StoredOrNone::Stranger) => State::Held(Holder::UNKNOWN),
            Some(StoredOrNone::Nothing) | None => State::Free,
        })
    }
}
