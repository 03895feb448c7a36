//! One attempt around its shipped life: what `lock/attempt/mod.rs` does, without a runtime.

use std::collections::BTreeSet;

use lockside::lock::model::attempt::{End, Input, Life, Next, Over, Step, Tidy};
use lockside::lock::model::queue::{Entry, Input as QueueInput, Turn};
use lockside::lock::model::{Sending, record};
use lockside::lock::{Attempt, Mode, Owner, Reentry, Ttl, Wait};

use super::World;
use super::client::{Promise, Wish};
use super::engine::Engine;
use super::network::Origin;
use super::plant::Fault;
use super::sidecar::{KEPT_ENTRY_MS, Undo};

/// How long a sending is undone at most that may have been told of an older lease.
const OLDER_LEASE_MS: i64 = 24 * 60 * 60 * 1000;

/// An attempt under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Course {
    pub life: Life,
    pub next: Next,
    pub sending: Named,
    /// What its caller is told if it ends now.
    pub(super) answered: Option<Promise>,
    /// Whether it is among the waiters of its sidecar, and what it was told there.
    is_queued: bool,
    called: Option<Turn>,
    pub entry: String,
    pub position: Option<String>,
    /// The clients that stood in the queue behind its grant.
    pub(super) beside: BTreeSet<usize>,
    /// What was on offer to it was force-released, so that who was offered the key then is served before it.
    pub was_forced: bool,
    /// It was told of a lease that its owner had already.
    pub(super) was_renewed: bool,
    pub(super) sent_ms: i64,
    /// Until when it waits at most.
    until_ms: i64,
}

/// A sending as its lease spells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Named {
    pub identity: String,
    pub nonce: String,
    pub request: String,
    pub id: String,
    pub(super) further: String,
}

impl Course {
    /// Whether it stands in the queue in Redis, as far as it knows.
    pub fn is_waiting(&self) -> bool {
        matches!(self.next, Next::Wait(_)) && self.position.is_some()
    }

    pub fn next_due(&self, engine: &Engine) -> Option<i64> {
        match self.next {
            Next::Wait(at) | Next::Pause(at) => Some(engine.ms(at)),
            _ => None,
        }
    }
}

impl Wish {
    fn attempt(&self, engine: &Engine, owner: &str, now_ms: i64) -> Attempt {
        let ttl = Ttl::from_ms(self.ttl_ms, u64::MAX).expect("a ttl");
        let reentry = if self.extends { Reentry::Extend } else { Reentry::Refuse };
        let until = self.wait_ms.map(|wait_ms| engine.instant(now_ms + wait_ms));
        Attempt {
            mode: self.mode,
            name: self.name.map(str::to_owned),
            wait: until.map(|until| Wait { until, progress: None, succession: None }),
            is_hold: self.is_hold,
            terms: self.terms,
            ..Attempt::plain(Owner::system(owner.to_owned()), ttl, reentry)
        }
    }

    pub(super) fn key_ms(&self) -> u64 {
        self.terms.key_ms(self.ttl_ms)
    }
}

impl World {
    fn name_sending(&mut self, engine: &Engine, client: usize) -> Named {
        let (wish, owner) = (self.clients[client].wish().clone(), self.clients[client].owner);
        let sidecar = &mut self.sidecars[self.clients[client].sidecar];
        sidecar.names += 1;
        let id = format!("{}{}", sidecar.name, sidecar.names);
        let sending = Sending::of(&wish.attempt(engine, owner, self.now_ms), id, sidecar.name);
        Named {
            identity: sending.identity().to_owned(),
            nonce: sending.nonce().to_owned(),
            request: sending.request,
            id: sending.id,
            further: sending.further,
        }
    }

    pub fn begin(&mut self, engine: &Engine, client: usize) {
        let sending = self.name_sending(engine, client);
        let wish = self.clients[client].wish();
        let until = wish.wait_ms.map(|wait_ms| engine.instant(self.now_ms + wait_ms));
        let life = Life::new(until);
        self.lost.waiting.remove(&client);
        self.clients[client].course = Some(Box::new(Course {
            life,
            next: Next::Ask,
            sending,
            answered: None,
            is_queued: false,
            called: None,
            entry: String::new(),
            position: None,
            beside: BTreeSet::new(),
            was_forced: false,
            was_renewed: false,
            sent_ms: self.now_ms,
            until_ms: until.map_or(0, |until| engine.ms(until)),
        }));
        self.follow(engine, client, Step { tidy: Tidy::Nothing, next: Next::Ask });
    }

