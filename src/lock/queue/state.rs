//! What this thread knows of the queues that its callers wait in: who waits, what was heard, what to look at next.
//!
//! Architecture invariant: no I/O, no clock, no channel. The time comes in with each input; what is to be done comes out as
//! effects; [`Queues::next_due`] says when to call [`Queues::due`] if nothing happens before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::event::{Effect, Input, Position, Turn};
use super::local::{LOOK, LOOK_AT_FREE, LOOK_AT_STRANGER, LocalQueue, Waiter, until_end};
use super::messages::{Message, Word};
use crate::lock::record;
use crate::lock::scripts::{AdvanceRow, KeyState, Place, Precision, Stored};
use crate::lock::{Key, Shard, Token};

/// How often a Redis is asked that does not answer, by one look for all queues that wait for it.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long a queue that Redis refused to look at is left alone.
const REFUSED: Duration = Duration::from_secs(1);
/// Looks under way at once: more would keep callers waiting behind them.
const LOOKS_AT_ONCE: usize = 256;

/// All queues of one thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Queues {
    sidecar: String,
    queues: BTreeMap<Key, LocalQueue>,
    /// When each queue is looked at that is not looked at now.
    plan: BTreeSet<(Instant, Key)>,
    /// The servers that do not answer, and when they are asked again; see [`server_of`].
    silent: BTreeMap<Option<Shard>, Instant>,
    /// Whether each shard may have a server of its own.
    is_clustered: bool,
    /// How many looks are under way.
    looks: usize,
}

impl Queues {
    /// `sidecar` is this thread's name in the queues.
    pub fn new(sidecar: String, is_clustered: bool) -> Queues {
        let (queues, plan, silent) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Queues { sidecar, queues, plan, silent, is_clustered, looks: 0 }
    }

