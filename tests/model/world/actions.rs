//! All that can happen next in a world, and what each does.

use super::{Engine, Sidecar, World};

/// One thing that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Begin(usize),
    Release(usize),
    Renew(usize),
    HangUp(usize),
    /// Redis runs what a sidecar sent first.
    Run(usize),
    /// Redis runs what a sidecar sent first, and too few replicas acknowledge it.
    RunShort(usize),
    /// Redis refuses what a sidecar sent first.
    Refuse(usize),
    /// Redis runs the first two that a sidecar sent, in one call.
    RunBatch(usize),
    /// A sidecar gets an answer.
    Answer(usize),
    /// A sidecar hears a message.
    Hear(usize),
    Break(usize),
    /// Redis runs what was sent first on a connection that broke.
    RunLate(usize),
    Stall(usize),
    Resume(usize),
    Deafen(usize),
    Listen(usize),
    Lose,
    /// Redis fails over to a replica that lacks so many of the last writes.
    FailOver(usize),
    SetBack,
    Fill,
    Empty,
    Force,
    Crash(usize),
    Freeze(usize),
    Thaw(usize),
    Drain(usize),
    /// Time passes until something is due.
    Pass,
}

impl World {
    /// All that can happen next.
    pub fn actions(&self, engine: &Engine) -> Vec<Action> {
        let mut actions = Vec::new();
        for (at, sidecar) in self.sidecars.iter().enumerate() {
            actions.extend(self.actions_of(at, sidecar));
        }
        for (at, client) in self.clients.iter().enumerate() {
            let Sidecar { is_frozen, is_draining, .. } = self.sidecars[client.sidecar];
            if is_frozen {
                continue;
            }
            let is_promised = client.promise.is_some();
            for (can, action) in [
                (
                    client.may_begin() && !self.holds_one(at) && self.now_ms <= self.ends_ms && !is_draining,
                    Action::Begin(at),
                ),
                (is_promised && client.wish().may_release, Action::Release(at)),
                (client.may_renew(), Action::Renew(at)),
                (client.course.is_some() && client.wish().may_hang_up && !client.is_gone, Action::HangUp(at)),
                (is_promised && client.wish().is_hold && client.wish().may_hang_up, Action::HangUp(at)),
            ] {
                actions.extend(can.then_some(action));
            }
        }
        actions.extend((0..self.late.len()).map(Action::RunLate));
        actions.extend(self.troubles_to_come());
        let keeps_time = |one: &Sidecar| one.is_busy() || one.connection.is_to_go_on(self.now_ms);
        let is_busy = self.sidecars.iter().any(keeps_time);
        actions.extend((!is_busy && self.next_due(engine).is_some()).then_some(Action::Pass));
        actions
    }

    fn actions_of(&self, at: usize, Sidecar { connection, is_frozen, .. }: &Sidecar) -> Vec<Action> {
        let (is_sent, is_stalled) = (!connection.sent.is_empty(), connection.is_stalled);
        let is_under_way = is_sent || !connection.answers.is_empty();
        let troubles = &self.troubles;
        [
            (is_sent && !is_stalled, Action::Run(at)),
            (!is_stalled && troubles.shortages > 0 && connection.first_promises(), Action::RunShort(at)),
            (is_sent && !is_stalled && troubles.refusals > 0, Action::Refuse(at)),
            (!is_stalled && troubles.batches > 0 && connection.has_a_batch(), Action::RunBatch(at)),
            (!connection.answers.is_empty() && !is_stalled && !is_frozen, Action::Answer(at)),
            (!connection.messages.is_empty() && !is_frozen, Action::Hear(at)),
            (is_under_way && troubles.breaks > 0, Action::Break(at)),
            (is_under_way && !is_stalled && troubles.stalls > 0, Action::Stall(at)),
            (is_stalled, Action::Resume(at)),
            (!connection.is_deaf && troubles.deafness > 0, Action::Deafen(at)),
            (connection.is_deaf && !is_frozen, Action::Listen(at)),
        ]
        .into_iter()
        .filter_map(|(can, action)| can.then_some(action))
        .collect()
    }

