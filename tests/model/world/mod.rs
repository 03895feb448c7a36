//! A small world: clients, their sidecars, what is on its way, and Redis. What can happen next is an [`Action`].

mod attempt;
mod client;
mod engine;
mod leases;
mod network;
mod notes;
mod plant;
mod sidecar;
mod telling;

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

pub use client::{Client, Wish};
pub use engine::{BEGIN_MS, Engine};
pub use leases::Held;
use network::{Origin, Request};
pub use plant::{Fault, Plant};
pub use sidecar::Sidecar;

use crate::properties::Violation;
use crate::redis::{Keyspace, Reply};

/// How often each trouble may happen yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Troubles {
    /// A connection breaks: what was sent is run later or never, and no answer comes.
    pub breaks: u8,
    /// What was sent waits for a while.
    pub stalls: u8,
    /// A sidecar hears no messages for a while.
    pub deafness: u8,
    /// Redis loses all its data.
    pub losses: u8,
}

/// One thing that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Begin(usize),
    Release(usize),
    Renew(usize),
    HangUp(usize),
    /// Redis runs what a sidecar sent first.
    Run(usize),
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
    /// Time passes until something is due.
    Pass,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Milliseconds since its beginning.
    pub now_ms: i64,
    pub redis: Rc<Keyspace>,
    pub sidecars: Vec<Sidecar>,
    pub clients: Vec<Client>,
    /// What was sent on connections that broke, and may be run yet.
    late: Vec<VecDeque<Rc<Request>>>,
    pub troubles: Troubles,
    /// Since when the key has room for the client that waits for it first.
    pub free_since: Option<i64>,
    /// Whether Redis lost nothing yet: no promise outlasts its data.
    pub has_its_data: bool,
    /// The last position that a client had when Redis lost its data: who came later cannot know of those before.
    pub last_known: u64,
    /// Whether any trouble happened yet: a sidecar that is taken for dead is overtaken.
    pub was_in_trouble: bool,
    /// The highest token that was granted, and the leases that there were last.
    pub highest: u64,
    pub held: Vec<Held>,
    /// The tokens that a client has released: its owner counts on them no more, by no attempt.
    pub released: BTreeSet<u64>,
    /// A property that what just happened has broken.
    pub broken: Option<Violation>,
    /// No attempt begins from then on.
    pub ends_ms: i64,
}

impl World {
    pub fn new(clients: Vec<Client>, troubles: Troubles, ends_ms: i64) -> World {
        let sidecars = clients.iter().map(|client| client.sidecar).max().map_or(0, |last| last + 1);
        let names = ["a-0", "b-0", "c-0"];
        World {
            now_ms: 0,
            redis: Rc::default(),
            sidecars: names[..sidecars].iter().map(|name| Sidecar::new(name)).collect(),
            clients,
            late: Vec::new(),
            troubles,
            free_since: None,
            has_its_data: true,
            last_known: u64::MAX,
            was_in_trouble: false,
            highest: 0,
            held: Vec::new(),
            released: BTreeSet::new(),
            broken: None,
            ends_ms,
        }
    }

    /// All that can happen next.
    pub fn actions(&self, engine: &Engine) -> Vec<Action> {
        let mut actions = Vec::new();
        for (at, Sidecar { connection, .. }) in self.sidecars.iter().enumerate() {
            let (is_sent, is_stalled) = (!connection.sent.is_empty(), connection.is_stalled);
            let is_under_way = is_sent || !connection.answers.is_empty();
            for (can, action) in [
                (is_sent && !is_stalled, Action::Run(at)),
                (!connection.answers.is_empty() && !is_stalled, Action::Answer(at)),
                (!connection.messages.is_empty(), Action::Hear(at)),
                (is_under_way && self.troubles.breaks > 0, Action::Break(at)),
                (is_under_way && !is_stalled && self.troubles.stalls > 0, Action::Stall(at)),
                (is_stalled, Action::Resume(at)),
                (!connection.is_deaf && self.troubles.deafness > 0, Action::Deafen(at)),
                (connection.is_deaf, Action::Listen(at)),
            ] {
                actions.extend(can.then_some(action));
            }
        }
        for (at, client) in self.clients.iter().enumerate() {
            let is_promised = client.promise.is_some();
            for (can, action) in [
                (client.may_begin() && self.now_ms <= self.ends_ms, Action::Begin(at)),
                (is_promised && client.wish().may_release, Action::Release(at)),
                (client.may_renew(), Action::Renew(at)),
                (client.course.is_some() && client.wish().may_hang_up && !client.is_gone, Action::HangUp(at)),
            ] {
                actions.extend(can.then_some(action));
            }
        }
        actions.extend((0..self.late.len()).map(Action::RunLate));
        actions.extend((self.troubles.losses > 0 && self.redis.iter().next().is_some()).then_some(Action::Lose));
        let is_busy = self.sidecars.iter().any(|sidecar| sidecar.connection.is_busy());
        actions.extend((!is_busy && self.next_due(engine).is_some()).then_some(Action::Pass));
        actions
    }

    /// Whether nothing is under way, and no client does anything any more.
    pub fn is_at_rest(&self) -> bool {
        self.late.is_empty()
            && self.sidecars.iter().all(|sidecar| sidecar.connection.is_idle() && sidecar.undos.is_empty())
            && self.clients.iter().all(|client| client.course.is_none())
    }

