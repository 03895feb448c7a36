//! Takes back grants that nobody was told of: an acquire without an answer in time, or one whose caller had gone.
//!
//! A bounded queue, in order within a shard. Each shard's first entry is tried until Redis has said what became of it or
//! its lease has ended by itself; the other shards' do not wait for that.

mod lanes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::scripts::{Scripts, UndoRow};
use super::types::{Key, Ttl};
use crate::flood::{Flood, Room};
use crate::redis::RedisFailure;
use lanes::Lanes;

/// More than can be in flight at once in any sane setting; what does not fit is left to its ttl, and logged.
const LONGEST_QUEUE: usize = 16_384;
/// How long a place in line is tried to be given up: as long as Redis keeps a line that nobody joins.
const KEPT_PLACE: Duration = Duration::from_secs(60);
/// Pause after Redis did not answer.
const PAUSE: Duration = Duration::from_millis(100);

/// One sending of an attempt that nobody was told the outcome of.
pub struct Undo {
    pub key: Key,
    /// Owner and nonce as the lease spells them.
    pub attempt: String,
    /// The sending, where the nonce is its caller's and does not name it; else nothing.
    pub request: String,
    /// Its place in line, as the line has it; empty where it has none.
    pub waiter: String,
    ttl: Ttl,
}

impl Undo {
    pub fn new(key: Key, attempt: String, request: String, ttl: Ttl) -> Undo {
        Undo { key, attempt, request, waiter: String::new(), ttl }
    }

    /// When a lease that is there now has ended by itself, and a place in line is not worth the effort any more.
    fn moot_after(&self) -> Instant {
        let place = if self.waiter.is_empty() { Duration::ZERO } else { KEPT_PLACE };
        Instant::now() + Duration::from_millis(self.ttl.as_ms()).max(place) + Duration::from_secs(1)
    }
}

/// The entrance of the queue.
#[derive(Clone)]
pub struct Undoer(Arc<Parts>);

struct Parts {
    scripts: Scripts,
    lanes: Lanes<(Undo, Instant, Unsettled)>,
    /// How many are queued or being worked on.
    pending: watch::Sender<usize>,
    undone: Flood,
    refused: Flood,
    left: Flood,
}

impl Undoer {
    /// Must be called inside the runtime that is to do the work.
    pub fn new(scripts: Scripts) -> Undoer {
        Undoer(Arc::new(Parts {
            scripts,
            lanes: Lanes::new(Handle::current(), LONGEST_QUEUE),
            pending: watch::Sender::new(0),
            undone: Flood::new(),
            refused: Flood::new(),
            left: Flood::new(),
        }))
    }

    /// Something else that must be let go before the process ends: [`Undoer::idle`] waits for it.
    pub fn unsettled(&self) -> Unsettled {
        self.0.pending.send_modify(|pending| *pending += 1);
        Unsettled(self.0.pending.clone())
    }

    /// Waits until nothing is left to take back.
    pub async fn idle(&self) {
        let _ = self.0.pending.subscribe().wait_for(|pending| *pending == 0).await;
    }

    pub fn push(&self, undo: Undo) {
        let unsettled = self.unsettled();
        let (shard, moot_after) = (undo.key.shard(), undo.moot_after());
        let parts = Arc::clone(&self.0);
        let work = move |(undo, moot_after, unsettled)| {
            let parts = Arc::clone(&parts);
            async move {
                parts.take_back(&undo, moot_after).await;
                drop(unsettled);
            }
        };
        if let Err((undo, ..)) = self.0.lanes.push(shard, (undo, moot_after, unsettled), work)
            && let Some(Room { withheld }) = self.0.left.room(Instant::now())
        {
            let key = undo.key.as_str();
            tracing::error!(
                key,
                withheld,
                "too many attempts to take back; this one may keep its lock until its ttl ends"
            );
        }
    }
}

impl Parts {
    async fn take_back(&self, undo: &Undo, moot_after: Instant) {
        while Instant::now() < moot_after {
            match self.scripts.undo(&undo.key, &undo.attempt, &undo.request, &undo.waiter).await {
                Ok(UndoRow::Undone) => {
                    if let Some(Room { withheld }) = self.undone.room(Instant::now()) {
                        tracing::info!(key = %undo.key, withheld, "took back a lock that nobody was told of");
                    }
                }
                Ok(UndoRow::Nothing | UndoRow::Told) => {}
                Err(RedisFailure::Refused(reason)) if !is_transient(&reason) => {
                    if let Some(Room { withheld }) = self.refused.room(Instant::now()) {
                        tracing::error!(key = %undo.key, reason, withheld, "cannot take back a lock that nobody was told of");
                    }
                }
                Err(_) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            break;
        }
    }
}

/// Dropped when what it stands for is let go.
pub struct Unsettled(watch::Sender<usize>);

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.0.send_modify(|pending| *pending -= 1);
    }
}

/// Whether Redis may come to accept what it refused.
fn is_transient(reason: &str) -> bool {
    const FINAL: [&str; 3] = ["ERR", "NOPERM", "WRONGTYPE"];
    !FINAL.iter().any(|prefix| reason.starts_with(prefix))
}
