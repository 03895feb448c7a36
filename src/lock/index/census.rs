//! How many leases the indexes know, and the oldest grant: looked at when it is asked for, and no more than once a
//! second, however many ask.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::sync::Mutex;

use crate::lock::scripts::Scripts;
use crate::lock::{Shard, Token};
use crate::redis::RedisFailure;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Commands in one look: one a master, so that a cluster of more masters is counted in several looks.
const MOST_COMMANDS: usize = 16;

/// What the indexes say; leases that expired and were not swept yet are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub locks: u64,
    pub oldest: Option<Token>,
}

/// The last look. One a process.
#[derive(Default)]
pub struct Census(Mutex<Last>);

#[derive(Default)]
struct Last {
    at: Option<Instant>,
    /// `None` where Redis did not say.
    counted: Option<Counted>,
    /// What each master said last, by the first shard that it serves.
    parts: BTreeMap<usize, (u64, Option<Token>)>,
    /// How many masters were asked so far, by turns.
    asked: usize,
}

impl Census {
    /// What the last look found, or a new one where that was too long ago.
    pub(in crate::lock) async fn take(&self, scripts: &Scripts) -> Option<Counted> {
        let mut last = self.0.lock().await;
        if last.at.is_none_or(|at| at.elapsed() >= INTERVAL) {
            // From its beginning: one that Redis does not answer takes longer than the pause.
            last.at = Some(Instant::now());
            last.counted = None;
            let looked = last.look(scripts).await;
            last.counted = looked.unwrap_or_else(|failure| {
                tracing::debug!(%failure, "locks not counted");
                None
            });
        }
        last.counted
    }
}

impl Last {
    /// `None` before all masters were asked.
    async fn look(&mut self, scripts: &Scripts) -> Result<Option<Counted>, RedisFailure> {
        let shards: Vec<Shard> = Shard::all().collect();
        let slots: Vec<_> = shards.iter().map(|shard| scripts.space.slot(*shard)).collect();
        let masters = scripts.redis.by_master(&slots);
        let turn = masters.iter().cycle().skip(self.asked % masters.len()).take(masters.len().min(MOST_COMMANDS));
        let parts = turn.map(async |places| {
            let shards: Vec<Shard> = places.iter().map(|place| shards[*place]).collect();
            Ok::<_, RedisFailure>((places[0], scripts.census(&shards).await?))
        });
        let parts = try_join_all(parts).await?;
        self.asked += parts.len();
        self.parts.retain(|first, _| masters.iter().any(|places| places[0] == *first));
        self.parts.extend(parts);
        let counted = Counted {
            locks: self.parts.values().map(|(count, _)| count).sum(),
            oldest: self.parts.values().filter_map(|(_, oldest)| *oldest).min(),
        };
        Ok((self.parts.len() == masters.len()).then_some(counted))
    }
}
