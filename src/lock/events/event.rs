//! What happens to the watching of a thread, what is to be done then, and what watchers are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::message::Message;
use crate::lock::holder::{Hidden, Holder, State};
use crate::lock::request::LockFailure;
use crate::lock::scripts::WatchRow;
use crate::lock::{Key, Shard, Token};

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interest {
    Key(Key),
    /// All locks whose keys begin so.
    Prefix(String),
}

impl Interest {
    pub fn covers(&self, key: &Key) -> bool {
        match self {
            Interest::Key(one) => one == key,
            Interest::Prefix(prefix) => key.as_str().starts_with(prefix.as_str()),
        }
    }

    pub(super) fn is_in(&self, shard: Shard) -> bool {
        match self {
            Interest::Key(key) => key.shard() == shard,
            Interest::Prefix(_) => true,
        }
    }
}

/// Keys that may be held of what a stream begins with.
pub const MOST_STATES: usize = 10_000;

/// Keys that are looked at at once.
pub const KEYS_AT_ONCE: usize = 64;

/// How many more locks may be found of what is watched for the first time: one room for all shards that are looked at, so
/// that a prefix that is too large takes no more memory than the largest one that is not.
#[derive(Clone, Debug)]
pub struct Room(Arc<AtomicUsize>);

impl Room {
    pub fn new() -> Room {
        Room(Arc::new(AtomicUsize::new(MOST_STATES)))
    }

    /// Whether there was room for one more.
    pub fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// A prefix whose locks are looked for in the index.
#[derive(Clone, Debug)]
pub struct Prefix {
    pub text: String,
    /// `None` where its states were known before.
    pub room: Option<Room>,
}

impl Prefix {
    pub fn covers(&self, key: &Key) -> bool {
        key.as_str().starts_with(self.text.as_str())
    }

    /// Whether there was room for one lock more.
    pub fn takes_one(&self) -> bool {
        self.room.as_ref().is_none_or(Room::take)
    }
}

/// What was found by a look.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub looks: Vec<Look>,
    /// Prefixes of which more is held than there was room for; not all of them was looked at.
    pub too_large: Vec<String>,
}

impl Found {
    /// Adds a lock that was found for some of the prefixes, those for which there is room.
    pub fn add(&mut self, look: Look, prefixes: &mut Vec<Prefix>) {
        let mut is_meant = false;
        prefixes.retain(|prefix| {
            let fits = !prefix.covers(&look.key) || prefix.takes_one();
            is_meant |= fits && prefix.covers(&look.key);
            if !fits {
                self.too_large.push(prefix.text.clone());
            }
            fits
        });
        if is_meant {
            self.looks.push(look);
        }
    }
}

/// What lies under a key, as far as watching is concerned: a renewal changes nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Under {
    Free,
    Lease(Token),
    /// The rest of a lease that was released.
    Rest(Token),
    /// So many leases: with the newest of them these are the same ones wherever both are the same. So many of those that are
    /// shown were released already, and still take the key.
    Shared {
        newest: Token,
        count: u64,
        resting: usize,
    },
    Stranger,
}

impl Under {
    pub fn of(state: &State) -> Under {
        match state {
            State::Free => Under::Free,
            State::Held(Holder::Lease(lease)) if lease.is_resting => Under::Rest(lease.token),
            State::Held(Holder::Lease(lease)) => Under::Lease(lease.token),
            State::Held(Holder::Shared(sharing)) => match sharing.newest {
                Some(newest) => Under::Shared { newest, count: sharing.count, resting: sharing.resting() },
                None => Under::Stranger,
            },
            State::Held(Holder::Stranger(_) | Holder::Queue(_) | Holder::Hidden(_)) => Under::Stranger,
        }
    }

    pub fn is_shared(self) -> bool {
        matches!(self, Under::Shared { .. })
    }

