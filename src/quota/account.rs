//! What is counted of one caller.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::lock::Key;

/// The time of which the requests are counted together.
const SECOND: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Account {
    /// Its leases that live, by their tokens.
    pub leases: HashMap<u64, Lived>,
    /// Attempts under way, waiters among them, each of which may become a lease.
    pub reserved: u64,
    /// Requests that wait for a lock or for a change, and streams of events.
    pub waiting: u64,
    pub holds: u64,
    bucket: Option<Bucket>,
}

/// A lease that lives.
pub struct Lived {
    pub key: Key,
    /// Unless it is renewed. `None`-like for a hold: its connection says when it ends.
    pub until: Instant,
    /// Until then its key stays taken, even where it is released.
    pub rests_until: Instant,
    /// Whether a connection holds it, so that it is renewed unseen.
    pub is_held: bool,
}

/// Requests that may be made yet.
struct Bucket {
    left: f64,
    at: Instant,
}

impl Account {
    pub fn locks(&self) -> u64 {
        self.leases.len() as u64 + self.reserved
    }

    pub fn has(&self, key: &Key, now: Instant) -> bool {
        self.leases.values().any(|lived| lived.key == *key && lived.lives(now))
    }

    pub fn token_of(&self, key: &Key) -> Option<crate::lock::Token> {
        let found = self.leases.iter().find(|(_, lived)| lived.key == *key);
        found.and_then(|(token, _)| crate::lock::Token::new(*token))
    }

    /// Drops what has expired: its tokens.
    pub fn expired(&mut self, now: Instant) -> Vec<u64> {
        let expired = self.leases.iter().filter(|(_, lived)| !lived.lives(now)).map(|(token, _)| *token);
        let expired: Vec<u64> = expired.collect();
        for token in &expired {
            self.leases.remove(token);
        }
        expired
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
        self.locks() + self.waiting + self.holds > 0 || is_fresh
    }
}

impl Lived {
    fn lives(&self, now: Instant) -> bool {
        self.is_held || now < self.until
    }
}
