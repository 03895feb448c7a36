//! What a world notes of what happened, for its properties.

use lockside::lock::Token;

use super::sidecar::row;
use super::{Engine, World};
use crate::properties::{ORDER, TOKENS, Violation};
use crate::redis::{Reply, Value};

impl World {
    /// Notes what changed.
    pub(super) fn note(&mut self, engine: &Engine) {
        if let Some((token, attempt)) = self.attempt_with_lease(engine)
            && attempt != self.granted
        {
            if token.get() <= self.highest && self.has_its_data && self.broken.is_none() {
                let how = format!("the lease {token} came after {}", self.highest);
                self.broken = Some(Violation { property: TOKENS, how });
            }
            (self.highest, self.granted) = (self.highest.max(token.get()), attempt);
        }
        let is_free = self.redis.peek(engine.space.lock(&engine.key).as_bytes()).is_none();
        let waits = |client: &super::Client| client.course.as_deref().is_some_and(|course| course.is_waiting());
        let is_waited_for = self.clients.iter().any(|client| !client.is_gone && waits(client));
        // What is stalled takes as long as that.
        let is_slow = self.sidecars.iter().any(|sidecar| sidecar.connection.is_stalled);
        self.free_since =
            if is_free && is_waited_for && !is_slow { self.free_since.or(Some(self.now_ms)) } else { None };
    }

    /// A client was promised the key from this position in the queue: none that waits stands before it.
    pub(super) fn check_order(&mut self, client: usize, position: Option<&str>) {
        let number = |position: &str| position.parse::<u64>().ok();
        let own = position.and_then(number).filter(|own| !self.was_in_trouble && *own <= self.last_known);
        let Some(own) = own else { return };
        for (at, other) in self.clients.iter().enumerate() {
            let Some(course) = other.course.as_deref().filter(|course| at != client && course.is_waiting()) else {
                continue;
            };
            if let Some(before) = course.position.as_deref().and_then(number).filter(|before| *before < own)
                && !other.is_gone
            {
                let how =
                    format!("{} had the position {before}, and {} has {own}", other.owner, self.clients[client].owner);
                self.broken = Some(Violation { property: ORDER, how });
            }
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

    /// The token of the lease that lies in Redis, and whose it is by which attempt.
    fn attempt_with_lease(&self, engine: &Engine) -> Option<(Token, String)> {
        let (token, _) = self.lease(engine)?;
        let stored = self.redis.peek(engine.space.lock(&engine.key).as_bytes())?;
        let Value::Text(text) = &stored.value else { return None };
        let text = String::from_utf8_lossy(text);
        let attempt = text.split("\"since\":").next().and_then(|text| text.split("\"by\":").next())?;
        Some((token, attempt.to_owned()))
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
