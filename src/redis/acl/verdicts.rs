//! What each master is known to refuse, and which operations that stops before they are sent.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::missing::Missing;

/// What each master is known to refuse, by its place. Shared by all threads.
#[derive(Default)]
pub(in crate::redis) struct Verdicts {
    /// Whether some operation was refused since they were last asked: others may be granted all the same.
    is_in_doubt: AtomicBool,
    are_any: AtomicBool,
    of: Mutex<BTreeMap<String, Missing>>,
}

impl Verdicts {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Missing>> {
        self.of.lock().expect("no holder of this lock panics")
    }

    /// A right was refused that is asked about.
    pub(in crate::redis) fn doubt(&self) {
        self.is_in_doubt.store(true, Ordering::Relaxed);
    }

    pub(super) fn are_in_doubt(&self) -> bool {
        self.is_in_doubt.load(Ordering::Relaxed)
    }

    pub(super) fn take_in(&self, place: String, missing: &Missing) {
        self.is_in_doubt.store(false, Ordering::Relaxed);
        let mut of = self.lock();
        if missing.sentence().is_some() {
            of.insert(place, missing.clone());
        } else {
            of.remove(&place);
        }
        self.are_any.store(!of.is_empty(), Ordering::Relaxed);
    }

    pub(super) fn of(&self, place: impl FnOnce() -> String) -> Option<Missing> {
        if !self.are_any.load(Ordering::Relaxed) {
            return None;
        }
        self.lock().get(&place()).cloned()
    }
}
