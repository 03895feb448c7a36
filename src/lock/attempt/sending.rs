//! One sending of an attempt: each time that the key is asked for it is by a name of its own, which the lease keeps, so that
//! each can be undone alone.

use std::time::Duration;

use crate::lock::key::Key;
use crate::lock::record;
use crate::lock::request::{Attempt, Reentry};
use crate::lock::scripts::AcquireArgs;
use crate::lock::undo::Undo;

/// How long a sending is undone at most that may have been told of an older lease: the longest ttl that is allowed unless
/// it is configured.
const OLDER_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// One sending of an attempt, as its lease spells it.
pub struct Sending {
    /// Owner and nonce.
    attempt: String,
    /// How much of it is the owner, bytes.
    identity: usize,
    /// Its name where the nonce does not name it; else nothing.
    pub request: String,
    /// Its name, which no other sending has.
    pub id: String,
    pub further: String,
}

impl Sending {
    pub fn of(attempt: &Attempt, id: String, sidecar: &str) -> Sending {
        let mut text = record::identity(&attempt.owner);
        let identity = text.len();
        let request = match &attempt.name {
            // In a space of its own, so that no caller's name is ever one of ours.
            Some(name) => {
                record::push_nonce(&mut text, &format!("caller:{name}"));
                id.clone()
            }
            None => {
                record::push_nonce(&mut text, &id);
                String::new()
            }
        };
        let hold = attempt.is_hold.then_some(sidecar);
        let terms = attempt.terms.spelled(attempt.ttl.as_ms());
        let further = record::further(attempt.mode, &attempt.owner, attempt.meta.as_deref(), hold, terms.as_deref());
        Sending { attempt: text, identity, request, id, further }
    }

    pub fn identity(&self) -> &str {
        &self.attempt[..self.identity]
    }

    pub fn nonce(&self) -> &str {
        &self.attempt[self.identity..]
    }

    /// What asks for a key by it.
    pub fn args<'a>(&'a self, attempt: &Attempt) -> AcquireArgs<'a> {
        AcquireArgs {
            key_ms: attempt.key_ms(),
            identity: self.identity(),
            nonce: self.nonce(),
            further: &self.further,
            reentry: attempt.reentry,
            request: &self.request,
        }
    }

    /// What undoes it.
    pub fn undo(&self, key: Key, attempt: &Attempt) -> Undo {
        Undo::new(key, self.identity().to_owned(), self.id.clone(), longest(attempt))
    }

    /// What undoes it.
    pub fn into_undo(mut self, key: Key, attempt: &Attempt) -> Undo {
        self.attempt.truncate(self.identity);
        Undo::new(key, self.attempt, self.id, longest(attempt))
    }
}

/// How long a lease may last that a sending of this attempt was granted or told of.
fn longest(attempt: &Attempt) -> Duration {
    let may_be_older = attempt.name.is_some() || attempt.reentry == Reentry::Extend;
    if may_be_older { OLDER_LEASE } else { Duration::from_millis(attempt.key_ms()) }
}
