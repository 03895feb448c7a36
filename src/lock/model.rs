//! What the exploration in `tests/model` sees of the engine: the scripts and the pure state machines, as they ship. Nothing
//! here is of use to a program.
//!
//! Re-exports and no `cfg`: a build with a `cfg` of its own would be another one than the one that ships.

pub use super::attempt::Sending;
pub use super::lua::{ALL, BATCH};
pub use super::rows::{AdvanceRow, KeyState, Place, Precision, Stored};

/// A lease as it lies in Redis.
pub mod record {
    pub use crate::lock::record::{claim, identity, read, sending};
}

/// One attempt until it is answered.
pub mod attempt {
    pub use crate::lock::attempt::state::{Answer, End, Input, Life, Next, Over, Step, Taken, Tidy};
}

/// The queues of one thread.
pub mod queue {
    pub use crate::lock::queue::event::{Effect, Entry, Input, Turn};
    pub use crate::lock::queue::messages::{Message, Word};
    pub use crate::lock::queue::state::Queues;
}
