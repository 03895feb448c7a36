//! The whole Redis key schema: every key that lockside touches is named here and nowhere else.
//!
//! Everything of one lock carries the hash tag of its shard, `{prefix:17}`, so that each script is atomic on a Redis
//! Cluster too. The tag is never made of user text: a `}` in a key must not move the lock to another slot.

use std::sync::Arc;

use bytes::Bytes;

use super::types::{Key, Shard};

/// The names of one lock space; two prefixes never meet.
#[derive(Clone, Debug)]
pub struct KeySpace {
    prefix: String,
    push: String,
    shards: Arc<[ShardKeys]>,
}

#[derive(Debug)]
struct ShardKeys {
    /// Its number, as a text.
    shard: String,
    lock: String,
    sequence: Bytes,
    tokens: Bytes,
    queue: String,
    forced: String,
}

impl KeySpace {
    /// The key space under `prefix`.
    pub fn new(prefix: &str) -> KeySpace {
        let shards = Shard::all().map(|shard| ShardKeys {
            shard: shard.to_string(),
            lock: format!("{{{prefix}:{shard}}}:lock:"),
            sequence: format!("{{{prefix}:{shard}}}:seq").into(),
            tokens: format!("{{{prefix}:{shard}}}:tokens").into(),
            queue: format!("{{{prefix}:{shard}}}:queue:"),
            forced: format!("{{{prefix}:{shard}}}:forced:"),
        });
        KeySpace { prefix: prefix.to_owned(), push: format!("{prefix}:push:"), shards: shards.collect() }
    }

    /// String with an expiry: the lease of `key`, JSON.
    pub fn lock(&self, key: &Key) -> String {
        join(&self.shards[key.shard().index()].lock, key.as_str())
    }

    /// Zset with an expiry, waiter → place in line: who waits for `key`.
    pub fn queue(&self, key: &Key) -> String {
        join(&self.shards[key.shard().index()].queue, key.as_str())
    }

    /// String with an expiry: the token of the lease of `key` that was last taken away.
    pub fn forced(&self, key: &Key) -> String {
        join(&self.shards[key.shard().index()].forced, key.as_str())
    }

    /// First part of the channels on which sidecars hear of their waiters' turns.
    pub fn push(&self) -> &str {
        &self.push
    }

    /// The number of a shard as a text, which scripts are given.
    pub fn number(&self, shard: Shard) -> &str {
        &self.shards[shard.index()].shard
    }

    /// String: the last sequence of a shard. One a shard, so without an expiry.
    pub fn sequence(&self, shard: Shard) -> &Bytes {
        &self.shards[shard.index()].sequence
    }

    /// Zset, key → token: the index of a shard.
    pub fn tokens(&self, shard: Shard) -> &Bytes {
        &self.shards[shard.index()].tokens
    }

    /// Hash, user id → JSON: the user directory. Written by others, read by us.
    pub fn users(&self) -> String {
        format!("{}:users", self.prefix)
    }
}

fn join(first: &str, second: &str) -> String {
    [first, second].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_text_never_reaches_the_hash_tag() {
        let space = KeySpace::new("lockside");
        let key = Key::parse("}{x}").expect("a key");
        let tag = format!("{{lockside:{}}}", key.shard());
        assert_eq!(space.lock(&key), format!("{tag}:lock:}}{{x}}"));
        assert_eq!(*space.sequence(key.shard()), format!("{tag}:seq"));
        assert_eq!(*space.tokens(key.shard()), format!("{tag}:tokens"));
    }
}
