//! What this thread watches for its callers, and what it tells them: the state first, then each state that lasts.
//!
//! A shard is watched in this order: its channel is subscribed to, its mark is set, from when on scripts tell of it, and
//! then all that is watched in it is looked at. So what happens before the look is seen by it, and what happens later is
//! told of; a message that is lost after all leaves a gap in the numbers, and the shard is begun again.
//!
//! Architecture invariant: no I/O, no clock, no channel. The time comes in with each input; what is to be done comes out as
//! effects; [`Watched::next_due`] says when to call [`Watched::due`] if nothing happens before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::cell::Cell;
use super::event::{Effect, Input, Interest, News};
use super::message::Message;
use super::readers::{Begins, Readers, Stream, tell};
use super::shard::{Heard, LOOK_AT_ALL, MARK_AGAIN, Verdict};
use crate::lock::request::LockFailure;
use crate::lock::{Key, Shard};

/// All that one thread watches.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Whether other programs may take the keys.
    pub(super) is_shared: bool,
    pub(super) readers: Readers,
    pub(super) shards: BTreeMap<Shard, Heard>,
    pub(super) cells: BTreeMap<Key, Cell>,
    /// When each key is looked at that is due.
    pub(super) plan: BTreeSet<(Instant, Key)>,
    /// Of the last look.
    pub(super) ticket: u64,
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
            Input::Looked { shard, epoch, ticket, found } => {
                self.looked(shard, epoch, ticket, found, now, &mut effects);
            }
            Input::NotLooked { shard, epoch, failure } => self.failed(shard, epoch, &failure, now, &mut effects),
        }
        effects
    }

    /// When [`Watched::due`] is to be called at the latest.
    pub fn next_due(&self) -> Option<Instant> {
        let shards = self.shards.values().filter_map(Heard::due);
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
        if self.shards.values().filter_map(Heard::due).any(|due| due <= now) {
            let marks = self
                .shards
                .iter_mut()
                .filter_map(|(shard, heard)| heard.begins_to_mark(now).then_some((*shard, heard.epoch)));
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
            Begins::TooLarge => tell(vec![stream], News::TooMany, effects),
            Begins::New(shards) => {
                for shard in shards {
                    if self.shards.entry(shard).or_insert_with(|| Heard::new(shard, now)).stands {
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
        if !heard.stands {
            // Once it stands, all is looked at.
            return;
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
        // In any epoch: while there is no connection each attempt at one begins another.
        self.readers.refuse(shard, failure, effects);
    }
}
