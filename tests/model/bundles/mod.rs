//! Bundles: several keys that are granted or renewed in one step, by `acquire_all.lua` and `renew_all.lua`, while other
//! parties want some of the keys alone. What a party does is written again for the model: `lock/several` has no pure part.

mod party;
mod planted;
mod properties;
mod worlds;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::rc::Rc;

use lockside::lock::{Key, Token};

use crate::properties::Violation;
use crate::redis::{Keyspace, Reply};
use crate::search::State;
use crate::world::{BEGIN_MS, Engine, Held, Moment, Place, TIMEOUT_MS, row};
use party::{Leg, Party, Request, Wants};

/// One thing that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Begin(usize),
    Renew(usize),
    Release(usize),
    /// Redis runs what a party's sidecar sent first.
    Run(usize),
    Answer(usize),
    /// A party's connection breaks: what was sent is run later or never, and no answer comes.
    Break(usize),
    RunLate(usize),
    /// A party's sidecar ends: what was sent is run later or never, and its caller hears of nothing more.
    Crash(usize),
    Pass,
}

/// Parties, each with a sidecar of its own, and Redis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bundles {
    now_ms: i64,
    redis: Rc<Keyspace>,
    parties: Vec<Party>,
    /// What was sent on connections that broke, and may be run yet.
    late: Vec<Rc<Request>>,
    breaks: u8,
    crashes: u8,
    /// The highest token of each key, all that a party was told of, and all leases that were seen, by their keys.
    highest: BTreeMap<&'static str, Token>,
    told: BTreeSet<Token>,
    seen: BTreeSet<(&'static str, String)>,
    /// Since when each key is free that a party waits for.
    free_since: BTreeMap<&'static str, i64>,
    /// Whether a connection broke, or a sidecar crashed.
    was_in_trouble: bool,
    broken: Option<Violation>,
}

impl Bundles {
    pub fn new(wants: &'static [Wants], breaks: u8, crashes: u8) -> Bundles {
        Bundles {
            now_ms: 0,
            redis: Rc::default(),
            parties: wants.iter().map(Party::new).collect(),
            late: Vec::new(),
            breaks,
            crashes,
            highest: BTreeMap::new(),
            told: BTreeSet::new(),
            seen: BTreeSet::new(),
            free_since: BTreeMap::new(),
            was_in_trouble: false,
            broken: None,
        }
    }

    fn leases(&self, engine: &Engine, key: &str) -> Vec<Held> {
        let place = Place { engine, redis: &self.redis, clock_ms: BEGIN_MS + self.now_ms, behind_ms: 0 };
        place.leases(&Key::parse(key).expect("a key"))
    }

    /// Those who wait for a key, by their entries.
    fn entries(&self, engine: &Engine, key: &str) -> Vec<String> {
        let queue = engine.space.queue(&Key::parse(key).expect("a key"));
        match self.redis.peek(queue.as_bytes()).map(|stored| &stored.value) {
            Some(crate::redis::Value::Zset(zset)) => {
                let waiting = zset.iter().filter(|(_, score)| *score > 0);
                waiting.map(|(entry, _)| String::from_utf8_lossy(entry).into_owned()).collect()
            }
            _ => Vec::new(),
        }
    }

    fn run(&mut self, engine: &Engine, request: &Request) -> Reply {
        let moment = Moment { clock_ms: BEGIN_MS + self.now_ms, is_full: false };
        let before = self.clone();
        let listening = self.parties.iter().filter(|party| !party.has_crashed);
        let listeners = listening.map(|party| engine.channel_of(party.key(), party.wants.owner)).collect();
        let ran = engine.run(&self.redis, moment, request.script, &request.args, listeners);
        self.redis = Rc::clone(&ran.keys);
        self.check(engine, &before, request, &ran.reply);
        for (channel, message) in &ran.published {
            for party in &mut self.parties {
                if *channel == engine.channel_of(party.key(), party.wants.owner) {
                    party.hear(engine, self.now_ms, &String::from_utf8_lossy(message));
                }
            }
        }
        ran.reply.clone()
    }

    fn break_connection(&mut self, at: usize) {
        (self.breaks, self.was_in_trouble) = (self.breaks - 1, true);
        let party = &mut self.parties[at];
        let sent = party.sent.iter().chain(party.answers.iter().map(|(request, _)| request));
        let last_ms = sent.map(|request| request.sent_ms + TIMEOUT_MS).max().unwrap_or_default();
        self.late.extend(party.sent.drain(..));
        party.answers.clear();
        // The outcome is waited for until the deadline.
        party.overdue = party.under_way.then_some(party.deadline_ms.max(last_ms));
        party.look_at = None;
    }

    fn crash(&mut self, at: usize) {
        (self.crashes, self.was_in_trouble) = (self.crashes - 1, true);
        let late = self.parties[at].crash();
        self.late.extend(late);
    }

    fn next_due(&self) -> Option<i64> {
        let keys = self.redis.iter().filter_map(|(_, stored)| stored.expires_ms).map(|ends| ends - BEGIN_MS + 1);
        let keys = keys.filter(|ends| *ends < 10_000);
        keys.chain(self.parties.iter().filter_map(Party::next_due)).min().map(|due| due.max(self.now_ms))
    }

    fn pass(&mut self, engine: &Engine) {
        self.now_ms = self.next_due().unwrap_or(self.now_ms);
        let mut redis = (*self.redis).clone();
        redis.purge(BEGIN_MS + self.now_ms);
        self.redis = Rc::new(redis);
        let now_ms = self.now_ms;
        self.parties.iter_mut().for_each(|party| party.due(engine, now_ms));
        self.late.retain(|request| BEGIN_MS + now_ms <= request.latest_ms);
    }

