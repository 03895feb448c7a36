//! Remembers which tokens were verified, since a signature costs more than all else that a request does here.
//!
//! Architecture invariant: what is remembered belongs to one set of keys and goes with it, so that no token outlives its
//! key; and a token is good only while its claims are.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};

use super::jwt::Claims;

/// Most tokens of a generation; of two are remembered. Each takes 2.5 KB at most: an id, a label and a description.
const MOST: usize = 256;

/// The tokens that one set of keys has verified, the last few hundred of them, with what each says of its user. Not with all
/// claims: these take many times as much as the token.
#[derive(Default)]
pub struct Verified(Mutex<Generations>);

/// When the recent ones are too many, the older ones are forgotten.
#[derive(Default)]
struct Generations {
    recent: HashMap<Fingerprint, Entry>,
    older: HashMap<Fingerprint, Entry>,
}

#[derive(Clone)]
struct Entry {
    claims: Arc<Claims>,
    /// The second in which it was verified, since 1970: in an earlier one, after the clock was set back, it may not be valid yet.
    since: u64,
}

impl Entry {
    fn is_good_in(&self, now: u64) -> bool {
        (self.since..=self.claims.good_until).contains(&now)
    }
}

/// Of a token, so that memory holds no further copy of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub fn of(token: &str) -> Fingerprint {
        Fingerprint(digest(&SHA256, token.as_bytes()).as_ref().try_into().expect("32 bytes"))
    }
}

impl Verified {
    /// What a token that was verified says of its user, where it holds in the second `now`.
    pub fn find(&self, token: Fingerprint, now: u64) -> Option<Arc<Claims>> {
        let entry = self.generations().find(token)?;
        entry.is_good_in(now).then_some(entry.claims)
    }

    /// Remembers a token that was verified in the second `now`.
    pub fn keep(&self, token: Fingerprint, now: u64, claims: &Claims) {
        let claims = Arc::new(Claims { all: None, ..claims.clone() });
        self.generations().keep(token, Entry { claims, since: now });
    }

    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Generations {
    fn find(&mut self, token: Fingerprint) -> Option<Entry> {
        if let Some(entry) = self.recent.get(&token) {
            return Some(entry.clone());
        }
        let entry = self.older.remove(&token)?;
        self.keep(token, entry.clone());
        Some(entry)
    }

    fn keep(&mut self, token: Fingerprint, entry: Entry) {
        if self.recent.len() >= MOST && !self.recent.contains_key(&token) {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(token, entry);
    }
}

/// Without the tokens' claims.
impl Debug for Verified {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").finish_non_exhaustive()
    }
}

/// The second since 1970.
pub fn this_second() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(good_until: u64) -> Claims {
        let (subject, all) = (Some("a".to_owned()), None);
        Claims { subject, label: None, description: None, manages_locks: false, good_until, all }
    }

    fn fingerprint(token: usize) -> Fingerprint {
        Fingerprint::of(&token.to_string())
    }

    #[test]
    fn a_token_is_found_from_the_second_of_its_verification_to_its_last() {
        let verified = Verified::default();
        verified.keep(fingerprint(1), 100, &claims(130));
        let found = |now| verified.find(fingerprint(1), now).is_some();
        assert_eq!([99, 100, 130, 131].map(found), [false, true, true, false]);
        assert!(verified.find(fingerprint(2), 100).is_none());
        verified.keep(fingerprint(1), 90, &claims(130));
        assert!(found(99), "verified anew after the clock was set back");
    }

    #[test]
    fn of_many_tokens_those_in_use_are_remembered_and_no_more_than_two_generations() {
        let verified = Verified::default();
        for token in 0..100 * MOST {
            verified.keep(fingerprint(token), 100, &claims(130));
            assert!(verified.find(fingerprint(0), 100).is_some(), "in use, {token}");
            let generations = verified.generations();
            assert!(generations.recent.len() <= MOST && generations.older.len() <= MOST);
        }
        assert!(verified.find(fingerprint(1), 100).is_none(), "not in use");
    }
}
