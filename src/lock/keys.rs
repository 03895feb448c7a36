//! The whole Redis key schema: every key that lockside touches is named here and nowhere else.
//!
//! Everything of one lock carries the hash tag of its shard, `{prefix:17}`, so that each script is atomic on a Redis
//! Cluster too. The tag is never made of user text: a `}` in a key must not move the lock to another slot.
//!
//! Raw keys are the exception, for one Redis alone: there a lock's Redis key is its name, so that other programs' locks
//! and ours are one. A name that is spelled as a key of a namespace, of this or another prefix, is not taken so, for it
//! would be one of them.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

use super::{Key, LockConfig, Shard};
use crate::redis::{Patterns, Redis, Slot};

/// A raw key as any other.
const RAW_SAMPLE: &str = "any-other-key";

/// The names of one namespace; two prefixes never meet.
#[derive(Clone, Debug)]
pub struct KeySpace {
    users: String,
    raw_mark: String,
    shards: Arc<[ShardKeys]>,
    /// How names begin that are no raw keys; `None` where none are.
    not_raw: Option<String>,
}

#[derive(Debug)]
struct ShardKeys {
    /// Its number, as a text.
    shard: String,
    slot: Slot,
    lock: String,
    tokens: Bytes,
    queue: String,
    forced: String,
    mark: String,
    watch: Bytes,
    push: String,
}

impl ShardKeys {
    /// Of the shard whose keys all begin so.
    fn new(shard: Shard, begin: &str, push: String) -> ShardKeys {
        ShardKeys {
            shard: shard.to_string(),
            slot: Slot::of(begin),
            lock: format!("{begin}lock:"),
            tokens: format!("{begin}tokens").into(),
            queue: format!("{begin}queue:"),
            forced: format!("{begin}forced:"),
            mark: format!("{begin}mark:"),
            watch: format!("{begin}watch").into(),
            push,
        }
    }
}

impl KeySpace {
    /// The key space under `prefix`, on one server, whose database is part of the channels' names: the channels of a
    /// server belong to all its databases.
    pub fn in_database(prefix: &str, database: u8) -> KeySpace {
        KeySpace::with_channels(prefix, |_| format!("{prefix}:push:{database}:"))
    }

    /// The key space under `prefix` in the first database of one server.
    pub fn new(prefix: &str) -> KeySpace {
        KeySpace::in_database(prefix, 0)
    }

    /// The key space under `prefix` on a cluster, where messages stay with the servers of their shard.
    pub fn clustered(prefix: &str) -> KeySpace {
        KeySpace::with_channels(prefix, |shard| format!("{{{prefix}:{shard}}}:push:"))
    }

    fn with_channels(prefix: &str, push: impl Fn(Shard) -> String) -> KeySpace {
        let shards = Shard::all().map(|shard| ShardKeys::new(shard, &format!("{{{prefix}:{shard}}}:"), push(shard)));
        let (users, raw_mark) = (format!("{prefix}:users"), format!("{{{prefix}:raw}}:mark"));
        KeySpace { users, raw_mark, shards: shards.collect(), not_raw: None }
    }

    /// The key space under `prefix` on one server, with raw keys.
    pub fn raw(prefix: &str, database: u8) -> KeySpace {
        KeySpace { not_raw: Some(format!("{{{prefix}:")), ..KeySpace::in_database(prefix, database) }
    }

    /// The key space of these settings, in this database of a Redis.
    pub fn of(LockConfig { key_prefix, raw_keys, .. }: &LockConfig, redis: &Redis, database: u8) -> KeySpace {
        match (redis.is_cluster(), raw_keys) {
            (true, _) => KeySpace::clustered(key_prefix),
            (false, true) => KeySpace::raw(key_prefix, database),
            (false, false) => KeySpace::in_database(key_prefix, database),
        }
    }

    /// Keys for the probes of one process, `sidecar`: in the same slots, under the same prefix, and never a lock's, nor in
    /// the index of locks: only the last token of an index of its own stays.
    pub fn probing(&self, sidecar: &str) -> KeySpace {
        self.within("probe:", &format!("lock:{sidecar}:"))
    }

    /// The same for a process whose probes leave nothing behind: all of these keys are its own, the index too.
    pub fn checking(&self, process: &str) -> KeySpace {
        self.within(&format!("check:{process}:"), "lock:")
    }

    /// Keys that begin so within their shard, and of locks then so.
    fn within(&self, begin: &str, lock: &str) -> KeySpace {
        let of_a_shard = |(shard, keys): (Shard, &ShardKeys)| {
            let begin = format!("{}{begin}", keys.lock.strip_suffix("lock:").expect("so it was made"));
            let lock = format!("{begin}{lock}");
            ShardKeys { lock, ..ShardKeys::new(shard, &begin, keys.push.clone()) }
        };
        let shards = Shard::all().zip(self.shards.iter()).map(of_a_shard).collect();
        KeySpace { shards, not_raw: None, ..self.clone() }
    }

    /// What the keys begin with, between the braces of a shard too.
    pub fn prefix(&self) -> &str {
        self.users.strip_suffix(":users").expect("so it was made")
    }

