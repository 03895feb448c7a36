//! The state of watching by itself: a Redis that is a table, messages that are late or lost, and random interleavings of
//! all that happens.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::event::{Effect, Input, Interest, Look, News, Under, What};
use super::message::{Message, Word};
use super::state::Watched;
use crate::lock::request::{Holder, LockFailure, State};
use crate::lock::scripts::WatchRow;
use crate::lock::{Key, Lease, Owner, Shard, Terms, Token};

/// Longest time until the states that are shown are right again, whatever was lost.
const RIGHT: Duration = Duration::from_secs(3);

fn key(name: &str) -> Key {
    Key::parse(name).expect("a key")
}

/// A small generator whose numbers only have to differ: xorshift.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What a Redis has.
#[derive(Clone, Default)]
struct Data {
    leases: BTreeMap<Key, (Token, Instant)>,
    marks: BTreeMap<Shard, u64>,
}

/// A Redis, and what is on its way from it.
struct World {
    now: Instant,
    begun: Instant,
    data: Data,
    /// What a failover brings back.
    replica: Data,
    sequence: u64,
    /// All that each key ever showed.
    history: BTreeMap<Key, BTreeSet<Option<Token>>>,
    messages: VecDeque<Message>,
    asked: Vec<Effect>,
    answers: Vec<Input>,
    /// Whether the sidecars that change something are older, and tell nothing.
    is_older: bool,
}

impl World {
    fn new() -> World {
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

    fn now_ms(&self) -> u64 {
        1_000_000 + u64::try_from((self.now - self.begun).as_millis()).expect("a short test")
    }

    /// Leases that have ended are gone.
    fn expire(&mut self) {
        let now = self.now;
        self.data.leases.retain(|_, (_, end)| *end > now);
    }

    fn tell(&mut self, key: &Key, word: Word, token: Option<Token>) {
        if let Some(number) = self.data.marks.get_mut(&key.shard()).filter(|_| !self.is_older) {
            *number += 1;
            self.messages.push_back(Message { key: key.clone(), word, token, number: Some(*number) });
        }
    }

    fn grant(&mut self, key: &Key, ttl: Duration) -> Token {
        self.sequence += 1;
        let token = Token::new(64 * self.sequence + key.shard().index() as u64).expect("a token");
        self.data.leases.insert(key.clone(), (token, self.now + ttl));
        self.history.entry(key.clone()).or_default().insert(Some(token));
        self.tell(key, Word::Granted, Some(token));
        token
    }

    fn end(&mut self, key: &Key, word: Word) {
        if let Some((token, _)) = self.data.leases.remove(key) {
            self.tell(key, word, Some(token));
        }
    }

    fn look(&self, key: &Key) -> Look {
        let state = match self.data.leases.get(key) {
            None => State::Free,
            Some((token, end)) => State::Held(Holder::Lease(Box::new(Lease {
                key: key.clone(),
                token: *token,
                owner: Owner::system("x".to_owned()),
                since_ms: 0,
                valid_until_ms: 0,
                ttl_ms: 1,
                valid_for_ms: u64::try_from((*end - self.now).as_millis()).expect("a short test"),
                terms: Terms::NONE,
                is_resting: false,
                meta: None,
            }))),
        };
        Look { key: key.clone(), state, waiters: 0, at: self.now }
    }

    /// Runs one of the commands that were sent, and keeps its answer.
    fn run(&mut self, at: usize, is_away: bool) {
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
            Effect::Look { shard, epoch, ticket, prefixes, mut keys } => {
                let found = |key: &&Key| prefixes.iter().any(|prefix| key.as_str().starts_with(prefix));
                keys.extend(self.data.leases.keys().filter(found).cloned());
                let keys: BTreeSet<Key> = keys.into_iter().filter(|key| key.shard() == shard).collect();
                Input::Looked { shard, epoch, ticket, looks: keys.iter().map(|key| self.look(key)).collect() }
            }
            Effect::Tell { .. } => panic!("that is no command"),
        };
        self.answers.push(answer);
    }
}

/// One who watches: what it was told.
#[derive(Default)]
struct Reader {
    shown: BTreeMap<Key, Token>,
    is_synced: bool,
    gaps: u64,
    changes: Vec<(What, Option<Token>)>,
}

impl Reader {
    fn read(&mut self, news: &News, world: &World) {
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
            News::TooMany => panic!("there are few"),
        }
        for (key, token) in &self.shown {
            assert!(world.history.get(key).is_some_and(|all| all.contains(&Some(*token))), "Redis never had {token}");
        }
    }
}

