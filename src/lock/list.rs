//! Every lease, oldest grant first, a few at a time: a merge of the shards' indexes by token. The order is that of the
//! tokens, so a renewal changes nothing, and what is held throughout is seen once.

use std::collections::VecDeque;

use futures_util::future::try_join_all;

use super::record;
use super::scripts::{Scripts, Seen};
use super::types::{Key, Lease, Shard, Token};
use crate::redis::{Flight, RedisFailure};

/// Index entries read at once from one shard: bounds what a listing holds in memory to 64 × 64 leases.
const PAGE: u32 = 64;

/// A listing under way.
pub struct Listing {
    scripts: Scripts,
    prefix: String,
    shards: Vec<Run>,
    /// Until the first leases are there: from then on the reader sets the pace.
    flight: Option<Flight>,
}

/// One shard's part: read up to `after`, `ready` not yet given out.
struct Run {
    shard: Shard,
    after: u64,
    ready: VecDeque<Lease>,
    exhausted: bool,
}

impl Run {
    fn is_dry(&self) -> bool {
        self.ready.is_empty() && !self.exhausted
    }
}

impl Listing {
    /// The leases with tokens above `after` whose keys begin with `prefix`.
    pub(super) fn new(scripts: Scripts, flight: Flight, prefix: String, after: Option<Token>) -> Listing {
        let after = after.map_or(0, Token::get);
        let run = |shard| Run { shard, after, ready: VecDeque::new(), exhausted: false };
        Listing { scripts, prefix, shards: Shard::all().map(run).collect(), flight: Some(flight) }
    }

    /// The next leases, at most `most`; none when there are no more.
    pub async fn next(&mut self, most: usize) -> Result<Vec<Lease>, RedisFailure> {
        let mut batch = Vec::new();
        while batch.len() < most {
            let (scripts, prefix) = (&self.scripts, self.prefix.as_str());
            try_join_all(self.shards.iter_mut().filter(|run| run.is_dry()).map(|run| run.fill(scripts, prefix)))
                .await?;
            let before = batch.len();
            // Until a shard runs dry, the least head is the least of all.
            while batch.len() < most && !self.shards.iter().any(Run::is_dry) {
                let heads = self.shards.iter_mut().filter(|run| !run.ready.is_empty());
                let Some(least) = heads.min_by_key(|run| run.ready.front().map(|lease| lease.token)) else { break };
                batch.extend(least.ready.pop_front());
            }
            if batch.len() == before {
                break;
            }
        }
        self.flight = None;
        Ok(batch)
    }
}

impl Run {
    async fn fill(&mut self, scripts: &Scripts, prefix: &str) -> Result<(), RedisFailure> {
        while self.is_dry() {
            let tokens = scripts.space.tokens(self.shard);
            let page = scripts.redis.members_above(tokens, self.after, PAGE).await.map_err(RedisFailure::of_a_read)?;
            self.exhausted = page.len() < PAGE as usize;
            self.after = page.last().map_or(self.after, |(_, token)| *token);
            let wanted = page.into_iter().filter_map(|(key, token)| {
                let key = Key::parse(std::str::from_utf8(&key).ok()?).ok()?;
                key.as_str().starts_with(prefix).then_some((key, token))
            });
            let (keys, tokens): (Vec<Key>, Vec<u64>) = wanted.unzip();
            if keys.is_empty() {
                continue;
            }
            let found = scripts.read(&keys).await.map_err(RedisFailure::of_a_read)?;
            let leases = found.into_iter().zip(keys).zip(tokens).filter_map(|((found, key), token)| {
                let Seen::Text(found) = found else { return None };
                let lease = record::read(&key, &found)?;
                // Granted anew since the index was read: its turn comes under the newer token.
                (lease.token.get() == token).then_some(lease)
            });
            self.ready.extend(leases);
        }
        Ok(())
    }
}