    /// Whether no caller of ours waits.
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    pub fn handle(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Join(key, entry) => {
                if !self.queues.contains_key(&key) {
                    self.plan.insert((now + LOOK, key.clone()));
                    self.queues.insert(key.clone(), LocalQueue::new(now));
                }
                self.change(&key, |queue| queue.waiters.push(Waiter { entry, position: None, is_called: false }));
            }
            Input::Joined { key, id, position, left_ms } => {
                self.change(&key, |queue| {
                    queue.bring_forward(now + until_end(left_ms), now);
                    let Some(waiter) = queue.waiter(&id) else { return };
                    waiter.position = Some(position);
                    // Where it stands is said at once to a caller that wants to know.
                    if waiter.entry.wants_progress {
                        queue.bring_forward(now, now);
                    }
                });
            }
            Input::Leave(key, id) => self.leave(&key, &id),
            Input::Told(message) => self.told(message, now, &mut effects),
            Input::Gap => self.look_at_all(|_| true, now),
            Input::Looked { key, ids, row } => self.looked(&key, &ids, &row, now, &mut effects),
            Input::NotLooked { key, is_of_this_key } => self.not_looked(&key, is_of_this_key, now),
            Input::Rejoined { key, entry, left_ms } => {
                let is_there = self.change(&key, |queue| {
                    queue.bring_forward(now + until_end(left_ms), now);
                    queue.waiter(&entry.id).is_some()
                });
                if is_there != Some(true) {
                    effects.push(Effect::Remove { key, entry });
                }
            }
            Input::Called { key, id, turn } => {
                let is_there = self.queues.get_mut(&key).is_some_and(|queue| queue.waiter(&id).is_some());
                match turn {
                    // Its waiter left; one that took its turn has removed the offer, and then nothing is declined.
                    Turn::Offered(token) if !is_there => effects.push(Effect::Decline { key, token }),
                    turn => self.call(&key, &id, turn, &mut effects),
                }
            }
            Input::NotRejoined { key, entry } => {
                let is_there = self.change(&key, |queue| {
                    queue.is_in_doubt = true;
                    queue.bring_forward(now + ASK_AGAIN, now);
                    queue.waiter(&entry.id).is_some()
                });
                // It may have been put there all the same, behind the answer that was lost.
                if is_there != Some(true) {
                    effects.push(Effect::Remove { key, entry });
                }
            }
        }
        effects
    }

    /// When [`Queues::due`] is to be called at the latest.
    pub fn next_due(&self) -> Option<Instant> {
        let (due, _) = self.plan.first()?;
        (self.looks < LOOKS_AT_ONCE).then_some(*due)
    }

    /// The looks that are due.
    pub fn due(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        while self.next_due().is_some_and(|due| due <= now) {
            let Some((_, key)) = self.plan.first().cloned() else { break };
            // A server that does not answer is asked by one look, whatever number of queues wait for it.
            let server = server_of(self.is_clustered, &key);
            if let Some(again) = self.silent.get(&server).copied().filter(|again| *again > now) {
                self.change(&key, |queue| queue.look_at = again);
                continue;
            }
            let asked = self.change(&key, |queue| {
                let asked: Option<((Vec<_>, Vec<_>), Precision)> = queue.asked_about().map(|asked| {
                    let is_exact = asked.iter().any(|entry| entry.wants_progress);
                    let precision = if is_exact { Precision::Rank } else { Precision::Presence };
                    (asked.into_iter().map(|entry| (entry.id.clone(), entry.text.clone())).unzip(), precision)
                });
                queue.asked = asked.is_some().then_some(now);
                queue.look_at = now + LOOK;
                asked
            });
            if let Some(Some(((ids, entries), precision))) = asked {
                self.looks += 1;
                // Not for a queue in which there is nothing to ask about: no answer would follow.
                if let Some(again) = self.silent.get_mut(&server) {
                    *again = now + LOOK;
                }
                effects.push(Effect::Look { key, ids, entries, precision });
            }
        }
        effects
    }

    fn leave(&mut self, key: &Key, id: &str) {
        let is_empty = self.change(key, |queue| {
            queue.waiters.retain(|waiter| waiter.entry.id != id);
            queue.waiters.is_empty()
        });
        if is_empty == Some(true)
            && let Some(queue) = self.queues.remove(key)
        {
            self.looks -= usize::from(queue.asked.is_some());
            self.plan.remove(&(queue.look_at, key.clone()));
        }
    }

    fn told(&mut self, Message { key, word }: Message, now: Instant, effects: &mut Vec<Effect>) {
        match word {
            Word::Turn { id, token, left_ms, is_resigned: _ } => {
                let is_there = self.change(&key, |queue| {
                    queue.bring_forward(now + until_end(left_ms), now);
                    queue.waiter(&id).is_some()
                });
                if is_there == Some(true) {
                    self.call(&key, &id, Turn::Offered(token), effects);
                } else {
                    effects.push(Effect::Decline { key, token });
                }
            }
            Word::Again { id } => self.call(&key, &id, Turn::AskAgain, effects),
            Word::Offer { left_ms } | Word::Shortened { left_ms, .. } => {
                self.change(&key, |queue| queue.bring_forward(now + until_end(left_ms), now));
            }
            Word::Dropped => self.rejoin(&key, false, effects),
            Word::Lost { by } if by != self.sidecar => self.rejoin(&key, false, effects),
            // Said by a look of ours, all have joined again; by one waiter that came back to its position, it alone has.
            Word::Lost { .. } => {
                self.change(&key, |queue| queue.bring_forward(now, now));
            }
            Word::Forced(_) | Word::Released(_) | Word::Repeated(_) => {}
        }
    }

    fn looked(&mut self, key: &Key, ids: &[String], row: &AdvanceRow, now: Instant, effects: &mut Vec<Effect>) {
        self.answered(key, now);
        let looked = self.change(key, |queue| {
            let asked = queue.asked.take()?;
            let pause = match &row.key {
                KeyState::Held(found) if record::token(key, &found.text).is_some() => until_end(found.left_ms),
                KeyState::Held(found) => until_end(found.left_ms).min(LOOK_AT_STRANGER),
                KeyState::Shared { look_ms, .. } => until_end(*look_ms),
                KeyState::Stranger => LOOK_AT_STRANGER,
                KeyState::Free { left_ms } if *left_ms >= 0 => until_end(*left_ms),
                KeyState::Free { .. } => LOOK_AT_FREE,
            };
            // Only an answer may put a look off, and only one to what was asked after the latest message: in the same instant is
            // not after.
            let next = now + pause;
            queue.look_at = if queue.brought_forward >= asked { queue.look_at.min(next) } else { next };
            queue.is_shared = matches!(row.key, KeyState::Shared { .. });
            let is_missing = ids.iter().zip(&row.places).any(|(id, place)| {
                *place == Place::Missing
                    && queue.waiter(id).is_some_and(|waiter| !waiter.is_called && waiter.position.is_some())
            });
            Some((std::mem::take(&mut queue.is_in_doubt), is_missing))
        });
        let Some(Some((is_in_doubt, is_missing))) = looked else { return };
        self.looks -= 1;
        for (id, place) in ids.iter().zip(&row.places) {
            let waiter = self.queues.get_mut(key).and_then(|queue| queue.waiter(id));
            match (waiter, *place) {
                (Some(waiter), Place::Behind(ahead)) if waiter.entry.wants_progress && !waiter.is_called => {
                    effects.push(Effect::Progress { id: id.clone(), ahead, key: key.clone(), state: row.key.clone() });
                }
                (Some(_), Place::Served) => self.call(key, id, Turn::AskAgain, effects),
                _ => {}
            }
        }
        if let KeyState::Held(found) | KeyState::Shared { awaited: found, .. } = &row.key
            && let Some(token) = record::token(key, &found.text)
        {
            self.call_those_that_have_it(key, token, found, effects);
        }
        if is_in_doubt || is_missing {
            self.rejoin(key, is_missing, effects);
        }
    }

    /// The server of a key has answered: all that waited for that are looked at now.
    fn answered(&mut self, key: &Key, now: Instant) {
        let server = server_of(self.is_clustered, key);
        if self.silent.remove(&server).is_some() {
            let is_clustered = self.is_clustered;
            self.look_at_all(|other| server_of(is_clustered, other) == server, now);
        }
    }

    fn not_looked(&mut self, key: &Key, is_of_this_key: bool, now: Instant) {
        let again = if is_of_this_key { now + REFUSED } else { now + ASK_AGAIN };
        if is_of_this_key {
            self.answered(key, now);
        } else {
            self.silent.insert(server_of(self.is_clustered, key), again);
        }
        let asked = self.change(key, |queue| {
            let asked = queue.asked.take()?;
            queue.is_in_doubt = true;
            queue.look_at = again;
            Some(asked)
        });
        self.looks -= usize::from(asked.flatten().is_some());
    }

    /// Tells those of ours that have the key, in case that no message did.
    fn call_those_that_have_it(&mut self, key: &Key, token: Token, found: &Stored, effects: &mut Vec<Effect>) {
        let (text, is_promised) = (String::from_utf8_lossy(&found.text), record::is_promised(key, found));
        let turns = self.queues.get(key).map(|queue| queue.turns(token, &text, is_promised)).unwrap_or_default();
        for (id, turn) in turns {
            self.call(key, &id, turn, effects);
        }
    }

    fn call(&mut self, key: &Key, id: &str, turn: Turn, effects: &mut Vec<Effect>) {
        if let Some(waiter) = self.queues.get_mut(key).and_then(|queue| queue.waiter(id))
            && !std::mem::replace(&mut waiter.is_called, true)
        {
            effects.push(Effect::Call { id: id.to_owned(), turn });
        }
    }

    /// Takes the positions again that ours had; where they have them, nothing changes. All at once, so that no caller that
    /// came later is served between two of them.
    fn rejoin(&mut self, key: &Key, is_missing: bool, effects: &mut Vec<Effect>) {
        let waiters = self.queues.get(key).into_iter().flat_map(|queue| &queue.waiters);
        effects.extend(waiters.filter(|waiter| !waiter.is_called).filter_map(|Waiter { entry, position, .. }| {
            let position = Position { number: position.clone()?, is_missing };
            Some(Effect::Rejoin { key: key.clone(), entry: entry.clone(), position })
        }));
    }

    fn look_at_all(&mut self, is_meant: impl Fn(&Key) -> bool, now: Instant) {
        let keys: Vec<Key> = self.queues.keys().filter(|key| is_meant(key)).cloned().collect();
        for key in keys {
            self.change(&key, |queue| queue.bring_forward(now, now));
        }
    }

    /// Changes a queue, and the plan with it; `None` where no caller of ours waits.
    fn change<T>(&mut self, key: &Key, change: impl FnOnce(&mut LocalQueue) -> T) -> Option<T> {
        let queue = self.queues.get_mut(key)?;
        let before = queue.due();
        let changed = change(queue);
        let after = queue.due();
        if before != after {
            if let Some(before) = before {
                self.plan.remove(&(before, key.clone()));
            }
            if let Some(after) = after {
                self.plan.insert((after, key.clone()));
            }
        }
        Some(changed)
    }
}

/// Which of the servers answers for a key, as far as is known: each shard may have one of its own.
fn server_of(is_clustered: bool, key: &Key) -> Option<Shard> {
    is_clustered.then(|| key.shard())
}
