//! What happens to a lease by another's doing is told to the connection of ours that holds it at once, and not only when it
//! is next renewed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::messages::{Message, Word};
use super::{Command, Queue};
use crate::lock::{Key, Token};

/// What happened to a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It was removed by force.
    Forced,
    /// It was released by its token.
    Released,
    /// Another sending of its attempt was told of it, and may hold it now.
    Repeated,
    /// It ends so soon, milliseconds, unless it is renewed.
    Shortened { left_ms: u64 },
}

/// Hears of one lease. A message may be lost: renewals tell, too.
pub struct Watch {
    lease: (Key, Token),
    number: u64,
    news: mpsc::UnboundedReceiver<News>,
    queue: Queue,
}

impl Watch {
    /// Ends when messages about the lease come through: at once, but for the first lease of a shard.
    pub async fn listens(&self) {
        if let Err(failure) = self.queue.0.push.hear(&self.queue.channels(&self.lease.0)).await {
            tracing::debug!(%failure, "cannot subscribe to a lease's events yet; the next renewal will tell");
        }
    }

    /// The next thing that happens to the lease.
    pub async fn next(&mut self) -> News {
        match self.news.recv().await {
            Some(news) => news,
            // The runtime is ending.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.queue.tell(Command::Unwatch { lease: self.lease.clone(), number: self.number });
    }
}

impl Queue {
    /// Hears of the lease of `key` with this token for as long as the watch is kept.
    pub fn watch(&self, key: Key, token: Token) -> Watch {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let (give, news) = mpsc::unbounded_channel();
        let (lease, number) = ((key, token), NUMBERS.fetch_add(1, Ordering::Relaxed));
        self.tell(Command::Watch { lease: lease.clone(), number, news: give });
        Watch { lease, number, news, queue: self.clone() }
    }
}

/// One who hears of a lease, by its number.
type Hearer = (u64, mpsc::UnboundedSender<News>);

/// The leases that connections to this thread hold: several may hold one, by repetitions of an attempt.
#[derive(Default)]
pub(super) struct Holds(HashMap<(Key, Token), Vec<Hearer>>);

impl Holds {
    pub fn add(&mut self, lease: (Key, Token), number: u64, news: mpsc::UnboundedSender<News>) {
        self.0.entry(lease).or_default().push((number, news));
    }

    pub fn remove(&mut self, lease: &(Key, Token), number: u64) {
        if let Some(holds) = self.0.get_mut(lease) {
            holds.retain(|(other, _)| *other != number);
            if holds.is_empty() {
                self.0.remove(lease);
            }
        }
    }

    pub fn tell(&self, message: &Message) {
        let (token, news) = match message.word {
            Word::Forced(token) => (token, News::Forced),
            Word::Released(token) => (token, News::Released),
            Word::Repeated(token) => (token, News::Repeated),
            Word::Shortened { token, left_ms } => {
                (token, News::Shortened { left_ms: u64::try_from(left_ms).unwrap_or(0) })
            }
            _ => return,
        };
        for (_, hold) in self.0.get(&(message.key.clone(), token)).into_iter().flatten() {
            let _ = hold.send(news);
        }
    }
}
