//! The leases that lie in Redis.

use lockside::lock::model::{Stored, record};
use lockside::lock::{Key, Mode, Token};

use super::World;
use super::engine::{BEGIN_MS, Engine};
use crate::redis::{Keyspace, Value, Zset};

/// A lease that lasts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    pub token: Token,
    pub mode: Mode,
    pub until_ms: i64,
    /// The attempt that it was granted to, as the lease spells it.
    pub attempt: String,
    /// The sendings that were told of it.
    pub by: String,
    /// Whether it was renewed by its token, so that no undo frees it.
    pub is_renewed: bool,
    /// Whether a release left it behind: it takes the key, and no owner has it.
    pub is_resting: bool,
}

/// Where leases are looked for: what lies in Redis, and its clock.
pub struct Place<'a> {
    pub engine: &'a Engine,
    pub redis: &'a Keyspace,
    pub clock_ms: i64,
    /// How far the clock was set back.
    pub behind_ms: i64,
}

impl Place<'_> {
    /// All of a key: one, or those that share it, by their tokens.
    pub fn leases(&self, key: &Key) -> Vec<Held> {
        let Some(stored) = self.redis.peek(self.engine.space.lock(key).as_bytes()) else { return Vec::new() };
        match &stored.value {
            Value::Text(text) => {
                stored.expires_ms.and_then(|until_ms| self.held(key, text.to_vec(), until_ms)).into_iter().collect()
            }
            Value::Zset(zset) => self.shares(key, zset),
        }
    }

    fn shares(&self, key: &Key, zset: &Zset) -> Vec<Held> {
        let token = |member: &[u8]| std::str::from_utf8(member).ok()?.parse::<i64>().ok();
        let lasts = |until_ms: &i64| *until_ms > self.clock_ms;
        let ends = zset.iter().filter_map(|(member, score)| Some((token(member)?, score)));
        let mut leases: Vec<_> = ends
            .filter(|(_, until_ms)| lasts(until_ms))
            .filter_map(|(token, until_ms)| {
                let is_text = |member: &[u8]| member.starts_with(b"{");
                let (text, _) = zset.iter().find(|(member, score)| *score == -token && is_text(member))?;
                self.held(key, [b"{\"shared\":true,", &text[1..]].concat(), until_ms)
            })
            .collect();
        leases.sort_by_key(|held| held.token);
        leases
    }

    fn held(&self, key: &Key, text: Vec<u8>, until_ms: i64) -> Option<Held> {
        let held = self.engine.read.borrow_mut().entry(text).or_insert_with_key(|text| read(key, text)).clone()?;
        Some(Held { until_ms: until_ms - BEGIN_MS + self.behind_ms, ..held })
    }
}

/// What a lease says, but for its end.
fn read(key: &Key, text: &[u8]) -> Option<Held> {
    let spelled = String::from_utf8_lossy(text);
    let attempt = spelled.split("\"since\":").next().and_then(|text| text.split("\"by\":").next())?;
    let attempt = attempt.replacen("\"rest\":true,", "", 1);
    let told = |field: &str| Some(spelled.split_once(field)?.1.split('"').next()?.to_owned());
    let is_renewed = spelled.ends_with(",\"renewed\":true}");
    let by = told("\"by\":\"").or_else(|| told("\"nonce\":\"")).unwrap_or_default();
    let found = Stored { text: text.to_vec().into(), valid_until_ms: BEGIN_MS, left_ms: 0 };
    let lease = record::read(key, &found)?;
    let (token, mode, is_resting) = (lease.token, lease.mode, lease.is_resting);
    Some(Held { token, mode, until_ms: 0, attempt, by, is_renewed, is_resting })
}

impl Held {
    /// The sendings that were told of it, without what marks them.
    pub fn sendings(&self) -> impl Iterator<Item = &str> {
        self.by.split([' ', '+']).filter(|word| !["", "!", "*"].contains(word))
    }

    /// The attempt that has it, without its token.
    pub fn attempt(&self) -> &str {
        self.attempt.split_once("\",").map_or("", |(_, attempt)| attempt)
    }
}

impl World {
    /// All leases of its key.
    pub fn leases(&self, engine: &Engine) -> Vec<Held> {
        let (clock_ms, behind_ms) = (self.clock_ms(), self.behind_ms);
        Place { engine, redis: &self.redis, clock_ms, behind_ms }.leases(&engine.key)
    }

    /// Whether Redis has nothing under the key.
    pub fn is_free(&self, engine: &Engine) -> bool {
        self.redis.peek(engine.space.lock(&engine.key).as_bytes()).is_none()
    }
}