    /// `None` where it is no lease; of those that share a key the newest.
    pub fn token(self) -> Option<Token> {
        match self {
            Under::Lease(token) | Under::Rest(token) | Under::Shared { newest: token, .. } => Some(token),
            Under::Free | Under::Stranger => None,
        }
    }
}

/// What was found at a key.
#[derive(Clone, Debug)]
pub struct Look {
    pub key: Key,
    pub state: State,
    pub waiters: u64,
    /// When it was there.
    pub at: Instant,
}

impl Look {
    /// What was there, as far as it is known by now: a lease may have been renewed since, and then lasts longer.
    pub fn state_at(&self, now: Instant) -> State {
        let since_ms = u64::try_from(now.saturating_duration_since(self.at).as_millis()).unwrap_or(u64::MAX);
        let mut state = self.state.clone();
        match &mut state {
            State::Held(Holder::Lease(lease)) => lease.valid_for_ms = lease.valid_for_ms.saturating_sub(since_ms),
            State::Held(Holder::Shared(sharing)) => {
                sharing.left_ms = sharing.left_ms.saturating_sub(since_ms);
                for lease in &mut sharing.leases {
                    lease.valid_for_ms = lease.valid_for_ms.saturating_sub(since_ms);
                }
            }
            State::Held(
                Holder::Stranger(Some(expiry)) | Holder::Queue(expiry) | Holder::Hidden(Hidden { expiry, .. }),
            ) => {
                expiry.valid_for_ms = expiry.valid_for_ms.saturating_sub(since_ms);
            }
            State::Held(Holder::Stranger(None)) | State::Free => {}
        }
        state
    }
}

/// What changed at a key.
#[derive(Clone, Debug)]
pub struct Change {
    pub what: What,
    /// Of the lease that began or ended; of the holder, where others wait for it.
    pub token: Option<Token>,
    /// What was found.
    pub look: Arc<Look>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    Granted,
    Released,
    Expired,
    Forced,
    /// Another number of callers waits.
    Waiting,
    /// A lease has begun that shares the key, and nothing is known of it but its token.
    GrantedUnseen,
}

/// What a watcher is told.
#[derive(Clone, Debug)]
pub enum News {
    /// All that is held of what is watched, oldest grant first, or what is known of the one key: at the beginning, and after
    /// a gap.
    States(Arc<Vec<Arc<Look>>>),
    Change(Arc<Change>),
    /// Changes may have been missed; the states follow when they are known again.
    Gap,
    /// There are no states yet, and why.
    Failed(LockFailure),
    /// There is more than anyone may begin to watch.
    TooMany,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    Watch {
        stream: u64,
        interest: Interest,
    },
    Unwatch {
        stream: u64,
    },
    /// A stream's reader is too slow: it is told nothing for now.
    Behind {
        stream: u64,
    },
    /// It has read all that it was told.
    CaughtUp {
        stream: u64,
    },
    Told(Message),
    /// Messages may have been lost, of whichever shard.
    Gap,
    /// The marks of these shards stand, each as of an epoch.
    Marked(Vec<(Shard, u64, WatchRow)>),
    NotMarked(Vec<(Shard, u64)>, LockFailure),
    /// The look with this ticket was answered.
    Looked {
        shard: Shard,
        epoch: u64,
        ticket: u64,
        found: Found,
    },
    NotLooked {
        shard: Shard,
        epoch: u64,
        failure: LockFailure,
    },
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Effect {
    Tell {
        to: Vec<u64>,
        news: News,
    },
    /// Subscribe to the shards' channels, and then run `watch.lua` for them.
    Mark(Vec<(Shard, u64)>),
    /// Run `read.lua` for these keys of a shard, and for all in its index that begin with one of the prefixes; of the latter
    /// those that are held are answered.
    Look {
        shard: Shard,
        epoch: u64,
        ticket: u64,
        prefixes: Vec<Prefix>,
        keys: Vec<Key>,
    },
}
