//! The checker: from a recorded history of who believed to hold what, and when, to every fault in it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// One stretch of time in which a holder could count on a key.
#[derive(Clone, Debug)]
pub struct Held {
    pub key: String,
    pub holder: String,
    pub token: u64,
    /// When the holder learned that it has the key.
    pub from: Instant,
    /// When it let go, or when what it was promised ended.
    pub until: Instant,
}

/// What is wrong in a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Two tokens of one key, both believed valid at once, for this long.
    Overlap { key: String, tokens: (u64, u64), length: Duration },
    /// A later grant of a key has a lower token.
    OutOfOrder { key: String, tokens: (u64, u64) },
    /// One token, two holders.
    Shared { key: String, token: u64 },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Collects what many tasks saw.
#[derive(Default)]
pub struct History(Mutex<Vec<Held>>);

impl History {
    pub fn add(&self, held: Held) {
        self.0.lock().expect("no panic while held").push(held);
    }

    pub fn len(&self) -> usize {
        self.0.lock().expect("no panic while held").len()
    }

    /// How many stretches began after `begin`.
    pub fn since(&self, begin: Instant) -> usize {
        self.0.lock().expect("no panic while held").iter().filter(|held| held.from > begin).count()
    }

    /// Every fault of the whole history.
    pub fn faults(&self) -> Vec<Fault> {
        let mut keys = BTreeMap::<String, Vec<Held>>::new();
        for held in self.0.lock().expect("no panic while held").iter() {
            keys.entry(held.key.clone()).or_default().push(held.clone());
        }
        keys.into_values().flat_map(faults_of_key).collect()
    }
}

fn faults_of_key(mut stretches: Vec<Held>) -> Vec<Fault> {
    stretches.sort_by_key(|held| held.from);
    let mut faults = Vec::new();
    // Against the stretch that reaches furthest, not only the one before: a long one may cover many.
    let mut furthest: Option<Held> = None;
    for held in stretches {
        if let Some(before) = &furthest {
            let tokens = (before.token, held.token);
            if held.token == before.token {
                if held.holder != before.holder {
                    faults.push(Fault::Shared { key: held.key.clone(), token: held.token });
                }
            } else {
                if held.from < before.until {
                    let length = before.until.min(held.until).duration_since(held.from);
                    faults.push(Fault::Overlap { key: held.key.clone(), tokens, length });
                }
                if held.token < before.token {
                    faults.push(Fault::OutOfOrder { key: held.key.clone(), tokens });
                }
            }
        }
        if furthest.as_ref().is_none_or(|before| held.until >= before.until || held.token > before.token) {
            furthest = Some(held);
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(stretches: &[(&str, u64, u64, u64)]) -> Vec<Fault> {
        let zero = Instant::now();
        let at = |ms| zero + Duration::from_millis(ms);
        let history = History::default();
        for (holder, token, from, until) in stretches {
            let (key, holder) = ("k".to_owned(), (*holder).to_owned());
            history.add(Held { key, holder, token: *token, from: at(*from), until: at(*until) });
        }
        history.faults()
    }

    #[test]
    fn the_checker_accepts_turns_and_renewals() {
        assert_eq!(faults(&[("a", 1, 0, 10), ("b", 2, 10, 20), ("a", 3, 25, 30)]), []);
        assert_eq!(faults(&[("a", 1, 0, 10), ("a", 1, 5, 20), ("b", 2, 20, 30)]), []);
    }

    #[test]
    fn the_checker_finds_each_fault() {
        let key = || "k".to_owned();
        let overlap = Fault::Overlap { key: key(), tokens: (1, 2), length: Duration::from_millis(1) };
        assert_eq!(faults(&[("a", 1, 0, 10), ("b", 2, 9, 20)]), [overlap]);
        assert_eq!(faults(&[("a", 2, 0, 10), ("b", 1, 10, 20)]), [Fault::OutOfOrder { key: key(), tokens: (2, 1) }]);
        assert_eq!(faults(&[("a", 1, 0, 10), ("b", 1, 5, 20)]), [Fault::Shared { key: key(), token: 1 }]);
        assert!(!faults(&[("a", 1, 0, 100), ("a", 1, 5, 6), ("b", 2, 50, 60)]).is_empty(), "a long one covers many");
    }
}
