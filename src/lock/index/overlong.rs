//! Leases that last longer than anybody may ask for: those that a step of Redis's clock lengthened, or that were
//! granted under another cap. Found by a walk over the index, a few pages at a time.

use std::time::{Duration, Instant};

use super::pages::Page;
use crate::lock::record;
use crate::lock::scripts::{Scripts, StoredOrNone};
use crate::lock::{Key, SHARDS, Shard};
use crate::redis::RedisFailure;

/// Index entries looked at in one script call.
const PAGE: u32 = 64;

/// A walk stops after this long of failures: a Redis that does not answer is asked again at the next walk.
const PATIENCE: Duration = Duration::from_secs(1);

/// How far the walk has come. At its end it begins again.
#[derive(Debug)]
pub struct Walk {
    shard: usize,
    after: u64,
    /// The longest of this shard since the walk came to it.
    so_far: Option<Overlong>,
    /// The longest of each shard when the walk last came through it: one whose master is unavailable keeps its last.
    of_shards: Vec<Option<Overlong>>,
}

/// The longest lease above the cap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlong {
    pub key: Key,
    pub left_ms: u64,
}

impl Default for Walk {
    fn default() -> Walk {
        Walk { shard: 0, after: 0, so_far: None, of_shards: vec![None; usize::from(SHARDS)] }
    }
}

impl Walk {
    /// The longest one that is known.
    pub fn longest(&self) -> Option<&Overlong> {
        self.of_shards.iter().chain([&self.so_far]).flatten().max_by_key(|overlong| overlong.left_ms)
    }

    /// Goes on by at most so many pages, at least one a shard, and not beyond the walk's end. What fails is passed over
    /// until the walk comes that way again.
    pub(in crate::lock) async fn on(
        &mut self,
        scripts: &Scripts,
        cap_ms: u64,
        pages: usize,
    ) -> Result<(), RedisFailure> {
        let (begun, mut outcome) = (Instant::now(), Ok(()));
        for _ in 0..pages {
            if let Err(failure) = self.page(scripts, cap_ms).await {
                outcome = Err(failure);
                self.next_shard();
            }
            if (self.shard, self.after) == (0, 0) || (outcome.is_err() && begun.elapsed() > PATIENCE) {
                break;
            }
        }
        outcome
    }

    async fn page(&mut self, scripts: &Scripts, cap_ms: u64) -> Result<(), RedisFailure> {
        let shard = Shard::all().nth(self.shard).expect("the walk ends with the last shard");
        let page = Page::read(scripts, shard, self.after, PAGE).await?;
        let entries = page.entries;
        if !entries.is_empty() {
            let found = scripts.read_entries(&entries).await?;
            entries.into_iter().zip(found).for_each(|(entry, seen)| self.see(entry.key, &seen.under, cap_ms));
        }
        match page.next {
            Some(next) => self.after = next,
            None => {
                self.of_shards[self.shard] = self.so_far.take();
                self.next_shard();
            }
        }
        Ok(())
    }

    fn see(&mut self, key: Key, seen: &StoredOrNone, cap_ms: u64) {
        let StoredOrNone::Text(found) = seen else { return };
        let Some(lease) = record::read(&key, found).filter(|lease| lease.valid_for_ms > cap_ms) else { return };
        if self.so_far.as_ref().is_none_or(|longest| longest.left_ms < lease.valid_for_ms) {
            self.so_far = Some(Overlong { key, left_ms: lease.valid_for_ms });
        }
    }

    fn next_shard(&mut self) {
        self.shard = (self.shard + 1) % usize::from(SHARDS);
        (self.after, self.so_far) = (0, None);
    }
}
