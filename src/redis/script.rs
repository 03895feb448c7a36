//! A Lua script and its digest, and what it is given.

use std::sync::LazyLock;

use bytes::Bytes;

use super::connection::digest_of;
use crate::redis::operation::RedisOperation;

/// Stands before every script: a server without all of its commands does none of it, and what [`Args`] packed.
const PRELUDE: &str = "if not redis.acl_check_cmd then \
    return redis.error_reply('UNFIT this server is older than Redis 7.0, and lacks commands that locks need') end\n\
    local ARGV = cmsgpack.unpack(ARGV[1])\n";

/// One script: loaded once into Redis, run by its digest.
#[derive(Debug)]
pub struct Script {
    /// The file's name, for metrics and logs.
    pub name: &'static str,
    pub(super) text: String,
    /// The script that runs this one together with others in one call, by its name.
    pub batch: Option<&'static LazyLock<Script>>,
    /// First words of rows that grant or extend a lease: with `--min-replicas` they are held back until WAIT succeeds.
    pub promises: &'static [&'static str],
    /// Whether it runs others, and its rows are theirs.
    pub(super) is_of_several: bool,
    /// Whether it is refused before it is sent where Redis is known to refuse any of its commands.
    pub(super) is_all_or_nothing: bool,
    pub(super) sha1: String,
}

impl Script {
    /// Joins `texts`, here and not when it is compiled: so the binary has each of them once, not once for each script that
    /// includes it.
    pub fn new(name: &'static str, texts: &[&str]) -> Script {
        let text = [PRELUDE, &texts.concat()].concat();
        Script {
            name,
            batch: None,
            promises: &[],
            is_of_several: false,
            is_all_or_nothing: false,
            sha1: digest_of(&text),
            text,
        }
    }

    /// The text as Redis gets it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// One that changes nothing and is told in ARGV which keys to read, since on a cluster they are of several slots.
    pub fn across_slots(self) -> Script {
        let text = format!("#!lua flags=no-writes,allow-cross-slot-keys\n{}", self.text);
        Script { sha1: digest_of(&text), text, ..self }
    }

    pub fn batched_by(self, batch: &'static LazyLock<Script>) -> Script {
        Script { batch: Some(batch), ..self }
    }

    pub fn of_several(self) -> Script {
        Script { is_of_several: true, ..self }
    }

    /// One that begins something, and so had better not begin what it cannot end.
    pub fn all_or_nothing(self) -> Script {
        Script { is_all_or_nothing: true, ..self }
    }

    pub fn promising(self, promises: &'static [&'static str]) -> Script {
        Script { promises, ..self }
    }
}

/// What a script is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Locks,
    /// To see how queues stand and to restore them. What is asked for in one turn goes as one call, also where there is no
    /// request.
    Queues,
    /// To see whether it can be run. Grouped like those.
    Probe,
}

impl Purpose {
    /// As metrics name it.
    pub(super) fn of(self, script: &Script) -> RedisOperation {
        match self {
            Purpose::Locks | Purpose::Queues => RedisOperation::Script(script.name),
            Purpose::Probe => RedisOperation::Probe,
        }
    }
}

/// What one run of a script is given.
#[derive(Debug, Default)]
pub struct Call {
    pub keys: Vec<Bytes>,
    pub args: Args,
    /// A key that may be missing, where the others may all be there.
    pub optional: Option<Optional>,
}

/// A key of a script that it can do without, by its place, and the place of another one that stands in for it. On a
/// cluster Redis runs a script in a slot that moves only where all its keys exist.
#[derive(Clone, Copy, Debug)]
pub struct Optional {
    pub key: usize,
    pub stand_in: usize,
}

impl Call {
    /// What is sent where keys of the slot are at two servers: `is_split`.
    pub(super) fn where_it_is(mut self, is_split: bool) -> Call {
        if let (true, Some(Optional { key, stand_in })) = (is_split, self.optional) {
            self.keys[key] = self.keys[stand_in].clone();
        }
        self
    }
}

/// A script's ARGV. All of it travels as one argument, packed, for each argument of its own would cost us and Redis more
/// on its way than it does in the script.
#[derive(Debug)]
pub struct Args {
    count: u32,
    /// Behind room for the list's head.
    packed: Vec<u8>,
}

/// Bytes of the longest head of a list.
const HEAD: usize = 5;

impl Default for Args {
    fn default() -> Args {
        let mut packed = Vec::with_capacity(256);
        packed.extend_from_slice(&[0; HEAD]);
        Args { count: 0, packed }
    }
}

impl Args {
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Args {
        let mut args = Args::default();
        args.extend(texts);
        args
    }

    pub fn push(&mut self, text: &str) {
        self.count += 1;
        pack_text(&mut self.packed, text);
    }

    /// Adds what `batch.lua` runs: a script's name, the numbers of its keys and of its arguments, and these.
    pub(super) fn push_operation(&mut self, name: &str, key_count: usize, args: &Args) {
        self.count += 3 + args.count;
        pack_text(&mut self.packed, name);
        pack_number(&mut self.packed, key_count as u64);
        pack_number(&mut self.packed, u64::from(args.count));
        self.packed.extend_from_slice(&args.packed[HEAD..]);
    }

    pub(super) fn pack(self) -> Bytes {
        let mut list = self.packed;
        list[0] = rmp::Marker::Array32.to_u8();
        list[1..HEAD].copy_from_slice(&self.count.to_be_bytes());
        list.into()
    }
}

impl<'a> Extend<&'a str> for Args {
    fn extend<T: IntoIterator<Item = &'a str>>(&mut self, texts: T) {
        texts.into_iter().for_each(|text| self.push(text));
    }
}

const MEMORY: &str = "memory takes all that is written";

fn pack_number(list: &mut Vec<u8>, number: u64) {
    rmp::encode::write_uint(list, number).expect(MEMORY);
}

fn pack_text(list: &mut Vec<u8>, text: &str) {
    rmp::encode::write_str(list, text).expect(MEMORY);
}
