//! What is asked of a server without a script.

use bytes::Bytes;

use super::connection::Mark;
use super::node::Node;
use super::{Info, RedisFailure, Reply};
use crate::redis::operation::RedisOperation;

impl Node {
    /// At most `count` members of a zset with scores above `score` and below 2^53, with their scores, lowest score
    /// first.
    pub async fn members_above(&self, zset: &Bytes, score: u64, count: u32) -> Result<Vec<(Bytes, u64)>, RedisFailure> {
        self.call(&[RedisOperation::Range], self.connection.members_above(zset, score, count)).await?.into_members()
    }

    /// The member of a zset with exactly this score, which must be below 2^53.
    pub async fn member_at(&self, zset: &Bytes, score: u64) -> Result<Option<Bytes>, RedisFailure> {
        let rows = self.call(&[RedisOperation::Range], self.connection.member_at(zset, score)).await?.into_rows()?;
        rows.into_iter().next().map(Reply::into_text).transpose()
    }

    /// Number of members of a zset.
    pub async fn cardinality(&self, zset: &Bytes) -> Result<u64, RedisFailure> {
        self.call(&[RedisOperation::Count], self.connection.cardinality(zset)).await?.number()
    }

    /// Number of members of a zset with scores above `score`.
    pub async fn count_above(&self, zset: &Bytes, score: u64) -> Result<u64, RedisFailure> {
        self.call(&[RedisOperation::Count], self.connection.count_above(zset, score)).await?.number()
    }

    /// Leaves a mark under a key for so long, milliseconds.
    pub async fn mark(&self, key: &str, keep_ms: i64) -> Result<(), RedisFailure> {
        self.call(&[RedisOperation::Mark], self.connection.mark(key, keep_ms, Mark::Always)).await.map(|_| ())
    }

    /// Whether there is a mark under a key.
    pub async fn is_marked(&self, key: &str) -> Result<bool, RedisFailure> {
        let command = self.connection.count_existing(vec![Bytes::copy_from_slice(key.as_bytes())]);
        Ok(self.call(&[RedisOperation::Mark], command).await?.number::<u64>()? > 0)
    }

    /// Leaves a mark for so long, milliseconds, unless there is one. Whether it was left.
    pub async fn mark_if_absent(&self, key: &str, keep_ms: i64) -> Result<bool, RedisFailure> {
        let command = self.connection.mark(key, keep_ms, Mark::IfAbsent);
        Ok(self.call(&[RedisOperation::Mark], command).await? != Reply::Nil)
    }

    /// How many of these keys exist.
    pub async fn count_existing(&self, keys: Vec<Bytes>) -> Result<u64, RedisFailure> {
        self.call(&[RedisOperation::Count], self.connection.count_existing(keys)).await?.number()
    }

    /// Deletes keys of a probe.
    pub async fn delete(&self, keys: Vec<Bytes>) -> Result<(), RedisFailure> {
        self.call(&[RedisOperation::Probe], self.connection.delete(keys)).await.map(|_| ())
    }

    /// Has a key of a probe end so long from now, milliseconds. Whether it is there.
    pub async fn expire(&self, key: &Bytes, keep_ms: i64) -> Result<bool, RedisFailure> {
        let command = self.connection.expire(key.clone(), keep_ms);
        Ok(self.call(&[RedisOperation::Probe], command).await?.number::<u64>()? > 0)
    }

    /// What Redis says of itself.
    pub async fn info(&self) -> Result<Info, RedisFailure> {
        let text = self.call(&[RedisOperation::Info], self.connection.info()).await?.into_text()?;
        Ok(Info::parse(&String::from_utf8_lossy(&text)))
    }

    /// A field of a hash, where there is one.
    pub async fn hash_field(
        &self,
        operation: RedisOperation,
        hash: &str,
        field: &str,
    ) -> Result<Option<Bytes>, RedisFailure> {
        match self.call(&[operation], self.connection.hash_field(hash, field)).await? {
            Reply::Nil => Ok(None),
            other => other.into_text().map(Some),
        }
    }
}
