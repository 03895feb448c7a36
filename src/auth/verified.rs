//! Remembers which tokens were verified, since a signature costs more than all else that a request does here.
//!
//! Architecture invariant: what is remembered belongs to one set of keys and goes with it, so that no token outlives its
//! key; and a token is good only while its claims are.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Mutex, MutexGuard};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};

use super::jwt::Claims;

/// Most tokens of a generation; of two are remembered.
const MOST: usize = 256;
/// Longest token that is remembered, bytes: its claims may be kept, too, and take a few times as much.
const LONGEST: usize = 4096;

/// The tokens that one set of keys has verified, the last few hundred of them.
#[derive(Default)]
pub struct Verified(Mutex<Generations>);

/// When the recent ones are too many, the older ones are forgotten.
#[derive(Default)]
struct Generations {
    recent: HashMap<Fingerprint, Entry>,
    older: HashMap<Fingerprint, Entry>,
}

struct Entry {
    claims: Claims,
    /// The second in which it was verified, since 1970: in an earlier one, after the clock was set back, it may not be valid yet.
    since: u64,
}

impl Entry {
    /// The claims, where they hold in the second `now`.
    fn claims_in(&self, now: u64) -> Option<Claims> {
        (self.since..=self.claims.good_until).contains(&now).then(|| self.claims.clone())
    }
}

/// Of a token, so that memory holds no further copy of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// `None` for a token that is too long to be remembered.
    pub fn of(token: &str) -> Option<Fingerprint> {
        if token.len() > LONGEST {
            return None;
        }
        digest(&SHA256, token.as_bytes()).as_ref().try_into().ok().map(Fingerprint)
    }
}

impl Verified {
    /// The claims of a token that was verified, where they hold in the second `now`.
    pub fn find(&self, token: Fingerprint, now: u64) -> Option<Claims> {
        let mut generations = self.generations();
        if let Some(entry) = generations.recent.get(&token) {
            return entry.claims_in(now);
        }
        let entry = generations.older.remove(&token)?;
        let claims = entry.claims_in(now);
        generations.keep(token, entry);
        claims
    }

    /// Remembers the claims of a token that was verified in the second `now`.
    pub fn keep(&self, token: Fingerprint, now: u64, claims: &Claims) {
        self.generations().keep(token, Entry { claims: claims.clone(), since: now });
    }

    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Generations {
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
        Fingerprint::of(&token.to_string()).expect("short")
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
        assert!(Fingerprint::of(&"x".repeat(LONGEST)).is_some());
        assert!(Fingerprint::of(&"x".repeat(LONGEST + 1)).is_none());
    }
}
