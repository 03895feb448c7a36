//! For how long a key stays taken by the terms of a lease, and by the rest that its release asks for.

use super::client::Promise;
use super::network::Request;
use super::sidecar::row;
use super::{BEGIN_MS, World};
use crate::properties::{TRUE, Violation};
use crate::redis::Reply;

impl World {
    /// Notes how long the key stays taken where what is counted on ends now, and looks whether it is promised for too long.
    pub(super) fn note_terms(&mut self) {
        let now_ms = self.now_ms;
        self.taken.retain(|_, (_, until_ms)| *until_ms > now_ms);
        let promises = self.clients.iter().filter_map(|client| client.promise.clone());
        for promise in promises.filter(|promise| !promise.is_lost).collect::<Vec<_>>() {
            self.keep_taken(&promise, now_ms);
            let most_ms = promise.terms.max_hold_ms.map(|max_ms| self.behind_grant(&promise, max_ms));
            if most_ms.is_some_and(|most_ms| promise.until_ms > most_ms) && self.broken.is_none() {
                let how =
                    format!("{} is promised until {} ms, for longer than it may", promise.token, promise.until_ms);
                self.broken = Some(Violation { property: TRUE, how });
            }
        }
    }

    /// So long behind the grant of a lease, in the world's milliseconds.
    fn behind_grant(&self, promise: &Promise, ms: u64) -> i64 {
        promise.since_ms - BEGIN_MS + self.behind_ms + i64::try_from(ms).expect("a short time")
    }

    /// What is counted on ends then, and by no release: its key stays taken for its delay, and for its minimum.
    pub(super) fn keep_taken(&mut self, promise: &Promise, ends_ms: i64) {
        if promise.is_lost {
            return;
        }
        let delay_ms = i64::try_from(promise.terms.delay_ms).expect("a short delay");
        let min_ms = Some(promise.terms.min_hold_ms).filter(|min_ms| *min_ms > 0);
        let until_ms = min_ms.map_or(0, |min_ms| self.behind_grant(promise, min_ms)).max(ends_ms + delay_ms);
        if until_ms > self.now_ms {
            let taken = self.taken.entry(promise.token.get()).or_insert((promise.mode, until_ms));
            taken.1 = taken.1.max(until_ms);
        }
    }

    /// It is released: its key stays taken for its minimum alone.
    pub(super) fn keep_minimum(&mut self, promise: &Promise) {
        self.taken.remove(&promise.token.get());
        self.keep_taken(
            &Promise { terms: lockside::lock::Terms { delay_ms: 0, ..promise.terms }, ..promise.clone() },
            0,
        );
    }

    /// A release that asks for a rest leaves it.
    pub(super) fn note_rest(&mut self, request: &Request, reply: &Reply) {
        let ("release", "released") = (request.script, row(reply).0) else { return };
        let released = self.held.iter().find(|held| held.token.to_string() == request.args[4]);
        if let (Some(held), Ok(rest_ms)) = (released, request.args[7].parse::<i64>()) {
            let until_ms = self.now_ms + rest_ms;
            let taken = self.taken.entry(held.token.get()).or_insert((held.mode, until_ms));
            taken.1 = taken.1.max(until_ms);
        }
    }
}
