//! One key that is watched: what was found there last, when to look again, and what a further look tells.
//!
//! Architecture invariant: no I/O, no clock, no channel, as for all that is [watched](super::state).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::{Change, Look, Under, What};
use super::message::Word;
use crate::lock::holder::{Holder, Other, State};
use crate::lock::{Lease, Token};

/// Added to what is left of a lease, so that Redis has let it expire.
const EXPIRY_SLACK: Duration = Duration::from_millis(3);
/// How often a key is looked at where another program may take it or free it, which tells nothing.
const LOOK_AT_STRANGER: Duration = Duration::from_secs(1);
/// Between two events that tell how many wait for a key.
const WAITING: Duration = Duration::from_secs(1);
/// Messages about one key that are remembered until it is looked at.
const HINTS: usize = 8;

#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// What was found last.
    pub look: Option<Arc<Look>>,
    /// Of the look that found it.
    pub ticket: u64,
    /// Whether it is being looked at.
    pub is_asked: bool,
    /// The last look that was asked for before the latest message came: its answer, and those to all before it, may miss
    /// what the message says.
    outdated: Option<u64>,
    /// When it is looked at next; nothing else is due while it is.
    pub due: Option<Instant>,
    /// What messages said since the last look.
    hints: Vec<(Word, Option<Token>)>,
    /// How many waited when that was last told, and when that was.
    waiters: u64,
    waiters_told: Option<Instant>,
}

impl Cell {
    pub fn under(&self) -> Under {
        self.look.as_ref().map_or(Under::Free, |look| Under::of(&look.state))
    }

    /// A message came about the key, after the look with this ticket was asked for.
    pub fn hint(&mut self, word: Word, token: Option<Token>, ticket: u64, now: Instant) {
        if self.hints.len() == HINTS {
            self.hints.remove(0);
        }
        self.hints.push((word, token));
        self.outdated = Some(ticket);
        let at = if word == Word::Waiting { self.next_waiting(now) } else { now };
        self.bring_forward(at);
    }

    /// Whether nothing more is known to come of it.
    pub fn is_quiet(&self) -> bool {
        self.due.is_none() && !self.is_asked
    }

    /// What was under way or due is void: all is looked at again.
    pub fn forget(&mut self) {
        (self.is_asked, self.outdated, self.due) = (false, None, None);
    }

    /// Takes in what was found by the look with this ticket: what changed. `None` where something newer is known.
    pub fn found(&mut self, look: Arc<Look>, ticket: u64, is_shared: bool, now: Instant) -> Option<Vec<Change>> {
        if ticket < self.ticket {
            return None;
        }
        let before = self.under();
        let (is_first, is_over) = (self.look.is_none(), self.is_over(look.at));
        let after = Under::of(&look.state);
        let mut changes = Vec::new();
        if before != after && (before.is_shared() || after.is_shared()) {
            changes = self.changed_among(before, &look);
        } else if before != after {
            changes.extend(self.ended(before, after, is_over).map(|what| (what, before.token())));
            let begins = match after {
                Under::Lease(_) | Under::Shared { .. } | Under::Stranger => true,
                // One that was not seen as a lease has been granted and released.
                Under::Rest(token) => before.token() != Some(token),
                Under::Free => false,
            };
            changes.extend(begins.then_some((What::Granted, after.token())));
            changes.extend((begins && matches!(after, Under::Rest(_))).then_some((What::Released, after.token())));
        }
        self.ticket = ticket;
        // A rest has the token of its lease, whose end was just told.
        let is_news = before == after || before.token() != after.token();
        let lasts = |token: &Token| shares(&look.state).any(|share| share.token == *token);
        self.hints.retain(|(_, token)| is_news && token.as_ref().is_some_and(lasts));
        let due_before = std::mem::replace(&mut self.due, next_look(&look, is_shared).map(|after| look.at + after));
        if is_first {
            self.waiters = look.waiters;
        }
        if self.waiters != look.waiters {
            let at = self.next_waiting(now);
            if at <= now {
                (self.waiters, self.waiters_told) = (look.waiters, Some(now));
                changes.push((What::Waiting, after.token()));
            } else {
                self.bring_forward(at);
            }
        }
        self.outdated = self.outdated.filter(|outdated| ticket <= *outdated);
        if let Some(due) = due_before.filter(|_| self.outdated.is_some()) {
            self.bring_forward(due);
        }
        self.look = Some(Arc::clone(&look));
        Some(changes.into_iter().map(|(what, token)| Change { what, token, look: Arc::clone(&look) }).collect())
    }

