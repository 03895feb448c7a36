//! What can go wrong in a world, and what it does.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use lockside::lock::model::queue::Input as QueueInput;

use super::network::{Connection, Origin};
use super::{Action, BEGIN_MS, Engine, Fault, Held, Sidecar, World};

/// How far Redis's clock is set back.
const SET_BACK_MS: i64 = 400;
/// How many of the last writes a replica may lack.
const LACKING: usize = 2;

/// How often each trouble may happen yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Troubles {
    /// A connection breaks: what was sent is run later or never, and no answer comes.
    pub breaks: u8,
    /// What was sent waits for a while.
    pub stalls: u8,
    /// A sidecar hears no messages for a while.
    pub deafness: u8,
    /// Redis loses all its data, which takes a millisecond, so that its clock passes the last grant.
    pub losses: u8,
    /// Redis fails over to a replica that lacks the last writes, which takes a millisecond.
    pub failovers: u8,
    /// Redis's clock is set back.
    pub setbacks: u8,
    /// Redis has no memory left for a while.
    pub fills: u8,
    /// Redis refuses a script whole, as while the slot of its keys moves to another server.
    pub refusals: u8,
    /// Too few replicas acknowledge what a script wrote.
    pub shortages: u8,
    /// Whatever lies under the key is force-released.
    pub forces: u8,
    /// A sidecar crashes, and what it knew is gone.
    pub crashes: u8,
    /// A sidecar does nothing for a while.
    pub freezes: u8,
    /// A sidecar is being stopped: what waits there is told so.
    pub drains: u8,
    /// Two of a sidecar's scripts run in one call. No trouble, but another way.
    pub batches: u8,
}

impl Troubles {
    pub const NONE: Troubles = Troubles {
        breaks: 0,
        stalls: 0,
        deafness: 0,
        losses: 0,
        failovers: 0,
        setbacks: 0,
        fills: 0,
        refusals: 0,
        shortages: 0,
        forces: 0,
        crashes: 0,
        freezes: 0,
        drains: 0,
        batches: 0,
    };
}

/// What is no longer looked at since Redis lost something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lost {
    /// The leases that a replica brought back, or has as they were before.
    pub leases: BTreeSet<u64>,
    /// Those that had ended, and last again by a clock that was set back.
    pub again: BTreeSet<u64>,
    /// The places that a replica brought back.
    pub places: BTreeSet<String>,
    /// The clients that stood in the queue when it was lost: they are served in their order.
    pub waiting: BTreeSet<usize>,
}

impl World {
    /// The troubles that can happen next, but for those of one connection.
    pub(super) fn troubles_to_come(&self) -> Vec<Action> {
        let (mut actions, troubles) = (Vec::new(), &self.troubles);
        let has_data = self.redis.iter().next().is_some();
        for (can, action) in [
            (troubles.losses > 0 && has_data, Action::Lose),
            (troubles.setbacks > 0 && has_data, Action::SetBack),
            (troubles.fills > 0 && !self.is_full, Action::Fill),
            (self.is_full, Action::Empty),
            (troubles.forces > 0 && !self.held.is_empty(), Action::Force),
        ] {
            actions.extend(can.then_some(action));
        }
        if troubles.failovers > 0 && has_data {
            actions.extend((0..=self.earlier.len()).map(Action::FailOver));
        }
        for (at, Sidecar { is_frozen, is_draining, is_new, .. }) in self.sidecars.iter().enumerate() {
            for (can, action) in [
                (troubles.freezes > 0 && !is_frozen, Action::Freeze(at)),
                (*is_frozen, Action::Thaw(at)),
                (troubles.crashes > 0 && *is_new, Action::Crash(at)),
                (troubles.drains > 0 && !is_draining && !is_frozen, Action::Drain(at)),
            ] {
                actions.extend(can.then_some(action));
            }
        }
        actions
    }

