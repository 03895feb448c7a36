//! A Redis that is a table, what is on its way from it, and its watchers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::lock::events::event::{Effect, Found, Input, Interest, Look, News, Under, What};
use crate::lock::events::message::{Message, Word};
use crate::lock::events::state::Watched;
use crate::lock::holder::{Holder, State};
use crate::lock::request::LockFailure;
use crate::lock::scripts::WatchRow;
use crate::lock::{Key, Lease, Mode, Owner, Shard, Terms, Token};

pub fn key(name: &str) -> Key {
    Key::parse(name).expect("a key")
}

/// What a Redis has.
#[derive(Clone, Default)]
pub struct Data {
    pub leases: BTreeMap<Key, (Token, Instant)>,
    pub marks: BTreeMap<Shard, u64>,
}

/// A Redis, and what is on its way from it.
pub struct World {
    pub now: Instant,
    pub begun: Instant,
    pub data: Data,
    /// What a failover brings back.
    pub replica: Data,
    pub sequence: u64,
    /// All that each key ever showed.
    pub history: BTreeMap<Key, BTreeSet<Option<Token>>>,
    pub messages: VecDeque<Message>,
    pub asked: Vec<Effect>,
    pub answers: Vec<Input>,
    /// Whether the sidecars that change something are older, and tell nothing.
    pub is_older: bool,
}

impl World {
    pub fn new() -> World {
        let now = Instant::now();
        World {
            now,
            begun: now,
            data: Data::default(),
            replica: Data::default(),
            sequence: 9,
            history: BTreeMap::new(),
            messages: VecDeque::new(),
            asked: Vec::new(),
            answers: Vec::new(),
            is_older: false,
        }
    }

    pub fn now_ms(&self) -> u64 {
        1_000_000 + u64::try_from((self.now - self.begun).as_millis()).expect("a short test")
    }

    /// Leases that have ended are gone.
    pub fn expire(&mut self) {
        let now = self.now;
        self.data.leases.retain(|_, (_, end)| *end > now);
    }

    pub fn tell(&mut self, key: &Key, word: Word, token: Option<Token>) {
        if let Some(number) = self.data.marks.get_mut(&key.shard()).filter(|_| !self.is_older) {
            *number += 1;
            self.messages.push_back(Message { key: key.clone(), word, token, number: Some(*number) });
        }
    }

    pub fn grant(&mut self, key: &Key, ttl: Duration) -> Token {
        self.sequence += 1;
        let token = Token::new(64 * self.sequence + key.shard().index() as u64).expect("a token");
        self.data.leases.insert(key.clone(), (token, self.now + ttl));
        self.history.entry(key.clone()).or_default().insert(Some(token));
        self.tell(key, Word::Granted, Some(token));
        token
    }

    pub fn end(&mut self, key: &Key, word: Word) {
        if let Some((token, _)) = self.data.leases.remove(key) {
            self.tell(key, word, Some(token));
        }
    }

    pub fn look(&self, key: &Key) -> Look {
        let state = match self.data.leases.get(key) {
            None => State::Free,
            Some((token, end)) => State::Held(Holder::Lease(Box::new(Lease {
                mode: Mode::Exclusive,
                key: key.clone(),
                token: *token,
                owner: Owner::system("x".to_owned()),
                since_ms: 0,
                valid_until_ms: 0,
                ttl_ms: 1,
                valid_for_ms: u64::try_from((*end - self.now).as_millis()).expect("a short test"),
                promised_until: None,
                terms: Terms::NONE,
                is_resting: false,
                meta: None,
            }))),
        };
        Look { key: key.clone(), state, waiters: 0, at: self.now }
    }

    /// Runs one of the commands that were sent, and keeps its answer.
    pub fn run(&mut self, at: usize, is_away: bool) {
        let failure = LockFailure::WaitTimeout;
        let answer = match self.asked.remove(at) {
            Effect::Mark(shards) if is_away => Input::NotMarked(shards, failure),
            Effect::Mark(shards) => {
                let rows = shards.into_iter().map(|(shard, epoch)| {
                    let (now_ms, is_new) = (self.now_ms(), !self.data.marks.contains_key(&shard));
                    let number = *self.data.marks.entry(shard).or_insert(now_ms * 1000);
                    (shard, epoch, WatchRow { now_ms, number, is_new })
                });
                Input::Marked(rows.collect())
            }
            Effect::Look { shard, epoch, .. } if is_away => Input::NotLooked { shard, epoch, failure },
            Effect::Look { shard, epoch, ticket, mut prefixes, keys } => {
                let mut found = Found { looks: keys.iter().map(|key| self.look(key)).collect(), ..Found::default() };
                let known: BTreeSet<Key> = keys.into_iter().collect();
                for key in self.data.leases.keys().filter(|key| key.shard() == shard && !known.contains(key)) {
                    found.add(self.look(key), &mut prefixes);
                }
                Input::Looked { shard, epoch, ticket, found }
            }
            Effect::Tell { .. } => panic!("that is no command"),
        };
        self.answers.push(answer);
    }
}

