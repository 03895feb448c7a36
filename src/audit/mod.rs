//! The audit trail: who was granted which lock, who released or lost it, and who was refused, a JSON object a line.
//!
//! Architecture invariant: a request never waits for the trail. Its line goes into a bounded queue, from which one thread
//! writes; a line that finds no room there, or cannot be written, is counted and logged.

mod entry;
mod file;
mod settings;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use prometheus::IntCounter;

use crate::log::Reminders;
use crate::metrics::Metrics;
pub use entry::{Entry, Event};
pub use file::Destination;
pub use settings::{AuditConfig, Scope};
use writer::Writer;

/// Lines that may wait for the thread that writes.
const LONGEST_QUEUE: usize = 16_384;
/// Lines that may wait for refusals to be queued, too: callers who are refused leave room for who holds which lock.
const MOST_WITH_REFUSALS: u64 = LONGEST_QUEUE as u64 / 2;

/// The entrance of the trail. Cheap to clone.
#[derive(Clone)]
pub struct Audit(Arc<Parts>);

struct Parts {
    scope: Scope,
    queue: SyncSender<Message>,
    count: Arc<Count>,
}

/// What becomes of the lines.
struct Count {
    /// Those that are queued and neither written nor lost yet.
    pending: AtomicU64,
    lost: IntCounter,
    reminders: Reminders,
    /// Whether the process is being stopped.
    is_last: AtomicBool,
}

enum Message {
    Line(String),
    /// To look at the path, or whether the process is being stopped.
    Look,
}

/// The thread that writes.
pub struct Trail {
    audit: Audit,
    done: Receiver<()>,
}

/// A line that is written if what it says comes to pass.
pub struct Prepared {
    audit: Audit,
    text: String,
}

impl Audit {
    /// Starts the thread that writes.
    pub fn start(config: AuditConfig, metrics: &Metrics) -> io::Result<(Audit, Trail)> {
        let (queue, lines) = mpsc::sync_channel(LONGEST_QUEUE);
        let count = Arc::new(Count {
            pending: AtomicU64::new(0),
            lost: metrics.audit_lost.with_label_values::<&str>(&[]),
            reminders: Reminders::default(),
            is_last: AtomicBool::new(false),
        });
        let writer = Writer::new(config.destination, Arc::clone(&count));
        let (tell, done) = mpsc::sync_channel(1);
        std::thread::Builder::new().name("lockside-audit".to_owned()).spawn(move || {
            writer.run(&lines);
            let _ = tell.send(());
        })?;
        let audit = Audit(Arc::new(Parts { scope: config.scope, queue, count }));
        Ok((audit.clone(), Trail { audit, done }))
    }

    /// Whether lines of this event are written.
    pub fn has(&self, event: Event) -> bool {
        event.scope() <= self.0.scope
    }

    /// Writes a line, as far as its event is written at all.
    pub fn write(&self, entry: Entry<'_>) {
        if !self.has(entry.event) {
            return;
        }
        let count = &self.0.count;
        if entry.event.is_refusal() && count.pending.load(Ordering::Relaxed) >= MOST_WITH_REFUSALS {
            count.pending.fetch_add(1, Ordering::Relaxed);
            count.lose(1, "too many lines are queued for a refusal", None);
            return;
        }
        self.send(entry.body());
    }

    /// A line for later; `None` where its event is not written.
    pub fn prepare(&self, entry: Entry<'_>) -> Option<Prepared> {
        self.has(entry.event).then(|| Prepared { audit: self.clone(), text: entry.body() })
    }

    /// Has the path looked at now.
    pub fn look(&self) {
        // With a full queue it is looked at soon enough.
        let _ = self.0.queue.try_send(Message::Look);
    }

    fn send(&self, body: String) {
        let Parts { queue, count, .. } = &*self.0;
        count.pending.fetch_add(1, Ordering::Relaxed);
        if queue.try_send(Message::Line(entry::dated(&body))).is_err() {
            count.lose(1, "the queue is full", None);
        }
    }
}

impl Prepared {
    pub fn write(self) {
        self.audit.send(self.text);
    }
}

impl Trail {
    /// Has all that is queued written, for as long as `at_most`; what is not written by then is counted as lost.
    pub fn end(self, at_most: Duration) {
        let count = &self.audit.0.count;
        count.is_last.store(true, Ordering::Release);
        self.audit.look();
        if self.done.recv_timeout(at_most).is_err() {
            count.lose(count.pending.load(Ordering::Relaxed), "the process ends", None);
        }
    }
}

impl Count {
    /// So many lines are lost.
    fn lose(&self, lines: u64, why: &'static str, error: Option<&io::Error>) {
        self.pending.fetch_sub(lines, Ordering::Relaxed);
        self.lost.inc_by(lines);
        if self.reminders.admit(why, Instant::now()) {
            let (total, error) = (self.lost.get(), error.map(io::Error::to_string));
            tracing::error!(lost = lines, total, why, error, "audit lines lost");
        }
    }
}
