//! What this thread knows of the queues that its callers wait in: who waits, what was heard, what to look at next.
//!
//! Architecture invariant: no I/O, no clock, no channel. The time comes in with each input; what is to be done comes out as
//! effects; [`Queues::next_due`] says when to call [`Queues::due`] if nothing happens before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::messages::{Message, Word};
use crate::lock::record::{self, Relation};
use crate::lock::scripts::{AdvanceRow, Found, KeyState, Precision};
use crate::lock::{Key, Shard, Token};

/// Longest time between two looks at a queue: it bounds what any lost message, entry or queue costs, of whatever cause.
/// Less than the two seconds that are promised, by the time that a look and what follows may take.
pub const LOOK: Duration = Duration::from_millis(1600);
/// Added to what is left of a lease, so that Redis has let it expire.
const EXPIRY_SLACK: Duration = Duration::from_millis(3);
/// How often a key is looked at that another program holds, which tells nothing when it releases it: as often as redis-py's
/// lock looks, but once for all waiters of a sidecar.
const LOOK_AT_STRANGER: Duration = Duration::from_millis(100);
/// How often a free key is looked at that Redis did not grant.
const LOOK_AT_FREE: Duration = Duration::from_millis(300);
/// How often a Redis is asked that does not answer, by one look for all queues that wait for it.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long a queue that Redis refused to look at is left alone.
const REFUSED: Duration = Duration::from_secs(1);
/// Of so many waiters a look tells the positions; the others' turn comes with the next ones. Lua takes some 8,000.
const ASKED_ABOUT: usize = 256;
/// Looks under way at once: more would keep callers waiting behind them.
const LOOKS_AT_ONCE: usize = 256;

/// One waiter of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its name among all waiters of all sidecars; the sending of its attempt.
    pub id: String,
    /// As the queue in Redis has it.
    pub text: String,
    /// The owner, and the attempt, as the lease spells them.
    pub identity: String,
    pub nonce: String,
    /// How long it waits at most, milliseconds.
    pub wait_ms: u64,
    /// Whether it is served when its owner has the key.
    pub is_reentrant: bool,
    /// Whether it wants to know its position.
    pub wants_progress: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiter {
    entry: Entry,
    /// As Redis said, once it did.
    position: Option<String>,
    /// Whether it was told that its turn has come.
    is_called: bool,
}

/// The waiters of one key, in the order in which they came, and when it is looked at next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LocalQueue {
    waiters: Vec<Waiter>,
    look_at: Instant,
    /// A look is under way since then.
    asked: Option<Instant>,
    /// When a message or a joining last brought the look forward: an answer to what was asked before may be older news.
    brought_forward: Instant,
    /// Whether entries of ours may be missing: they join again after the next look that Redis answers.
    is_in_doubt: bool,
    /// With which of those that want to know their positions the next look begins.
    asked_from: usize,
}

