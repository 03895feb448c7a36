//! Every lease, oldest grant first, a few at a time: a merge of the shards' indexes by token. The order is that of the
//! tokens, so a renewal changes nothing, and what is held throughout is seen once.
//!
//! A list asks Redis by a connection of its own and has one of few places while it does, so that no number of lists
//! delays a renewal or fills the memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pages::Page;
use crate::lock::entry::Entry;
use crate::lock::record;
use crate::lock::scripts::{Scripts, Seen, StoredOrNone};
use crate::lock::{Lease, SHARDS, Shard, Token};
use crate::redis::{Flight, RedisFailure};

/// Lists of one process that may look at Redis at once.
pub const PLACES: usize = 2;
/// Shards that are read at once: Redis runs that many scripts before it serves another connection.
const SHARDS_AT_ONCE: usize = 8;
/// Leases that are read at once from one shard.
const MOST_LEASES: usize = 64;
const FEWEST_LEASES: usize = 4;
/// Index entries that are looked at at once for those with a prefix: a name is shorter than a lease.
const NAMES: usize = 256;
/// Text of leases that is read at once from one shard, as far as their length can be foreseen: 64 shards hold 1 MiB.
const LEASES_BYTES: usize = 16 * 1024;
/// Length of a lease before one was seen.
const LEASE_BYTES: usize = 512;