    pub(super) fn course(&mut self, client: usize) -> &mut Course {
        self.clients[client].course.as_mut().expect("an attempt is under way")
    }

    pub fn input(&mut self, engine: &Engine, client: usize, input: Input) {
        let now = engine.instant(self.now_ms);
        let mut step = self.course(client).life.handle(input, now);
        if engine.plant.has(Fault::LifeUndoesNothing) {
            step.tidy = match step.tidy {
                Tidy::Undo => Tidy::Nothing,
                Tidy::Replace => Tidy::Rename,
                tidy => tidy,
            };
        }
        if engine.plant.has(Fault::LifeStaysInTheQueue) && step.next == Next::Undo {
            return self.input(engine, client, Input::Undone);
        }
        self.follow(engine, client, step);
    }

    fn follow(&mut self, engine: &Engine, client: usize, step: Step) {
        self.tidy(engine, client, step.tidy);
        let now_ms = self.now_ms;
        let wish = self.clients[client].wish().clone();
        let course = self.course(client);
        (course.next, course.sent_ms) = (step.next, now_ms);
        let sending = course.sending.clone();
        let Named { identity, nonce, request, id, further } = &sending;
        let sidecar = self.clients[client].sidecar;
        let mut send = |script, args: &[&str]| {
            self.sidecars[sidecar].send_in_time(engine, now_ms, script, args, Origin::Attempt(client));
        };
        match step.next {
            Next::Ask => {
                let own = if wish.extends { "extend" } else { "refuse" };
                let script = if wish.mode == Mode::Exclusive { "acquire" } else { "share" };
                send(script, &[identity, nonce, request, &wish.key_ms().to_string(), further, own]);
            }
            Next::Take(token) => {
                let (token, ttl) = (token.to_string(), wish.ttl_ms.to_string());
                let (key, push) = (engine.key.as_str(), engine.space.push(engine.key.shard()));
                send("renew", &[key, &token, identity, &ttl, push, "take", id, ""]);
            }
            Next::Join => self.join(engine, client),
            Next::Wait(_) => self.wait_is_over(engine, client),
            Next::Undo => {
                let mut entry = self.course(client).entry.clone();
                if engine.plant.has(Fault::ForgetsEntries) {
                    entry.clear();
                }
                self.leave(engine, client);
                let sidecar = &mut self.sidecars[sidecar];
                sidecar.send_in_time(engine, now_ms, "undo", &[identity, id, &entry], Origin::Attempt(client));
            }
            Next::Pause(_) => {}
            Next::End(end) => self.end(engine, client, end),
        }
    }

    pub(super) fn tidy(&mut self, engine: &Engine, client: usize, tidy: Tidy) {
        if matches!(tidy, Tidy::Undo | Tidy::Replace) {
            let entry = std::mem::take(&mut self.course(client).entry);
            self.undo_sending(engine, client, entry);
        }
        let renames = matches!(tidy, Tidy::Rename | Tidy::Replace);
        if renames && !engine.plant.has(Fault::KeepsNames) {
            let sending = self.name_sending(engine, client);
            self.course(client).sending = sending;
        }
    }

    fn undo_sending(&mut self, engine: &Engine, client: usize, entry: String) {
        let wish = self.clients[client].wish();
        let longest = if wish.name.is_some() || wish.extends {
            OLDER_LEASE_MS
        } else {
            i64::try_from(wish.key_ms()).expect("a short ttl")
        };
        let (now_ms, sidecar) = (self.now_ms, self.clients[client].sidecar);
        let kept_ms = if entry.is_empty() { 0 } else { KEPT_ENTRY_MS };
        let Named { identity, id: sending, .. } = self.course(client).sending.clone();
        let undo = Undo { identity, sending, entry, retry_until_ms: now_ms + longest.max(kept_ms) + 1_000 };
        self.sidecars[sidecar].undo(engine, now_ms, undo);
    }

