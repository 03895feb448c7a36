//! What is asked of the one server that has the keys, and of another where they have moved meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::masters::{Masters, Slot};
use super::node::Node;
use super::{Call, Purpose, Redis, RedisFailure, Reply, Script};
use crate::redis::operation::RedisOperation;

/// How long one that was sent to the wrong master waits to hear of the right one, before it asks again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Runs `$call` on the master of a slot, and once more on another master where the first answers that it is not the slot's:
/// then nothing was done. A macro, because a function with a closure would keep the future of the call twice.
macro_rules! on {
    ($self:ident, $slot:expr, $node:ident => $call:expr) => {
        on!($self, $slot, ($node, _is_split) => $call)
    };
    // Whether the slot's keys were just found to be at two servers.
    ($self:ident, $slot:expr, ($node:ident, $is_split:ident) => $call:expr) => {{
        let (slot, begun) = ($slot, Instant::now());
        let mut $is_split = false;
        loop {
            let $node = &$self.master_of(slot).await?;
            match $call.await {
                Err(failure) if failure.is_elsewhere() => {
                    $is_split = !failure.has_moved();
                    Box::pin($self.look_elsewhere(slot, $node, failure, begun)).await?;
                }
                outcome => break outcome,
            }
        }
    }};
}

impl Redis {
    /// Asks the master of a slot, by the script that is made for it, whether it allows all that [`Redis::know`] was told.
    /// `Ok` says what it refuses that locks can do without.
    pub async fn check_rights(&self, script: &'static Script, slot: Slot) -> Result<Option<String>, RedisFailure> {
        on!(self, slot, node => node.check_rights(script, slot))
    }

    /// See `Node::run_in_time`.
    pub async fn run_in_time(
        &self,
        script: &'static Script,
        slot: Slot,
        call: impl Fn() -> Call,
    ) -> Result<Reply, RedisFailure> {
        on!(self, slot, (node, is_split) => {
            node.run_in_time(script, slot, self.purpose, || call().where_it_is(is_split))
        })
    }

    /// Runs a script, all of whose keys are of `slot`, by its digest; loads it first where Redis does not know it, and
    /// the caller does not notice.
    pub async fn run(
        &self,
        script: &'static Script,
        slot: Slot,
        call: impl Fn() -> Call,
    ) -> Result<Reply, RedisFailure> {
        on!(self, slot, (node, is_split) => node.run(script, slot, self.purpose, || call().where_it_is(is_split)))
    }

    /// At most `count` members of a zset with scores above `score` and below 2^53, with their scores, lowest score
    /// first.
    pub async fn members_above(&self, zset: &Bytes, score: u64, count: u32) -> Result<Vec<(Bytes, u64)>, RedisFailure> {
        on!(self, Slot::of(zset), node => node.members_above(zset, score, count))
    }

    /// The member of a zset with exactly this score, which must be below 2^53.
    pub async fn member_at(&self, zset: &Bytes, score: u64) -> Result<Option<Bytes>, RedisFailure> {
        on!(self, Slot::of(zset), node => node.member_at(zset, score))
    }

    /// Number of members of a zset.
    pub async fn cardinality(&self, zset: &Bytes) -> Result<u64, RedisFailure> {
        on!(self, Slot::of(zset), node => node.cardinality(zset))
    }

    /// Number of members of a zset with scores above `score`.
    pub async fn count_above(&self, zset: &Bytes, score: u64) -> Result<u64, RedisFailure> {
        on!(self, Slot::of(zset), node => node.count_above(zset, score))
    }

    /// Puts a mark that is kept for `keep_ms`.
    pub async fn mark(&self, key: &str, keep_ms: i64) -> Result<(), RedisFailure> {
        on!(self, Slot::of(key), node => node.mark(key, keep_ms))
    }

    /// Whether there is such a mark.
    pub async fn is_marked(&self, key: &str) -> Result<bool, RedisFailure> {
        on!(self, Slot::of(key), node => node.is_marked(key))
    }

    /// Puts a mark that is kept for `keep_ms`, unless there is one already. Whether it was put.
    pub async fn mark_if_absent(&self, key: &str, keep_ms: i64) -> Result<bool, RedisFailure> {
        on!(self, Slot::of(key), node => node.mark_if_absent(key, keep_ms))
    }

    /// How many of these keys, which are all of `slot`, exist.
    pub async fn count_existing(&self, slot: Slot, keys: &[Bytes]) -> Result<u64, RedisFailure> {
        on!(self, slot, node => node.count_existing(keys.to_vec()))
    }

    /// Deletes keys of a probe, which are all of `slot`.
    pub async fn delete(&self, slot: Slot, keys: &[Bytes]) -> Result<(), RedisFailure> {
        on!(self, slot, node => node.delete(keys.to_vec()))
    }

    /// Has a key of a probe end so long from now, milliseconds. Whether it is there.
    pub async fn expire(&self, key: &Bytes, keep_ms: i64) -> Result<bool, RedisFailure> {
        on!(self, Slot::of(key), node => node.expire(key, keep_ms))
    }

    /// A field of a hash, where there is one.
    pub async fn hash_field(&self, hash: &str, field: &str) -> Result<Option<Bytes>, RedisFailure> {
        let operation = match self.purpose {
            Purpose::Probe => RedisOperation::Probe,
            Purpose::Locks | Purpose::Queues => RedisOperation::Directory,
        };
        on!(self, Slot::of(hash), node => node.hash_field(operation, hash, field))
    }

    /// Who serves a slot; waits a little where none is known.
    async fn master_of(&self, slot: Slot) -> Result<Arc<Node>, RedisFailure> {
        let known = self.masters.borrow().of(slot).map(Arc::clone);
        let node = match known {
            Some(node) => node,
            None => Box::pin(self.await_master_of(slot)).await?,
        };
        if self.is_beside { Box::pin(node.beside()).await } else { Ok(node) }
    }

    async fn await_master_of(&self, slot: Slot) -> Result<Arc<Node>, RedisFailure> {
        let mut masters = self.masters.clone();
        let there = masters.wait_for(|masters| masters.of(slot).is_some());
        match tokio::time::timeout(self.patience, there).await {
            Ok(Ok(masters)) => Ok(Arc::clone(masters.of(slot).expect("it is there: that was waited for"))),
            _ => {
                let away = || self.masters.borrow().away().join("; ");
                Err(RedisFailure::unconnected(self.status.ready().err().unwrap_or_else(away)))
            }
        }
    }

    /// Waits until the slot has a master other than `node`, which redirected the call; gives up when that takes too long.
    async fn look_elsewhere(
        &self,
        slot: Slot,
        node: &Arc<Node>,
        failure: RedisFailure,
        begun: Instant,
    ) -> Result<(), RedisFailure> {
        if !self.is_cluster() || begun.elapsed() > self.patience {
            return Err(failure);
        }
        if failure.has_moved() {
            self.status.wants_news();
        }
        if self.is_beside {
            // It is never the connection that the masters are known by.
            tokio::time::sleep(LOOK_AGAIN).await;
            return Ok(());
        }
        let mut masters = self.masters.clone();
        let is_another = |masters: &Masters| masters.of(slot).is_some_and(|other| !Arc::ptr_eq(other, node));
        let _ = tokio::time::timeout(LOOK_AGAIN, masters.wait_for(is_another)).await;
        Ok(())
    }
}
