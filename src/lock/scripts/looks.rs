//! Typed calls of the scripts that look at keys, indexes and marks, and grant nothing.

use super::super::entry::Entry;
use super::super::lua::{CENSUS, READ, SWEEP, WATCH};
use super::super::row::Row;
use super::super::rows::{Seen, StoredOrNone, WatchRow};
use super::super::{Key, Shard, Token};
use super::Scripts;
use crate::redis::{Args, Call, RedisFailure};

/// As `read.lua` has it, for a token.
const EACH_LEASE: &str = "each";

impl Scripts {
    /// What lies under each of `keys`, which are all of one shard, and at least one, and how many wait for it.
    pub async fn read(&self, keys: &[Key]) -> Result<Vec<Seen>, RedisFailure> {
        self.read_each(keys.iter().map(|key| (key, None))).await
    }

    /// [`Scripts::read`], with what is known of the leases that share a key and are not among the oldest.
    pub async fn read_each_lease(&self, keys: &[Key]) -> Result<Vec<Seen>, RedisFailure> {
        self.read_each(keys.iter().map(|key| (key, Some(EACH_LEASE.to_owned())))).await
    }

    /// The leases that these entries of an index speak of, which are all of one shard, and at least one.
    pub async fn read_entries(&self, entries: &[Entry]) -> Result<Vec<Seen>, RedisFailure> {
        self.read_each(entries.iter().map(|entry| (&entry.key, entry.is_shared.then(|| entry.token.to_string())))).await
    }

    /// With a token: of the leases that share a key that one; or with [`EACH_LEASE`].
    async fn read_each<'a>(
        &self,
        entries: impl ExactSizeIterator<Item = (&'a Key, Option<String>)> + Clone,
    ) -> Result<Vec<Seen>, RedisFailure> {
        let slot = self.slot(entries.clone().next().expect("at least one").0);
        let of_a_key = |(key, _): (&Key, _)| [self.space.lock(key).into(), self.space.queue(key).into()];
        let call = || {
            let mut args = Args::default();
            entries.clone().for_each(|(_, token)| args.push(token.as_deref().unwrap_or_default()));
            Call { keys: entries.clone().flat_map(of_a_key).collect(), args, ..Call::default() }
        };
        let rows = self.redis.run(&READ, slot, call).await?.into_rows()?;
        let rows = rows.into_iter().map(|reply| {
            let mut row = Row::of(reply)?;
            let waiters = row.number()?;
            let under = match row.word().as_ref() {
                b"lease" => StoredOrNone::Text(row.found()?),
                b"shared" => StoredOrNone::Shared {
                    count: row.number()?,
                    left_ms: row.number()?,
                    first_ms: row.number()?,
                    newest: Token::new(row.number()?),
                    others: row.others()?,
                    leases: row.all_found()?,
                },
                b"free" => StoredOrNone::Nothing,
                b"stranger" => StoredOrNone::Stranger,
                _ => return Err(row.unknown(&READ)),
            };
            Ok(Seen { under, waiters })
        });
        rows.collect()
    }

    /// Has the scripts tell of what happens in `shards`, which one master serves, and at least one, for `keep_ms` from now
    /// on.
    pub async fn watch(&self, shards: &[Shard], keep_ms: u64) -> Result<Vec<WatchRow>, RedisFailure> {
        let keep_ms = keep_ms.to_string();
        let call = || Call {
            keys: shards.iter().map(|shard| self.space.watch(*shard).clone()).collect(),
            args: Args::of([keep_ms.as_str()]),
            ..Call::default()
        };
        let mut row = Row::of(self.redis.run(&WATCH, self.space.slot(shards[0]), call).await?)?;
        match row.word().as_ref() {
            b"marked" => {
                let now_ms = row.number()?;
                let of_a_shard = |_| Ok(WatchRow { now_ms, number: row.number()?, is_new: row.number::<u8>()? == 1 });
                shards.iter().map(of_a_shard).collect()
            }
            _ => Err(row.unknown(&WATCH)),
        }
    }

    /// Drops those of these index entries of `shard` whose leases are gone; how many.
    pub async fn sweep(&self, shard: Shard, entries: &[Entry]) -> Result<u64, RedisFailure> {
        let names: Vec<String> = entries.iter().map(Entry::name).collect();
        let call = || Call {
            keys: std::iter::once(self.space.tokens(shard).clone())
                .chain(entries.iter().map(|entry| self.space.lock(&entry.key).into()))
                .collect(),
            args: Args::of(names.iter().map(String::as_str)),
            ..Call::default()
        };
        let mut row = Row::of(self.redis.run(&SWEEP, self.space.slot(shard), call).await?)?;
        match row.word().as_ref() {
            b"swept" => row.number(),
            _ => Err(row.unknown(&SWEEP)),
        }
    }

    /// How many entries the indexes of these shards have, which one master serves, and the lowest token there.
    pub async fn census(&self, shards: &[Shard]) -> Result<(u64, Option<Token>), RedisFailure> {
        let tokens = |shard: &Shard| std::str::from_utf8(self.space.tokens(*shard)).expect("it was made of text");
        let call = || {
            if self.redis.is_cluster() {
                return Call { args: Args::of(shards.iter().map(tokens)), ..Call::default() };
            }
            // As keys where they may be: an error of Redis quotes what a command begins with, and the client library loses
            // an error that is no text, and with it the order of the answers.
            let keys = shards.iter().map(|shard| self.space.tokens(*shard).clone()).collect();
            Call { keys, ..Call::default() }
        };
        let mut row = Row::of(self.redis.run(&CENSUS, self.space.slot(shards[0]), call).await?)?;
        match row.word().as_ref() {
            b"counted" => Ok((row.number()?, Token::new(row.number()?))),
            _ => Err(row.unknown(&CENSUS)),
        }
    }
}
