//! What is heard of one shard: messages are numbered, so that a lost one is noticed by the next, or when the mark is looked
//! at, which has the number of the last.
//!
//! Architecture invariant: no I/O, no clock, no channel, as for all that is [watched](super::state).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::event::Interest;
use crate::lock::scripts::WatchRow;
use crate::lock::{SHARDS, Shard};

/// Between two looks at a mark. With [`ON_ITS_WAY`] it bounds when a lost message is noticed, well below two seconds.
pub const MARK: Duration = Duration::from_secs(1);
/// Marks that are due so soon are looked at together.
const TOGETHER: Duration = Duration::from_millis(250);
/// Pause after a look that failed.
pub const MARK_AGAIN: Duration = Duration::from_millis(200);
/// How long a message may take longer than the answer that counts it.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// Longest time between two looks at all that is watched: it bounds what is missed of sidecars that tell nothing, since
/// they are older.
pub const LOOK_AT_ALL: Duration = Duration::from_secs(30);
/// Shortest time between two beginnings of a shard. Where messages are lost again and again, or come faster than they are
/// read, looking at all each time would be most of the load.
const PAUSE: Duration = Duration::from_millis(250);
/// By so much the clock of Redis may differ from ours between two looks at a mark, before it is taken to have stepped.
const STEP: Duration = Duration::from_millis(500);

/// What is known of a shard.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Rises with each gap: what was asked for before is void.
    pub epoch: u64,
    /// Whether its mark stood, and its channel was subscribed to before, when that was last looked at.
    pub stands: bool,
    /// Of the last message.
    number: u64,
    /// The number that must have been heard by then.
    expected: Option<(u64, Instant)>,
    /// When the mark is looked at next.
    pub mark_at: Instant,
    /// While it is being looked at: the number of the last message before.
    marking: Option<u64>,
    /// Redis's clock when the mark was last looked at.
    clock: Option<(u64, Instant)>,
    /// When all that is watched is looked at next.
    pub all_at: Instant,
    /// When its mark was last looked at for it to begin.
    begun_at: Option<Instant>,
    /// By so much earlier than others it is looked at in turn, so that not all shards are at once.
    ahead: Duration,
    /// Looks under way that tell some interests' states, by their tickets.
    pub looks: BTreeMap<u64, Vec<Interest>>,
}

/// What comes of a look at a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was asked for before a gap.
    Void,
    /// From now on nothing is missed; all is to be looked at.
    Begun,
    /// Messages were lost, or Redis lost its data; from now on nothing is missed; all is to be looked at.
    Lost,
    Fine,
}

impl Heard {
    pub fn new(shard: Shard, now: Instant) -> Heard {
        let share = u32::try_from(shard.index()).expect("there are few shards");
        Heard::begins(LOOK_AT_ALL / 2 * share / u32::from(SHARDS), now)
    }

    fn begins(ahead: Duration, now: Instant) -> Heard {
        Heard {
            epoch: 0,
            stands: false,
            number: 0,
            expected: None,
            mark_at: now,
            marking: None,
            clock: None,
            all_at: now + LOOK_AT_ALL - ahead,
            begun_at: None,
            ahead,
            looks: BTreeMap::new(),
        }
    }

    /// Messages may have been lost; the mark is looked at next at `mark_at`.
    pub fn gap(&mut self, mark_at: Instant) {
        let mark_at = self.begun_at.map_or(mark_at, |begun| mark_at.max(begun + PAUSE));
        *self = Heard { epoch: self.epoch + 1, begun_at: self.begun_at, ..Heard::begins(self.ahead, mark_at) };
    }

    /// When something is to be done next; `None` while it waits for an answer that decides what.
    pub fn due(&self) -> Option<Instant> {
        let mark = self.marking.is_none().then_some(self.mark_at);
        let all = self.stands.then_some(self.all_at);
        let expected = self.expected.map(|(_, by)| by);
        [mark, all, expected].into_iter().flatten().min()
    }

    /// Whether a message is missing that must have come by now.
    pub fn is_missing_one(&self, now: Instant) -> bool {
        self.expected.is_some_and(|(_, by)| by <= now)
    }

    /// Whether its mark is to be looked at, which begins then.
    pub fn begins_to_mark(&mut self, now: Instant) -> bool {
        let begins = self.marking.is_none() && self.mark_at <= now + TOGETHER;
        if begins {
            self.marking = Some(self.number);
            self.begun_at = if self.stands { self.begun_at } else { Some(now) };
        }
        begins
    }

    /// A message came. Whether one before it was lost.
    pub fn told(&mut self, number: Option<u64>) -> bool {
        let Some(number) = number else { return self.stands };
        let is_behind_a_gap = self.stands && number > self.number + 1;
        self.number = self.number.max(number);
        if self.expected.is_some_and(|(expected, _)| expected <= self.number) {
            self.expected = None;
        }
        is_behind_a_gap
    }

    /// The mark was looked at in this epoch.
    pub fn marked(&mut self, epoch: u64, row: WatchRow, now: Instant) -> Verdict {
        let marking = if epoch == self.epoch { self.marking.take() } else { None };
        let Some(before) = marking else { return Verdict::Void };
        self.mark_at = now + MARK;
        let has_stepped = self.has_stepped(row.now_ms, now);
        if !self.stands {
            (self.stands, self.number) = (true, self.number.max(row.number));
            return Verdict::Begun;
        }
        if row.is_new || row.number < before {
            self.gap(now + MARK);
            (self.stands, self.number, self.begun_at) = (true, row.number, Some(now));
            return Verdict::Lost;
        }
        if row.number > self.number && self.expected.is_none() {
            self.expected = Some((row.number, now + ON_ITS_WAY));
        }
        if has_stepped {
            self.all_at = now;
        }
        Verdict::Fine
    }

    fn has_stepped(&mut self, now_ms: u64, now: Instant) -> bool {
        let before = self.clock.replace((now_ms, now));
        before.is_some_and(|(before_ms, before)| {
            let (theirs, ours) = (now_ms.saturating_sub(before_ms), now - before);
            Duration::from_millis(theirs).abs_diff(ours) > STEP
        })
    }
}