/// A watcher: what it was told.
#[derive(Default)]
pub struct Reader {
    pub shown: BTreeMap<Key, Token>,
    pub is_synced: bool,
    pub is_refused: bool,
    pub gaps: u64,
    pub changes: Vec<(What, Option<Token>)>,
}

impl Reader {
    pub fn read(&mut self, news: &News, world: &World) {
        match news {
            News::States(looks) => {
                self.is_synced = true;
                let tokens = looks.iter().filter_map(|look| Some((look.key.clone(), token(&look.state)?)));
                self.shown = tokens.collect();
            }
            News::Gap => (self.is_synced, self.gaps) = (false, self.gaps + 1),
            News::Change(change) => {
                assert!(self.is_synced, "no change before the states");
                let key = &change.look.key;
                self.changes.push((change.what, change.token));
                match change.what {
                    What::Granted => drop(self.shown.insert(key.clone(), change.token.expect("a lease"))),
                    What::Waiting => {}
                    _ => drop(self.shown.remove(key)),
                }
            }
            News::Failed(_) => assert!(!self.is_synced),
            News::TooMany => self.is_refused = true,
        }
        for (key, token) in &self.shown {
            assert!(world.history.get(key).is_some_and(|all| all.contains(&Some(*token))), "Redis never had {token}");
        }
    }
}

pub fn token(state: &State) -> Option<Token> {
    Under::of(state).token()
}

pub struct Fixture {
    pub world: World,
    pub state: Watched,
    pub readers: BTreeMap<u64, (Interest, Reader)>,
}

impl Fixture {
    pub fn new() -> Fixture {
        Fixture { world: World::new(), state: Watched::new(false), readers: BTreeMap::new() }
    }

    pub fn watch(&mut self, stream: u64, interest: Interest) {
        self.readers.insert(stream, (interest.clone(), Reader::default()));
        self.handle(Input::Watch { stream, interest });
    }

    pub fn handle(&mut self, input: Input) {
        let effects = self.state.handle(input, self.world.now);
        self.carry_out(effects);
    }

    pub fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Tell { to, news } => {
                    for stream in to {
                        let (_, reader) = self.readers.get_mut(&stream).expect("it watches");
                        reader.read(&news, &self.world);
                    }
                }
                asked => self.world.asked.push(asked),
            }
        }
    }

    pub fn due(&mut self) {
        if self.state.next_due().is_some_and(|due| due <= self.world.now) {
            let effects = self.state.due(self.world.now);
            self.carry_out(effects);
        }
    }

    /// Everything arrives at once, for so long.
    pub fn settle(&mut self, span: Duration) {
        let until = self.world.now + span;
        while self.world.now < until {
            self.world.now += Duration::from_millis(10);
            self.world.expire();
            self.due();
            self.deliver();
        }
    }

    /// All that was asked for is done, and all that is on its way arrives.
    pub fn deliver(&mut self) {
        while !self.world.asked.is_empty() {
            self.world.run(0, false);
        }
        while let Some(message) = self.world.messages.pop_front() {
            self.handle(Input::Told(message));
        }
        while !self.world.answers.is_empty() {
            let answer = self.world.answers.remove(0);
            self.handle(answer);
        }
    }

    pub fn reader(&self, stream: u64) -> &Reader {
        &self.readers[&stream].1
    }

    pub fn assert_right(&self, why: &str) {
        for (interest, reader) in self.readers.values() {
            let leases = self.world.data.leases.iter().filter(|(key, _)| interest.covers(key));
            let held: BTreeMap<Key, Token> = leases.map(|(key, (token, _))| (key.clone(), *token)).collect();
            assert!(reader.is_synced && !reader.is_refused, "{why}: {interest:?} is not known");
            assert_eq!(reader.shown, held, "{why}: {interest:?}");
        }
    }
}