/// All queues of one thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Queues {
    sidecar: String,
    queues: BTreeMap<Key, LocalQueue>,
    /// When each queue is looked at that is not looked at now.
    plan: BTreeSet<(Instant, Key)>,
    /// The servers that do not answer, and when they are asked again; see [`Queues::server_of`].
    silent: BTreeMap<Option<Shard>, Instant>,
    /// Whether each shard may have a server of its own.
    is_clustered: bool,
    /// How many looks are under way.
    looks: usize,
}

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    /// The lease of this token is on offer to it.
    Offered(Token),
    /// Its attempt has the key already, by another sending, or its owner has it: it is to ask for the key again.
    AskAgain,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A waiter is about to be put into the queue in Redis.
    Join(Key, Entry),
    /// Redis put it there, and says what is left of the lease that it waits for; < 0: no expiry, or the key is free.
    Joined {
        key: Key,
        id: String,
        position: String,
        left_ms: i64,
    },
    /// It waits no more.
    Leave(Key, String),
    Told(Message),
    /// Messages may have been lost.
    Gap,
    /// The look at a queue was answered; `ids` are those whose entries were asked about.
    Looked {
        key: Key,
        ids: Vec<String>,
        row: AdvanceRow,
    },
    /// It was not; `is_of_this_key`: where another key may fare better.
    NotLooked {
        key: Key,
        is_of_this_key: bool,
    },
    /// An entry that joined again is there, and waits for a lease of which so much is left; see [`Input::Joined`].
    Rejoined {
        key: Key,
        entry: Entry,
        left_ms: i64,
    },
    /// A waiter that joined again found that its turn has come.
    Called {
        key: Key,
        id: String,
        turn: Turn,
    },
    /// It could not.
    NotRejoined {
        key: Key,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell a waiter.
    Call { id: String, turn: Turn },
    /// Run `queue_advance.lua`, and bring what comes of it as [`Input::Looked`] or [`Input::NotLooked`].
    Look { key: Key, ids: Vec<String>, entries: Vec<String>, precision: Precision },
    /// Run `queue_join.lua` for an entry that had this position.
    Rejoin { key: Key, entry: Entry, position: String },
    /// Run `queue_decline.lua`: the waiter that is offered this lease is not there any more.
    Decline { key: Key, token: Token },
    /// Remove an entry from the queue, and nothing else, whose waiter left while it joined again: it may have taken its
    /// turn before.
    Remove { key: Key, entry: Entry },
    /// Tell a waiter how many wait before it, and what it waits for.
    Progress { id: String, ahead: u64, key: Key, state: KeyState },
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
            Input::NotRejoined { key } => {
                self.change(&key, |queue| {
                    queue.is_in_doubt = true;
                    queue.bring_forward(now + ASK_AGAIN, now);
                });
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
            let server = self.server_of(&key);
            match self.silent.get_mut(&server) {
                Some(again) if *again > now => {
                    let again = *again;
                    self.change(&key, |queue| queue.look_at = again);
                    continue;
                }
                Some(again) => *again = now + LOOK,
                None => {}
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
            Word::Turn { id, token, left_ms } => {
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
            Word::Offer { left_ms } | Word::Shortened { left_ms, .. } => {
                self.change(&key, |queue| queue.bring_forward(now + until_end(left_ms), now));
            }
            Word::Dropped => self.rejoin(&key, effects),
            Word::Lost { by } if by != self.sidecar => self.rejoin(&key, effects),
            Word::Lost { .. } | Word::Forced(_) | Word::Released(_) | Word::Repeated(_) => {}
        }
    }

    fn looked(&mut self, key: &Key, ids: &[String], row: &AdvanceRow, now: Instant, effects: &mut Vec<Effect>) {
        self.answered(key, now);
        let looked = self.change(key, |queue| {
            let asked = queue.asked.take()?;
            let pause = match &row.key {
                KeyState::Held(found) if record::token(key, &found.text).is_some() => until_end(found.left_ms),
                KeyState::Held(found) => until_end(found.left_ms).min(LOOK_AT_STRANGER),
                KeyState::Stranger => LOOK_AT_STRANGER,
                KeyState::Free { left_ms } if *left_ms >= 0 => until_end(*left_ms),
                KeyState::Free { .. } => LOOK_AT_FREE,
            };
            // Only an answer may put a look off, and only one to what was asked after the latest message.
            let next = now + pause;
            queue.look_at = if queue.brought_forward > asked { queue.look_at.min(next) } else { next };
            let is_missing = ids.iter().zip(&row.ranks).any(|(id, rank)| {
                rank.is_none() && queue.waiter(id).is_some_and(|waiter| !waiter.is_called && waiter.position.is_some())
            });
            Some(std::mem::take(&mut queue.is_in_doubt) || is_missing)
        });
        let Some(Some(is_in_doubt)) = looked else { return };
        self.looks -= 1;
        for (id, rank) in ids.iter().zip(&row.ranks) {
            let waiter = self.queues.get_mut(key).and_then(|queue| queue.waiter(id));
            if let (Some(waiter), Some(ahead)) = (waiter, *rank)
                && waiter.entry.wants_progress
                && !waiter.is_called
            {
                effects.push(Effect::Progress { id: id.clone(), ahead, key: key.clone(), state: row.key.clone() });
            }
        }
        if let KeyState::Held(Found { text, .. }) = &row.key
            && let Some(token) = record::token(key, text)
        {
            self.call_those_that_have_it(key, token, &String::from_utf8_lossy(text), effects);
        }
        if is_in_doubt {
            self.rejoin(key, effects);
        }
    }

    /// The server of a key has answered: all that waited for that are looked at now.
    fn answered(&mut self, key: &Key, now: Instant) {
        let server = self.server_of(key);
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
            self.silent.insert(self.server_of(key), again);
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
    fn call_those_that_have_it(&mut self, key: &Key, token: Token, text: &str, effects: &mut Vec<Effect>) {
        let waiters = self.queues.get(key).into_iter().flat_map(|queue| &queue.waiters);
        let turns = waiters.filter(|waiter| !waiter.is_called).filter_map(|Waiter { entry, .. }| {
            let turn = match record::relation(text, &entry.identity, &entry.nonce, &entry.id)? {
                Relation::This => Turn::Offered(token),
                Relation::SameAttempt => Turn::AskAgain,
                Relation::SameOwner if entry.is_reentrant => Turn::AskAgain,
                Relation::SameOwner => return None,
            };
            Some((entry.id.clone(), turn))
        });
        for (id, turn) in turns.collect::<Vec<_>>() {
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
    fn rejoin(&mut self, key: &Key, effects: &mut Vec<Effect>) {
        let waiters = self.queues.get(key).into_iter().flat_map(|queue| &queue.waiters);
        effects.extend(waiters.filter(|waiter| !waiter.is_called).filter_map(|Waiter { entry, position, .. }| {
            Some(Effect::Rejoin { key: key.clone(), entry: entry.clone(), position: position.clone()? })
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

    /// The part of the lock space that one server answers for, as far as is known.
    fn server_of(&self, key: &Key) -> Option<Shard> {
        server_of(self.is_clustered, key)
    }
}

impl LocalQueue {
    fn new(now: Instant) -> LocalQueue {
        LocalQueue {
            waiters: Vec::new(),
            look_at: now + LOOK,
            asked: None,
            brought_forward: now,
            is_in_doubt: false,
            asked_from: 0,
        }
    }

    /// When it is looked at; `None` while it is.
    fn due(&self) -> Option<Instant> {
        self.asked.is_none().then_some(self.look_at)
    }

    fn waiter(&mut self, id: &str) -> Option<&mut Waiter> {
        self.waiters.iter_mut().find(|waiter| waiter.entry.id == id)
    }

    /// A message may only bring a look forward; an answer alone puts it off.
    fn bring_forward(&mut self, to: Instant, now: Instant) {
        self.look_at = self.look_at.min(to);
        self.brought_forward = now;
    }

    /// The entries that a look asks about: the first and the last of ours that are in the queue, since a Redis that lost a
    /// part of it lost the end, and some of those that want to know their position. `None` while none is there.
    fn asked_about(&mut self) -> Option<Vec<&Entry>> {
        let waiting: Vec<&Waiter> =
            self.waiters.iter().filter(|waiter| !waiter.is_called && waiter.position.is_some()).collect();
        let mut asked = BTreeSet::from([0, waiting.len().checked_sub(1)?]);
        let curious: Vec<usize> = (0..waiting.len()).filter(|index| waiting[*index].entry.wants_progress).collect();
        if !curious.is_empty() {
            let (from, count) = (self.asked_from % curious.len(), curious.len().min(ASKED_ABOUT));
            asked.extend(curious.iter().cycle().skip(from).take(count));
            self.asked_from = from + count;
        }
        Some(asked.into_iter().map(|index| &waiting[index].entry).collect())
    }
}

fn server_of(is_clustered: bool, key: &Key) -> Option<Shard> {
    is_clustered.then(|| key.shard())
}

/// When a lease must have ended of which so much is left; without an end, or where the key is free, it is looked at
/// as any other.
fn until_end(left_ms: i64) -> Duration {
    match u64::try_from(left_ms) {
        Ok(ms) => (Duration::from_millis(ms) + EXPIRY_SLACK).min(LOOK),
        Err(_) if left_ms == -2 => LOOK_AT_FREE,
        Err(_) => LOOK,
    }
}
