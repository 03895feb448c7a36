//! What is counted of one caller.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::place::{Id, Lived, Place};
use crate::lock::{Key, Token};

/// The time of which the requests are counted together.
const SECOND: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Account {
    /// Its locks, and those that it asks for, by their attempts.
    pub places: HashMap<Id, Place>,
    /// Attempts that wait for a lock, requests that wait for a change, and streams of events.
    pub waiting: Sendings,
    pub holds: Sendings,
    bucket: Option<Bucket>,
    /// At so many places the leases that have expired are dropped.
    pub sweep_at: usize,
}

/// Attempts of which a request is open: one place for up to [`SENDINGS`] of the same attempt.
#[derive(Default)]
pub struct Sendings {
    by_attempt: HashMap<Id, u64>,
    places: u64,
}

/// Open requests of one attempt that share a place: enough for a client that repeats it while the network has not told of
/// the end of earlier ones, and no way to open any number of requests within a limit.
pub const SENDINGS: u64 = 4;

/// Requests that may be made yet.
struct Bucket {
    left: f64,
    at: Instant,
}

impl Account {
    pub fn locks(&self) -> u64 {
        self.places.len() as u64
    }

    /// Whether the attempt has a place already: an earlier sending of it is under way, or it has a lease.
    pub fn has_place(&self, id: Id, now: Instant) -> bool {
        self.places.get(&id).is_some_and(|place| place.under_way > 0 || place.is_promised(now))
    }

    /// Its leases of a key that is taken by them.
    pub fn leases(&self, key: &Key, now: Instant) -> impl Iterator<Item = &Lived> {
        let leases = self.places.values().filter_map(|place| place.lease.as_ref());
        leases.filter(move |lived| lived.key == *key && lived.lives(now))
    }

    /// Drops what has expired: its tokens.
    pub fn expired(&mut self, now: Instant) -> Vec<Token> {
        let mut tokens = Vec::new();
        self.places.retain(|_, place| {
            tokens.extend(place.lease.take_if(|lived| !lived.lives(now)).map(|lived| lived.token));
            place.counts()
        });
        tokens
    }

    /// Takes a request out of the bucket, which holds `max`, and gets so many a second; false where it is empty.
    pub fn spend(&mut self, max: u64, now: Instant) -> bool {
        let max = max as f64;
        let bucket = self.bucket.get_or_insert(Bucket { left: max, at: now });
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * max;
        bucket.left = (bucket.left + gained).min(max);
        bucket.at = now;
        let is_left = bucket.left >= 1.0;
        bucket.left -= if is_left { 1.0 } else { 0.0 };
        is_left
    }

    pub fn counts_anything(&self, now: Instant) -> bool {
        let is_fresh = self.bucket.as_ref().is_some_and(|bucket| now.saturating_duration_since(bucket.at) < SECOND);
        self.locks() + self.waiting.places + self.holds.places > 0 || is_fresh
    }
}

impl Sendings {
    /// Takes a place for a request of this attempt, or shares one; false where it needs one of its own and `max` are taken.
    pub fn take(&mut self, id: Id, max: Option<u64>) -> bool {
        let of_attempt = self.by_attempt.get(&id).copied().unwrap_or_default();
        let needs_place = of_attempt % SENDINGS == 0;
        if needs_place && max.is_some_and(|max| self.places >= max) {
            return false;
        }
        self.places += u64::from(needs_place);
        self.by_attempt.insert(id, of_attempt + 1);
        true
    }

    /// A request of this attempt has ended.
    pub fn give_back(&mut self, id: Id) {
        let Some(of_attempt) = self.by_attempt.get_mut(&id) else { return };
        *of_attempt -= 1;
        self.places -= u64::from(*of_attempt % SENDINGS == 0);
        if *of_attempt == 0 {
            self.by_attempt.remove(&id);
        }
    }
}
