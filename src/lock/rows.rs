//! What the scripts are given and what they return: the arguments, and one enum variant a row of a header in `lua/`.

use bytes::Bytes;

use super::Token;
use super::holder::Other;
use super::request::{Reentry, Why};

/// What lies under a lock's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub text: Bytes,
    /// Below 0: no expiry.
    pub valid_until_ms: i64,
    /// What Redis had left of it when it answered; below 0: no expiry.
    pub left_ms: i64,
}

/// What lies under a key.
pub enum StoredOrNone {
    Text(Stored),
    /// Leases share it, so many; the last one for so long, and the first for so long. The oldest of them, and what is known of
    /// the others.
    Shared {
        count: u64,
        left_ms: u64,
        first_ms: u64,
        newest: Option<Token>,
        others: Vec<Other>,
        leases: Vec<Stored>,
    },
    Nothing,
    Stranger,
}

/// What `read.lua` sees under a key, and how many wait for it.
pub struct Seen {
    pub under: StoredOrNone,
    pub waiters: u64,
}

/// What `watch.lua` says of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WatchRow {
    /// Redis's clock, milliseconds since 1970.
    pub now_ms: u64,
    /// Of the last message about the shard.
    pub number: u64,
    /// Whether nothing was told before.
    pub is_new: bool,
}

/// ARGV of `acquire.lua` and `share.lua`, spelled as the headers say.
pub struct AcquireArgs<'a> {
    /// For how long the key is taken.
    pub key_ms: u64,
    pub identity: &'a str,
    pub nonce: &'a str,
    pub further: &'a str,
    pub reentry: Reentry,
    pub request: &'a str,
}

impl AcquireArgs<'_> {
    /// What stands behind what every script is given that may grant a key; `key_ms`: as a text.
    pub fn words<'a>(&'a self, key_ms: &'a str) -> [&'a str; 6] {
        let AcquireArgs { identity, nonce, further, reentry, request, .. } = self;
        [identity, nonce, request, key_ms, further, reentry.word()]
    }
}

/// ARGV of `renew.lua`: how the time is set.
#[derive(Clone, Copy, Debug)]
pub enum How<'a> {
    /// As a caller says that has the token; with the lease's own delay no longer than so many milliseconds.
    Set { longest_ms: u64 },
    /// Not at all: whether it would be set.
    Check { longest_ms: u64 },
    /// By the hold of a sending: a time that is longer stays.
    Extend(&'a str),
    /// For a sending that waits for other keys; likewise. Another sending of its attempt may have been told of the lease later.
    Keep(&'a str),
    /// By the waiter of a sending whose turn it is.
    Take(&'a str),
}

/// ARGV of `queue_join.lua`.
pub struct JoinArgs<'a> {
    /// As the queue is to have it.
    pub entry: &'a str,
    pub sending: &'a str,
    /// How long it waits at most, milliseconds.
    pub wait_ms: u64,
    /// The position that it had; the end of the queue where it had none.
    pub position: Option<&'a str>,
    pub reentry: Reentry,
}

pub enum AcquireRow {
    Granted {
        token: Token,
        since_ms: u64,
        valid_until_ms: u64,
    },
    Replayed(Stored),
    Renewed(Stored),
    Held(Stored),
    /// Held by the owner itself, which would have had a lease of the other mode.
    Own(Stored),
    /// So many leases share it; the one whose end the request waits for.
    Shared {
        found: Stored,
        count: u64,
        waiters: u64,
        why: Why,
    },
    Stranger,
    /// The key is free, and those who waited for it come back to their positions until then.
    Rejoining {
        valid_until_ms: u64,
        left_ms: u64,
    },
}

pub enum RenewRow {
    Renewed(Stored),
    Lost,
    Forced,
    /// Another sending of the attempt holds it now, or this one is not told of it any more.
    Superseded,
    Capped,
    TooLong {
        delay_ms: u64,
    },
    Other(Bytes),
    Stranger,
}

/// ARGV of `release.lua`: who releases.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// A caller who has the token, or whose lease it is, and who wants the key to stay taken for so long, milliseconds.
    Owner {
        rest_ms: Option<u64>,
        /// Whether it is to be shown what it released.
        shows: bool,
    },
    /// A sending that was told of the lease, where no later one was.
    Sending {
        sending: &'a str,
        /// Whether the next waiter is to know that the lease's holder has stopped counting on it.
        resigns: bool,
    },
}

pub enum ReleaseRow {
    /// The lease, where it was to be shown.
    Released(Option<Bytes>),
    Lost,
    /// Another sending was told of the lease later, or another attempt of its owner, and it stays.
    Told,
    Other(Bytes),
    Stranger,
}

pub enum ForceRow {
    Forced(Vec<Bytes>),
    Free,
    Other,
    Stranger,
}

pub enum UndoRow {
    Undone,
    Nothing,
    Told,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeclineRow {
    Declined,
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinRow {
    Waiting {
        position: String,
        /// Of the lease before it, milliseconds; -1: no expiry, -2: the key is free.
        left_ms: i64,
    },
    /// Its turn has come already.
    Turn(Token),
    /// Its owner has the key.
    Owned,
}

/// What a look at a queue is to tell of each entry: whether it is there, or how many are before it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    Presence,
    Rank,
}

/// How a queue stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvanceRow {
    pub key: KeyState,
    /// Where each entry stands that was asked about.
    pub places: Vec<Place>,
}

/// Where an entry stands in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// So many wait before it.
    Behind(u64),
    /// It is not in the queue.
    Missing,
    /// Its attempt or its owner has a lease that shares the key, and it is to ask for that.
    Served,
}

impl Place {
    /// As `queue_advance.lua` has it.
    pub fn of(rank: i64) -> Place {
        match u64::try_from(rank) {
            Ok(ahead) => Place::Behind(ahead),
            Err(_) if rank == -2 => Place::Served,
            Err(_) => Place::Missing,
        }
    }
}

/// What the first waiter waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyState {
    Held(Stored),
    /// Leases share the key; `awaited` is the one whose end the first waiter waits for. After `look_ms` it is looked at again.
    Shared {
        awaited: Stored,
        look_ms: i64,
    },
    /// Something that is no string.
    Stranger,
    /// `left_ms`: how long those who waited may come back to their positions; below 0 where they do not.
    Free {
        left_ms: i64,
    },
}
