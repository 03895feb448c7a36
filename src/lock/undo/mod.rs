//! Undoes grants that no caller was told of: an acquire without an answer in time, or one whose caller had gone.
//!
//! A bounded queue, in order within a shard. Each shard's first undo is tried until Redis has said what became of it or
//! its lease has ended by itself; the other shards' do not wait for that.

mod shards;
mod unconfirmed;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::Key;
use super::scripts::{Scripts, UndoRow};
use crate::audit::Prepared;
use crate::log::{LogThrottle, Suppressed};
use crate::redis::RedisFailure;
use crate::request;
use shards::Shards;
pub use unconfirmed::Unconfirmed;

/// More than can be in flight at once in any sane setting; what does not fit is left to its ttl, and logged.
const LONGEST_QUEUE: usize = 16_384;
/// How long an entry is tried to be removed from a queue: as long as Redis keeps a queue that no waiter joins.
const KEPT_ENTRY: Duration = Duration::from_secs(60);
/// Pause after Redis did not answer.
const PAUSE: Duration = Duration::from_millis(100);

/// One sending of an attempt that no caller was told the outcome of.
pub struct Undo {
    pub key: Key,
    /// The owner as the lease spells it.
    pub identity: String,
    /// The sending's name.
    pub sending: String,
    /// Its entry in the queue, as the queue has it; empty where it has none.
    entry: String,
    /// How long the lease may last.
    longest: Duration,
    request: request::Name,
    /// For the audit trail, once it is undone.
    line: Option<Box<Prepared>>,
}

impl Undo {
    /// `longest`: how long a lease may last that it was granted or told of.
    pub fn new(key: Key, identity: String, sending: String, longest: Duration) -> Undo {
        Undo { key, identity, sending, entry: String::new(), longest, request: request::name(), line: None }
    }

    /// With the sending's entry in the queue, as the queue has it, or an empty one where it has none.
    pub fn with_entry(self, entry: String) -> Undo {
        Undo { entry, ..self }
    }

    /// Until when it is tried: a lease that is there now has ended by itself then, and so has an entry in a queue.
    fn retry_until(&self) -> Instant {
        let entry = if self.entry.is_empty() { Duration::ZERO } else { KEPT_ENTRY };
        Instant::now() + self.longest.max(entry) + Duration::from_secs(1)
    }
}

/// An undo under way.
pub struct Job {
    undo: Undo,
    retry_until: Instant,
    _unsettled: Unsettled,
}

/// The entrance of the queue.
#[derive(Clone)]
pub struct Undoer(Arc<Parts>);

struct Parts {
    shards: Shards,
    /// How many are queued or being worked on.
    pending: watch::Sender<usize>,
    left: LogThrottle,
}

/// What does the work.
struct Worker {
    scripts: Scripts,
    undone: LogThrottle,
    refused: LogThrottle,
}

impl Undoer {
    /// Must be called inside the runtime that is to do the work.
    pub fn new(scripts: Scripts) -> Undoer {
        let worker = Arc::new(Worker { scripts, undone: LogThrottle::new(), refused: LogThrottle::new() });
        let work = move |job: Job| -> BoxFuture<'static, ()> {
            let worker = Arc::clone(&worker);
            Box::pin(async move { worker.undo(job.undo, job.retry_until).await })
        };
        Undoer(Arc::new(Parts {
            shards: Shards::new(Handle::current(), LONGEST_QUEUE, Box::new(work)),
            pending: watch::Sender::new(0),
            left: LogThrottle::new(),
        }))
    }

    /// Something else that must be released before the process ends: [`Undoer::idle`] waits for it.
    pub fn unsettled(&self) -> Unsettled {
        self.0.pending.send_modify(|pending| *pending += 1);
        Unsettled(self.0.pending.clone())
    }

    /// Waits until nothing is left to undo.
    pub async fn idle(&self) {
        let _ = self.0.pending.subscribe().wait_for(|pending| *pending == 0).await;
    }

    pub fn push(&self, undo: Undo) {
        let (key, request_id) = (undo.key.clone(), undo.request.clone());
        let job = Job { retry_until: undo.retry_until(), undo, _unsettled: self.unsettled() };
        if !self.0.shards.push(job)
            && let Some(Suppressed(withheld)) = self.0.left.admit(Instant::now())
        {
            tracing::error!(%key, %request_id, withheld, "too many grants to roll back; this one may keep its lock until its TTL ends");
        }
    }
}

impl Worker {
    async fn undo(&self, undo: Undo, retry_until: Instant) {
        let Undo { key, identity, sending, entry, request: request_id, line, .. } = undo;
        while Instant::now() < retry_until {
            match self.scripts.undo(&key, &identity, &sending, &entry).await {
                Ok(UndoRow::Undone) => {
                    if let Some(line) = line {
                        line.write();
                    }
                    if let Some(Suppressed(withheld)) = self.undone.admit(Instant::now()) {
                        tracing::info!(%key, %request_id, withheld, "rolled back an undelivered grant");
                    }
                }
                Ok(UndoRow::Nothing | UndoRow::Told) => {}
                Err(RedisFailure::Refused(reason)) if !is_transient(&reason) => {
                    if let Some(Suppressed(withheld)) = self.refused.admit(Instant::now()) {
                        tracing::error!(%key, %request_id, reason, withheld, "cannot roll back an undelivered grant");
                    }
                }
                Err(_) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            return;
        }
    }
}

/// Dropped when what it stands for is released.
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