    fn is_at_rest(&self) -> bool {
        self.late.is_empty() && self.parties.iter().all(Party::is_idle)
    }
}

impl State for Bundles {
    type Action = Action;

    fn actions(&self, _: &Engine) -> Vec<Action> {
        let mut actions = Vec::new();
        for (at, party) in self.parties.iter().enumerate() {
            let is_under_way = !party.sent.is_empty() || !party.answers.is_empty();
            for (can, action) in [
                (party.may_begin(), Action::Begin(at)),
                (party.may_renew(), Action::Renew(at)),
                (party.promise.is_some() && !is_under_way && !party.has_crashed, Action::Release(at)),
                (!party.sent.is_empty(), Action::Run(at)),
                (!party.answers.is_empty(), Action::Answer(at)),
                (is_under_way && self.breaks > 0, Action::Break(at)),
                (self.crashes > 0 && !party.has_crashed, Action::Crash(at)),
            ] {
                actions.extend(can.then_some(action));
            }
        }
        actions.extend((0..self.late.len()).map(Action::RunLate));
        let is_busy = self.parties.iter().any(|party| !party.sent.is_empty() || !party.answers.is_empty());
        actions.extend((!is_busy && self.next_due().is_some()).then_some(Action::Pass));
        actions
    }

    fn apply(&mut self, engine: &Engine, action: Action) {
        let now_ms = self.now_ms;
        match action {
            Action::Begin(at) => self.parties[at].begin(engine, now_ms),
            Action::Renew(at) => self.parties[at].renew(engine, now_ms),
            Action::Release(at) => self.parties[at].release(engine, now_ms),
            Action::Run(at) => {
                if let Some(request) = self.parties[at].sent.pop_front() {
                    let reply = self.run(engine, &request);
                    self.parties[at].answers.push_back((request, reply));
                }
            }
            Action::Answer(at) => {
                if let Some((request, reply)) = self.parties[at].answers.pop_front() {
                    self.parties[at].answer(engine, now_ms, &request, &reply);
                    let told = self.parties[at].promise.iter().flat_map(|promise| &promise.tokens);
                    self.told.extend(told);
                }
            }
            Action::Break(at) => self.break_connection(at),
            Action::RunLate(at) => {
                let request = self.late.remove(at);
                self.run(engine, &request);
            }
            Action::Crash(at) => self.crash(at),
            Action::Pass => self.pass(engine),
        }
        self.note_tokens(engine);
        self.note_free(engine);
    }

    fn broken(&self, engine: &Engine) -> Option<Violation> {
        properties::broken(self, engine)
    }

    fn next_calm(&self, engine: &Engine) -> Option<Action> {
        let rank = |action: &Action| {
            Some(match action {
                Action::Run(_) => 0,
                Action::Answer(_) => 1,
                Action::Pass => 2,
                Action::RunLate(_) => 3,
                _ => return None,
            })
        };
        let ranked = self.actions(engine).into_iter().filter_map(|action| Some((rank(&action)?, action)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, action)| action)
    }

    fn is_at_rest(&self) -> bool {
        Bundles::is_at_rest(self)
    }
}

/// A trace, told so that it can be followed.
fn tell(engine: &Engine, begin: &Bundles, trace: &[Action]) -> String {
    let (mut world, mut story) = (begin.clone(), String::new());
    for action in trace {
        let step = step(&world, *action);
        world.apply(engine, *action);
        let leases = world.keys().into_iter().map(|key| {
            let told = |held: &Held| format!("{} {} until {} ms", held.mode.label(), held.token, held.until_ms);
            let leases: Vec<_> = world.leases(engine, key).iter().map(told).collect();
            format!("{key}: {}", if leases.is_empty() { "free".to_owned() } else { leases.join(", ") })
        });
        let leases = leases.collect::<Vec<_>>().join("; ");
        writeln!(story, "{:>6} ms  {step:<60} {leases}", world.now_ms).expect("memory takes all that is written");
    }
    if let Some(Violation { property, how }) = world.broken(engine) {
        writeln!(story, "broken: {property}: {how}").expect("memory takes all that is written");
    }
    story
}

fn step(world: &Bundles, action: Action) -> String {
    let owner = |at: usize| world.parties[at].wants.owner;
    match action {
        Action::Begin(at) => {
            let Wants { legs, waits, .. } = world.parties[at].wants;
            let legs: Vec<_> = legs.iter().map(|leg| format!("{} {:?}", leg.key, leg.mode)).collect();
            format!("{} {} {}", owner(at), if *waits { "waits for" } else { "asks for" }, legs.join(" and "))
        }
        Action::Renew(at) => format!("{} renews", owner(at)),
        Action::Release(at) => format!("{} releases", owner(at)),
        Action::Run(at) => {
            let script = world.parties[at].sent.front().map_or("", |request| request.script);
            format!("Redis runs {script} of {}", owner(at))
        }
        Action::Answer(at) => {
            let answer = world.parties[at].answers.front();
            let told = answer.map_or((String::new(), ""), |(request, reply)| (row(reply).0.to_owned(), request.script));
            format!("{} gets an answer to {}: {}", owner(at), told.1, told.0)
        }
        Action::Break(at) => format!("the connection of {} breaks", owner(at)),
        Action::RunLate(at) => format!("Redis runs late: {}", world.late[at].script),
        Action::Crash(at) => format!("the sidecar of {} crashes", owner(at)),
        Action::Pass => "time passes".to_owned(),
    }
}

impl Bundles {
    /// Those that any party wants.
    fn keys(&self) -> BTreeSet<&'static str> {
        self.parties.iter().flat_map(|party| party.wants.legs).map(|leg: &Leg| leg.key).collect()
    }
}
