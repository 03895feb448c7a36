//! Watching: those who ask are told the state of a key, or of all locks whose keys begin alike, and then each state that
//! lasts. One task a thread does it for all of its callers, by one subscription, and only while anyone watches.

mod cell;
mod driver;
mod event;
mod look;
mod looking;
mod message;
mod outlet;
mod readers;
mod shard;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use driver::Driver;
pub use event::{Change, Interest, Look, MOST_STATES, News, Under, What};
use outlet::{Inlet, Outlet};

use super::scripts::Scripts;
use crate::metrics::Metrics;

/// The watching of one thread. Cheap to clone.
#[derive(Clone)]
pub struct Watcher(mpsc::UnboundedSender<Command>);

enum Command {
    Watch { stream: u64, interest: Interest, news: Outlet },
    Unwatch { stream: u64 },
}

/// What a watcher is told, until it is dropped.
pub struct Events {
    stream: u64,
    news: Inlet,
    watcher: Watcher,
    /// Counts it among those that watch.
    _seat: Box<dyn Send + Sync>,
}

impl Watcher {
    /// Must be called inside the runtime that owns the scripts.
    pub fn new(scripts: &Scripts, metrics: Arc<Metrics>) -> Watcher {
        let (commands, told) = mpsc::unbounded_channel();
        tokio::spawn(Driver::new(scripts, metrics).run(told));
        Watcher(commands)
    }

    /// Watches from now on; `seat` is kept for as long.
    pub fn watch(&self, interest: Interest, seat: Box<dyn Send + Sync>) -> Events {
        static STREAMS: AtomicU64 = AtomicU64::new(0);
        let (give, news) = outlet::channel();
        let stream = STREAMS.fetch_add(1, Ordering::Relaxed);
        self.tell(Command::Watch { stream, interest, news: give });
        Events { stream, news, watcher: self.clone(), _seat: seat }
    }

    fn tell(&self, command: Command) {
        // Without a driver the runtime is ending.
        let _ = self.0.send(command);
    }
}

impl Events {
    /// The next thing to tell; the first are states, or why there are none yet. `None` when the process ends.
    pub async fn next(&mut self) -> Option<News> {
        self.news.next().await
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.watcher.tell(Command::Unwatch { stream: self.stream });
    }
}
