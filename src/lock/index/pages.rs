//! The index of a shard, a page at a time.

use crate::lock::scripts::Scripts;
use crate::lock::{Key, Shard};
use crate::redis::RedisFailure;

/// Some entries of an index.
pub struct Page {
    /// Keys and their tokens, lowest token first; without what is no key.
    pub entries: Vec<(Key, u64)>,
    /// The token above which the next page begins; `None` where this is the last one.
    pub next: Option<u64>,
}

impl Page {
    /// The entries with tokens above `after`, at most `size`.
    pub async fn read(scripts: &Scripts, shard: Shard, after: u64, size: u32) -> Result<Page, RedisFailure> {
        let members = scripts.redis.members_above(scripts.space.tokens(shard), after, size).await?;
        let next = members.last().filter(|_| members.len() == size as usize).map(|(_, token)| *token);
        let entries = members
            .into_iter()
            .filter_map(|(name, token)| Some((Key::parse(std::str::from_utf8(&name).ok()?).ok()?, token)));
        Ok(Page { entries: entries.collect(), next })
    }
}