    pub fn apply(&mut self, engine: &Engine, action: Action) {
        self.was_in_trouble |=
            matches!(action, Action::Break(_) | Action::Stall(_) | Action::Deafen(_) | Action::RunLate(_));
        match action {
            Action::Begin(client) => self.begin(engine, client),
            Action::Release(client) => self.release(engine, client),
            Action::Renew(client) => self.renew(engine, client),
            Action::HangUp(client) => self.hang_up(engine, client),
            Action::Run(sidecar) => self.run_next(engine, sidecar),
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
                self.sidecars[sidecar].connection.is_stalled = true;
            }
            Action::Resume(sidecar) => self.sidecars[sidecar].connection.is_stalled = false,
            Action::Deafen(sidecar) => {
                self.troubles.deafness -= 1;
                let connection = &mut self.sidecars[sidecar].connection;
                connection.is_deaf = true;
                connection.messages.clear();
            }
            Action::Listen(sidecar) => {
                self.sidecars[sidecar].connection.is_deaf = false;
                self.tell_queues(engine, sidecar, lockside::lock::model::queue::Input::Gap);
            }
            Action::Lose => {
                self.troubles.losses -= 1;
                self.has_its_data = false;
                let positions = self.clients.iter().filter_map(|client| client.course.as_deref()?.position.as_deref());
                self.last_known = positions.filter_map(|position| position.parse().ok()).max().unwrap_or(0);
                self.redis = Rc::default();
            }
            Action::Pass => self.pass(engine),
        }
        self.note(engine);
    }

    fn run_next(&mut self, engine: &Engine, sidecar: usize) {
        let Some((request, is_awaited)) = self.sidecars[sidecar].connection.sent.pop_front() else { return };
        let reply = self.run(engine, &request);
        if is_awaited {
            self.sidecars[sidecar].connection.answers.push_back((request, reply));
        }
    }

    /// Redis runs a script, and tells those who listen.
    fn run(&mut self, engine: &Engine, request: &Request) -> Reply {
        let listening = self.sidecars.iter().filter(|sidecar| !sidecar.connection.is_deaf);
        let mut listeners: Vec<Vec<u8>> = listening.map(|sidecar| engine.channel(sidecar.name)).collect();
        listeners.push(engine.channel("all"));
        let ran = engine.run(&self.redis, self.now_ms, request.script, &request.args, listeners);
        self.redis = Rc::clone(&ran.keys);
        self.check_grant(engine, &ran.reply);
        for (channel, message) in &ran.published {
            for sidecar in &mut self.sidecars {
                let is_heard = *channel == engine.channel(sidecar.name) || *channel == engine.channel("all");
                if is_heard && !sidecar.connection.is_deaf {
                    sidecar.connection.messages.push_back(message.clone());
                }
            }
        }
        ran.reply.clone()
    }

    fn answer(&mut self, engine: &Engine, sidecar: usize, request: &Request, reply: Option<&Reply>) {
        match &request.origin {
            Origin::Renew(client) => self.renewed(engine, *client, request.sent_ms, reply),
            origin => self.answered(engine, sidecar, origin, reply),
        }
    }

    /// What is known of something that was sent; `None`: nothing.
    fn answered(&mut self, engine: &Engine, sidecar: usize, origin: &Origin, reply: Option<&Reply>) {
        match origin {
            Origin::Attempt(client) => self.answer_attempt(engine, *client, reply),
            Origin::Release(_) | Origin::Renew(_) | Origin::None => {}
            origin => self.answer_sidecar(engine, sidecar, origin, reply),
        }
    }

    /// What was sent may be run until its deadline, which the sidecar waits for where there is one.
    fn break_connection(&mut self, engine: &Engine, sidecar: usize) {
        self.troubles.breaks -= 1;
        let connection = &mut self.sidecars[sidecar].connection;
        connection.is_stalled = false;
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

    /// When something is due next.
    fn next_due(&self, engine: &Engine) -> Option<i64> {
        let keys = self.redis.iter().filter_map(|(_, stored)| stored.expires_ms).map(|ends| ends - BEGIN_MS + 1);
        // A queue is kept for a minute more than any waiter waits, and a mark is none of the world's.
        let keys = keys.filter(|ends| *ends < self.ends_ms + 10_000);
        let sidecars = self.sidecars.iter().filter_map(|sidecar| sidecar.next_due(engine));
        let courses = self.clients.iter().filter_map(|client| client.course.as_ref()?.next_due(engine));
        let promises = self.clients.iter().filter_map(|client| Some(client.promise.as_ref()?.until_ms));
        keys.chain(sidecars).chain(courses).chain(promises).min().map(|due| due.max(self.now_ms))
    }

    fn pass(&mut self, engine: &Engine) {
        self.now_ms = self.next_due(engine).unwrap_or(self.now_ms);
        let mut redis = (*self.redis).clone();
        redis.purge(BEGIN_MS + self.now_ms);
        self.redis = Rc::new(redis);
        let now_ms = self.now_ms;
        for client in 0..self.clients.len() {
            if self.clients[client].promise.as_ref().is_some_and(|promise| now_ms >= promise.until_ms) {
                self.lapse(client);
            }
        }
        for sidecar in 0..self.sidecars.len() {
            self.sidecar_due(engine, sidecar);
        }
        for client in 0..self.clients.len() {
            self.attempt_due(engine, client);
        }
        // What may be run no more does nothing.
        let may_run = |request: &Rc<Request>| {
            engine.plant.has(Fault::HasNoDeadlines) || request.not_after_ms.is_none_or(|end| BEGIN_MS + now_ms <= end)
        };
        let ends_ms = self.ends_ms;
        for requests in &mut self.late {
            requests.retain(|request| may_run(request) && now_ms <= ends_ms);
        }
        self.late.retain(|requests| !requests.is_empty());
    }
}
