//! Whether locks can be granted, found out by granting one: an acquire and its release, by the ordinary scripts, in one
//! call, on a key that is no lock. So a probe fails for whatever reason an acquire does.
//!
//! The key is this process's alone, lies in the slots of the locks, under their prefix, and is in none of their indexes:
//! no list, count or metric of locks shows it. It ends with the call, or a second later.

use std::sync::Arc;

use futures_util::future::join;

use super::keys::KeySpace;
use super::record;
use super::request::Own;
use super::scripts::{AcquireArgs, AcquireRow, ReleaseRow, Scripts};
use super::{Key, Owner, OwnerKind, Shard, Ttl};
use super::{Locks, Shared};
use crate::redis::{Purpose, RedisFailure, Server, Slot};

/// How long what a probe acquires lasts where its release does not come to pass, milliseconds.
const TTL_MS: u64 = 1_000;

/// Probes the masters of one Redis.
pub struct Prober {
    scripts: Scripts,
    shared: Arc<Shared>,
    identity: String,
    /// One of each shard, in their order, and the slots that they are in.
    keys: Vec<Key>,
    slots: Vec<Slot>,
}

impl Locks {
    pub fn prober(&self) -> Prober {
        let (scripts, shared) = (&self.0.scripts, Arc::clone(&self.0.shared));
        let sidecar = shared.nonces.next();
        let space = scripts.space.probing(&sidecar);
        let owner = Owner { id: sidecar, label: None, description: None, kind: OwnerKind::System };
        let (keys, slots) = (Shard::all().map(key_of).collect(), slots_of(&space));
        let redis = scripts.redis.for_purpose(Purpose::Probe);
        let scripts = Scripts { redis, space, ..scripts.clone() };
        Prober { scripts, shared, identity: record::identity(&owner), keys, slots }
    }
}

impl Prober {
    /// The masters that are connected to, and the first shard of each, which [`Prober::probe`] takes.
    pub fn servers(&self) -> Vec<Server> {
        self.scripts.redis.servers(&self.slots)
    }

    /// Acquires and releases a key of a shard.
    pub async fn probe(&self, shard: usize) -> Result<(), RedisFailure> {
        let Prober { scripts, shared, identity, keys, .. } = self;
        let key = &keys[shard];
        let acquire = AcquireArgs {
            ttl: Ttl::from_ms(TTL_MS, TTL_MS).expect("a second is no less than the shortest ttl"),
            identity,
            nonce: &record::nonce(&shared.nonces.next()),
            further: "",
            // What the last probe left behind is no hindrance.
            own: Own::Extend,
            request: "",
        };
        // Both in one turn of the event loop, and so in one call.
        let (acquired, released) = join(scripts.acquire(key, acquire), scripts.release(key, None, identity, "")).await;
        match acquired? {
            AcquireRow::Granted { .. } | AcquireRow::Renewed(_) | AcquireRow::Replayed(_) => {}
            AcquireRow::Held(_) | AcquireRow::Stranger | AcquireRow::Rejoining { .. } => {
                return Err(RedisFailure::Nonsense("a key of lockside's own is held by another".to_owned()));
            }
        }
        match released? {
            // Lost: the two went apart, as after a cluster moved the slot.
            ReleaseRow::Released | ReleaseRow::Lost => Ok(()),
            ReleaseRow::Told | ReleaseRow::Other(_) | ReleaseRow::Stranger => {
                Err(RedisFailure::Nonsense("a key of lockside's own was not released".to_owned()))
            }
        }
    }
}

/// A key of this shard.
fn key_of(shard: Shard) -> Key {
    let mut keys = (0_u32..).filter_map(|number| Key::parse(&number.to_string()).ok());
    keys.find(|key| key.shard() == shard).expect("the shards divide all keys between them")
}

fn slots_of(space: &KeySpace) -> Vec<Slot> {
    Shard::all().map(|shard| space.slot(shard)).collect()
}
