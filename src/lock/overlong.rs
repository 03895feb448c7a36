//! Leases that last longer than anybody may ask for: those that a step of Redis's clock lengthened, or that were
//! granted under another cap. Found by a walk over the index, a few pages at a time.

use super::record;
use super::scripts::{Scripts, Seen};
use super::types::{Key, SHARDS, Shard};
use crate::redis::RedisFailure;

/// Index entries looked at in one script call.
const PAGE: u32 = 64;

/// How far the walk has come. It begins anew at its end.
#[derive(Debug, Default)]
pub struct Walk {
    shard: usize,
    after: u64,
    /// The longest since the walk began.
    so_far: Option<Overlong>,
    last_walk: Option<Overlong>,
}

/// The longest lease above the cap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlong {
    pub key: Key,
    pub left_ms: u64,
}

impl Walk {
    /// The longest one seen on this walk, or else on the last.
    pub fn longest(&self) -> Option<&Overlong> {
        self.so_far.as_ref().or(self.last_walk.as_ref())
    }

    /// Goes on by at most so many pages, at least one a shard, and not beyond the walk's end.
    pub(super) async fn on(&mut self, scripts: &Scripts, cap_ms: u64, pages: usize) -> Result<(), RedisFailure> {
        for _ in 0..pages {
            let shard = Shard::all().nth(self.shard).expect("the walk ends with the last shard");
            let page = scripts.redis.members_above(scripts.space.tokens(shard), self.after, PAGE).await?;
            let keys = page.iter().filter_map(|(key, _)| Key::parse(std::str::from_utf8(key).ok()?).ok());
            let keys: Vec<Key> = keys.collect();
            if !keys.is_empty() {
                let found = scripts.read(&keys).await?;
                keys.into_iter().zip(found).for_each(|(key, seen)| self.see(key, &seen, cap_ms));
            }
            match page.last() {
                Some((_, token)) if page.len() == PAGE as usize => self.after = *token,
                _ => self.next_shard(),
            }
            if (self.shard, self.after) == (0, 0) {
                break;
            }
        }
        Ok(())
    }

    fn see(&mut self, key: Key, seen: &Seen, cap_ms: u64) {
        let Seen::Text(found) = seen else { return };
        let Some(lease) = record::read(&key, found).filter(|lease| lease.valid_for_ms > cap_ms) else { return };
        if self.so_far.as_ref().is_none_or(|longest| longest.left_ms < lease.valid_for_ms) {
            self.so_far = Some(Overlong { key, left_ms: lease.valid_for_ms });
        }
    }

    fn next_shard(&mut self) {
        (self.shard, self.after) = (self.shard + 1, 0);
        if self.shard == usize::from(SHARDS) {
            self.shard = 0;
            self.last_walk = self.so_far.take();
        }
    }
}
