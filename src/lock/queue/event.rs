//! What happens to the queues of a thread, and what is to be done then.

use crate::lock::scripts::{AdvanceRow, KeyState, Precision};
use crate::lock::{Key, Token};

use super::messages::Message;

/// One waiter of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its name among all waiters of all sidecars; the sending of its attempt.
    pub id: String,
    /// As the queue in Redis has it.
    pub text: String,
    /// The owner, and the attempt, as the lease spells them.
    pub identity: String,
    pub nonce: String,
    /// How long it waits at most, milliseconds.
    pub wait_ms: u64,
    /// Whether it is served when its owner has the key.
    pub is_reentrant: bool,
    /// Whether its attempt has a name, so that another sending of it may be granted the key.
    pub is_named: bool,
    /// Whether it wants to know its position.
    pub wants_progress: bool,
}

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    /// The lease of this token is on offer to it.
    Offered(Token),
    /// Its attempt has the key already, by another sending, or its owner has it: it is to ask for the key again.
    AskAgain,
}

/// A position that a waiter had, and comes back to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// As Redis gave it.
    pub number: String,
    /// Whether a look has found entries of ours gone that nothing was heard of: the queue may be lost whole.
    pub is_missing: bool,
}

impl Position {
    /// As `queue_join.lua` takes it.
    pub fn word(&self) -> String {
        format!("{}{}", self.number, if self.is_missing { "\nmissing" } else { "" })
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A waiter is about to be put into the queue in Redis.
    Join(Key, Entry),
    /// Redis put it there, and says what is left of the lease that it waits for; < 0: no expiry, or the key is free.
    Joined {
        key: Key,
        id: String,
        position: String,
        left_ms: i64,
    },
    /// It waits no more.
    Leave(Key, String),
    Told(Message),
    /// Messages may have been lost.
    Gap,
    /// The look at a queue was answered; `ids` are those whose entries were asked about.
    Looked {
        key: Key,
        ids: Vec<String>,
        row: AdvanceRow,
    },
    /// It was not; `is_of_this_key`: where another key may fare better.
    NotLooked {
        key: Key,
        is_of_this_key: bool,
    },
    /// An entry that joined again is there, and waits for a lease of which so much is left; see [`Input::Joined`].
    Rejoined {
        key: Key,
        entry: Entry,
        left_ms: i64,
    },
    /// A waiter that joined again found that its turn has come.
    Called {
        key: Key,
        id: String,
        turn: Turn,
    },
    /// It could not, or no answer came in time.
    NotRejoined {
        key: Key,
        entry: Entry,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell a waiter.
    Call { id: String, turn: Turn },
    /// Run `queue_advance.lua`, and bring what comes of it as [`Input::Looked`] or [`Input::NotLooked`].
    Look { key: Key, ids: Vec<String>, entries: Vec<String>, precision: Precision },
    /// Run `queue_join.lua` for an entry that had this position.
    Rejoin { key: Key, entry: Entry, position: Position },
    /// Run `queue_decline.lua`: the waiter that is offered this lease is not there any more.
    Decline { key: Key, token: Token },
    /// Remove an entry from the queue, and nothing else, whose waiter left while it joined again: it may have taken its
    /// turn before.
    Remove { key: Key, entry: Entry },
    /// Tell a waiter how many wait before it, and what it waits for.
    Progress { id: String, ahead: u64, key: Key, state: KeyState },
}