/// The right to look at Redis; dropped, it is another list's.
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum ListFailure {
    #[error("{PLACES} lists of this sidecar are being read already")]
    TooMany,
    #[error(transparent)]
    Redis(#[from] RedisFailure),
}

/// A lease of a list.
pub struct Listed {
    pub lease: Lease,
    /// How many wait for its key, over all sidecars.
    pub waiters: u64,
}

/// A listing under way.
pub struct Listing {
    scripts: Scripts,
    prefix: String,
    shards: Vec<Run>,
    /// All leases up to this token were given out, or are not wanted.
    after: u64,
    /// As many more will be asked for at most.
    wanted: usize,
    places: Arc<Semaphore>,
    place: Option<Place>,
    /// Until the first leases are there: from then on the reader sets the pace.
    flight: Option<Flight>,
    looked: Duration,
    lease_bytes: AtomicUsize,
}

/// One shard's part: read up to `after`, `ready` not yet given out.
struct Run {
    shard: Shard,
    after: u64,
    ready: VecDeque<Listed>,
    exhausted: bool,
}

impl Run {
    fn is_dry(&self) -> bool {
        self.ready.is_empty() && !self.exhausted
    }

    /// The oldest token that is ready.
    fn head(&self) -> Option<u64> {
        self.ready.front().map(|listed| listed.lease.token.get())
    }
}

fn runs(after: u64) -> Vec<Run> {
    Shard::all().map(|shard| Run { shard, after, ready: VecDeque::new(), exhausted: false }).collect()
}

impl Listing {
    /// The leases with tokens above `after` whose keys begin with `prefix`; refused where there is no place.
    pub(in crate::lock) fn new(
        scripts: &Scripts,
        places: &Arc<Semaphore>,
        prefix: String,
        after: Option<Token>,
        wanted: usize,
    ) -> Result<Listing, ListFailure> {
        let permit = Arc::clone(places).try_acquire_owned().map_err(|_| ListFailure::TooMany)?;
        let flight = scripts.redis.enter()?;
        let after = after.map_or(0, Token::get);
        Ok(Listing {
            scripts: Scripts { redis: scripts.redis.beside(), ..scripts.clone() },
            prefix,
            shards: runs(after),
            after,
            wanted,
            places: Arc::clone(places),
            place: Some(Place { _permit: permit }),
            flight: Some(flight),
            looked: Duration::ZERO,
            lease_bytes: AtomicUsize::new(LEASE_BYTES),
        })
    }

    /// The next leases, at most `most`; none when there are no more. A listing without a place waits for one.
    pub async fn next(&mut self, most: usize) -> Result<Vec<Listed>, RedisFailure> {
        self.next_within(most, Duration::MAX).await
    }

    /// The next leases, at most `most`, that are found before all looking has taken so long. Where fewer come back, none
    /// perhaps, and the listing [is not over](Listing::is_over), that was too short; but it has come some way.
    pub async fn next_within(&mut self, most: usize, longest: Duration) -> Result<Vec<Listed>, RedisFailure> {
        let mut batch = Vec::new();
        while batch.len() < most {
            let in_time = self.fill(longest).await?;
            self.merge(most, &mut batch);
            if !in_time || self.is_over() {
                break;
            }
        }
        self.flight = None;
        Ok(batch)
    }

    /// Whether there is nothing behind what was given out, as far as can be seen before all looking has taken so long.
    pub async fn ends_here(&mut self, longest: Duration) -> Result<bool, RedisFailure> {
        Ok(self.fill(longest).await? && self.is_over())
    }

    /// Whether all was given out.
    pub fn is_over(&self) -> bool {
        self.shards.iter().all(|run| run.exhausted && run.ready.is_empty())
    }

    /// How far it has come: a listing after this token goes on here. `None` at the beginning.
    pub fn position(&self) -> Option<Token> {
        Token::new(self.after)
    }

    /// Gives up its place, and what it has read and not given out.
    pub fn pause(&mut self) {
        self.shards = Vec::new();
        self.place = None;
    }

    /// Takes what remains of its place.
    pub fn into_place(self) -> Option<Place> {
        self.place
    }

    /// Reads until no shard is dry, or all looking has taken so long. What is already known costs nothing.
    async fn fill(&mut self, longest: Duration) -> Result<bool, RedisFailure> {
        if self.place.is_none() {
            let permit = Arc::clone(&self.places).acquire_owned().await.expect("the semaphore is never closed");
            self.place = Some(Place { _permit: permit });
            self.shards = runs(self.after);
        }
        // Each shard comes some way, however short the time: so a reader who goes on from there gets to the end.
        let mut is_first = self.shards.iter().all(|run| run.after == self.after && run.is_dry());
        while self.shards.iter().any(Run::is_dry) {
            if self.looked >= longest && !is_first {
                return Ok(false);
            }
            is_first = false;
            let begun = Instant::now();
            let (scripts, prefix, lease_bytes) = (&self.scripts, self.prefix.as_str(), &self.lease_bytes);
            let wanted = self.wanted;
            let dry = stream::iter(self.shards.iter_mut().filter(|run| run.is_dry())).map(Ok);
            let read = dry.try_for_each_concurrent(SHARDS_AT_ONCE, async |run| {
                run.read(scripts, prefix, wanted, lease_bytes).await
            });
            let outcome = read.await;
            self.looked += begun.elapsed();
            outcome?;
        }
        Ok(true)
    }

    /// Moves leases into `batch`, up to the first that a dry shard may have an older one than.
    fn merge(&mut self, most: usize, batch: &mut Vec<Listed>) {
        let mut known = self.shards.iter().filter(|run| run.is_dry()).map(|run| run.after).min().unwrap_or(u64::MAX);
        while batch.len() < most {
            let heads = self.shards.iter_mut().filter(|run| run.head().is_some_and(|token| token <= known));
            let Some(run) = heads.min_by_key(|run| run.head()) else {
                if known < u64::MAX {
                    self.after = self.after.max(known);
                }
                return;
            };
            batch.extend(run.ready.pop_front().inspect(|listed| self.after = listed.lease.token.get()));
            self.wanted = self.wanted.saturating_sub(1);
            if run.is_dry() {
                known = known.min(run.after);
            }
        }
    }
}

impl Run {
    /// Reads one page, in which there may be nothing that is wanted; as many leases as may be wanted of one shard where
    /// `wanted` are of all.
    async fn read(
        &mut self,
        scripts: &Scripts,
        prefix: &str,
        wanted: usize,
        lease_bytes: &AtomicUsize,
    ) -> Result<(), RedisFailure> {
        let share = wanted / usize::from(SHARDS / 2) + FEWEST_LEASES;
        let foreseen = LEASES_BYTES / lease_bytes.load(Ordering::Relaxed).max(1);
        let leases = share.min(foreseen).clamp(1, MOST_LEASES);
        let names = if prefix.is_empty() { leases } else { NAMES };
        let page = Page::read(scripts, self.shard, self.after, names as u32).await.map_err(RedisFailure::of_a_read)?;
        self.exhausted = page.next.is_none();
        let mut matching = page.entries.into_iter().filter(|entry| entry.key.as_str().starts_with(prefix));
        let entries: Vec<Entry> = matching.by_ref().take(leases).collect();
        if matching.next().is_some() {
            self.exhausted = false;
            self.after = entries.last().map_or(self.after, |entry| entry.token);
        } else {
            self.after = page.next.unwrap_or(self.after);
        }
        if entries.is_empty() {
            return Ok(());
        }
        let found = scripts.read_entries(&entries).await.map_err(RedisFailure::of_a_read)?;
        let (mut bytes, count) = (0, entries.len());
        let leases =
            found.into_iter().zip(entries).filter_map(|(Seen { under, waiters }, Entry { key, token, .. })| {
                let StoredOrNone::Text(found) = under else { return None };
                bytes += found.text.len();
                let lease = record::read(&key, &found)?;
                scripts.high_water.saw(lease.token);
                // Granted again since the index was read: its turn comes under the newer token.
                (lease.token.get() == token).then_some(Listed { lease, waiters })
            });
        self.ready.extend(leases);
        // Long ones are remembered for a while.
        let remembered = lease_bytes.load(Ordering::Relaxed) * 7 / 8;
        lease_bytes.store((bytes / count).max(remembered).max(1), Ordering::Relaxed);
        Ok(())
    }
}
