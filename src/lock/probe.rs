//! Whether locks can be granted and kept, found out by doing so: an acquire, the same again by its owner, which renews the
//! lease, and its release, by the ordinary scripts, in one call, on a key that is no lock. So a probe fails for whatever
//! reason an acquire does. What only other keys need, or a lock that others wait for, Redis is asked about in the same
//! call: whether it allows every key, command and channel.
//!
//! The key is this process's alone, lies in the slots of the locks, under their prefix, and is in none of their indexes:
//! no list, count or metric of locks shows it. It ends with the call, or two seconds later.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::keys::KeySpace;
use super::record;
use super::request::Reentry;
use super::scripts::{AcquireArgs, AcquireRow, By, ReleaseRow, Scripts};
use super::{Key, Mode, Owner, Shard};
use super::{Locks, Shared};
use crate::redis::{Purpose, RedisFailure, Server, Slot};

/// How long what a probe acquires lasts where its release does not come to pass, milliseconds.
const TTL_MS: u64 = 1_000;
const RENEWED_TTL_MS: u64 = 2_000;
/// How long the index of a tidy probe lasts where it cannot be deleted.
const INDEX_TTL_MS: i64 = 10_000;
/// Between two attempts to give that index an end, before it is there.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Probes the masters of one Redis.
pub struct Prober {
    scripts: Scripts,
    shared: Arc<Shared>,
    identity: String,
    /// One of each shard, in their order, and the slots that they are in.
    keys: Vec<Key>,
    slots: Vec<Slot>,
}

/// What a probe finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    Lock,
    LockAndRights,
}

/// A probe that failed, and the part of it that did.
#[derive(Debug, thiserror::Error)]
#[error("{of}: {failure}")]
pub struct ProbeFailure {
    pub of: &'static str,
    pub failure: RedisFailure,
}

/// Keys of a tidy probe that could not be deleted.
#[derive(Debug, thiserror::Error)]
#[error("the keys of this check could not be deleted, and {} ({failure})", self.outlook())]
pub struct Leftover {
    tokens: String,
    expires: bool,
    failure: RedisFailure,
}

impl Leftover {
    fn outlook(&self) -> String {
        match self.expires {
            true => format!("expire within {} s", INDEX_TTL_MS / 1_000),
            false => format!("`{}` may stay in Redis", self.tokens),
        }
    }
}

/// What a probe found that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probed {
    /// `None` where they were not asked about.
    pub rights: Option<Rights>,
}

/// Redis allows all that locks need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// What it refuses that they can do without.
    pub refused: Option<String>,
}

impl Locks {
    pub fn prober(&self) -> Prober {
        let sidecar = self.0.shared.nonces.next();
        self.prober_in(self.0.scripts.space.probing(&sidecar), sidecar)
    }

    /// For a process that probes once, see [`Prober::tidily`].
    pub fn tidy_prober(&self) -> Prober {
        let process = self.0.shared.nonces.next();
        self.prober_in(self.0.scripts.space.checking(&process), process)
    }

    fn prober_in(&self, space: KeySpace, process: String) -> Prober {
        let (scripts, shared) = (&self.0.scripts, Arc::clone(&self.0.shared));
        let owner = Owner::system(process);
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

    /// Acquires, renews and releases a key of a shard.
    pub async fn probe(&self, shard: usize, checks: Checks) -> Result<Probed, ProbeFailure> {
        let at = |of| move |failure| ProbeFailure { of, failure };
        let key = &self.keys[shard];
        let rights = async {
            match checks {
                Checks::Lock => Ok(None),
                Checks::LockAndRights => self.scripts.check_rights(key.shard()).await.map(Some),
            }
        };
        let release = self.scripts.release(key, None, &self.identity, By::Owner { rest_ms: None, shows: false });
        // All in one turn of the event loop, and so in one call, in this order.
        let (acquired, renewed, released, rights) =
            tokio::join!(self.acquire(key, TTL_MS), self.acquire(key, RENEWED_TTL_MS), release, rights);
        // What it says is more than that an acquire fails, where it says anything.
        let rights = match rights {
            Err(failure) if failure.is_of_rights() => return Err(at("check of rights")(failure)),
            rights => rights,
        };
        acquired.map_err(at("acquire"))?;
        renewed.map_err(at("renewal"))?;
        match released.map_err(at("release"))? {
            // Lost: they went apart, as after a cluster moved the slot.
            ReleaseRow::Released(_) | ReleaseRow::Lost => {}
            ReleaseRow::Told | ReleaseRow::Other(_) | ReleaseRow::Stranger => {
                let nonsense = "a key of lockside's own was not released".to_owned();
                return Err(at("release")(RedisFailure::Nonsense(nonsense)));
            }
        }
        let rights = rights.map_err(at("check of rights"))?;
        Ok(Probed { rights: rights.map(|refused| Rights { refused }) })
    }

    /// Runs probes of a shard, and deletes what they leave behind: of a [`Locks::tidy_prober`], whose keys are no other's.
    /// Where that fails they end by themselves.
    pub async fn tidily<T>(&self, shard: usize, probe: impl Future<Output = T>) -> (T, Result<(), Leftover>) {
        let (Scripts { redis, space, .. }, key) = (&self.scripts, &self.keys[shard]);
        let (lock, tokens) = (Bytes::from(space.lock(key)), space.tokens(key.shard()).clone());
        let mut expires = Ok(false);
        let probed = tokio::select! {
            biased;
            probed = probe => probed,
            never = self.expire(&tokens, &mut expires) => match never {},
        };
        let slot = space.slot(key.shard());
        let Err(failure) = redis.delete(slot, &[lock, tokens.clone()]).await else { return (probed, Ok(())) };
        // What was refused once is refused again.
        let expires = match expires {
            Ok(false) => redis.expire(&tokens, INDEX_TTL_MS).await.is_ok(),
            expires => expires.is_ok(),
        };
        let tokens = String::from_utf8_lossy(&tokens).into_owned();
        (probed, Err(Leftover { tokens, expires, failure }))
    }

    /// Gives the index an end, in the same go as the probe that makes it: with the probe's call, which goes out when this
    /// turn has ended, and again until it is there.
    async fn expire(&self, tokens: &Bytes, expires: &mut Result<bool, RedisFailure>) -> Infallible {
        yield_now().await;
        while matches!(expires, Ok(false)) {
            *expires = self.scripts.redis.expire(tokens, INDEX_TTL_MS).await;
            sleep(LOOK_AGAIN).await;
        }
        std::future::pending().await
    }

    async fn acquire(&self, key: &Key, ttl_ms: u64) -> Result<(), RedisFailure> {
        let acquire = AcquireArgs {
            key_ms: ttl_ms,
            identity: &self.identity,
            nonce: &record::nonce(&self.shared.nonces.next()),
            further: "",
            // What the last probe left behind is no hindrance.
            reentry: Reentry::Extend,
            request: "",
        };
        match self.scripts.acquire(key, Mode::Exclusive, acquire).await? {
            AcquireRow::Granted { .. } | AcquireRow::Renewed(_) | AcquireRow::Replayed(_) => Ok(()),
            AcquireRow::Held(_)
            | AcquireRow::Own(_)
            | AcquireRow::Shared { .. }
            | AcquireRow::Stranger
            | AcquireRow::Rejoining { .. } => {
                Err(RedisFailure::Nonsense("a key of lockside's own is held by another".to_owned()))
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
