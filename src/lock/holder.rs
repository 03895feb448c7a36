//! Who holds a key.

use std::sync::Arc;

use super::{Lease, Token};

/// What lies under a key.
#[derive(Clone, Debug)]
pub enum State {
    Free,
    Held(Holder),
}

impl State {
    /// The leases that hold it, as far as they are known.
    pub fn leases(&self) -> &[Lease] {
        match self {
            State::Free => &[],
            State::Held(holder) => holder.leases(),
        }
    }
}

/// Who holds a key.
#[derive(Clone, Debug)]
pub enum Holder {
    Lease(Box<Lease>),
    /// Leases share it.
    Shared(Box<Sharing>),
    /// A program that is not lockside: nothing is known but when its key expires, if it does.
    Stranger(Option<Expiry>),
    /// A lease of which the caller may learn no more than when it ends.
    Hidden(Hidden),
    /// None yet: the queue was lost, and until then those who waited come back to their positions.
    Queue(Expiry),
}

/// The leases that share a key.
#[derive(Clone, Debug)]
pub struct Sharing {
    /// Oldest grant first; the first hundred of them, or of a refusal the one whose end is waited for.
    pub leases: Vec<Lease>,
    /// How many there are.
    pub count: u64,
    /// The one that was granted last, where all were looked at.
    pub newest: Option<Token>,
    /// What is left of the one that ends first, milliseconds, where all were looked at.
    pub first_ms: Option<u64>,
    /// Those beyond the first hundred, where they were asked for.
    pub others: Arc<[Other]>,
    /// How many wait for the key, where it was refused.
    pub waiters: Option<u64>,
    /// What is left of the last one; of a refusal what the request waits for at most. Milliseconds.
    pub left_ms: u64,
}

/// What is known of a lease that shares a key and is not among the first hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Other {
    pub token: Token,
    pub valid_for_ms: u64,
}

impl Sharing {
    /// How many of the leases that are known were released already, and still take the key.
    pub fn resting(&self) -> usize {
        self.leases.iter().filter(|lease| lease.is_resting).count()
    }

    /// Whether all were.
    pub fn is_resting(&self) -> bool {
        self.count > 0 && self.resting() as u64 == self.count
    }
}

/// When a key expires, and how long that is from now, by Redis's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Milliseconds since 1970.
    pub valid_until_ms: u64,
    pub valid_for_ms: u64,
}

/// What is shown of a lease that is another caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hidden {
    pub expiry: Expiry,
    /// Whether it was released already, and nothing is left but that the key is still taken.
    pub is_resting: bool,
}

impl Holder {
    /// A stranger whose key says nothing of its end.
    pub const UNKNOWN: Holder = Holder::Stranger(None);

    /// The leases that hold it, as far as they are known.
    pub fn leases(&self) -> &[Lease] {
        match self {
            Holder::Lease(lease) => std::slice::from_ref(lease),
            Holder::Shared(sharing) => &sharing.leases,
            Holder::Stranger(_) | Holder::Queue(_) | Holder::Hidden(_) => &[],
        }
    }

    /// What is left of its hold, milliseconds; `None` where that is not known.
    pub fn valid_for_ms(&self) -> Option<u64> {
        match self {
            Holder::Lease(lease) => Some(lease.valid_for_ms),
            Holder::Shared(sharing) => Some(sharing.left_ms),
            Holder::Stranger(expiry) => expiry.map(|expiry| expiry.valid_for_ms),
            Holder::Queue(expiry) | Holder::Hidden(Hidden { expiry, .. }) => Some(expiry.valid_for_ms),
        }
    }
}
