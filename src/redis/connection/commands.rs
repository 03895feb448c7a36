//! What may be asked on a connection. Each answer is Redis's own, without a look at it.

use std::time::Duration;

use bytes::Bytes;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{
    ClientLike, HashesInterface, KeysInterface, LuaInterface, PubsubInterface, SortedSetsInterface,
};
use fred::types::config::Options;
use fred::types::sorted_sets::{ZRange, ZRangeBound, ZRangeKind};
use fred::types::{ClusterHash, CustomCommand, Expiration, SetOptions, Value};
use futures_util::FutureExt;

use super::{Command, Connection};
use crate::redis::{RedisFailure, Reply};

/// Above it not every integer is a score of its own.
const SCORES_END: u64 = 1 << 53;

/// Whether a mark replaces another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Always,
    IfAbsent,
}

/// A command of the client library as one of ours. Not an `async` block around it: that would hold the library's future,
/// 5 KB, twice, and copy it for each command.
fn command<'a>(asked: impl Future<Output = Result<Value, Error>> + Send + 'a) -> Command<'a> {
    Box::pin(asked.map(|outcome| outcome.map(Reply::from).map_err(RedisFailure::from)))
}

/// One that the client library need not know.
fn custom(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, ClusterHash::Random, false)
}

impl Connection {
    /// A command by its name.
    pub fn command(&self, name: &'static str, args: &[&str]) -> Command<'_> {
        command(self.0.custom(custom(name), owned(args)))
    }

    /// As `command`, with a deadline of its own.
    pub fn command_within(&self, timeout: Duration, name: &'static str, args: &[&str]) -> Command<'_> {
        let options = Options { timeout: Some(timeout), ..Options::default() };
        let (client, args) = (self.0.with_options(&options), owned(args));
        command(async move { client.custom(custom(name), args).await })
    }

    /// Runs a script by its digest.
    pub fn evalsha<'a>(&'a self, digest: &'a str, keys: Vec<Bytes>, arg: Bytes) -> Command<'a> {
        command(self.0.evalsha(digest, keys, arg))
    }

    /// Runs a script by its digest and waits until so many replicas have what it wrote, for that long at most: in one
    /// write, and so of this script. An array of its answer and of how many have it, nothing where Redis would not say;
    /// `unheard` is told why.
    pub fn evalsha_and_wait<'a>(
        &'a self,
        digest: &'a str,
        keys: Vec<Bytes>,
        arg: Bytes,
        (replicas, at_most): (u32, Duration),
        unheard: impl FnOnce(RedisFailure) + Send + 'a,
    ) -> Command<'a> {
        let head = [Value::from(digest), Value::from(keys.len().to_string())];
        let script: Vec<Value> = head.into_iter().chain(keys.into_iter().chain([arg]).map(Value::Bytes)).collect();
        let wait = vec![replicas.to_string(), at_most.as_millis().to_string()];
        command(async move {
            // Not by the library's own EVALSHA and WAIT: it takes those for commands that block.
            let pipeline = self.0.pipeline();
            let () = pipeline.custom(custom("EVALSHA"), script).await?;
            let () = pipeline.custom(custom("WAIT"), wait).await?;
            let mut answers = pipeline.try_all::<Value>().await.into_iter();
            let missing = || Err(Error::new(ErrorKind::Protocol, "no answer in a pipeline"));
            let reply = answers.next().unwrap_or_else(missing)?;
            let acknowledged = answers.next().unwrap_or_else(missing).unwrap_or_else(|error| {
                unheard(error.into());
                Value::Null
            });
            Ok(Value::Array(vec![reply, acknowledged]))
        })
    }

    pub fn load_script<'a>(&'a self, text: &'a str) -> Command<'a> {
        command(self.0.script_load(text))
    }

    /// At most `count` members of a zset with scores above `score` and below 2^53, and their scores.
    pub fn members_above(&self, zset: &Bytes, score: u64, count: u32) -> Command<'_> {
        let (min, max) = (bound(score, ZRangeKind::Exclusive), bound(SCORES_END, ZRangeKind::Exclusive));
        command(self.0.zrangebyscore(zset.clone(), min, max, true, Some((0, i64::from(count)))))
    }

    /// The member of a zset with exactly this score, which must be below 2^53.
    pub fn member_at(&self, zset: &Bytes, score: u64) -> Command<'_> {
        let exactly = || bound(score, ZRangeKind::Inclusive);
        command(self.0.zrangebyscore(zset.clone(), exactly(), exactly(), false, Some((0, 1))))
    }

    pub fn cardinality(&self, zset: &Bytes) -> Command<'_> {
        command(self.0.zcard(zset.clone()))
    }

    /// How many members of a zset have scores above `score`.
    pub fn count_above(&self, zset: &Bytes, score: u64) -> Command<'_> {
        command(self.0.zcount(zset.clone(), (score + 1) as f64, f64::INFINITY))
    }

    /// Puts an empty text for so long, milliseconds.
    pub fn mark<'a>(&'a self, key: &'a str, keep_ms: i64, mark: Mark) -> Command<'a> {
        let unless = (mark == Mark::IfAbsent).then_some(SetOptions::NX);
        command(self.0.set(key, "", Some(Expiration::PX(keep_ms)), unless, false))
    }

    /// How many of these keys exist.
    pub fn count_existing(&self, keys: Vec<Bytes>) -> Command<'_> {
        command(self.0.exists(keys))
    }

    /// Deletes keys.
    pub fn delete(&self, keys: Vec<Bytes>) -> Command<'_> {
        command(self.0.del(keys))
    }

    /// Has a key end so long from now, milliseconds.
    pub fn expire(&self, key: Bytes, keep_ms: i64) -> Command<'_> {
        command(self.0.pexpire(key, keep_ms, None))
    }

    /// All sections of `INFO`.
    pub fn info(&self) -> Command<'_> {
        // Without a section: before 7.0 Redis takes no more than one, and each would be a question of its own.
        command(self.0.info(None))
    }

    pub fn hash_field<'a>(&'a self, hash: &'a str, field: &'a str) -> Command<'a> {
        command(self.0.hget(hash, field))
    }

    /// What time it is there.
    pub fn time(&self) -> Command<'_> {
        self.command("TIME", &[])
    }

    /// Listens to channels that are not sharded; whether Redis lets it.
    pub async fn subscribe(&self, channels: Vec<&str>) -> Result<(), RedisFailure> {
        Ok(self.0.subscribe(channels).await?)
    }
}

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

/// A score as a bound of a range: an integer on the wire.
fn bound(score: u64, kind: ZRangeKind) -> ZRange {
    ZRange { kind, range: ZRangeBound::Index(i64::try_from(score).unwrap_or(i64::MAX)) }
}
