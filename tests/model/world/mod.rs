//! A small world: clients, their sidecars, what is on its way, and Redis. What can happen next is an [`Action`].

mod actions;
mod answers;
mod attempt;
mod batch;
mod calm;
mod client;
mod engine;
mod hold;
mod leases;
mod network;
mod notes;
mod plant;
mod sidecar;
mod telling;
mod terms;
mod time;
mod troubles;
mod truth;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

pub use actions::Action;
pub use client::{Client, Wish};
pub use engine::{BEGIN_MS, Engine, Moment, TIMEOUT_MS};
pub use hold::Hold;
pub use leases::{Held, Place};
use network::{Origin, Request};
use notes::Room;
pub use plant::{Fault, Plant};
pub use sidecar::{Sidecar, row, stored, text};
pub use troubles::{Lost, Troubles};

use lockside::lock::Mode;

use crate::properties::{self, Violation};
use crate::redis::{Keyspace, Reply};
use crate::search::State;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Milliseconds since its beginning.
    pub now_ms: i64,
    pub redis: Rc<Keyspace>,
    pub sidecars: Vec<Sidecar>,
    pub clients: Vec<Client>,
    /// The leases that connections hold.
    pub holds: Vec<Hold>,
    /// What was sent on connections that broke, and may be run yet.
    late: Vec<VecDeque<Rc<Request>>>,
    pub troubles: Troubles,
    /// How far Redis's clock was set back.
    pub behind_ms: i64,
    /// Whether Redis has no memory left.
    pub is_full: bool,
    /// What lay in Redis before each of the last writes, where it may fail over to a replica.
    earlier: Vec<Rc<Keyspace>>,
    /// The names of the sidecars that crashed.
    pub ended: BTreeSet<&'static str>,
    /// Since when the key has room for the client that waits for it first, and which.
    pub free_since: Option<i64>,
    room: Option<Room>,
    /// Whether Redis has the last token yet that it granted.
    pub has_its_data: bool,
    /// The last sequence that Redis had given when it lost its data: who came later cannot know of those before.
    pub last_known: u64,
    pub lost: Lost,
    /// When something was last in trouble, in so far as a key may be free for longer for that.
    pub troubled_ms: Option<i64>,
    /// The sidecars of which a command, an answer or a message may be lost.
    pub cut_off: BTreeSet<&'static str>,
    /// Those that may come too late for an offer.
    pub held_up: BTreeSet<&'static str>,
    /// The tokens of the offers whose marks are found without their leases.
    lapsed_marks: BTreeSet<u64>,
    /// The sidecars that let an offer lapse, so that they are taken for dead, and overtaken.
    pub lapsed: BTreeSet<&'static str>,
    /// The sendings of what ran after its sidecar had given it up, by a clock that was set back.
    pub run_late: BTreeSet<String>,
    /// Until when the terms of a lease, or the rest that its release left, keep the key, and from whom: by its token.
    taken: BTreeMap<u64, (Mode, i64)>,
    /// The highest token that was granted, and the leases that there were last.
    pub highest: u64,
    pub held: Vec<Held>,
    /// The tokens that a client has released: its owner counts on them no more, by no attempt.
    pub released: BTreeSet<u64>,
    /// Those of leases that a hold has released, and the name of its attempt: no sending of that counts on them.
    pub let_go: BTreeSet<(u64, &'static str)>,
    /// A property that what just happened has broken.
    pub broken: Option<Violation>,
    /// No attempt begins from then on.
    pub ends_ms: i64,
    /// Whether time stops at the last millisecond of a lease or a promise, too, and at each of its neighbours.
    pub is_exact: bool,
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
            holds: Vec::new(),
            late: Vec::new(),
            troubles,
            behind_ms: 0,
            is_full: false,
            earlier: Vec::new(),
            ended: BTreeSet::new(),
            free_since: None,
            room: None,
            has_its_data: true,
            last_known: u64::MAX,
            lost: Lost::default(),
            troubled_ms: None,
            cut_off: BTreeSet::new(),
            held_up: BTreeSet::new(),
            lapsed_marks: BTreeSet::new(),
            lapsed: BTreeSet::new(),
            run_late: BTreeSet::new(),
            taken: BTreeMap::new(),
            highest: 0,
            held: Vec::new(),
            released: BTreeSet::new(),
            let_go: BTreeSet::new(),
            broken: None,
            ends_ms,
            is_exact: false,
        }
    }

    /// Whether nothing is under way, and no client does anything any more.
    pub fn is_at_rest(&self) -> bool {
        self.late.is_empty()
            && self.holds.is_empty()
            && self.sidecars.iter().all(|sidecar| sidecar.connection.is_idle() && sidecar.undos.is_empty())
            && self.clients.iter().all(|client| client.course.is_none())
    }

    /// Whether nothing of the sidecar of this name is under way.
    pub fn is_idle(&self, name: &str) -> bool {
        let is_idle = |sidecar: &Sidecar| sidecar.connection.is_idle() && sidecar.undos.is_empty();
        self.late.is_empty() && self.sidecars.iter().any(|sidecar| sidecar.name == name && is_idle(sidecar))
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
        let before = if ["force", "release"].contains(&request.script) { self.leases(engine) } else { Vec::new() };
        let reply = self.run_script(engine, request.script, &request.args);
        let granted: Vec<_> = self.new_leases(engine).iter().map(|held| held.token).collect();
        self.check_floor(request, &granted);
        self.note_late(request);
        self.check_grant(engine, &reply, None);
        self.check_truth(engine, request, &reply, true);
        self.note_rest(request, &reply);
        self.note_let_go(&before, request, &reply);
        if sidecar::row(&reply).0 == "forced" {
            for held in &before {
                self.end_promises(held.token);
                self.taken.remove(&held.token.get());
                self.note_forced(held);
            }
        }
        reply
    }

    fn run_script(&mut self, engine: &Engine, script: &'static str, args: &Rc<[String]>) -> Reply {
        let listening = self.sidecars.iter().filter(|sidecar| !sidecar.connection.is_deaf);
        let mut listeners: Vec<Vec<u8>> = listening.map(|sidecar| engine.channel(sidecar.name)).collect();
        listeners.push(engine.channel("all"));
        let moment = Moment { clock_ms: self.clock_ms(), is_full: self.is_full };
        let ran = engine.run(&self.redis, moment, script, args, listeners);
        let before = std::mem::replace(&mut self.redis, Rc::clone(&ran.keys));
        self.replicate(&before);
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

    /// Runs the first script, and withholds what it promises, as `redis/replicas.rs` does.
    fn run_short(&mut self, engine: &Engine, sidecar: usize) {
        self.troubles.shortages -= 1;
        self.run_next(engine, sidecar);
        if let Some((_, reply)) = self.sidecars[sidecar].connection.answers.back_mut() {
            let word = sidecar::row(reply).0;
            if ["granted", "replayed", "renewed"].contains(&word) {
                *reply = Reply::Error(format!("UNREPLICATED {word} 0 of 1 replicas acknowledged"));
            }
        }
    }

    /// Refuses the first script: nothing is done.
    fn refuse(&mut self, sidecar: usize) {
        self.troubles.refusals -= 1;
        let connection = &mut self.sidecars[sidecar].connection;
        if let Some((request, true)) = connection.sent.pop_front() {
            let refusal = "TRYAGAIN Multiple keys request during rehashing of slot";
            connection.answers.push_back((request, Reply::error(refusal)));
        }
    }

    /// Runs the first two scripts in one call.
    fn run_batch(&mut self, engine: &Engine, sidecar: usize) {
        self.troubles.batches -= 1;
        let sent: Vec<_> = self.sidecars[sidecar].connection.sent.drain(..2).collect();
        let args = batch::args(engine, sent.iter().map(|(request, _)| request.as_ref()));
        let (mut standing, before) = (self.entries(engine), self.leases(engine));
        let reply = self.run_script(engine, "batch", &args);
        for ((request, is_awaited), row) in sent.into_iter().zip(batch::rows(reply)) {
            self.check_floor(&request, sidecar::granted(&row).as_slice());
            self.note_late(&request);
            self.check_grant(engine, &row, Some(&standing));
            self.check_truth(engine, &request, &row, false);
            self.note_rest(&request, &row);
            self.note_let_go(&before, &request, &row);
            if request.script == "queue_join" {
                standing.push(request.args[4].clone());
            }
            if is_awaited {
                self.sidecars[sidecar].connection.answers.push_back((request, row));
            }
        }
    }

    fn answer(&mut self, engine: &Engine, sidecar: usize, request: &Request, reply: Option<&Reply>) {
        let is_renewal = matches!(request.origin, Origin::Renew(_) | Origin::HoldRenewal { .. });
        if let (true, Some(found)) = (is_renewal, reply.and_then(|reply| sidecar::stored(sidecar::row(reply).1))) {
            self.saw(engine, sidecar, &found);
        }
        let is_of_its_own = matches!(request.origin, Origin::Attempt(_) | Origin::Look { .. });
        if let (true, Some(reply)) = (is_of_its_own || is_renewal, reply) {
            let shown = &mut self.sidecars[sidecar].shown;
            *shown = sidecar::told_token(reply).map_or(*shown, |token| token.sequence().max(*shown));
        }
        match &request.origin {
            Origin::Renew(client) => self.renewed(engine, *client, request.sent_ms, reply),
            Origin::HoldRenewal { sending, number } => {
                self.hold_renewed(engine, (sending, *number), request.sent_ms, reply);
            }
            origin => self.answered(engine, sidecar, origin, reply),
        }
        let client = match &request.origin {
            Origin::Renew(client) | Origin::Attempt(client) => Some(*client),
            Origin::HoldRenewal { sending, .. } => self.client_of_hold(sending),
            _ => None,
        };
        if request.is_of_lost_data
            && let Some(client) = client
        {
            // Also of a lease that was released before its caller was told of it.
            self.forget_told(engine);
            if let Some(promise) = &mut self.clients[client].promise {
                promise.is_lost = true;
                let token = promise.token.get();
                self.clients[client].told.retain(|told| told.0 != token);
            }
        }
    }

    /// What is known of something that was sent; `None`: nothing.
    fn answered(&mut self, engine: &Engine, sidecar: usize, origin: &Origin, reply: Option<&Reply>) {
        match origin {
            Origin::Attempt(client) => self.answer_attempt(engine, *client, reply),
            Origin::HoldRenewal { sending, number } => self.hold_renewed(engine, (sending, *number), 0, reply),
            Origin::HoldRelease(sending) => self.hold_released(engine, sending, reply),
            Origin::Release(_) | Origin::Renew(_) | Origin::None => {}
            origin => self.answer_sidecar(engine, sidecar, origin, reply),
        }
    }
}

impl State for World {
    type Action = Action;

    fn actions(&self, engine: &Engine) -> Vec<Action> {
        World::actions(self, engine)
    }

    fn apply(&mut self, engine: &Engine, action: Action) {
        World::apply(self, engine, action);
    }

    fn broken(&self, engine: &Engine) -> Option<Violation> {
        properties::broken(self, engine)
    }

    fn next_calm(&self, engine: &Engine) -> Option<Action> {
        World::next_calm(self, engine)
    }

    fn is_at_rest(&self) -> bool {
        World::is_at_rest(self)
    }
}
