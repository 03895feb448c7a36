//! The index of a shard, a page at a time.

use crate::lock::Shard;
use crate::lock::entry::Entry;
use crate::lock::scripts::Scripts;
use crate::redis::RedisFailure;

/// Some entries of an index.
pub struct Page {
    /// Lowest token first.
    pub entries: Vec<Entry>,
    /// The token above which the next page begins; `None` where this is the last one.
    pub next: Option<u64>,
}

impl Page {
    /// The entries with tokens above `after`, at most `size`.
    pub async fn read(scripts: &Scripts, shard: Shard, after: u64, size: u32) -> Result<Page, RedisFailure> {
        let members = scripts.redis.members_above(scripts.space.tokens(shard), after, size).await?;
        let next = members.last().filter(|_| members.len() == size as usize).map(|(_, token)| *token);
        let entries = members.into_iter().filter_map(|(name, token)| Entry::of(&name, token));
        Ok(Page { entries: entries.collect(), next })
    }
}
