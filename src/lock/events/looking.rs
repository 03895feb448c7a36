//! What is looked at, and what comes of what was found.
//!
//! Architecture invariant: no I/O, no clock, no channel, as for all that is [watched](super::state).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::cell::Cell;
use super::event::{Effect, Found, Interest, KEYS_AT_ONCE, Look, MOST_STATES, News, Prefix, Under};
use super::state::Watched;
use crate::lock::{Key, Shard};

impl Watched {
    /// Looks at all that is watched in a shard, and at all that was known of it.
    pub(super) fn look_at_all(&mut self, shard: Shard, effects: &mut Vec<Effect>) {
        let interests = self.readers.in_shard(shard).cloned().collect();
        self.look(shard, None, interests, effects);
    }

    /// Looks at what is watched in a shard, or at one interest `only`, and tells of `told` that their states are known then.
    pub(super) fn look(
        &mut self,
        shard: Shard,
        only: Option<&Interest>,
        told: Vec<Interest>,
        effects: &mut Vec<Effect>,
    ) {
        let is_meant = |interest: &&Interest| only.is_none_or(|only| only == *interest);
        let is_known = |key: &&Key| key.shard() == shard && only.is_none_or(|only| only.covers(key));
        let mut keys: BTreeSet<Key> = self.cells.keys().filter(is_known).cloned().collect();
        let mut prefixes = Vec::new();
        for interest in self.readers.in_shard(shard).filter(is_meant) {
            match interest {
                Interest::Key(key) => drop(keys.insert(key.clone())),
                Interest::Prefix(text) => {
                    prefixes.push(Prefix { text: text.clone(), room: self.readers.room(interest).cloned() });
                }
            }
        }
        self.ticket += 1;
        let ticket = self.ticket;
        let Some(heard) = self.shards.get_mut(&shard) else { return };
        heard.looks.insert(ticket, told);
        let keys = keys.into_iter().collect();
        effects.push(Effect::Look { shard, epoch: heard.epoch, ticket, prefixes, keys });
    }

    pub(super) fn look_at_those_due(&mut self, now: Instant, effects: &mut Vec<Effect>) {
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

    pub(super) fn looked(
        &mut self,
        shard: Shard,
        epoch: u64,
        ticket: u64,
        found: Found,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let Some(heard) = self.shards.get_mut(&shard).filter(|heard| heard.epoch == epoch) else { return };
        let told = heard.looks.remove(&ticket);
        for look in found.looks {
            self.found(Arc::new(look), ticket, told.is_none(), now, effects);
        }
        let Some(told) = told else { return };
        for interest in told {
            match &interest {
                Interest::Prefix(prefix) if found.too_large.contains(prefix) => {
                    self.readers.is_too_large(&interest, effects);
                }
                _ => self.is_looked_at(&interest, shard, effects),
            }
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
        let is_new = self.readers.room(interest).is_some();
        let held = self.cells.iter().filter(|(key, cell)| interest.covers(key) && cell.under() != Under::Free);
        if is_new && held.count() > MOST_STATES {
            return self.readers.is_too_large(interest, effects);
        }
        self.readers.is_looked_at(interest, shard);
        if self.readers.know(interest) {
            self.tell_states(interest, &self.readers.of(interest), effects);
        }
    }

    /// Takes in what was found at a key, and tells its watchers what changed. `is_of_key`: it was asked for by the
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

    pub(super) fn tell_states(&mut self, interest: &Interest, to: &[u64], effects: &mut Vec<Effect>) {
        let looks = self.cells.iter().filter(|(key, _)| interest.covers(key)).filter_map(|(_, cell)| cell.look.clone());
        let is_one = matches!(interest, Interest::Key(_));
        let mut looks: Vec<Arc<Look>> = looks.filter(|look| is_one || Under::of(&look.state) != Under::Free).collect();
        looks.sort_by_key(|look| Under::of(&look.state).token());
        self.readers.tell_states(to, News::States(Arc::new(looks)), effects);
    }

    /// Changes what is known of a key, and the plan with it.
    pub(super) fn change<T>(&mut self, key: &Key, change: impl FnOnce(&mut Cell) -> T) -> T {
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
