//! Reads what is watched.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;

use super::event::Look;
use crate::lock::index::Page;
use crate::lock::read::Looked;
use crate::lock::scripts::Scripts;
use crate::lock::{Key, Shard};
use crate::redis::RedisFailure;

/// Keys that are looked at at once.
const KEYS_AT_ONCE: usize = 64;
/// Index entries that are looked at at once.
const NAMES: u32 = 256;

/// What a look is made with.
pub struct Reader {
    pub scripts: Scripts,
    /// How many may read an index at once.
    pub indexes: Arc<Semaphore>,
}

/// Looks at these keys of a shard, and at all in its index that begin with one of the prefixes.
pub async fn look(
    reader: Reader,
    shard: Shard,
    prefixes: Vec<String>,
    keys: Vec<Key>,
) -> Result<Vec<Look>, RedisFailure> {
    let Reader { scripts, indexes } = reader;
    if prefixes.is_empty() {
        return read(&scripts, &keys).await;
    }
    let _place = indexes.acquire().await;
    let scripts = Scripts { redis: scripts.redis.beside(), ..scripts };
    let mut keys: BTreeSet<Key> = keys.into_iter().collect();
    let mut after = Some(0);
    while let Some(from) = after {
        let page = Page::read(&scripts, shard, from, NAMES).await.map_err(RedisFailure::of_a_read)?;
        let is_watched = |key: &Key| prefixes.iter().any(|prefix| key.as_str().starts_with(prefix.as_str()));
        keys.extend(page.entries.into_iter().map(|(key, _)| key).filter(is_watched));
        after = page.next;
    }
    read(&scripts, &Vec::from_iter(keys)).await
}

async fn read(scripts: &Scripts, keys: &[Key]) -> Result<Vec<Look>, RedisFailure> {
    let mut looks = Vec::with_capacity(keys.len());
    for keys in keys.chunks(KEYS_AT_ONCE) {
        let found = scripts.read(keys).await.map_err(RedisFailure::of_a_read)?;
        let at = Instant::now();
        looks.extend(keys.iter().zip(found).map(|(key, seen)| {
            let Looked { state, waiters } = Looked::of(scripts, key, seen);
            Look { key: key.clone(), state, waiters, at }
        }));
    }
    Ok(looks)
}
