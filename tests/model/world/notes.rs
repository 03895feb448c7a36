//! What a world notes of what happened, for its properties.

use lockside::lock::{Mode, Token};

use super::attempt::Course;
use super::sidecar::row;
use super::{Client, Engine, Held, World};
use crate::properties::{EXCLUSIVE, ORDER, TOKENS, Violation};
use crate::redis::{Reply, Value};

impl World {
    /// Notes what changed.
    pub(super) fn note(&mut self, engine: &Engine) {
        self.note_grants(engine);
        let has_room = self.has_room(engine);
        let is_waited_for = self.clients.iter().any(|client| self.is_live(client, Course::is_waiting));
        // What is stalled takes as long as that.
        let is_slow = self.sidecars.iter().any(|sidecar| sidecar.connection.is_stalled);
        self.free_since =
            if has_room && is_waited_for && !is_slow { self.free_since.or(Some(self.now_ms)) } else { None };
    }

    /// Whether a client is there that has an attempt of this kind under way, at a sidecar that does something.
    fn is_live(&self, client: &Client, is_of_this_kind: impl Fn(&Course) -> bool) -> bool {
        !client.is_gone
            && !self.sidecars[client.sidecar].is_frozen
            && client.course.as_deref().is_some_and(is_of_this_kind)
    }

    /// A client was promised the key from this position in the queue: none that waits stands before it.
    pub(super) fn check_order(&mut self, engine: &Engine, client: usize, position: Option<&str>) {
        let number = |position: &str| position.parse::<u64>().ok();
        let own = position.and_then(number).filter(|own| !self.was_in_trouble && *own <= self.last_known);
        let Some(own) = own else { return };
        // Who may share the key, too, is perhaps told of it later.
        let entries = self.entries(engine);
        // Who stood in a queue that was lost comes back before any of them is served.
        let came_back = |one, other| [one, other].iter().all(|client| self.lost.waiting.contains(client));
        for (at, other) in self.clients.iter().enumerate() {
            let Some(course) = other.course.as_deref().filter(|course| at != client && course.is_waiting()) else {
                continue;
            };
            if let Some(before) = course.position.as_deref().and_then(number).filter(|before| *before < own)
                && !other.is_gone
                && !course.was_forced
                && (entries.contains(&course.entry) || came_back(client, at))
            {
                let how =
                    format!("{} had the position {before}, and {} has {own}", other.owner, self.clients[client].owner);
                self.broken = Some(Violation { property: ORDER, how });
            }
        }
    }

    /// What was on offer to a client, or granted and not told yet, is force-released.
    pub(super) fn note_forced(&mut self, held: &Held) {
        for course in self.clients.iter_mut().filter_map(|client| client.course.as_deref_mut()) {
            course.was_forced |= held.by.split([' ', '+']).any(|sending| sending == course.sending.id);
        }
    }

    /// What an acquire is answered: it is granted a key only that no client waits for.
    pub(super) fn check_grant(&mut self, engine: &Engine, reply: &Reply) {
        if row(reply).0 == "granted"
            && let Some(entry) = self.entries(engine).first()
        {
            let how = format!("an acquire is granted the key while {entry:?} stands in the queue");
            self.broken = Some(Violation { property: ORDER, how });
        }
    }

    /// Notes the leases that were not there before.
    fn note_grants(&mut self, engine: &Engine) {
        let held = self.leases(engine);
        let is_new = |one: &&Held| !self.held.iter().any(|old| old.token == one.token && old.attempt == one.attempt);
        let granted: Vec<Held> = held.iter().filter(is_new).cloned().collect();
        for Held { token, mode, .. } in &granted {
            if token.get() <= self.highest && self.has_its_data && self.broken.is_none() {
                let how = format!("the lease {token} came after {}", self.highest);
                self.broken = Some(Violation { property: TOKENS, how });
            }
            self.highest = self.highest.max(token.get());
            let mut promised: Vec<_> = self.clients.iter().filter_map(|client| client.promise.as_ref()).collect();
            promised.retain(|promise| promise.token != *token && promise.until_ms > self.now_ms);
            promised.retain(|promise| promise.token.get() > self.lost.up_to);
            promised.sort_unstable_by_key(|promise| promise.token);
            promised.dedup_by_key(|promise| promise.token);
            let most = mode.limit().map_or(usize::MAX, usize::from);
            let is_right = match mode {
                Mode::Exclusive => promised.is_empty(),
                Mode::Shared { .. } => {
                    promised.len() < most && promised.iter().all(|promise| promise.mode != Mode::Exclusive)
                }
            };
            if !is_right && self.broken.is_none() {
                let how = format!("the lease {token}, {mode:?}, is granted beside {} promises", promised.len());
                self.broken = Some(Violation { property: EXCLUSIVE, how });
            }
        }
        self.held = held;
    }

    /// Whether the first of those who wait need not wait.
    fn has_room(&self, engine: &Engine) -> bool {
        if self.is_free(engine) {
            return true;
        }
        let entries = self.entries(engine);
        let mut held = self.leases(engine);
        held.retain(|held| !self.is_offered_to_none(engine, held));
        if held.is_empty() {
            return true;
        }
        let Some(limit) = entries.first().and_then(|entry| limit_of(entry)) else { return false };
        let is_shared = held.iter().all(|held| held.mode != Mode::Exclusive);
        is_shared && held.len() < limit
    }

    /// Whether a lease is on offer to a waiter that has gone, or that does nothing.
    fn is_offered_to_none(&self, engine: &Engine, held: &Held) -> bool {
        let is_told = |course: &Course| held.by.split([' ', '+']).any(|sending| sending == course.sending.id);
        self.is_on_offer(engine, held.token) && !self.clients.iter().any(|client| self.is_live(client, is_told))
    }

    fn queue(&self, engine: &Engine) -> Vec<String> {
        let stored = self.redis.peek(engine.space.queue(&engine.key).as_bytes());
        match stored.map(|stored| &stored.value) {
            Some(Value::Zset(zset)) => {
                zset.iter().map(|(member, _)| String::from_utf8_lossy(member).into_owned()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The waiters in the queue in Redis, without its marks.
    pub fn entries(&self, engine: &Engine) -> Vec<String> {
        let is_mark = |entry: &str| entry.starts_with("offer\n") || entry.starts_with("rejoin\n");
        self.queue(engine).into_iter().filter(|entry| !is_mark(entry)).collect()
    }

    pub fn is_on_offer(&self, engine: &Engine, token: Token) -> bool {
        self.queue(engine).iter().any(|entry| entry.starts_with(&format!("offer\n{token}\n")))
    }
}

/// How many may share the key where this entry's request is to be granted; `None`: it wants the key alone.
fn limit_of(entry: &str) -> Option<usize> {
    let further = entry.lines().nth(5)?.strip_prefix(",\"mode\":\"shared\"")?;
    let limit = further.strip_prefix(",\"limit\":\"").and_then(|text| text.split('"').next()?.parse().ok());
    Some(limit.unwrap_or(usize::MAX))
}
