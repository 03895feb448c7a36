//! The model's Redis is Redis: random sequences of commands and of whole scripts, run on it and on a real server, with the
//! same replies, messages and keys after each step: on redis-server, and on Valkey.
//!
//! The real server's clock stands still between two steps: a preloaded library answers from a file that the test writes.
//! Its active expiry is off, so that a key is gone when it is asked for, and not at a moment of its own.

mod commands;
mod real;
mod sequence;
mod wire;

use std::path::Path;

use crate::dice::Dice;
use crate::lua::{Interpreter, Script};
use crate::redis::{Reply, Server, Value};
use real::RealRedis;
use sequence::{CHANNELS, Step, Steps};

/// Sequences in `make test`; `make model` sets more.
const SEQUENCES: u64 = 2_000;
const STEPS: usize = 12;

/// What the server of `MODEL_REDIS` does, or Debian's redis-server.
#[test]
fn the_models_redis_is_redis() {
    match std::env::var("MODEL_REDIS") {
        Ok(program) => play_on(&program, ""),
        Err(_) => play_on("redis-server", "Redis 7.0."),
    }
}

#[test]
fn the_models_redis_is_valkey() {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/target/valkey/valkey-server");
    assert!(Path::new(program).exists(), "{program} is missing: `make target/valkey/valkey-server` installs it");
    play_on(program, "Valkey 9.");
}

/// Plays on a server of this version.
fn play_on(program: &str, version: &str) {
    let sequences = std::env::var("MODEL_SEQUENCES").ok().map_or(SEQUENCES, |text| text.parse().expect("a number"));
    let mut pair = Pair::new(program);
    assert!(pair.real.version().starts_with(version), "{} is not {version}*", pair.real.version());
    for seed in 0..sequences {
        pair.play(seed);
    }
    println!("{}: {sequences} sequences", pair.real.version());
}

struct Pair {
    real: RealRedis,
    /// Each by its text: what we and the server know it by.
    scripts: Vec<(String, Script, String)>,
    interpreter: Interpreter,
    is_valkey: bool,
}

impl Pair {
    fn new(program: &str) -> Pair {
        let mut real = RealRedis::start(program, &CHANNELS);
        let interpreter = Interpreter::new();
        let scripts = sequence::texts().map(|text| (text.clone(), interpreter.load(&text), real.load(&text))).collect();
        let is_valkey = real.version().starts_with("Valkey");
        Pair { real, scripts, interpreter, is_valkey }
    }

    fn play(&mut self, seed: u64) {
        let mut steps = Steps::new(Dice::new(seed));
        let mut server = Server::new(steps.now_us);
        server.is_valkey = self.is_valkey;
        server.listeners = CHANNELS.iter().map(|channel| (channel.as_bytes().to_vec(), 1)).collect();
        self.real.flush();
        let (mut trace, mut is_full) = (Vec::new(), false);
        for _ in 0..STEPS {
            let step = steps.next();
            trace.push(format!("{step:?}"));
            self.real.set_clock(step.now_us);
            if std::mem::replace(&mut is_full, step.is_full) != is_full {
                self.real.set_full(is_full);
            }
            (server.now_us, server.is_full) = (step.now_us, step.is_full);
            let (_, script, digest) = self.scripts.iter().find(|(text, ..)| *text == step.text).expect("it was loaded");
            let (reply, keys) = self.real.run(digest, &step.keys, &step.args);
            let ours = self.interpreter.run(script, &step.keys, &step.args, &mut server);
            let context = || format!("sequence {seed}:\n{}", trace.join("\n"));
            assert_eq!(plain(&ours), plain(&reply), "replies, ours first; {}", context());
            assert_eq!(dump(&server), keys, "keys, ours first; {}", context());
            steps.saw(&step, &ours);
        }
        if is_full {
            self.real.set_full(false);
        }
        let heard = self.real.heard(CHANNELS[0]);
        let of_those = |(channel, _): &(Vec<u8>, Vec<u8>)| server.listeners.contains_key(channel);
        let said: Vec<_> = server.published.iter().filter(|said| of_those(said)).cloned().collect();
        assert_eq!(said, heard, "messages, ours first; sequence {seed}:\n{}", trace.join("\n"));
    }
}

/// Without where in a script an error was raised, and whose command it was: Valkey does not say "Redis".
fn plain(reply: &Reply) -> Reply {
    match reply {
        Reply::Error(text) => Reply::error(&text.split(" script: ").next().unwrap_or_default().replace("Redis ", "")),
        Reply::Array(rows) => Reply::Array(rows.iter().map(plain).collect()),
        other => other.clone(),
    }
}

/// As the real server tells it: what has expired is not told, but is there yet if the clock is set back.
fn dump(server: &Server) -> Reply {
    let mut keys = server.keys.clone();
    keys.purge(server.now_ms());
    let row = |(name, stored): (&[u8], &crate::redis::Stored)| {
        let value = match &stored.value {
            Value::Text(text) => vec![Reply::bulk(text.as_ref())],
            Value::Zset(zset) => {
                let pair = |(member, score): (&[u8], i64)| [Reply::bulk(member), Reply::bulk(score.to_string())];
                zset.iter().flat_map(pair).collect()
            }
        };
        Reply::Array(vec![Reply::bulk(name), Reply::Integer(stored.expires_ms.unwrap_or(-1)), Reply::Array(value)])
    };
    Reply::Array(keys.iter().map(row).collect())
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let keys: Vec<String> = self.keys.iter().map(|key| text(key)).collect();
        let args: Vec<String> = self
            .args
            .iter()
            .map(|arg| match arg {
                crate::lua::Arg::Text(bytes) => text(bytes),
                crate::lua::Arg::Number(number) => number.to_string(),
            })
            .collect();
        write!(f, "at {} µs{}: {} {keys:?} {args:?}", self.now_us, if self.is_full { ", full" } else { "" }, self.name)
    }
}
