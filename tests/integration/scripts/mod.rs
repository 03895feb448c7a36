//! The Lua scripts by themselves: each row of each header, and what Redis may refuse in the middle of one.

mod acquire;
mod attempts;
mod batch;
mod changes;
mod extend;
mod headers;
mod indexes;
mod late;
mod queue;
mod refusals;
mod repetitions;
mod several;
mod shared;
mod shared_ends;
mod shared_first;
mod shared_queue;
mod shared_random;
mod short;
mod terms;
mod tokens;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use redis::{Connection, FromRedisValue, Value};

use crate::harness::{TestRedis, eventually, unique};

/// A script as it is sent: with what stands before it.
macro_rules! script {
    ($($name:literal)+) => {
        concat!(include_str!("numbers.lua"), $(include_str!(concat!("../../../lua/", $name, ".lua"))),+)
    };
}

const ACQUIRE: &str = script!("head" "lease" "shared" "grant" "queue" "attempt" "acquire");
const SHARE: &str = script!("head" "lease" "shared" "grant" "queue" "attempt" "share");
const RENEW: &str = script!("head" "lease" "shared" "renew");
const RELEASE: &str = script!("head" "lease" "shared" "grant" "queue" "release");
const FORCE: &str = script!("head" "lease" "shared" "grant" "queue" "force");
const UNDO: &str = script!("head" "lease" "shared" "grant" "queue" "undo");
const JOIN: &str = script!("head" "lease" "shared" "grant" "queue" "queue_join");
const ADVANCE: &str = script!("head" "lease" "shared" "grant" "queue" "queue_advance");
const DECLINE: &str = script!("head" "lease" "shared" "grant" "queue" "queue_decline");
const BATCH: &str = concat!(
    include_str!("numbers.lua"),
    "local ARGV = cjson.decode(ARGV[1])\n",
    include_str!("../../../lua/head.lua"),
    "local function whole_operations()\n",
    include_str!("../../../lua/lease.lua"),
    include_str!("../../../lua/shared.lua"),
    include_str!("../../../lua/grant.lua"),
    include_str!("../../../lua/queue.lua"),
    include_str!("../../../lua/attempt.lua"),
    "local operations = {}\noperations.acquire = function(KEYS, ARGV)\n",
    include_str!("../../../lua/acquire.lua"),
    "end\noperations.share = function(KEYS, ARGV)\n",
    include_str!("../../../lua/share.lua"),
    "end\noperations.release = function(KEYS, ARGV)\n",
    include_str!("../../../lua/release.lua"),
    "end\noperations.renew = function(KEYS, ARGV)\n",
    include_str!("../../../lua/renew.lua"),
    "end\nreturn operations\nend\n",
    include_str!("../../../lua/batch.lua")
);
const ACQUIRE_ALL: &str = concat!(
    script!("head" "lease" "shared" "grant" "queue" "attempt"),
    "local function acquire(KEYS, ARGV)\n",
    include_str!("../../../lua/acquire.lua"),
    "end\nlocal function share(KEYS, ARGV)\n",
    include_str!("../../../lua/share.lua"),
    "end\nlocal function undo(KEYS, ARGV)\n",
    include_str!("../../../lua/undo.lua"),
    "end\n",
    include_str!("../../../lua/legs.lua"),
    include_str!("../../../lua/acquire_all.lua")
);
const RENEW_ALL: &str = concat!(
    script!("head" "lease" "shared"),
    "local function renew(KEYS, ARGV)\n",
    include_str!("../../../lua/renew.lua"),
    "end\n",
    include_str!("../../../lua/renew_all.lua")
);
const READ: &str = script!("head" "lease" "shared" "read");
const WATCH: &str = script!("head" "lease" "watch");
const SWEEP: &str = script!("head" "lease" "sweep");
const CENSUS: &str = script!("census");

const SHARD: u64 = 17;
/// The member of the index that has the last token.
const LAST: &[u8] = b"\xff";

/// One row of a script, or the error that Redis gave instead.
type Answer = Result<Vec<String>, String>;

/// What is told of a text that lies under a lock's key: nothing, unless it begins as a lease does. It may be large.
fn told(text: &str) -> &str {
    if text.starts_with("{\"token\":\"") { text } else { "" }
}

/// One shard of a lock space of a test's own.
struct Space {
    connection: Connection,
    tag: String,
    /// Until when a change may run, or "" for no end.
    not_after: &'static str,
}

/// What an acquire asks for; `Attempt::of` says who, what and which, the rest is usual.
#[derive(Clone, Debug)]
struct Attempt {
    key: String,
    identity: String,
    nonce: String,
    ttl_ms: u64,
    floor: u64,
    further: String,
    own: &'static str,
    request: &'static str,
}

