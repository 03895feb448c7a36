//! What a script answers is true in the instant in which it does.

use lockside::lock::Mode;
use lockside::lock::model::record;

use super::network::Request;
use super::sidecar::{row, stored, text, token_of};
use super::telling::of_reply;
use super::{Engine, Held, World};
use crate::properties::{TRUE, Violation};
use crate::redis::{Reply, Value};

/// An answer, and what lies in Redis behind it.
struct Told<'a> {
    world: &'a World,
    engine: &'a Engine,
    leases: Vec<Held>,
    args: &'a [String],
    rest: &'a [Reply],
}

impl World {
    /// Compares an answer with what lies in Redis now; `is_alone`: no other script ran in the same call, perhaps behind it.
    pub(super) fn check_truth(&mut self, engine: &Engine, request: &Request, reply: &Reply, is_alone: bool) {
        if self.broken.is_some() {
            return;
        }
        let (word, rest) = row(reply);
        let told = Told { world: self, engine, leases: self.leases(engine), args: &request.args, rest };
        let is_true = told.is_true(request.script, word) && (!is_alone || told.is_true_alone(request.script, word));
        // Where the clock was set back and data is lost, what ran behind it may have been granted the token that is lost.
        let is_again = !is_alone && self.behind_ms > 0 && !self.has_its_data;
        if !is_true && !is_again {
            let (script, args, leases) = (request.script, &request.args, self.leases(engine));
            let reply = of_reply(reply);
            let how = format!("{script} for {args:?} is answered `{reply}`, and there is {leases:?}");
            self.broken = Some(Violation { property: TRUE, how });
        }
    }

    /// A time of the world's by Redis's clock.
    fn by_redis(&self, ms: i64) -> i64 {
        ms + self.clock_ms() - self.now_ms
    }
}

/// Whether a lease is told of by a sending. A rest is no owner's any more.
fn names(held: &Held, sending: &str) -> bool {
    !held.is_resting && held.sendings().any(|other| other == sending)
}

