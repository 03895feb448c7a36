//! What this thread watches for its callers, and what it tells them: the state first, then each state that lasts.
//!
//! A shard is watched in this order: its channel is subscribed to, its mark is set, from when on scripts tell of it, and
//! then all that is watched in it is looked at. So what happens before the look is seen by it, and what happens later is
//! told of; a message that is lost after all leaves a gap in the numbers, and the shard is begun again.
//!
//! Architecture invariant: no I/O, no clock, no channel. The time comes in with each input; what is to be done comes out as
//! effects; [`Watched::next_due`] says when to call [`Watched::due`] if nothing happens before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cell::Cell;
use super::event::{Effect, Input, Interest, Look, News, Under};
use super::message::Message;
use super::readers::{Begins, Readers, Stream, tell};
use super::shard::{Heard, LOOK_AT_ALL, MARK_AGAIN, Verdict};
use crate::lock::request::LockFailure;
use crate::lock::{Key, Shard};

/// Keys that may be held of what anyone begins to watch.
pub const MOST_STATES: usize = 10_000;
/// Keys that are looked at at once.
const KEYS_AT_ONCE: usize = 64;
/// Marks that are due so soon are looked at together.
const TOGETHER: Duration = Duration::from_millis(250);

/// All that one thread watches.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Whether other programs may take the keys.
    is_shared: bool,
    readers: Readers,
    shards: BTreeMap<Shard, Heard>,
    cells: BTreeMap<Key, Cell>,
    /// When each key is looked at that is due.
    plan: BTreeSet<(Instant, Key)>,
    ticket: u64,
}

impl Watched {
    pub fn new(is_shared: bool) -> Watched {
        let (readers, shards, cells) = (Readers::default(), BTreeMap::new(), BTreeMap::new());
        Watched { is_shared, readers, shards, cells, plan: BTreeSet::new(), ticket: 0 }
    }

    /// Whether nothing is watched.
    pub fn is_empty(&self) -> bool {
        self.readers.is_empty()
    }