    pub(super) fn trouble(&mut self, engine: &Engine, action: Action) {
        match action {
            Action::Lose => self.lose(engine),
            Action::FailOver(lacking) => self.fail_over(engine, lacking),
            Action::SetBack => {
                self.troubles.setbacks -= 1;
                self.behind_ms += SET_BACK_MS;
                // What keeps the key lasts for as much longer: an offer to one that is not there, a share, the time to come back.
                if !self.is_free(engine) || self.troubled_ms.is_some() {
                    self.free_since = self.free_since.map(|since_ms| since_ms + SET_BACK_MS);
                }
                // A share that had ended lasts again: it is no new one, and what was undone of it stays.
                let again: Vec<u64> = self.new_leases(engine).iter().map(|held| held.token.get()).collect();
                self.lost.leases.extend(&again);
                self.lost.again.extend(again);
                self.held = self.leases(engine);
            }
            Action::Fill => (self.troubles.fills, self.is_full) = (self.troubles.fills - 1, true),
            Action::Empty => self.is_full = false,
            Action::Force => {
                self.troubles.forces -= 1;
                self.sidecars[0].send_in_time(engine, self.now_ms, "force", &[""], Origin::None);
            }
            Action::Freeze(at) => {
                self.troubles.freezes -= 1;
                self.sidecars[at].is_frozen = true;
            }
            Action::Thaw(at) => self.sidecars[at].is_frozen = false,
            Action::Crash(at) => self.crash(at),
            Action::Drain(at) => {
                self.troubles.drains -= 1;
                self.sidecars[at].is_draining = true;
                self.drain_holds(engine, at);
                for client in 0..self.clients.len() {
                    self.wait_is_over(engine, client);
                }
            }
            other => unreachable!("{other:?} is no trouble"),
        }
    }

    fn lose(&mut self, engine: &Engine) {
        self.troubles.losses -= 1;
        // Positions are sequences, too.
        self.last_known = self.highest_sequence(engine);
        let entries = self.entries(engine);
        let stands = |client: &super::Client| {
            client.course.as_deref().is_some_and(|course| course.is_waiting() && entries.contains(&course.entry))
        };
        self.lost.waiting = (0..self.clients.len()).filter(|at| stands(&self.clients[*at])).collect();
        self.redis = Rc::default();
        self.has_its_data = false;
        for promise in self.clients.iter_mut().filter_map(|client| client.promise.as_mut()) {
            promise.is_lost = true;
        }
        self.taken.clear();
        self.forget_told(engine);
        self.sidecars.iter_mut().for_each(|sidecar| sidecar.connection.lose_data());
        self.pass_until(engine, self.now_ms + 1);
    }

    fn fail_over(&mut self, engine: &Engine, lacking: usize) {
        self.troubles.failovers -= 1;
        let (leases, offers) = (self.leases(engine), self.offers(engine));
        let (entries, token) = (self.entries(engine), self.last_token(engine));
        if let Some(at) = self.earlier.len().checked_sub(lacking).filter(|at| *at < self.earlier.len()) {
            self.redis = Rc::clone(&self.earlier[at]);
        }
        self.earlier.clear();
        self.purge();
        self.has_its_data &= self.last_token(engine) >= token;
        self.forget_told(engine);
        self.note_lost_leases(engine, &leases, &offers);
        self.note_lost_places(engine, &entries);
        for sidecar in 0..self.sidecars.len() {
            self.cut(engine, sidecar);
            self.sidecars[sidecar].connection.is_deaf = true;
            self.held_up.insert(self.sidecars[sidecar].name);
        }
        self.late.clear();
        self.pass_until(engine, self.now_ms + 1);
    }

    /// Notes the leases whose tokens Redis does not know any more. By a clock that is set back it may give the tokens again.
    pub(super) fn forget_told(&mut self, engine: &Engine) {
        let last = self.last_token(engine);
        for client in &mut self.clients {
            let is_known = |(token, _): &(u64, String)| i64::try_from(*token).is_ok_and(|token| token <= last);
            let (known, forgotten): (Vec<_>, Vec<_>) = client.told.drain(..).partition(is_known);
            client.told = known;
            self.lost.leases.extend(forgotten.into_iter().map(|(token, _)| token));
        }
    }