impl Attempt {
    fn of(key: &str, user: &str, nonce: &str) -> Attempt {
        Attempt {
            key: key.to_owned(),
            identity: identity_of(user),
            nonce: format!("\"nonce\":{},", json(nonce)),
            ttl_ms: 60_000,
            floor: 0,
            further: String::new(),
            own: "refuse",
            request: "",
        }
    }

    /// What its sending is called.
    fn sending(&self) -> &str {
        let nonce = self.nonce.strip_prefix("\"nonce\":\"").and_then(|nonce| nonce.strip_suffix("\","));
        if self.request.is_empty() { nonce.expect("a nonce") } else { self.request }
    }
}

/// A user as the lease spells it.
fn identity_of(user: &str) -> String {
    format!("\"kind\":\"user\",\"owner\":{},", json(user))
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Space {
    fn on(redis: &TestRedis) -> Space {
        Space { connection: redis.connection(), tag: format!("{{{}:{SHARD}}}", unique("scripts")), not_after: "" }
    }

    fn shared() -> Space {
        Space::on(TestRedis::alone())
    }

    fn lock(&self, key: &str) -> String {
        format!("{}:lock:{key}", self.tag)
    }

    fn tokens(&self) -> String {
        format!("{}:tokens", self.tag)
    }

    fn queue(&self, key: &str) -> String {
        format!("{}:queue:{key}", self.tag)
    }

    fn forced(&self, key: &str) -> String {
        format!("{}:forced:{key}", self.tag)
    }

    /// Exists while a sidecar watches the shard.
    fn watch(&self) -> String {
        format!("{}:watch", self.tag)
    }

    /// First part of the channels.
    fn push(&self) -> String {
        format!("{}:push:", self.tag)
    }

    fn acquire(&mut self, attempt: &Attempt) -> Answer {
        let Attempt { key, identity, nonce, further, own, request, .. } = attempt;
        let args = [identity.as_str(), nonce, request, &attempt.ttl_ms.to_string(), further, own, self.not_after];
        self.run_in_line(ACQUIRE, key, attempt.floor, &args)
    }

    /// A grant; its token.
    fn granted(&mut self, attempt: &Attempt) -> u64 {
        let row = self.acquire(attempt).unwrap();
        assert_eq!(row[0], "granted", "{row:?}");
        row[1].parse().unwrap()
    }

    fn renew(&mut self, key: &str, token: u64, identity: &str, ttl_ms: u64) -> Answer {
        self.renew_for(key, token, identity, &ttl_ms.to_string())
    }

    /// A renewal for a ttl as it is spelled: "" for the lease's own.
    fn renew_for(&mut self, key: &str, token: u64, identity: &str, ttl_ms: &str) -> Answer {
        self.renew_as("set", "", key, token, identity, ttl_ms)
    }

    /// A renewal by a hold ("extend") or by a waiter whose turn it is ("take"), of a sending.
    fn renew_as(&mut self, how: &str, sending: &str, key: &str, token: u64, identity: &str, ttl_ms: &str) -> Answer {
        let keys = [self.lock(key), self.queue(key), self.forced(key), self.watch()];
        let push = self.push();
        self.run(RENEW, &keys, &[key, &token.to_string(), identity, ttl_ms, &push, how, sending, "", self.not_after])
    }

    fn release(&mut self, key: &str, token: Option<u64>, identity: &str) -> Answer {
        let token = token.map(|token| token.to_string()).unwrap_or_default();
        self.run_in_line(RELEASE, key, 0, &[&token, identity, "", "", "", self.not_after])
    }

    /// A release by the hold of a sending.
    fn release_as(&mut self, sending: &str, key: &str, token: u64, identity: &str) -> Answer {
        self.run_in_line(RELEASE, key, 0, &[&token.to_string(), identity, sending, "", "", self.not_after])
    }

    fn force(&mut self, key: &str, token: Option<u64>) -> Answer {
        let token = token.map(|token| token.to_string()).unwrap_or_default();
        let keys = [self.lock(key), self.tokens(), self.queue(key), self.watch(), self.forced(key)];
        let (shard, push) = (SHARD.to_string(), self.push());
        self.run(FORCE, &keys, &[key, &shard, "0", &push, &token, self.not_after])
    }

    fn undo(&mut self, attempt: &Attempt) -> Answer {
        self.undo_of(attempt, "")
    }

    /// An undo that removes an entry from the queue, too.
    fn undo_of(&mut self, attempt: &Attempt, entry: &str) -> Answer {
        self.run_in_line(UNDO, &attempt.key, 0, &[&attempt.identity, attempt.sending(), entry, self.not_after])
    }

    /// Runs a script that may grant `key`: the slots that all of those begin with, then `args`.
    fn run_in_line(&mut self, script: &str, key: &str, floor: u64, args: &[&str]) -> Answer {
        let keys = [self.lock(key), self.tokens(), self.queue(key), self.watch()];
        let (shard, floor, push) = (SHARD.to_string(), floor.to_string(), self.push());
        self.run(script, &keys, &[&[key, &shard, &floor, &push][..], args].concat())
    }

    fn sweep(&mut self, keys: &[&str]) -> Answer {
        let names: Vec<String> = std::iter::once(self.tokens()).chain(keys.iter().map(|key| self.lock(key))).collect();
        self.run(SWEEP, &names, keys)
    }

    fn read(&mut self, keys: &[&str]) -> Vec<Vec<String>> {
        let names: Vec<String> = keys.iter().flat_map(|key| [self.lock(key), self.queue(key)]).collect();
        match self.eval(READ, &names, &vec![""; keys.len()]).unwrap() {
            Value::Array(rows) => rows.into_iter().map(row).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn run(&mut self, script: &str, keys: &[String], args: &[&str]) -> Answer {
        self.eval(script, keys, args).map(row)
    }

    fn eval(&mut self, script: &str, keys: &[String], args: &[&str]) -> Result<Value, String> {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(keys.len()).arg(keys).arg(args);
        command.query(&mut self.connection).map_err(|error| format!("{} {error}", error.code().unwrap_or_default()))
    }

    /// Runs one command: `space.ask("GET", &[&name])`.
    fn ask<T: FromRedisValue>(&mut self, command: &str, args: &[&str]) -> T {
        redis::cmd(command).arg(args).query(&mut self.connection).unwrap()
    }

    /// The lease under a key as it lies there.
    fn lease(&mut self, key: &str) -> Option<String> {
        let name = self.lock(key);
        self.ask("GET", &[&name])
    }

    /// What the index knows of a key.
    fn indexed(&mut self, key: &str) -> Option<u64> {
        let tokens = self.tokens();
        self.ask("ZSCORE", &[&tokens, key])
    }

    /// The last token of the shard.
    fn last(&mut self) -> Option<u64> {
        redis::cmd("ZSCORE").arg(self.tokens()).arg(LAST).query(&mut self.connection).unwrap()
    }

    /// Gives the last token of the shard a score.
    fn set_last(&mut self, score: &str) {
        redis::cmd("ZADD").arg(self.tokens()).arg(score).arg(LAST).exec(&mut self.connection).unwrap();
    }

    /// Milliseconds since 1970; below 0: none.
    fn valid_until(&mut self, key: &str) -> i64 {
        let name = self.lock(key);
        self.ask("PEXPIRETIME", &[&name])
    }

    /// Redis's clock, milliseconds since 1970.
    fn now_ms(&mut self) -> i64 {
        let (seconds, micros): (i64, i64) = self.ask("TIME", &[]);
        seconds * 1000 + micros / 1000
    }

    /// All that lies in the shard, byte for byte, expiries too.
    fn contents(&mut self) -> BTreeMap<String, (Vec<u8>, i64)> {
        let pattern = format!("{}*", self.tag);
        let names: Vec<String> = self.ask("KEYS", &[&pattern]);
        let contents = names.into_iter().map(|name| {
            let content = (self.ask("DUMP", &[&name]), self.ask("PEXPIRETIME", &[&name]));
            (name, content)
        });
        contents.collect()
    }

    async fn expired(&mut self, key: &str) {
        let space = std::cell::RefCell::new(self);
        eventually("the lease expires", Duration::from_secs(5), async || space.borrow_mut().lease(key).is_none()).await;
    }
}

/// A lease as it reads once these sendings were told of it.
fn told_to(lease: &str, sendings: &str) -> String {
    lease.replacen("\"since\":", &format!("\"by\":\"{sendings}\",\"since\":"), 1)
}

/// A lease as it reads once it was renewed by its token.
fn renewed(lease: &str) -> String {
    format!("{},\"renewed\":true}}", lease.strip_suffix('}').expect("an object"))
}

fn row(value: Value) -> Vec<String> {
    match value {
        Value::Array(fields) => fields.into_iter().map(|field| String::from_redis_value(field).unwrap()).collect(),
        other => panic!("{other:?}"),
    }
}

/// Asserts a row that ends in what is left of a lease of `ttl_ms`: `fields`, and then not more than that.
#[track_caller]
fn assert_left(row: &[String], fields: &[&str], ttl_ms: i64) {
    let (left, begin) = row.split_last().expect("a row");
    assert_eq!(begin, fields);
    assert!((ttl_ms - 5_000..=ttl_ms).contains(&left.parse().unwrap()), "{left} of {ttl_ms}");
}

/// What [`Space::acquire`] and its like answer in a word.
fn word(row: &[String]) -> &str {
    &row[0]
}
