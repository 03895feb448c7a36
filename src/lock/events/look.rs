//! Reads what is watched.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;

use super::event::{Found, KEYS_AT_ONCE, Look, Prefix, Under};
use crate::lock::entry::Entry;
use crate::lock::index::Page;
use crate::lock::read::Looked;
use crate::lock::scripts::Scripts;
use crate::lock::{Key, Shard};
use crate::redis::RedisFailure;

/// Index entries that are looked at at once.
const NAMES: u32 = 256;

/// What a look is made with.
pub struct Reader {
    pub scripts: Scripts,
    /// How many may read an index at once.
    pub indexes: Arc<Semaphore>,
}

/// Looks at these keys of a shard, and at all that is held in its index and begins with one of the prefixes, page by page:
/// a prefix of which there is more than there is room for is looked for no longer.
pub async fn look(
    reader: Reader,
    shard: Shard,
    mut prefixes: Vec<Prefix>,
    keys: Vec<Key>,
) -> Result<Found, RedisFailure> {
    let Reader { scripts, indexes } = reader;
    if prefixes.is_empty() {
        return Ok(Found { looks: read(&scripts, &keys).await?, ..Found::default() });
    }
    let _place = indexes.acquire().await;
    let scripts = Scripts { redis: scripts.redis.beside(), ..scripts };
    let mut found = Found { looks: read(&scripts, &keys).await?, ..Found::default() };
    let mut known: BTreeSet<Key> = keys.into_iter().collect();
    let mut after = Some(0);
    while let Some(from) = after.filter(|_| !prefixes.is_empty()) {
        let page = Page::read(&scripts, shard, from, NAMES).await.map_err(RedisFailure::of_a_read)?;
        let is_covered = |key: &Key| prefixes.iter().any(|prefix| prefix.covers(key));
        // A key that leases share has as many entries, and is looked at once.
        let mut is_new = |entry: &Entry| {
            if entry.is_shared { known.insert(entry.key.clone()) } else { !known.contains(&entry.key) }
        };
        let sought = page.entries.into_iter().filter(|entry| is_covered(&entry.key)).filter(&mut is_new);
        let sought: Vec<Key> = sought.map(|entry| entry.key).collect();
        for look in read(&scripts, &sought).await? {
            if Under::of(&look.state) != Under::Free {
                found.add(look, &mut prefixes);
            }
        }
        after = page.next;
    }
    Ok(found)
}

async fn read(scripts: &Scripts, keys: &[Key]) -> Result<Vec<Look>, RedisFailure> {
    let mut looks = Vec::with_capacity(keys.len());
    for keys in keys.chunks(KEYS_AT_ONCE) {
        let found = scripts.read_each_lease(keys).await.map_err(RedisFailure::of_a_read)?;
        let at = Instant::now();
        looks.extend(keys.iter().zip(found).map(|(key, seen)| {
            let Looked { state, waiters } = Looked::of(scripts, key, seen);
            Look { key: key.clone(), state, waiters, at }
        }));
    }
    Ok(looks)
}
