//! Watches keys for those who call.

use super::Locks;
use super::events::{Events, Interest};
use super::key::Key;
use super::request::LockFailure;
use super::seats::Seat;

impl Locks {
    /// What happens to what is watched, from its state now on; refused while as many watch as may.
    pub fn events(&self, interest: Interest) -> Result<Events, LockFailure> {
        let seat = Seat::of_a_watcher(&self.0.shared, &interest)?;
        Ok(self.0.watcher.watch(interest, Box::new(seat)))
    }

    /// What happens to a key, for one that waits for its next change: it is one of those who wait.
    pub fn changes(&self, key: Key) -> Result<Events, LockFailure> {
        let seat = Seat::of_a_waiter(&self.0.shared)?;
        Ok(self.0.watcher.watch(Interest::Key(key), Box::new(seat)))
    }
}