    /// What an ACL user must be allowed who works with this space, and with no other: a prefix that goes on behind this
    /// one is another space, so that no `*` may stand for the number of a shard.
    pub fn patterns(&self) -> Patterns {
        let prefix = escaped(self.prefix());
        let numbers = ["[0-9]", "[0-9][0-9]"];
        let shards = numbers.map(|number| format!("~{{{prefix}:{number}}}:*")).join(" ");
        let names = if self.is_raw() { " and those of all locks, such as ~*" } else { "" };
        let channels = if self.push(Shard::all().next().expect("there are shards")).starts_with('{') {
            numbers.map(|number| format!("&{{{prefix}:{number}}}:push:*")).join(" ")
        } else {
            format!("&{prefix}:push:[0-9a-f]*")
        };
        Patterns { keys: format!("{shards} ~{{{prefix}:raw}}:mark %R~{prefix}:users{names}"), channels }
    }

    /// [`KeySpace::patterns`] of the space under `prefix`, on one server and on a cluster.
    pub fn patterns_anywhere(prefix: &str) -> Patterns {
        let Patterns { keys, channels } = KeySpace::new(prefix).patterns();
        let channels = [channels, KeySpace::clustered(prefix).patterns().channels].join(" ");
        Patterns { keys, channels }
    }

    /// A key of each kind and shard, which an ACL user of this space must be allowed to read and write; and those that it
    /// had better be allowed: the mark of raw keys and, where there are any, a key that is none of this space.
    pub fn samples(&self) -> (Vec<String>, Vec<String>) {
        let of_a_shard = |keys: &ShardKeys| {
            let begins =
                [&keys.queue, &keys.forced, &keys.mark].into_iter().chain((!self.is_raw()).then_some(&keys.lock));
            let of_all = [&keys.tokens, &keys.watch].map(|key| String::from_utf8_lossy(key).into_owned());
            begins.map(|begin| join(begin, "a")).chain(of_all).collect::<Vec<_>>()
        };
        let needed = self.shards.iter().flat_map(of_a_shard).collect();
        let raw = self.is_raw().then(|| RAW_SAMPLE.to_owned());
        (needed, [self.raw_mark.clone()].into_iter().chain(raw).collect())
    }

    /// Whether other programs' locks and ours are one.
    pub fn is_raw(&self) -> bool {
        self.not_raw.is_some()
    }

    /// String with an expiry: the lease of `key`, JSON.
    pub fn lock(&self, key: &Key) -> String {
        if let Some(not_raw) = &self.not_raw
            && !key.as_str().starts_with(not_raw)
            && !is_of_a_lock_space(key.as_str())
            && key.as_str() != self.users
        {
            return key.to_string();
        }
        join(&self.shards[key.shard().index()].lock, key.as_str())
    }

    /// Zset with an expiry, entry → position: who waits for `key`.
    pub fn queue(&self, key: &Key) -> String {
        join(&self.shards[key.shard().index()].queue, key.as_str())
    }

    /// String with an expiry: the token of the lease of `key` that was last removed by force.
    pub fn forced(&self, key: &Key) -> String {
        join(&self.shards[key.shard().index()].forced, key.as_str())
    }

    /// First part of the channels on which sidecars hear of their waiters' turns at the keys of a shard.
    pub fn push(&self, shard: Shard) -> &str {
        &self.shards[shard.index()].push
    }

    /// The number of a shard as a text, which scripts are given.
    pub fn number(&self, shard: Shard) -> &str {
        &self.shards[shard.index()].shard
    }

    /// The part of a cluster's keys that all of a shard's are.
    pub fn slot(&self, shard: Shard) -> Slot {
        self.shards[shard.index()].slot
    }

    /// Zset, key → token: the index of a shard. A member that is no key has the last token, so it never is empty again.
    pub fn tokens(&self, shard: Shard) -> &Bytes {
        &self.shards[shard.index()].tokens
    }

    /// Zset with an expiry and one member: some sidecar watches this shard, and is told what happens in it; the member's
    /// score is the number of the last message.
    pub fn watch(&self, shard: Shard) -> &Bytes {
        &self.shards[shard.index()].watch
    }

    /// String with an expiry: some sidecar sweeps the index of this shard, or did a moment ago.
    pub fn sweep_mark(&self, shard: Shard) -> String {
        join(&self.shards[shard.index()].mark, "sweep")
    }

    /// String with an expiry: some sidecar sweeps all indexes of the master that has this shard, or did a moment ago.
    pub fn tour_mark(&self, shard: Shard) -> String {
        join(&self.shards[shard.index()].mark, "tour")
    }

    /// String with an expiry: some sidecar of this namespace has raw keys.
    pub fn raw_mark(&self) -> &str {
        &self.raw_mark
    }

    /// Hash, user id → JSON: the user directory. Written by others, read by us.
    pub fn users(&self) -> String {
        self.users.clone()
    }
}

/// Whether a name is spelled as a key of some namespace, whatever its prefix. Which names are must never change: a sidecar
/// of another version would hold the lock under another Redis key.
fn is_of_a_lock_space(name: &str) -> bool {
    const KINDS: [&str; 6] = ["lock:", "tokens", "queue:", "forced:", "mark", "probe:"];
    let is_ours = |kind: &str| kind == "watch" || KINDS.iter().any(|known| kind.starts_with(known));
    let split = name.strip_prefix('{').and_then(|name| name.split_once("}:"));
    split.is_some_and(|(tag, kind)| tag.contains(':') && is_ours(kind))
}

/// A text as a pattern of Redis that nothing else matches; a space stands in no pattern, so there any character does.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '*' | '?' | '[' | ']' | '^' | '\\' => pattern.extend(['\\', letter]),
            // An ACL file has no spelling for these.
            letter if letter.is_ascii_whitespace() || matches!(letter, '"' | '\'') => pattern.push('?'),
            letter => pattern.push(letter),
        }
    }
    pattern
}

fn join(first: &str, second: &str) -> String {
    [first, second].concat()
}
