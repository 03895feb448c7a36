//! What all states of one exploration share: the scripts, each run of which is remembered, and the beginning of time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lockside::lock::model::ALL;
use lockside::lock::{Key, KeySpace};

use super::leases::Held;
use super::plant::Plant;
use crate::lua::{Arg, Interpreter, Script};
use crate::redis::{Keyspace, Reply, Server};
use crate::search::Fingerprint;

/// When a world begins by Redis's clock, milliseconds since 1970.
pub const BEGIN_MS: i64 = 1_800_000_000_000;
/// How long Redis is waited for, as `--redis-timeout` has it.
pub const TIMEOUT_MS: i64 = 1_000;

pub struct Engine {
    interpreter: Interpreter,
    scripts: HashMap<&'static str, Script>,
    runs: RefCell<HashMap<Run, Rc<Ran>, BuildHasherDefault<Fingerprint>>>,
    /// What leases say, by their texts.
    pub read: RefCell<HashMap<Vec<u8>, Option<Held>>>,
    epoch: Instant,
    pub plant: Plant,
    /// Whether it runs the scripts as Valkey does.
    pub is_valkey: bool,
    pub key: Key,
    pub space: KeySpace,
}

/// All that a run of a script depends on.
#[derive(PartialEq, Eq, Hash)]
struct Run {
    keys: Rc<Keyspace>,
    moment: Moment,
    script: &'static str,
    args: Rc<[String]>,
    listeners: Vec<Vec<u8>>,
}

/// How it is with Redis when a script runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub clock_ms: i64,
    /// Whether no memory is left.
    pub is_full: bool,
}

/// What came of it.
pub struct Ran {
    pub reply: Reply,
    pub keys: Rc<Keyspace>,
    pub published: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Engine {
    /// With this fault, if any, in what ships.
    pub fn new(plant: Plant) -> Engine {
        let interpreter = Interpreter::new();
        let texts = plant.planted(ALL.iter().map(|script| (script.name, script.text().to_owned())));
        Engine {
            scripts: texts.iter().map(|(name, text)| (*name, interpreter.load(text))).collect(),
            interpreter,
            runs: RefCell::default(),
            read: RefCell::default(),
            epoch: Instant::now(),
            plant,
            is_valkey: false,
            key: Key::parse("k").expect("a key"),
            space: KeySpace::new("lockside"),
        }
    }

    /// What ships, on Valkey.
    pub fn on_valkey() -> Engine {
        Engine { is_valkey: true, ..Engine::new(Plant::default()) }
    }

    /// Forgets all runs, for a world with other ones.
    pub fn forget(&self) {
        self.runs.borrow_mut().clear();
        self.read.borrow_mut().clear();
    }

    /// A moment of the sidecars' clocks, from the world's milliseconds.
    pub fn instant(&self, now_ms: i64) -> Instant {
        self.epoch + Duration::from_millis(u64::try_from(now_ms).expect("after the beginning"))
    }

    /// In the world's milliseconds.
    pub fn ms(&self, instant: Instant) -> i64 {
        let since = instant.saturating_duration_since(self.epoch).as_micros();
        i64::try_from(since.div_ceil(1000)).expect("soon after the beginning")
    }

    /// The names of the Redis keys that a script is given for one key, as `lock/scripts.rs` has them.
    fn keys_of_one(&self, script: &str, key: &str) -> Vec<Vec<u8>> {
        let (space, key) = (&self.space, &Key::parse(key).expect("a key"));
        let shard = key.shard();
        let [lock, queue, forced] = [space.lock(key), space.queue(key), space.forced(key)].map(String::into_bytes);
        let (tokens, watch) = (space.tokens(shard).to_vec(), space.watch(shard).to_vec());
        match script {
            "renew" => vec![lock, queue, forced, watch],
            "force" => vec![lock, tokens, queue, watch, forced],
            _ => vec![lock, tokens, queue, watch],
        }
    }

    /// Those that a script is given with these arguments, of which each key's first is its name.
    pub fn keys_of(&self, script: &str, args: &[String]) -> Vec<Vec<u8>> {
        let (args, one, of_each) = match script {
            "acquire_all" => (&args[..args.len() - 1], "acquire", 10),
            "renew_all" => (&args[..args.len() - 1], "renew", 6),
            "batch" => return super::batch::operations(args).flat_map(|(one, args)| self.keys_of(one, args)).collect(),
            _ => (args, script, args.len()),
        };
        args.chunks(of_each).flat_map(|of_one| self.keys_of_one(one, &of_one[0])).collect()
    }

    /// Runs a script on what lies in Redis.
    pub fn run(
        &self,
        keys: &Rc<Keyspace>,
        moment: Moment,
        script: &'static str,
        args: &Rc<[String]>,
        listeners: Vec<Vec<u8>>,
    ) -> Rc<Ran> {
        let run = Run { keys: Rc::clone(keys), moment, script, args: Rc::clone(args), listeners };
        if let Some(ran) = self.runs.borrow().get(&run) {
            return Rc::clone(ran);
        }
        let mut server = Server::new(moment.clock_ms * 1000);
        (server.is_full, server.is_valkey) = (moment.is_full, self.is_valkey);
        server.keys = (**keys).clone();
        server.listeners = run.listeners.iter().map(|channel| (channel.clone(), 1)).collect();
        let args: Vec<Arg> = run.args.iter().map(|arg| Arg::from(arg.as_str())).collect();
        let keys = self.keys_of(script, &run.args);
        let reply = self.interpreter.run(&self.scripts[script], &keys, &args, &mut server);
        server.keys.purge(server.now_ms());
        let ran = Rc::new(Ran { reply, keys: Rc::new(server.keys), published: server.published });
        self.runs.borrow_mut().insert(run, Rc::clone(&ran));
        ran
    }

    /// The channel on which the sidecar of this name is told of a key.
    pub fn channel_of(&self, key: &str, name: &str) -> Vec<u8> {
        [self.space.push(Key::parse(key).expect("a key").shard()), name].concat().into_bytes()
    }

    /// The channel on which all sidecars, or the one of this name, are told.
    pub fn channel(&self, name: &str) -> Vec<u8> {
        [self.space.push(self.key.shard()), name].concat().into_bytes()
    }
}
