//! Who watches what, and which of them is told something.
//!
//! Architecture invariant: no I/O, no clock, no channel, as for all that is [watched](super::state).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::event::{Change, Effect, Interest, News, Room};
use crate::lock::request::LockFailure;
use crate::lock::{Key, Shard};

/// All watchers.
#[derive(Clone, Debug, Default)]
pub struct Readers {
    streams: BTreeMap<u64, Stream>,
    interests: BTreeMap<Interest, Watching>,
}

/// A watcher.
#[derive(Clone, Debug)]
pub struct Stream {
    pub interest: Interest,
    /// Whether it was told the states once.
    pub has_begun: bool,
    is_behind: bool,
}

/// Something that is watched.
#[derive(Clone, Debug)]
pub struct Watching {
    streams: BTreeSet<u64>,
    /// The shards whose states are not known, at first or since a gap.
    missing: BTreeSet<Shard>,
    /// How many more locks may be found, until all states were known once.
    room: Option<Room>,
    /// Whether more is held of it than a stream may begin with.
    is_too_large: bool,
}

/// What there is to do for one who begins to watch.
pub enum Begins {
    /// Tell it the states, which are known.
    AtOnce,
    /// Nothing: the states are being looked at.
    Later,
    /// Look at these shards.
    New(BTreeSet<Shard>),
    /// Tell it that there are too many states.
    TooLarge,
}

impl Readers {
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    pub fn add(&mut self, stream: u64, interest: &Interest) -> Begins {
        self.streams.insert(stream, Stream { interest: interest.clone(), has_begun: false, is_behind: false });
        if let Some(watching) = self.interests.get_mut(interest) {
            watching.streams.insert(stream);
            return match watching {
                _ if watching.is_too_large => Begins::TooLarge,
                _ if watching.missing.is_empty() => Begins::AtOnce,
                _ => Begins::Later,
            };
        }
        let missing: BTreeSet<Shard> = Shard::all().filter(|shard| interest.is_in(*shard)).collect();
        let (streams, room) = (BTreeSet::from([stream]), Some(Room::new()));
        let watching = Watching { streams, missing: missing.clone(), room, is_too_large: false };
        self.interests.insert(interest.clone(), watching);
        Begins::New(missing)
    }

    /// What is watched by none any more.
    pub fn remove(&mut self, stream: u64) -> Option<Interest> {
        let Stream { interest, .. } = self.streams.remove(&stream)?;
        let watching = self.interests.get_mut(&interest)?;
        watching.streams.remove(&stream);
        if !watching.streams.is_empty() {
            return None;
        }
        self.interests.remove(&interest);
        Some(interest)
    }

    pub fn stream(&self, stream: u64) -> Option<&Stream> {
        self.streams.get(&stream)
    }

    pub fn set_behind(&mut self, stream: u64, is_behind: bool) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.is_behind = is_behind;
        }
    }

    pub fn watch(&self, key: &Key) -> bool {
        self.interests.keys().any(|interest| interest.covers(key))
    }

    /// Whether this very key is watched.
    pub fn watch_alone(&self, key: &Key) -> bool {
        self.interests.contains_key(&Interest::Key(key.clone()))
    }

    pub fn in_shard(&self, shard: Shard) -> impl Iterator<Item = &Interest> {
        self.interests.keys().filter(move |interest| interest.is_in(shard))
    }

    /// Whether the states of an interest are known.
    pub fn know(&self, interest: &Interest) -> bool {
        self.interests.get(interest).is_some_and(|watching| watching.missing.is_empty())
    }

    /// How many more locks may be found of an interest whose states were never known yet.
    pub fn room(&self, interest: &Interest) -> Option<&Room> {
        self.interests.get(interest)?.room.as_ref()
    }

    pub fn of(&self, interest: &Interest) -> Vec<u64> {
        self.interests.get(interest).map(|watching| watching.streams.iter().copied().collect()).unwrap_or_default()
    }

    /// The states of a shard were looked at for an interest.
    pub fn is_looked_at(&mut self, interest: &Interest, shard: Shard) {
        if let Some(watching) = self.interests.get_mut(interest) {
            watching.missing.remove(&shard);
            watching.room = watching.room.take().filter(|_| !watching.missing.is_empty());
        }
    }

    /// More is held of an interest than a stream may begin with: those that wait for its states are told, and those that
    /// join before all of them have left.
    pub fn is_too_large(&mut self, interest: &Interest, effects: &mut Vec<Effect>) {
        if let Some(watching) = self.interests.get_mut(interest) {
            watching.is_too_large = true;
            tell(watching.streams.iter().copied().collect(), News::TooMany, effects);
        }
    }

    /// What was known of a shard may be outdated.
    pub fn lost(&mut self, shard: Shard, effects: &mut Vec<Effect>) {
        let Readers { streams, interests } = self;
        for (_, watching) in interests.iter_mut().filter(|(interest, _)| interest.is_in(shard)) {
            if watching.missing.is_empty() {
                tell(told(streams, watching, |stream| stream.has_begun).collect(), News::Gap, effects);
            }
            watching.missing.insert(shard);
            // What was found is looked for again.
            watching.room = watching.room.take().map(|_| Room::new());
            watching.is_too_large = false;
        }
    }

    /// Redis cannot be asked: those who wait for the first states are told.
    pub fn refuse(&self, shard: Shard, failure: &LockFailure, effects: &mut Vec<Effect>) {
        for (_, watching) in self.interests.iter().filter(|(interest, _)| interest.is_in(shard)) {
            let to = told(&self.streams, watching, |stream| !stream.has_begun).collect();
            tell(to, News::Failed(failure.clone()), effects);
        }
    }

    pub fn tell_change(&self, key: &Key, change: Change, effects: &mut Vec<Effect>) {
        let watching = self.interests.iter().filter(|(interest, one)| interest.covers(key) && one.missing.is_empty());
        let to = watching.flat_map(|(_, one)| told(&self.streams, one, |stream| stream.has_begun)).collect();
        tell(to, News::Change(Arc::new(change)), effects);
    }

    /// Tells these the states, from which on they are told of changes.
    pub fn tell_states(&mut self, to: &[u64], states: News, effects: &mut Vec<Effect>) {
        let mut begun = Vec::new();
        for id in to {
            if let Some(stream) = self.streams.get_mut(id).filter(|stream| !stream.is_behind) {
                stream.has_begun = true;
                begun.push(*id);
            }
        }
        tell(begun, states, effects);
    }
}

/// Those of a group that are told something now.
fn told<'a>(
    streams: &'a BTreeMap<u64, Stream>,
    watching: &'a Watching,
    is_meant: impl Fn(&Stream) -> bool + 'a,
) -> impl Iterator<Item = u64> + 'a {
    let is_told = move |id: &u64| streams.get(id).is_some_and(|stream| !stream.is_behind && is_meant(stream));
    watching.streams.iter().copied().filter(is_told)
}

pub fn tell(to: Vec<u64>, news: News, effects: &mut Vec<Effect>) {
    if !to.is_empty() {
        effects.push(Effect::Tell { to, news });
    }
}
