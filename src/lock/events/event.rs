//! What happens to the watching of a thread, what is to be done then, and what those who watch are told.

use std::sync::Arc;
use std::time::Instant;

use super::message::Message;
use crate::lock::request::{Holder, LockFailure, State};
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

/// What lies under a key, as far as watching is concerned: a renewal changes nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Under {
    Free,
    Lease(Token),
    /// The rest of a lease that was released.
    Rest(Token),
    Stranger,
}

impl Under {
    pub fn of(state: &State) -> Under {
        match state {
            State::Free => Under::Free,
            State::Held(Holder::Lease(lease)) if lease.is_resting => Under::Rest(lease.token),
            State::Held(Holder::Lease(lease)) => Under::Lease(lease.token),
            State::Held(Holder::Stranger(_) | Holder::Queue(_)) => Under::Stranger,
        }
    }

    /// `None` where it is no lease.
    pub fn token(self) -> Option<Token> {
        match self {
            Under::Lease(token) | Under::Rest(token) => Some(token),
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
            State::Held(Holder::Stranger(Some(expiry)) | Holder::Queue(expiry)) => {
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
}

/// What one who watches is told.
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
        looks: Vec<Look>,
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
    /// Run `read.lua` for these keys of a shard, and for all in its index that begin with one of the prefixes.
    Look {
        shard: Shard,
        epoch: u64,
        ticket: u64,
        prefixes: Vec<String>,
        keys: Vec<Key>,
    },
}