    /// How the leases changed of which several share or shared the key. Of more than are shown the oldest are known well: of
    /// the others when they end.
    fn changed_among(&self, before: Under, look: &Look) -> Vec<(What, Option<Token>)> {
        let since = self.look.as_ref().map_or(Duration::ZERO, |known| look.at.saturating_duration_since(known.at));
        let after: BTreeMap<Token, Option<bool>> = shares(&look.state).map(|it| (it.token, it.is_resting)).collect();
        let known = self.look.iter().flat_map(|look| shares(&look.state));
        let mut changes = Vec::new();
        for share in known {
            let hinted = |word| self.hints.contains(&(word, Some(share.token)));
            let what = match after.get(&share.token) {
                Some(Some(true)) if share.is_resting == Some(false) => What::Released,
                Some(_) => continue,
                None if hinted(Word::Forced) => What::Forced,
                // Its release was told when the rest began.
                None if share.is_resting == Some(true) => What::Expired,
                None if hinted(Word::Released) || Duration::from_millis(share.valid_for_ms) > since => What::Released,
                None => What::Expired,
            };
            changes.push((what, Some(share.token)));
        }
        for (token, is_resting) in after {
            if before.token().is_some_and(|newest| token <= newest) {
                continue;
            }
            match is_resting {
                Some(is_resting) => {
                    changes.push((What::Granted, Some(token)));
                    changes.extend(is_resting.then_some((What::Released, Some(token))));
                }
                None => changes.push((What::GrantedUnseen, Some(token))),
            }
        }
        changes
    }

    /// How what was there ended. At a hand-over it is told where a message said how.
    fn ended(&self, before: Under, after: Under, is_over: bool) -> Option<What> {
        let hinted = |word| self.hints.iter().any(|(said, token)| *said == word && *token == before.token());
        match (before, after) {
            (Under::Free, _) => None,
            _ if hinted(Word::Forced) => Some(What::Forced),
            _ if hinted(Word::Released) => Some(What::Released),
            (Under::Lease(one), Under::Rest(other)) if one == other => Some(What::Released),
            _ if is_over => Some(What::Expired),
            (_, Under::Free) if matches!(before, Under::Stranger | Under::Rest(_)) => Some(What::Expired),
            (_, Under::Free) => Some(What::Released),
            _ => None,
        }
    }

    /// Whether what was there last must have expired by then.
    fn is_over(&self, at: Instant) -> bool {
        let left = self.look.as_ref().and_then(|look| Some(look.at + left(&look.state)?));
        left.is_some_and(|end| end <= at)
    }

    fn next_waiting(&self, now: Instant) -> Instant {
        self.waiters_told.map_or(now, |told| (told + WAITING).max(now))
    }

    fn bring_forward(&mut self, to: Instant) {
        self.due = Some(self.due.map_or(to, |due| due.min(to)));
    }
}

/// What is known of a lease, alone or among others.
struct Share {
    token: Token,
    valid_for_ms: u64,
    /// `None` where it is not known.
    is_resting: Option<bool>,
}

/// The leases under a key, those that are not shown last.
fn shares(state: &State) -> impl Iterator<Item = Share> {
    let others = match state {
        State::Held(Holder::Shared(sharing)) => &sharing.others[..],
        State::Held(_) | State::Free => &[],
    };
    let shown = state.leases().iter().map(|Lease { token, valid_for_ms, is_resting, .. }| Share {
        token: *token,
        valid_for_ms: *valid_for_ms,
        is_resting: Some(*is_resting),
    });
    let of_another = |&Other { token, valid_for_ms }: &Other| Share { token, valid_for_ms, is_resting: None };
    shown.chain(others.iter().map(of_another))
}

/// What is left of a key that expires.
fn left(state: &State) -> Option<Duration> {
    match state {
        State::Free => None,
        State::Held(holder) => holder.valid_for_ms().map(Duration::from_millis),
    }
}

/// How long after this a key is looked at by itself. `is_shared`: another program may take a free one.
fn next_look(look: &Look, is_shared: bool) -> Option<Duration> {
    let ends = left(&look.state).map(|left| left + EXPIRY_SLACK);
    match &look.state {
        State::Held(Holder::Stranger(_) | Holder::Queue(_)) => {
            Some(ends.map_or(LOOK_AT_STRANGER, |ends| ends.min(LOOK_AT_STRANGER)))
        }
        State::Free if is_shared => Some(LOOK_AT_STRANGER),
        State::Free | State::Held(Holder::Lease(_) | Holder::Hidden(_)) => ends,
        State::Held(Holder::Shared(sharing)) => {
            let first = sharing.first_ms.map(Duration::from_millis);
            first.map(|left| left + EXPIRY_SLACK).or(ends)
        }
    }
}
