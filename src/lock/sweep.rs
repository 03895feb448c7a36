//! Keeps the index from growing: entries of leases that expired are dropped, a page at a time.
//!
//! Release and force drop an entry themselves; only expiry leaves one behind. An acquire that had to look for such
//! entries would pay for a second index or for a search. Instead each process owes the index a look at four entries
//! for every grant, and one whole pass over a shard when the last lease that it granted there must have ended. The
//! index so stays within a quarter more than what is held, whoever dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;

use super::scripts::Scripts;
use super::types::{Key, SHARDS, Shard};
use crate::metrics::Metrics;
use crate::redis::RedisFailure;

const TICK: Duration = Duration::from_secs(1);
/// Entries looked at in one script call: 256 take Redis less than a tenth of a millisecond.
const PAGE: u32 = 256;
/// Shards swept side by side: those of a master that is away, and for which each must wait, do not hold up the others.
const SHARDS_AT_ONCE: usize = 4;
const LOOKS_FOR_A_GRANT: u64 = 4;
/// A pass waits this long after the last lease's end, so that Redis has let it expire.
const SETTLE_MS: u64 = 500;

/// What this process has granted since the sweep last came by. Shared by all threads.
pub struct Ledger {
    start: Instant,
    shards: Vec<Account>,
}

#[derive(Default)]
struct Account {
    grants: AtomicU64,
    /// When the last lease granted here will have ended, milliseconds since `start`; 0 when nothing is owed.
    ends_ms: AtomicU64,
}

impl Ledger {
    /// A new process owes every shard a pass: others may have died.
    pub fn new() -> Ledger {
        let account = || Account { grants: AtomicU64::new(0), ends_ms: AtomicU64::new(1) };
        Ledger { start: Instant::now(), shards: (0..SHARDS).map(|_| account()).collect() }
    }

    pub fn granted(&self, shard: Shard, ttl_ms: u64) {
        self.shards[shard.index()].grants.fetch_add(1, Ordering::Relaxed);
        self.extended(shard, ttl_ms);
    }

    pub fn extended(&self, shard: Shard, ttl_ms: u64) {
        let ends = self.now_ms().saturating_add(ttl_ms).saturating_add(SETTLE_MS);
        self.shards[shard.index()].ends_ms.fetch_max(ends, Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes the debt of a shard: how many entries to look at, `u64::MAX` for a whole pass, 0 for none.
    fn settle(&self, shard: Shard) -> u64 {
        let account = &self.shards[shard.index()];
        let grants = account.grants.swap(0, Ordering::Relaxed);
        let ends = account.ends_ms.load(Ordering::Relaxed);
        let due = ends != 0 && ends <= self.now_ms();
        if due && account.ends_ms.compare_exchange(ends, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return u64::MAX;
        }
        grants.saturating_mul(LOOKS_FOR_A_GRANT)
    }

    fn owe_a_pass(&self, shard: Shard) {
        self.extended(shard, 0);
    }
}

/// Sweeps for as long as the runtime lives.
pub async fn run(scripts: Scripts, ledger: Arc<Ledger>, metrics: Arc<Metrics>) {
    let redis = scripts.redis.health();
    let mut cursors = vec![0; usize::from(SHARDS)];
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // All of Redis, as this tick has seen.
        let is_away = AtomicBool::new(false);
        let shards = futures_util::stream::iter(Shard::all().zip(&mut cursors));
        let swept = shards.for_each_concurrent(SHARDS_AT_ONCE, async |(shard, cursor)| {
            // What is owed is owed still, and no further shard is waited for.
            let looks = if is_away.load(Ordering::Relaxed) { 0 } else { ledger.settle(shard) };
            if looks == 0 {
                return;
            }
            match sweep(&scripts, shard, looks, cursor).await {
                Ok(swept) => metrics.swept_entries.with_label_values::<&str>(&[]).inc_by(swept),
                Err(failure) => {
                    tracing::debug!(%failure, %shard, "the index was not swept; trying again");
                    ledger.owe_a_pass(shard);
                    is_away.store(redis.ready().is_err(), Ordering::Relaxed);
                }
            }
        });
        swept.await;
    }
}

async fn sweep(scripts: &Scripts, shard: Shard, looks: u64, cursor: &mut u64) -> Result<u64, RedisFailure> {
    let (mut looked, mut swept) = (0, 0);
    if looks == u64::MAX {
        *cursor = 0;
    }
    while looked < looks {
        let tokens = scripts.space.tokens(shard);
        let page = scripts.redis.members_above(tokens, *cursor, PAGE).await?;
        looked += page.len() as u64;
        let more = page.len() == PAGE as usize;
        let last = page.last().map_or(0, |(_, token)| *token);
        let keys = page.iter().filter_map(|(key, _)| Key::parse(std::str::from_utf8(key).ok()?).ok());
        let keys: Vec<Key> = keys.collect();
        if !keys.is_empty() {
            swept += scripts.sweep(shard, &keys).await?;
        }
        *cursor = if more { last } else { 0 };
        if !more {
            break;
        }
    }
    Ok(swept)
}
