//! What a stream of events may tell its reader, by the policy of the moment.

use std::collections::HashSet;

use crate::api::rights::{Rights, hidden};
use crate::lock::{Change, Interest, Key, State, Token, What};
use crate::policy::Verb;

/// What one reader may see of what it watches.
pub struct Sight {
    rights: Rights,
    /// The key, where the reader watches one: it may see that it is taken. Of a prefix it sees what it may read.
    key: Option<Key>,
    /// The reader's own leases that it was told of, so that it is told of their ends.
    own: HashSet<Token>,
}

/// A change as the reader may see it.
pub struct Seen {
    /// `None` where it is another's.
    pub token: Option<Token>,
    pub state: State,
}

impl Sight {
    pub fn of(rights: Rights, interest: &Interest) -> Sight {
        let key = match interest {
            Interest::Key(key) => Some(key.clone()),
            Interest::Prefix(_) => None,
        };
        Sight { rights, key, own: HashSet::new() }
    }

    /// Whether the reader may see anything yet.
    pub fn is_left(&self) -> bool {
        self.key.as_ref().is_none_or(|key| self.rights.has_sight(key))
    }

    /// All is told again.
    pub fn begin(&mut self) {
        self.own.clear();
    }

    /// The state of a key; `None` where the reader may not know of it.
    pub fn state(&mut self, key: &Key, state: State) -> Option<State> {
        if !self.rights.are_ruled() {
            return Some(state);
        }
        let has_own = self.note(&state);
        let is_shown = self.key.is_some() || has_own || self.rights.may(Verb::Read, key);
        is_shown.then(|| self.rights.shown_state(state))
    }

    /// A change, behind which the key has this state; `None` where the reader may not know of it.
    pub fn change(&mut self, Change { what, token, look }: &Change, state: State) -> Option<Seen> {
        if !self.rights.are_ruled() {
            return Some(Seen { token: *token, state });
        }
        self.note(&state);
        let may_read = self.rights.may(Verb::Read, &look.key);
        let is_own = token.is_some_and(|token| match what {
            What::Granted | What::GrantedUnseen | What::Waiting => self.own.contains(&token),
            What::Released | What::Expired | What::Forced => self.own.remove(&token),
        });
        if may_read || is_own {
            return Some(Seen { token: *token, state: self.rights.shown_state(state) });
        }
        let hide = |state| match state {
            State::Held(holder) => State::Held(hidden(holder)),
            State::Free => State::Free,
        };
        self.key.as_ref().map(|_| Seen { token: None, state: hide(state) })
    }

    /// Notes the reader's own leases; whether there are any.
    fn note(&mut self, state: &State) -> bool {
        let own = state.leases().iter().filter(|lease| self.rights.own(lease)).map(|lease| lease.token);
        let own: Vec<Token> = own.collect();
        self.own.extend(&own);
        !own.is_empty()
    }
}