    /// Leaves the sidecar's list of waiters, as a ticket does that is dropped.
    pub(super) fn leave(&mut self, engine: &Engine, client: usize) {
        let course = self.course(client);
        course.called = None;
        if std::mem::take(&mut course.is_queued) && !engine.plant.has(Fault::NeverLeaves) {
            let (id, key) = (course.sending.id.clone(), engine.key.clone());
            self.tell_queues(engine, self.clients[client].sidecar, QueueInput::Leave(key, id));
        }
    }

    fn join(&mut self, engine: &Engine, client: usize) {
        // Under the name that it had: the one of an attempt that was renamed has left before.
        self.leave(engine, client);
        let (now_ms, sidecar) = (self.now_ms, self.clients[client].sidecar);
        let (wish, name) = (self.clients[client].wish().clone(), self.sidecars[sidecar].name);
        let course = self.course(client);
        let Named { identity, nonce, request, id, further } = course.sending.clone();
        let by = record::sending(&request);
        let own = if wish.extends { ",\"own\":\"extend\"" } else { "" };
        let entry = format!("{name}\n{id}\n{}\n{identity}\n{nonce}{by}\n{further}{own}", wish.key_ms());
        let left_ms = (course.until_ms - now_ms).max(0);
        let position = course.position.clone().unwrap_or_default();
        (course.is_queued, course.entry) = (true, entry.clone());
        let wait_ms = u64::try_from(left_ms).expect("not below 0");
        let queued = Entry {
            id: id.clone(),
            text: entry.clone(),
            identity,
            nonce,
            wait_ms,
            is_reentrant: wish.extends,
            is_named: !request.is_empty(),
            wants_progress: false,
        };
        self.tell_queues(engine, sidecar, QueueInput::Join(engine.key.clone(), queued));
        let own = if wish.extends { "extend" } else { "refuse" };
        let args = [entry.as_str(), &id, &wait_ms.to_string(), &position, own];
        self.sidecars[sidecar].send_in_time(engine, now_ms, "queue_join", &args, Origin::Attempt(client));
    }

    /// A waiter is told that its turn has come.
    pub fn call(&mut self, engine: &Engine, id: &str, turn: Turn) {
        let of_this = |course: &Course| course.is_queued && course.sending.id == id;
        let waiter = self.clients.iter().position(|client| client.course.as_deref().is_some_and(of_this));
        if let Some(client) = waiter {
            self.course(client).called = Some(turn);
            self.wait_is_over(engine, client);
        }
    }

    /// Goes on where nothing is to be waited for in the queue.
    pub fn wait_is_over(&mut self, engine: &Engine, client: usize) {
        let (now, is_gone) = (engine.instant(self.now_ms), self.clients[client].is_gone);
        let is_draining = self.sidecars[self.clients[client].sidecar].is_draining;
        let Some(course) = self.clients[client].course.as_deref_mut() else { return };
        let Next::Wait(until) = course.next else { return };
        if let Some(turn) = course.called.take() {
            self.input(engine, client, Input::Turn(turn));
        } else if is_gone || now >= until {
            self.input(engine, client, Input::Over(Over::Timeout));
        } else if is_draining {
            self.input(engine, client, Input::Over(Over::Draining));
        }
    }

    pub fn attempt_due(&mut self, engine: &Engine, client: usize) {
        self.wait_is_over(engine, client);
        let now = engine.instant(self.now_ms);
        let is_paused = |course: &Course| matches!(course.next, Next::Pause(until) if now >= until);
        if self.clients[client].course.as_deref().is_some_and(is_paused) {
            self.input(engine, client, Input::Paused);
        }
    }

    fn end(&mut self, engine: &Engine, client: usize, end: End) {
        self.leave(engine, client);
        let answered = self.course(client).answered.take().filter(|_| end == End::Answered);
        let forgets = engine.plant.has(Fault::ForgetsReceipts)
            || engine.plant.has(Fault::ForgetsReceiptsOfRenewals) && self.course(client).was_renewed;
        if answered.is_some() && self.clients[client].is_gone && !forgets {
            self.undo_sending(engine, client, String::new());
        }
        let course = self.clients[client].course.take().expect("an attempt is under way");
        match answered {
            Some(promise) if !self.clients[client].is_gone => self.promise(engine, client, promise, &course),
            _ => self.clients[client].next_wish(),
        }
    }
}