    /// Notes which leases a replica has otherwise than they were, and what was promised by those that it lacks, or that end
    /// sooner there, or that do not say whom they were promised to, or are on offer there still.
    fn note_lost_leases(&mut self, engine: &Engine, before: &[Held], offers: &[(u64, String)]) {
        let (now, offered) = (self.leases(engine), self.offers(engine));
        let came_back = offered.iter().filter(|offer| !offers.contains(offer));
        self.lost.leases.extend(came_back.map(|(token, _)| *token));
        let is_on_offer = |token: u64, offers: &[(u64, String)]| offers.iter().any(|(offered, _)| *offered == token);
        let has_changed_hands = |token: u64| is_on_offer(token, offers) != is_on_offer(token, &offered);
        let is_kept = |was: &Held| {
            let is_as_good = |held: &Held| {
                let is_the_same = held.token == was.token && held.by == was.by && held.is_renewed == was.is_renewed;
                is_the_same && held.until_ms >= was.until_ms && !has_changed_hands(held.token.get())
            };
            now.iter().any(is_as_good)
        };
        for promise in self.clients.iter_mut().filter_map(|client| client.promise.as_mut()) {
            let lease = before.iter().find(|held| held.token == promise.token);
            promise.is_lost |= lease.is_some_and(|lease| !is_kept(lease));
        }
        self.taken.retain(|token, _| before.iter().any(|held| held.token.get() == *token && is_kept(held)));
        let changed = now.iter().filter(|held| !before.contains(held) || has_changed_hands(held.token.get()));
        self.lost.leases.extend(changed.map(|held| held.token.get()));
        // None of them is a new grant.
        self.held = now;
    }

    /// Notes which places a replica brought back.
    fn note_lost_places(&mut self, engine: &Engine, before: &[String]) {
        let now = self.entries(engine);
        self.lost.places.extend(now.into_iter().filter(|entry| !before.contains(entry)));
    }

    /// Remembers what a replica may have, where there are any.
    pub(super) fn replicate(&mut self, before: &Rc<crate::redis::Keyspace>) {
        if self.troubles.failovers > 0 && *before != self.redis {
            self.earlier.push(Rc::clone(before));
            let more = self.earlier.len().saturating_sub(LACKING);
            self.earlier.drain(..more);
        }
    }

    /// A sidecar ends, and another one starts in its place. What it sent may be run yet.
    fn crash(&mut self, at: usize) {
        self.troubles.crashes -= 1;
        let next = ["d-0", "e-0", "f-0"][at];
        let before = std::mem::replace(&mut self.sidecars[at], Sidecar { is_new: false, ..Sidecar::new(next) });
        self.ended.insert(before.name);
        self.holds.retain(|hold| hold.sidecar != at);
        let late: VecDeque<_> = before.connection.sent.into_iter().map(|(request, _)| request).collect();
        if !late.is_empty() {
            self.late.push(late);
        }
        for client in self.clients.iter_mut().filter(|client| client.sidecar == at) {
            if client.course.take().is_some() || client.promise.is_some() && client.wish().is_hold {
                client.promise = None;
                client.next_wish();
            }
        }
    }

    /// What was sent may be run until its deadline, which the sidecar waits for where there is one.
    pub(super) fn break_connection(&mut self, engine: &Engine, sidecar: usize) {
        self.troubles.breaks -= 1;
        self.cut(engine, sidecar);
    }

    fn cut(&mut self, engine: &Engine, sidecar: usize) {
        let connection: &mut Connection = &mut self.sidecars[sidecar].connection;
        connection.go_on();
        let sent = std::mem::take(&mut connection.sent);
        let answers = std::mem::take(&mut connection.answers);
        let late: VecDeque<_> = sent.iter().map(|(request, _)| Rc::clone(request)).collect();
        let awaited = answers.into_iter().map(|(request, _)| request);
        let sent = sent.into_iter().filter_map(|(request, is_awaited)| is_awaited.then_some(request));
        let (mut overdue, at_once): (Vec<_>, Vec<_>) = awaited
            .chain(sent)
            .partition(|request| request.not_after_ms.is_some() && !engine.plant.has(Fault::GivesUpAtOnce));
        connection.overdue.append(&mut overdue);
        if !late.is_empty() {
            self.late.push(late);
        }
        for request in at_once {
            self.answered(engine, sidecar, &request.origin, None);
        }
    }

    /// A sidecar listens again, and asks about all that it may have missed.
    pub(super) fn listen(&mut self, engine: &Engine, sidecar: usize) {
        self.sidecars[sidecar].connection.is_deaf = false;
        self.tell_queues(engine, sidecar, QueueInput::Gap);
    }

    /// Removes what has expired.
    pub(super) fn purge(&mut self) {
        let mut redis = (*self.redis).clone();
        redis.purge(self.clock_ms());
        self.redis = Rc::new(redis);
    }

    /// Redis's clock, milliseconds since 1970.
    pub fn clock_ms(&self) -> i64 {
        BEGIN_MS + self.now_ms - self.behind_ms
    }
}
