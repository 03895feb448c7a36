//! Keeps the index from growing: entries of leases that expired are dropped, a page at a time.
//!
//! Release and force drop an entry themselves; only expiry leaves one behind. An acquire that had to look for such
//! entries would pay for a second index or for a search. Instead each process looks at four entries for every grant, and
//! passes over a shard when the last lease that it granted there must have ended: so the index stays within a quarter
//! more than what is held. The tour finds the rest: every 25 s one sidecar passes over all shards of
//! a master, whichever of them live. Marks in Redis keep two sidecars from the same work, so that a pass costs what the
//! index is long, and not that for each sidecar.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;

use super::pages::Page;
use crate::lock::entry::Entry;
use crate::lock::scripts::Scripts;
use crate::lock::{SHARDS, Shard};
use crate::metrics::Metrics;
use crate::redis::RedisFailure;

const TICK: Duration = Duration::from_secs(1);
/// Entries looked at in one script call: 256 take Redis less than a tenth of a millisecond.
const PAGE: u32 = 256;
/// Shards swept side by side: those of a master that is unavailable, and for which each must wait, do not hold up the others.
const SHARDS_AT_ONCE: usize = 4;
const LOOKS_FOR_A_GRANT: u64 = 4;
/// Between two tours of a process; longer than their mark, so that a process that is alone makes each.
const TOUR: Duration = Duration::from_secs(25);
/// How long no other sidecar makes a tour, milliseconds: also where the one that began it has died. With the time between
/// two tours an entry so stays less than a minute.
const TOUR_MARK_MS: i64 = 24_000;
/// Entries of one shard that the passes of all sidecars look at, on average.
const ENTRIES_A_SECOND: u64 = 600;
const SHORTEST_MARK_MS: u64 = 1000;
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
    pub fn new() -> Ledger {
        Ledger { start: Instant::now(), shards: (0..SHARDS).map(|_| Account::default()).collect() }
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
    let sweep = Sweep { scripts, ledger, metrics };
    tokio::join!(sweep.pay(), sweep.tour());
}

struct Sweep {
    scripts: Scripts,
    ledger: Arc<Ledger>,
    metrics: Arc<Metrics>,
}

impl Sweep {
    /// Does what this process owes the index.
    async fn pay(&self) {
        let redis = self.scripts.redis.health();
        let mut cursors = vec![0; usize::from(SHARDS)];
        let mut ticks = ticks(TICK);
        loop {
            ticks.tick().await;
            // All of Redis, as this tick has seen.
            let is_away = AtomicBool::new(false);
            let shards = futures_util::stream::iter(Shard::all().zip(&mut cursors));
            let swept = shards.for_each_concurrent(SHARDS_AT_ONCE, async |(shard, cursor)| {
                // What is owed is owed still, and no further shard is waited for.
                let looks = if is_away.load(Ordering::Relaxed) { 0 } else { self.ledger.settle(shard) };
                if looks == 0 {
                    return;
                }
                let swept =
                    if looks == u64::MAX { self.pass_once(shard).await } else { self.look(shard, looks, cursor).await };
                if self.was_done(shard, swept) == Done::No {
                    is_away.store(redis.ready().is_err(), Ordering::Relaxed);
                }
            });
            swept.await;
        }
    }

    /// Passes over every index by the clock.
    async fn tour(&self) {
        let redis = self.scripts.redis.health();
        let mut ticks = ticks(TOUR);
        loop {
            ticks.tick().await;
            while redis.ready().is_err() {
                tokio::time::sleep(TICK).await;
            }
            let shards: Vec<Shard> = Shard::all().collect();
            let slots: Vec<_> = shards.iter().map(|shard| self.scripts.space.slot(*shard)).collect();
            let masters = self.scripts.redis.by_master(&slots);
            let tours = masters.iter().map(async |places| {
                let first = self.scripts.space.tour_mark(shards[places[0]]);
                match self.scripts.redis.mark_if_absent(&first, TOUR_MARK_MS).await {
                    Ok(true) => {
                        for place in places {
                            let swept = self.pass(shards[*place]).await;
                            self.was_done(shards[*place], swept);
                        }
                    }
                    Ok(false) => {}
                    Err(failure) => tracing::debug!(%failure, "the mark of a sweep was not set; retrying"),
                }
            });
            futures_util::future::join_all(tours).await;
        }
    }

    fn was_done(&self, shard: Shard, swept: Result<u64, RedisFailure>) -> Done {
        match swept {
            Ok(swept) => {
                self.metrics.swept_entries.with_label_values::<&str>(&[]).inc_by(swept);
                Done::Yes
            }
            Err(failure) => {
                tracing::debug!(%failure, %shard, "the index was not swept; retrying");
                self.ledger.owe_a_pass(shard);
                Done::No
            }
        }
    }

    /// A whole pass over a shard, unless a sidecar has just made one: the tour comes by in any case.
    async fn pass_once(&self, shard: Shard) -> Result<u64, RedisFailure> {
        let Scripts { redis, space, .. } = &self.scripts;
        let entries = redis.cardinality(space.tokens(shard)).await?;
        // The longer the index, the rarer: all sidecars together look at so many entries a second.
        let pause_ms = (entries * 1000 / ENTRIES_A_SECOND).clamp(SHORTEST_MARK_MS, TOUR_MARK_MS as u64);
        if entries == 0 {
            return Ok(0);
        }
        match redis.mark_if_absent(&space.sweep_mark(shard), pause_ms as i64).await {
            Ok(true) => self.pass(shard).await,
            // Where Redis takes no writes, each further one would count against its connection.
            Ok(false) | Err(RedisFailure::Refused(_)) => Ok(0),
            Err(failure) => Err(failure),
        }
    }

    async fn pass(&self, shard: Shard) -> Result<u64, RedisFailure> {
        self.look(shard, u64::MAX, &mut 0).await
    }

    /// Looks at so many entries from `cursor` on, and not beyond the end of the index.
    async fn look(&self, shard: Shard, looks: u64, cursor: &mut u64) -> Result<u64, RedisFailure> {
        let (mut looked, mut swept) = (0, 0);
        while looked < looks {
            let page = Page::read(&self.scripts, shard, *cursor, PAGE).await?;
            looked += page.entries.len() as u64;
            if !self.are_all_there(shard, &page.entries).await? {
                swept += self.scripts.sweep(shard, &page.entries).await?;
            }
            *cursor = page.next.unwrap_or(0);
            if page.next.is_none() {
                break;
            }
        }
        Ok(swept)
    }

    /// Whether each of these leases is there, as far as can be seen without looking at it: that costs Redis a fifth.
    async fn are_all_there(&self, shard: Shard, entries: &[Entry]) -> Result<bool, RedisFailure> {
        let Scripts { redis, space, .. } = &self.scripts;
        // A raw key may be another program's by now.
        if space.is_raw() || entries.is_empty() || entries.iter().any(|entry| entry.is_shared) {
            return Ok(entries.is_empty());
        }
        let locks: Vec<Bytes> = entries.iter().map(|entry| space.lock(&entry.key).into()).collect();
        Ok(redis.count_existing(space.slot(shard), &locks).await? == entries.len() as u64)
    }
}

#[derive(PartialEq, Eq)]
enum Done {
    Yes,
    No,
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}