impl Told<'_> {
    fn arg(&self, at: usize) -> &str {
        self.args.get(at).map_or("", String::as_str)
    }

    fn lease(&self, token: &str) -> Option<&Held> {
        self.leases.iter().find(|held| held.token.to_string() == token)
    }

    /// Whether the lease of this token is this owner's.
    fn is_of(&self, token: &str, identity: &str) -> bool {
        self.lease(token).is_some_and(|held| !held.is_resting && held.attempt().starts_with(identity))
    }

    /// The lease of the row, by its text; of an empty text there is none to be compared. In its last millisecond a lease shares
    /// its key no more, and the key is there yet.
    fn shows_a_lease(&self) -> bool {
        let Some(Reply::Bulk(lease)) = self.rest.first() else { return false };
        let ends = stored(self.rest).map_or(-1, |found| found.valid_until_ms);
        let is_last = ends == self.world.clock_ms();
        lease.is_empty() || is_last || token_of(lease).is_some_and(|token| self.lease(&token.to_string()).is_some())
    }

    /// Whether the lease of the row lasts as long as the row says; of an offer it says nothing.
    fn lasts_so(&self) -> bool {
        let Some(found) = stored(self.rest).filter(|found| found.valid_until_ms >= 0) else { return true };
        let is_so = |held: &Held| self.world.by_redis(held.until_ms) == found.valid_until_ms;
        token_of(&found.text).is_none_or(|token| self.lease(&token.to_string()).is_none_or(is_so))
    }

    /// What stays true behind another script.
    fn is_true(&self, script: &str, word: &str) -> bool {
        let lease = |at| self.lease(self.arg(at));
        match (script, word) {
            ("release", "released") => lease(4).is_none_or(|held| held.is_resting || held.by.contains('!')),
            ("release", "lost") => lease(4).is_none(),
            ("renew", "lost" | "forced") => lease(1).is_none(),
            ("queue_decline", "declined") => lease(4).is_none(),
            ("undo", "undone" | "told" | "nothing") => !self.leases.iter().any(|held| names(held, self.arg(5))),
            (_, "late") => {
                self.args.last().and_then(|arg| arg.parse().ok()).is_some_and(|ms: i64| ms < self.world.clock_ms())
            }
            // None of the world's.
            (_, "stranger") => false,
            _ => true,
        }
    }

    /// What is so as long as nothing follows it.
    fn is_true_alone(&self, script: &str, word: &str) -> bool {
        let is_free = self.world.is_free(self.engine);
        let sending = match self.arg(6) {
            "" => self.arg(5).split('"').nth(3).unwrap_or_default(),
            sending => sending,
        };
        match (script, word) {
            ("acquire" | "share", "granted") => self.lease(&text(&self.rest[0])).is_some_and(|held| {
                self.world.by_redis(held.until_ms).to_string() == text(&self.rest[2]) && names(held, sending)
            }),
            ("acquire" | "share", "replayed" | "renewed") => self.ends_so(None, sending),
            ("acquire" | "share" | "queue_advance", "held") | ("share", "own") => {
                !is_free && self.shows_a_lease() && self.lasts_so()
            }
            ("queue_advance", "shared") => !is_free && self.shows_a_lease(),
            ("acquire" | "share", "shared") => !is_free && self.shows_a_lease() && self.counts(),
            ("acquire", "rejoining") | ("queue_advance" | "force", "free") => is_free,
            ("share", "rejoining") => self.leases.iter().all(|held| held.mode != Mode::Exclusive),
            ("renew", "renewed") => self.ends_so(Some(self.arg(1)), "") && self.is_within_its_terms(),
            ("renew", "capped") => self.lease(self.arg(1)).is_some(),
            ("renew", "superseded") => self.lease(self.arg(1)).is_some_and(|held| !held.by.ends_with(self.arg(6))),
            ("renew", "other") => !self.is_of(self.arg(1), self.arg(2)),
            ("release", "told") => {
                self.lease(self.arg(4)).map_or(self.ends_now(self.arg(4)), |held| !names(held, self.arg(6)))
            }
            ("release", "other") => !self.is_of(self.arg(4), self.arg(5)),
            ("force", "forced") => self.rest.iter().all(|lease| !self.is_there(lease)),
            // In the last millisecond of those that share it.
            ("force", "other") => !is_free && self.leases.is_empty(),
            ("queue_decline", "nothing") => !self.is_on_offer_to(self.arg(4), self.arg(5)),
            ("queue_join", "turn") => self.lease(&text(&self.rest[0])).is_some_and(|held| names(held, self.arg(5))),
            ("queue_join", "own") => self.owner_has_a_lease(),
            ("queue_join", "waiting") => self.waits(is_free),
            _ => true,
        }
    }

    /// Whether the lease of the row ends when it says, and names the sending that is told of it, unless it names too many.
    fn ends_so(&self, token: Option<&str>, sending: &str) -> bool {
        let (Some(found), Some(Reply::Bulk(lease))) = (stored(self.rest), self.rest.first()) else { return false };
        let its = token_of(lease).map(|token| token.to_string());
        if token.is_some() && its.as_deref() != token {
            return false;
        }
        match its.and_then(|token| self.lease(&token)) {
            Some(held) => {
                let is_told = sending.is_empty() || names(held, sending) || held.by.contains("+*");
                is_told && self.world.by_redis(held.until_ms) == found.valid_until_ms
            }
            // In its last millisecond a lease ends where it is written again.
            None => found.valid_until_ms == self.world.clock_ms(),
        }
    }

    /// Whether the lease of this token was in its last millisecond, so that it ended where it was written again.
    fn ends_now(&self, token: &str) -> bool {
        let is_its = |held: &Held| held.token.to_string() == token && held.until_ms == self.world.now_ms;
        self.engine.is_valkey && self.world.held.iter().any(is_its)
    }

    /// A renewal keeps the key for no longer than the longest time of its lease, and the delay behind that.
    fn is_within_its_terms(&self) -> bool {
        let Some(found) = stored(self.rest).filter(|_| self.arg(5) != "take") else { return true };
        let Some(lease) = record::read(&self.engine.key, &found) else { return false };
        let longest = |max_ms: u64| lease.since_ms + (max_ms + lease.terms.delay_ms).max(lease.terms.min_hold_ms);
        lease.terms.max_hold_ms.is_none_or(|max_ms| lease.valid_until_ms <= longest(max_ms))
    }

    /// Whether so many share the key, and so many wait.
    fn counts(&self) -> bool {
        let [_, _, _, Reply::Integer(count), Reply::Integer(waiters), ..] = self.rest else { return false };
        let is_so = |number: &i64, found: usize| usize::try_from(*number).ok() == Some(found);
        is_so(count, self.leases.len()) && is_so(waiters, self.world.entries(self.engine).len())
    }

    fn is_there(&self, lease: &Reply) -> bool {
        let Reply::Bulk(lease) = lease else { return true };
        token_of(lease).is_none_or(|token| self.lease(&token.to_string()).is_some())
    }

    /// Whether a lease is marked as on offer to this sidecar, and was told to none but its waiter.
    fn is_on_offer_to(&self, token: &str, sidecar: &str) -> bool {
        let is_told_again = |held: &Held| held.is_renewed || held.by.contains(' ');
        let is_marked = |(of, to): &(u64, String)| of.to_string() == token && to == sidecar;
        self.world.offers(self.engine).iter().any(is_marked)
            && self.lease(token).is_some_and(|held| !is_told_again(held))
    }

    /// Whether the sidecar of one who waits had let an offer lapse, or has ended, so that its waiters are dropped.
    fn is_dropped(&self) -> bool {
        let lets_lapse = |name| self.world.lapsed.contains(name) || self.world.ended.contains(name);
        self.arg(4).lines().next().is_some_and(lets_lapse)
    }

    /// Whether one who waits stands in the queue at its position, or was served at once; and whether the key is free where its
    /// row says so.
    /// The owner of the entry that joins.
    fn owner_has_a_lease(&self) -> bool {
        let identity = self.arg(4).lines().nth(3).unwrap_or_default();
        self.leases.iter().any(|held| !held.is_resting && held.attempt().starts_with(identity))
    }

    fn waits(&self, is_free: bool) -> bool {
        let [position, Reply::Integer(left_ms)] = self.rest else { return false };
        let queue = self.world.redis.peek(self.engine.space.queue(&self.engine.key).as_bytes());
        let score = match queue.map(|stored| &stored.value) {
            Some(Value::Zset(zset)) => zset.score(self.arg(4).as_bytes()),
            _ => None,
        };
        // By a lease of its own, or by the one that its attempt or its owner has.
        let is_served = || self.leases.iter().any(|held| names(held, self.arg(5))) || self.owner_has_a_lease();
        let is_there = score.map_or_else(is_served, |score| score.to_string() == text(position)) || self.is_dropped();
        is_there && (*left_ms == -2) == is_free
    }
}
