//! A small deterministic Redis: the commands that the scripts use, on a clock that the model moves. Nothing happens by
//! itself; a key that has expired is gone when it is next asked for, as in Redis.

mod expiry;
mod keyspace;
mod parse;
mod strings;
mod zset;
mod zsets;

use std::collections::BTreeMap;

pub use keyspace::{Keyspace, Stored, Value};
pub use zset::Zset;

/// What a command, or a script, answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    Nil,
    Integer(i64),
    Bulk(Vec<u8>),
    Status(String),
    Error(String),
    Array(Vec<Reply>),
}

impl Reply {
    pub fn bulk(text: impl Into<Vec<u8>>) -> Reply {
        Reply::Bulk(text.into())
    }

    pub fn error(text: &str) -> Reply {
        Reply::Error(text.to_owned())
    }
}

/// What a command does that is refused: its answer.
type Answer = Result<Reply, Reply>;

/// A server, its clock, and what it said to those who listen.
#[derive(Clone, Debug, Default)]
pub struct Server {
    pub keys: Keyspace,
    /// Microseconds since 1970.
    pub now_us: i64,
    /// How many listen on each shard channel.
    pub listeners: BTreeMap<Vec<u8>, i64>,
    /// Channels and messages, in the order in which they were published.
    pub published: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether no memory is left for what takes some.
    pub is_full: bool,
    /// Whether a key that is set to end in this very millisecond is gone at once, as in Valkey 9.
    pub is_valkey: bool,
    /// Whether the script that runs has written already: then it may take memory.
    has_written: bool,
}

/// What Redis notes of a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reads,
    /// Changes something, and takes no memory.
    Writes,
    /// Changes something, and may take memory.
    Grows,
}

fn kind(command: &[u8]) -> Option<Kind> {
    Some(match command {
        b"TIME" | b"GET" | b"GETRANGE" | b"STRLEN" | b"EXISTS" | b"PTTL" | b"PEXPIRETIME" | b"PUBSUB" | b"SPUBLISH"
        | b"ZCARD" | b"ZCOUNT" | b"ZMSCORE" | b"ZRANGE" | b"ZRANGEBYSCORE" | b"ZRANK" => Kind::Reads,
        b"DEL" | b"PEXPIRE" | b"PEXPIREAT" | b"ZREM" | b"ZREMRANGEBYRANK" => Kind::Writes,
        b"SET" | b"ZADD" => Kind::Grows,
        _ => return None,
    })
}

impl Server {
    /// An empty one.
    pub fn new(now_us: i64) -> Server {
        Server { now_us, ..Server::default() }
    }

    /// What stands before each script.
    pub fn begin_script(&mut self) {
        self.has_written = false;
    }

    pub fn now_ms(&self) -> i64 {
        self.now_us / 1000
    }

    /// A command within a script.
    pub fn call(&mut self, words: &[Vec<u8>]) -> Reply {
        let Some((command, args)) = words.split_first() else {
            return Reply::error("ERR Please specify at least one argument for this redis.call call");
        };
        let command = command.to_ascii_uppercase();
        let Some(kind) = kind(&command) else {
            return Reply::error("ERR Unknown Redis command called from script");
        };
        if kind == Kind::Grows && self.is_full && !self.has_written {
            return Reply::error("OOM command not allowed when used memory > 'maxmemory'.");
        }
        self.has_written |= kind != Kind::Reads;
        self.run(&command, args).unwrap_or_else(|refusal| refusal)
    }

    fn run(&mut self, command: &[u8], args: &[Vec<u8>]) -> Answer {
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        match (command, args.as_slice()) {
            (b"TIME", []) => Ok(Reply::Array(
                [self.now_us / 1_000_000, self.now_us % 1_000_000].map(|part| Reply::bulk(part.to_string())).to_vec(),
            )),
            (b"PUBSUB", [b"SHARDNUMSUB", channels @ ..]) => Ok(Reply::Array(
                channels
                    .iter()
                    .flat_map(|channel| {
                        let count = self.listeners.get(*channel).copied().unwrap_or(0);
                        [Reply::bulk(*channel), Reply::Integer(count)]
                    })
                    .collect(),
            )),
            (b"SPUBLISH", [channel, message]) => {
                self.published.push((channel.to_vec(), message.to_vec()));
                Ok(Reply::Integer(self.listeners.get(*channel).copied().unwrap_or(0)))
            }
            (b"GET" | b"GETRANGE" | b"STRLEN" | b"SET", [key, rest @ ..]) => self.string(command, key, rest),
            (b"EXISTS" | b"DEL", [_, ..]) => Ok(self.several(command, &args)),
            (b"PTTL" | b"PEXPIRETIME" | b"PEXPIRE" | b"PEXPIREAT", [key, rest @ ..]) => self.expiry(command, key, rest),
            (_, [key, rest @ ..]) if command.starts_with(b"Z") => self.zset(command, key, rest),
            _ => Err(wrong_arity()),
        }
    }

    fn several(&mut self, command: &[u8], keys: &[&[u8]]) -> Reply {
        let now_ms = self.now_ms();
        let mut found = 0;
        for key in keys {
            let is_there = self.keys.find(key, now_ms).is_some();
            found += i64::from(is_there);
            if is_there && command == b"DEL" {
                self.keys.remove(key);
            }
        }
        Reply::Integer(found)
    }
}

fn wrong_arity() -> Reply {
    Reply::error("ERR Wrong number of args calling Redis command from script")
}
