//! Takes back grants that nobody was told of: an acquire without an answer in time, or one whose caller had gone.
//!
//! One task works through a bounded queue, in order, and stays at an entry until Redis has said what became of it or
//! its lease has ended by itself.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::scripts::{Scripts, UndoRow};
use super::types::{Key, Ttl};
use crate::redis::RedisFailure;

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
pub struct Undoer {
    entrance: mpsc::Sender<(Undo, Instant)>,
    /// How many are queued or being worked on.
    pending: watch::Sender<usize>,
}

impl Undoer {
    /// Starts the task. It ends when every entrance is gone and the queue is empty.
    pub fn start(scripts: Scripts) -> Undoer {
        let (entrance, queue) = mpsc::channel(LONGEST_QUEUE);
        let pending = watch::Sender::new(0);
        tokio::spawn(work(scripts, queue, pending.clone()));
        Undoer { entrance, pending }
    }

    /// Something else that must be let go before the process ends: [`Undoer::idle`] waits for it.
    pub fn unsettled(&self) -> Unsettled {
        self.pending.send_modify(|pending| *pending += 1);
        Unsettled(self.pending.clone())
    }

    /// Waits until nothing is left to take back.
    pub async fn idle(&self) {
        let _ = self.pending.subscribe().wait_for(|pending| *pending == 0).await;
    }

    pub fn push(&self, undo: Undo) {
        self.pending.send_modify(|pending| *pending += 1);
        let moot_after = undo.moot_after();
        if let Err(error) = self.entrance.try_send((undo, moot_after)) {
            self.pending.send_modify(|pending| *pending -= 1);
            let key = match &error {
                mpsc::error::TrySendError::Full((undo, _)) | mpsc::error::TrySendError::Closed((undo, _)) => {
                    undo.key.as_str()
                }
            };
            tracing::error!(key, "too many attempts to take back; this one may keep its lock until its ttl ends");
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

async fn work(scripts: Scripts, mut queue: mpsc::Receiver<(Undo, Instant)>, pending: watch::Sender<usize>) {
    while let Some((undo, moot_after)) = queue.recv().await {
        while Instant::now() < moot_after {
            match scripts.undo(&undo.key, &undo.attempt, &undo.request, &undo.waiter).await {
                Ok(UndoRow::Undone) => tracing::info!(key = %undo.key, "took back a lock that nobody was told of"),
                Ok(UndoRow::Nothing | UndoRow::Told) => {}
                Err(RedisFailure::Refused(reason)) if !is_transient(&reason) => {
                    tracing::error!(key = %undo.key, reason, "cannot take back a lock that nobody was told of");
                }
                Err(_) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            break;
        }
        pending.send_modify(|pending| *pending -= 1);
    }
}

/// Whether Redis may come to accept what it refused.
fn is_transient(reason: &str) -> bool {
    const FINAL: [&str; 3] = ["ERR", "NOPERM", "WRONGTYPE"];
    !FINAL.iter().any(|prefix| reason.starts_with(prefix))
}