    pub fn handle(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Watch { stream, interest } => self.watch(stream, interest, now, &mut effects),
            Input::Unwatch { stream } => self.unwatch(stream),
            Input::Behind { stream } => self.readers.set_behind(stream, true),
            Input::CaughtUp { stream } => self.caught_up(stream, &mut effects),
            Input::Told(message) => self.told(message, now, &mut effects),
            Input::Gap => {
                for shard in self.shards.keys().copied().collect::<Vec<_>>() {
                    self.gap(shard, now, now, &mut effects);
                }
            }
            Input::Marked(rows) => {
                for (shard, epoch, row) in rows {
                    let verdict = self.shards.get_mut(&shard).map(|heard| heard.marked(epoch, row, now));
                    match verdict {
                        Some(Verdict::Begun) => self.look_at_all(shard, &mut effects),
                        Some(Verdict::Lost) => {
                            self.lost(shard, &mut effects);
                            self.look_at_all(shard, &mut effects);
                        }
                        Some(Verdict::Void | Verdict::Fine) | None => {}
                    }
                }
            }
            Input::NotMarked(shards, failure) => {
                for (shard, epoch) in shards {
                    self.failed(shard, epoch, &failure, now, &mut effects);
                }
            }
            Input::Looked { shard, epoch, ticket, looks } => {
                self.looked(shard, epoch, ticket, looks, now, &mut effects);
            }
            Input::NotLooked { shard, epoch, failure } => self.failed(shard, epoch, &failure, now, &mut effects),
        }
        effects
    }

    /// When [`Watched::due`] is to be called at the latest.
    pub fn next_due(&self) -> Option<Instant> {
        let shards = self.shards.values().map(Heard::due);
        shards.chain(self.plan.first().map(|(due, _)| *due)).min()
    }

    /// What is to be done by now.
    pub fn due(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        for shard in self.shards.keys().copied().collect::<Vec<_>>() {
            let Some(heard) = self.shards.get_mut(&shard) else { continue };
            if heard.is_missing_one(now) {
                self.gap(shard, now, now, &mut effects);
            } else if heard.stands && heard.all_at <= now {
                heard.all_at = now + LOOK_AT_ALL;
                self.look(shard, None, Vec::new(), &mut effects);
            }
        }
        if self.shards.values().any(|heard| heard.due() <= now) {
            let marks = self
                .shards
                .iter_mut()
                .filter_map(|(shard, heard)| heard.begins_to_mark(now + TOGETHER).then_some((*shard, heard.epoch)));
            let marks: Vec<_> = marks.collect();
            effects.extend((!marks.is_empty()).then_some(Effect::Mark(marks)));
        }
        self.look_at_those_due(now, &mut effects);
        effects
    }

    fn watch(&mut self, stream: u64, interest: Interest, now: Instant, effects: &mut Vec<Effect>) {
        match self.readers.add(stream, &interest) {
            Begins::AtOnce => self.tell_states(&interest, &[stream], effects),
            Begins::Later => {}
            Begins::New(shards) => {
                for shard in shards {
                    if self.shards.entry(shard).or_insert_with(|| Heard::new(now)).stands {
                        self.look(shard, Some(&interest), vec![interest.clone()], effects);
                    }
                }
            }
        }
    }

    fn unwatch(&mut self, stream: u64) {
        let Some(interest) = self.readers.remove(stream) else { return };
        let Watched { readers, shards, cells, plan, .. } = self;
        shards.retain(|shard, _| readers.in_shard(*shard).next().is_some());
        cells.retain(|key, _| !interest.covers(key) || readers.watch(key));
        plan.retain(|(_, key)| cells.contains_key(key));
    }

    fn caught_up(&mut self, stream: u64, effects: &mut Vec<Effect>) {
        self.readers.set_behind(stream, false);
        let Some(Stream { interest, has_begun, .. }) = self.readers.stream(stream).cloned() else { return };
        if has_begun {
            tell(vec![stream], News::Gap, effects);
        }
        if self.readers.know(&interest) {
            self.tell_states(&interest, &[stream], effects);
        }
    }

    fn told(&mut self, message: Message, now: Instant, effects: &mut Vec<Effect>) {
        let Message { key, word, token, number } = message;
        let shard = key.shard();
        let Some(heard) = self.shards.get_mut(&shard) else { return };
        if heard.told(number) {
            return self.gap(shard, now, now, effects);
        }
        if self.cells.contains_key(&key) || self.readers.watch(&key) {
            let ticket = self.ticket;
            self.change(&key, |cell| cell.hint(word, token, ticket, now));
        }
    }

    /// Messages of a shard may have been lost; its mark is looked at next at `mark_at`.
    fn gap(&mut self, shard: Shard, mark_at: Instant, now: Instant, effects: &mut Vec<Effect>) {
        if let Some(heard) = self.shards.get_mut(&shard) {
            heard.gap(mark_at.max(now));
            self.lost(shard, effects);
        }
    }

    /// What was known of a shard may be outdated.
    fn lost(&mut self, shard: Shard, effects: &mut Vec<Effect>) {
        for (key, cell) in self.cells.iter_mut().filter(|(key, _)| key.shard() == shard) {
            if let Some(due) = cell.due {
                self.plan.remove(&(due, key.clone()));
            }
            cell.forget();
        }
        self.readers.lost(shard, effects);
    }

    /// Redis did not do what was asked for in this epoch.
    fn failed(&mut self, shard: Shard, epoch: u64, failure: &LockFailure, now: Instant, effects: &mut Vec<Effect>) {
        let Some(heard) = self.shards.get(&shard) else { return };
        if heard.epoch == epoch {
            self.gap(shard, now + MARK_AGAIN, now, effects);
        }
        // Of whichever epoch it is: while there is no connection each attempt at one begins another.
        self.readers.refuse(shard, failure, effects);
    }

    /// Looks at all that is watched in a shard, and at all that was known of it.
    fn look_at_all(&mut self, shard: Shard, effects: &mut Vec<Effect>) {
        let interests = self.readers.in_shard(shard).cloned().collect();
        self.look(shard, None, interests, effects);
    }

    /// Looks at what is watched in a shard, or at one interest `only`, and tells of `told` that their states are known then.
    fn look(&mut self, shard: Shard, only: Option<&Interest>, told: Vec<Interest>, effects: &mut Vec<Effect>) {
        let is_meant = |interest: &&Interest| only.is_none_or(|only| only == *interest);
        let is_known = |key: &&Key| key.shard() == shard && only.is_none_or(|only| only.covers(key));
        let mut keys: BTreeSet<Key> = self.cells.keys().filter(is_known).cloned().collect();
        let mut prefixes = Vec::new();
        for interest in self.readers.in_shard(shard).filter(is_meant) {
            match interest {
                Interest::Key(key) => drop(keys.insert(key.clone())),
                Interest::Prefix(prefix) => prefixes.push(prefix.clone()),
            }
        }
        self.ticket += 1;
        let ticket = self.ticket;
        let Some(heard) = self.shards.get_mut(&shard) else { return };
        heard.looks.insert(ticket, told);
        let keys = keys.into_iter().collect();
        effects.push(Effect::Look { shard, epoch: heard.epoch, ticket, prefixes, keys });
    }

    fn look_at_those_due(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let mut due: BTreeMap<Shard, Vec<Key>> = BTreeMap::new();
        while let Some((at, key)) = self.plan.first().cloned().filter(|(at, _)| *at <= now) {
            self.plan.remove(&(at, key.clone()));
            if let Some(cell) = self.cells.get_mut(&key) {
                (cell.due, cell.is_asked) = (None, true);
            }
            due.entry(key.shard()).or_default().push(key);
        }
        for (shard, keys) in due {
            let Some(heard) = self.shards.get(&shard) else { continue };
            for keys in keys.chunks(KEYS_AT_ONCE) {
                self.ticket += 1;
                let (epoch, ticket, keys) = (heard.epoch, self.ticket, keys.to_vec());
                effects.push(Effect::Look { shard, epoch, ticket, prefixes: Vec::new(), keys });
            }
        }
    }

    fn looked(
        &mut self,
        shard: Shard,
        epoch: u64,
        ticket: u64,
        looks: Vec<Look>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let Some(heard) = self.shards.get_mut(&shard).filter(|heard| heard.epoch == epoch) else { return };
        let told = heard.looks.remove(&ticket);
        for look in looks {
            self.found(Arc::new(look), ticket, told.is_none(), now, effects);
        }
        let Some(told) = told else { return };
        for interest in told {
            self.is_looked_at(&interest, shard, effects);
        }
        let of_this: Vec<Key> = self.cells.keys().filter(|key| key.shard() == shard).cloned().collect();
        of_this.iter().for_each(|key| self.forget_if_free(key));
    }

    /// Forgets a free key, unless it is watched itself, or a look is under way that may have seen it before it was free.
    fn forget_if_free(&mut self, key: &Key) {
        let is_looked_at = self.shards.get(&key.shard()).is_some_and(|heard| !heard.looks.is_empty());
        let is_free = self.cells.get(key).is_some_and(|cell| cell.under() == Under::Free && cell.is_quiet());
        if is_free && !is_looked_at && !self.readers.watch_alone(key) {
            self.cells.remove(key);
        }
    }

    /// The states of a shard were looked at for an interest.
    fn is_looked_at(&mut self, interest: &Interest, shard: Shard, effects: &mut Vec<Effect>) {
        let is_new = self.readers.are_new_to(interest);
        let to = self.readers.of(interest);
        let held = self.cells.iter().filter(|(key, cell)| interest.covers(key) && cell.under() != Under::Free);
        if is_new && held.count() > MOST_STATES {
            return tell(to, News::TooMany, effects);
        }
        self.readers.is_looked_at(interest, shard);
        if self.readers.know(interest) {
            self.tell_states(interest, &to, effects);
        }
    }

    /// Takes in what was found at a key, and tells those who watch it what changed. `is_of_key`: it was asked for by the
    /// key's own turn.
    fn found(&mut self, look: Arc<Look>, ticket: u64, is_of_key: bool, now: Instant, effects: &mut Vec<Effect>) {
        let key = look.key.clone();
        if !self.readers.watch(&key) {
            return;
        }
        let is_shared = self.is_shared && self.readers.watch_alone(&key);
        let changes = self.change(&key, |cell| {
            if is_of_key {
                cell.is_asked = false;
            }
            cell.found(look, ticket, is_shared, now)
        });
        for change in changes.into_iter().flatten() {
            self.readers.tell_change(&key, change, effects);
        }
        self.forget_if_free(&key);
    }

    fn tell_states(&mut self, interest: &Interest, to: &[u64], effects: &mut Vec<Effect>) {
        let looks = self.cells.iter().filter(|(key, _)| interest.covers(key)).filter_map(|(_, cell)| cell.look.clone());
        let is_one = matches!(interest, Interest::Key(_));
        let mut looks: Vec<Arc<Look>> = looks.filter(|look| is_one || Under::of(&look.state) != Under::Free).collect();
        looks.sort_by_key(|look| Under::of(&look.state).token());
        self.readers.tell_states(to, News::States(Arc::new(looks)), effects);
    }

    /// Changes what is known of a key, and the plan with it.
    fn change<T>(&mut self, key: &Key, change: impl FnOnce(&mut Cell) -> T) -> T {
        let cell = self.cells.entry(key.clone()).or_default();
        let planned = |cell: &Cell| cell.due.filter(|_| !cell.is_asked);
        let before = planned(cell);
        let changed = change(cell);
        let after = planned(cell);
        if before != after {
            if let Some(before) = before {
                self.plan.remove(&(before, key.clone()));
            }
            if let Some(after) = after {
                self.plan.insert((after, key.clone()));
            }
        }
        changed
    }
}