fn token(state: &State) -> Option<Token> {
    Under::of(state).token()
}

struct Fixture {
    world: World,
    state: Watched,
    readers: BTreeMap<u64, (Interest, Reader)>,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture { world: World::new(), state: Watched::new(false), readers: BTreeMap::new() }
    }

    fn watch(&mut self, stream: u64, interest: Interest) {
        self.readers.insert(stream, (interest.clone(), Reader::default()));
        self.handle(Input::Watch { stream, interest });
    }

    fn handle(&mut self, input: Input) {
        let effects = self.state.handle(input, self.world.now);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
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

    fn due(&mut self) {
        if self.state.next_due().is_some_and(|due| due <= self.world.now) {
            let effects = self.state.due(self.world.now);
            self.carry_out(effects);
        }
    }

    /// Everything arrives at once, for so long.
    fn settle(&mut self, span: Duration) {
        let until = self.world.now + span;
        while self.world.now < until {
            self.world.now += Duration::from_millis(10);
            self.world.expire();
            self.due();
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
    }

    fn reader(&self, stream: u64) -> &Reader {
        &self.readers[&stream].1
    }

    fn assert_right(&self, why: &str) {
        for (interest, reader) in self.readers.values() {
            let leases = self.world.data.leases.iter().filter(|(key, _)| interest.covers(key));
            let held: BTreeMap<Key, Token> = leases.map(|(key, (token, _))| (key.clone(), *token)).collect();
            assert!(reader.is_synced, "{why}: {interest:?} is not known");
            assert_eq!(reader.shown, held, "{why}: {interest:?}");
        }
    }
}

#[test]
fn the_state_comes_first_and_then_what_happens_and_how_it_ended() {
    let mut fixture = Fixture::new();
    let first = fixture.world.grant(&key("k"), Duration::from_secs(60));
    fixture.watch(1, Interest::Key(key("k")));
    fixture.watch(2, Interest::Prefix("k".to_owned()));
    fixture.settle(Duration::from_millis(50));
    fixture.assert_right("at the beginning");
    assert_eq!(fixture.reader(1).changes, []);

    fixture.world.end(&key("k"), Word::Released);
    fixture.settle(Duration::from_millis(20));
    let second = fixture.world.grant(&key("k"), Duration::from_millis(500));
    fixture.settle(Duration::from_millis(600));
    let third = fixture.world.grant(&key("k"), Duration::from_secs(60));
    fixture.settle(Duration::from_millis(20));
    fixture.world.end(&key("k"), Word::Forced);
    fixture.settle(Duration::from_millis(20));

    let expected = [
        (What::Released, Some(first)),
        (What::Granted, Some(second)),
        (What::Expired, Some(second)),
        (What::Granted, Some(third)),
        (What::Forced, Some(third)),
    ];
    for stream in [1, 2] {
        assert_eq!((&fixture.reader(stream).changes[..], fixture.reader(stream).gaps), (&expected[..], 0));
    }
    fixture.handle(Input::Unwatch { stream: 1 });
    fixture.handle(Input::Unwatch { stream: 2 });
    assert!(fixture.state.is_empty() && fixture.state.next_due().is_none());
}

#[test]
fn a_lost_message_is_a_gap_within_two_seconds_and_the_state_follows() {
    for is_followed in [false, true] {
        let mut fixture = Fixture::new();
        fixture.watch(1, Interest::Key(key("k")));
        fixture.settle(Duration::from_millis(50));
        fixture.world.grant(&key("k"), Duration::from_secs(60));
        fixture.world.messages.clear();
        if is_followed {
            fixture.world.tell(&key("k"), Word::Waiting, None);
        }

        fixture.settle(Duration::from_secs(2));

        assert_eq!(fixture.reader(1).gaps, 1);
        fixture.assert_right("behind the gap");
    }
}

#[test]
fn data_that_is_lost_and_a_replica_that_is_behind_are_gaps() {
    let mut fixture = Fixture::new();
    fixture.watch(1, Interest::Prefix(String::new()));
    fixture.world.grant(&key("k"), Duration::from_secs(60));
    fixture.settle(Duration::from_millis(50));
    fixture.world.replica = fixture.world.data.clone();
    fixture.world.grant(&key("l"), Duration::from_secs(60));
    fixture.settle(Duration::from_millis(50));

    fixture.world.data = Data::default();
    fixture.settle(Duration::from_secs(2));
    assert_eq!(fixture.reader(1).gaps, 1);
    fixture.assert_right("without data");

    // No connection broke, as far as it was noticed.
    fixture.world.data = fixture.world.replica.clone();
    fixture.settle(Duration::from_secs(2));
    fixture.assert_right("with the data of the replica");
    assert_eq!(fixture.reader(1).gaps, 2);
}

#[test]
fn a_reader_that_is_behind_is_told_nothing_until_it_has_caught_up() {
    let mut fixture = Fixture::new();
    fixture.watch(1, Interest::Key(key("k")));
    fixture.watch(2, Interest::Key(key("k")));
    fixture.settle(Duration::from_millis(50));
    fixture.handle(Input::Behind { stream: 2 });
    fixture.world.grant(&key("k"), Duration::from_secs(60));
    fixture.settle(Duration::from_millis(50));
    assert_eq!((fixture.reader(1).changes.len(), fixture.reader(2).changes.len()), (1, 0));

    fixture.handle(Input::CaughtUp { stream: 2 });

    assert_eq!((fixture.reader(1).gaps, fixture.reader(2).gaps), (0, 1));
    fixture.assert_right("caught up");
}

#[test]
fn what_nothing_tells_of_is_found_within_half_a_minute() {
    let mut fixture = Fixture::new();
    fixture.watch(1, Interest::Prefix("k".to_owned()));
    fixture.settle(Duration::from_millis(50));
    fixture.world.is_older = true;
    fixture.world.grant(&key("k-1"), Duration::from_secs(600));
    fixture.settle(Duration::from_secs(31));
    fixture.assert_right("in the end");
    assert_eq!(fixture.reader(1).gaps, 0);
}

/// Whatever happens in whatever order, what is shown is what Redis had, and is right within [`RIGHT`] of the last event.
#[test]
fn random_interleavings_end_in_the_state_that_redis_has() {
    let names = ["k-1", "k-2", "k-3", "l-1"].map(key);
    for seed in 1..=60_u64 {
        let (mut dice, mut fixture) = (Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)), Fixture::new());
        fixture.watch(1, Interest::Key(names[0].clone()));
        fixture.watch(2, Interest::Prefix("k".to_owned()));
        let mut is_away = false;
        for step in 0..300_u64 {
            fixture.world.now += Duration::from_millis(dice.roll(60));
            fixture.world.expire();
            let name = names[dice.roll(4) as usize].clone();
            match dice.roll(16) {
                0..=2 if !fixture.world.data.leases.contains_key(&name) => {
                    fixture.world.grant(&name, Duration::from_millis(50 + dice.roll(3000)));
                }
                3 => fixture.world.end(&name, Word::Released),
                4 => fixture.world.end(&name, Word::Forced),
                5 => {
                    let (now, more) = (fixture.world.now, Duration::from_millis(dice.roll(2000) + 50));
                    if let Some((_, end)) = fixture.world.data.leases.get_mut(&name) {
                        *end = (*end).max(now + more);
                    }
                }
                6 if dice.roll(3) == 0 => drop(fixture.world.messages.pop_front()),
                7 if dice.roll(12) == 0 => fixture.world.data = Data::default(),
                8 if dice.roll(4) == 0 => fixture.world.replica = fixture.world.data.clone(),
                9 if dice.roll(12) == 0 => {
                    fixture.world.data = fixture.world.replica.clone();
                    fixture.world.messages.clear();
                    fixture.handle(Input::Gap);
                }
                10 if dice.roll(10) == 0 => is_away = !is_away,
                11 if dice.roll(4) == 0 => {
                    let prefix = ["k-", "k-1", "", "l"][dice.roll(4) as usize];
                    fixture.watch(100 + step, Interest::Prefix(prefix.to_owned()));
                }
                12 if dice.roll(4) == 0 => {
                    if let Some(stream) = fixture.readers.keys().find(|stream| **stream >= 100).copied() {
                        fixture.readers.remove(&stream);
                        fixture.handle(Input::Unwatch { stream });
                    }
                }
                _ => {}
            }
            fixture.due();
            while !fixture.world.asked.is_empty() && dice.roll(3) > 0 {
                let at = dice.roll(fixture.world.asked.len() as u64) as usize;
                fixture.world.run(at, is_away);
            }
            while dice.roll(3) > 0 {
                let Some(message) = fixture.world.messages.pop_front() else { break };
                fixture.handle(Input::Told(message));
            }
            while !fixture.world.answers.is_empty() && dice.roll(3) > 0 {
                let at = dice.roll(fixture.world.answers.len() as u64) as usize;
                let answer = fixture.world.answers.remove(at);
                fixture.handle(answer);
            }
        }
        fixture.settle(RIGHT);
        fixture.assert_right(&format!("seed {seed}"));
    }
}