    pub fn apply(&mut self, engine: &Engine, action: Action) {
        self.note_trouble(action);
        match action {
            Action::Begin(client) => self.begin(engine, client),
            Action::Release(client) => self.release(engine, client),
            Action::Renew(client) => self.renew(engine, client),
            Action::HangUp(client) => self.hang_up(engine, client),
            Action::Run(sidecar) => self.run_next(engine, sidecar),
            Action::RunShort(sidecar) => self.run_short(engine, sidecar),
            Action::Refuse(sidecar) => self.refuse(sidecar),
            Action::RunBatch(sidecar) => self.run_batch(engine, sidecar),
            Action::Answer(sidecar) => {
                if let Some((request, reply)) = self.sidecars[sidecar].connection.answers.pop_front() {
                    self.answer(engine, sidecar, &request, Some(&reply));
                }
            }
            Action::Hear(sidecar) => self.hear(engine, sidecar),
            Action::Break(sidecar) => self.break_connection(engine, sidecar),
            Action::RunLate(at) => {
                if let Some(request) = self.late[at].pop_front() {
                    self.run(engine, &request);
                }
                self.late.retain(|requests| !requests.is_empty());
            }
            Action::Stall(sidecar) => {
                self.troubles.stalls -= 1;
                let connection = &mut self.sidecars[sidecar].connection;
                (connection.is_stalled, connection.stalled_ms) = (true, self.now_ms);
            }
            Action::Resume(sidecar) => self.sidecars[sidecar].connection.go_on(),
            Action::Deafen(sidecar) => {
                self.troubles.deafness -= 1;
                let connection = &mut self.sidecars[sidecar].connection;
                connection.is_deaf = true;
                connection.messages.clear();
            }
            Action::Listen(sidecar) => self.listen(engine, sidecar),
            Action::Pass => self.pass(engine),
            trouble => self.trouble(engine, trouble),
        }
        self.note(engine);
    }
}

impl World {
    /// Notes what an action may cost, before it happens.
    fn note_trouble(&mut self, action: Action) {
        if let Action::Break(at) | Action::Deafen(at) | Action::Crash(at) | Action::Refuse(at) = action {
            self.cut_off.insert(self.sidecars[at].name);
        }
        if let Action::Stall(at) | Action::Freeze(at) = action {
            self.held_up.insert(self.sidecars[at].name);
        }
        if action.delays() {
            self.troubled_ms = Some(self.now_ms);
        }
        // What was under way is waited for once more, and a queue that was lost is built up, or an offer lapses, once more; also
        // one that is offered to the next waiter of a sidecar that is not there.
        if action.is_trouble() && (action.delays() || action == Action::Force) {
            self.free_since = self.free_since.map(|_| self.now_ms);
        }
    }
}

impl Action {
    /// Whether something goes wrong by it. What ends a trouble is none, nor is what follows one.
    pub fn is_trouble(self) -> bool {
        matches!(
            self,
            Action::RunShort(_)
                | Action::Refuse(_)
                | Action::Break(_)
                | Action::Stall(_)
                | Action::Deafen(_)
                | Action::Lose
                | Action::FailOver(_)
                | Action::SetBack
                | Action::Fill
                | Action::Force
                | Action::Crash(_)
                | Action::Freeze(_)
                | Action::Drain(_)
        )
    }

    /// Whether a key may be free for longer for this.
    fn delays(self) -> bool {
        matches!(
            self,
            Action::Break(_)
                | Action::RunLate(_)
                | Action::Stall(_)
                | Action::Resume(_)
                | Action::Deafen(_)
                | Action::Listen(_)
                | Action::Lose
                | Action::FailOver(_)
                | Action::Fill
                | Action::Empty
                | Action::Refuse(_)
                | Action::Crash(_)
                | Action::Freeze(_)
                | Action::Thaw(_)
        )
    }
}
