//! A client: what it wants, one thing after another, and what it was promised.

use std::rc::Rc;

use lockside::lock::model::record;
use lockside::lock::{Claim, Lease, Mode, Terms, Token};

use super::World;
use super::attempt::Course;
use super::engine::Engine;
use super::network::Origin;
use super::sidecar::{row, stored};
use crate::dice::Dice;
use crate::redis::Reply;

/// One attempt that a client makes, and what it may do then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wish {
    pub mode: Mode,
    pub ttl_ms: u64,
    pub wait_ms: Option<i64>,
    /// The attempt's name, by which it is repeated.
    pub name: Option<&'static str>,
    /// Whether it is re-entrant.
    pub extends: bool,
    pub is_hold: bool,
    pub terms: Terms,
    pub may_release: bool,
    /// For how long the key stays taken behind its release, where it says so.
    pub rest_ms: Option<u64>,
    pub may_hang_up: bool,
    /// How often it may renew its lease; of a hold after how many renewals it closes its connection.
    pub renewals: u8,
}

impl Wish {
    pub const PLAIN: Wish = Wish {
        mode: Mode::Exclusive,
        ttl_ms: 1_000,
        wait_ms: None,
        name: None,
        extends: false,
        is_hold: false,
        terms: Terms::NONE,
        may_release: true,
        rest_ms: None,
        may_hang_up: false,
        renewals: 0,
    };
    pub const WAITS: Wish = Wish { wait_ms: Some(4_000), ..Wish::PLAIN };
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    pub sidecar: usize,
    pub owner: &'static str,
    wishes: Rc<[Wish]>,
    place: usize,
    pub course: Option<Box<Course>>,
    /// It closed its connection.
    pub is_gone: bool,
    pub promise: Option<Promise>,
    /// What it was told, and by which sending: the last lease's token, and of those that were there yet when it was told
    /// another.
    pub told: Vec<(u64, String)>,
    renewed: u8,
}

/// What a client counts on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Promise {
    pub token: Token,
    pub mode: Mode,
    pub until_ms: i64,
    pub sending: String,
    pub terms: Terms,
    /// When its lease was granted, by Redis's clock.
    pub since_ms: i64,
    /// Whether its terms let no renewal promise more.
    pub is_capped: bool,
    /// Whether Redis lost what was promised: that is promised no longer, until it is renewed.
    pub is_lost: bool,
}

impl Promise {
    /// From when the client hears of it.
    pub fn of(lease: &Lease, now_ms: i64, sending: String) -> Promise {
        let valid_for_ms = i64::try_from(lease.valid_for_ms).expect("a short lease");
        Promise {
            token: lease.token,
            mode: lease.mode,
            until_ms: now_ms + valid_for_ms,
            sending,
            terms: lease.terms,
            since_ms: i64::try_from(lease.since_ms).expect("a time"),
            is_capped: lease.is_capped(),
            is_lost: false,
        }
    }
}

impl Client {
    pub fn new(sidecar: usize, owner: &'static str, wishes: &[Wish]) -> Client {
        Client {
            sidecar,
            owner,
            wishes: wishes.into(),
            place: 0,
            course: None,
            is_gone: false,
            promise: None,
            told: Vec::new(),
            renewed: 0,
        }
    }

    /// What it wants, or wanted last.
    pub fn wish(&self) -> &Wish {
        &self.wishes[self.place.min(self.wishes.len() - 1)]
    }

    /// Wants one thing less, where it wants three or more.
    pub fn forgo(&mut self, dice: &mut Dice) {
        if self.wishes.len() > 2 {
            let out = dice.roll(self.wishes.len());
            self.wishes =
                self.wishes.iter().enumerate().filter(|(at, _)| *at != out).map(|(_, wish)| wish.clone()).collect();
        }
    }

    pub fn may_begin(&self) -> bool {
        self.course.is_none() && self.promise.is_none() && self.place < self.wishes.len()
    }

    pub fn may_renew(&self) -> bool {
        self.promise.is_some() && !self.wish().is_hold && self.renewed < self.wish().renewals
    }

    pub fn next_wish(&mut self) {
        (self.place, self.is_gone, self.renewed) = (self.place + 1, false, 0);
    }
}

impl World {
    /// A client is told that it has the key.
    pub fn promise(&mut self, engine: &Engine, client: usize, promise: Promise, course: &Course) {
        self.check_order(client, course);
        if self.clients[client].wish().is_hold {
            self.hold(engine, client, &promise);
        }
        let token = promise.token.get();
        let is_let_go = |name| self.let_go.contains(&(token, name));
        let is_released = self.released.contains(&token) || self.clients[client].wish().name.is_some_and(is_let_go);
        let leases = self.leases(engine);
        let one = &mut self.clients[client];
        let told = (promise.token.get(), promise.sending.clone());
        one.told.retain(|other| *other != told && leases.iter().any(|held| held.token.get() == other.0));
        one.told.push(told);
        if is_released {
            one.next_wish();
        } else {
            one.promise = Some(promise);
        }
    }

    pub fn release(&mut self, engine: &Engine, client: usize) {
        let Some(promise) = self.clients[client].promise.clone() else { return };
        let rest_ms = self.clients[client].wish().rest_ms.map(|rest_ms| rest_ms.to_string()).unwrap_or_default();
        self.end_promises(promise.token);
        let (now_ms, sidecar) = (self.now_ms, self.clients[client].sidecar);
        let args = [&promise.token.to_string(), &record::claim(Claim::System), "", &rest_ms, ""];
        self.sidecars[sidecar].send_in_time(engine, now_ms, "release", &args, Origin::Release(client));
    }

    /// All that is counted on by this token ends, also what its owner is yet to be told of.
    pub fn end_promises(&mut self, token: Token) {
        self.released.insert(token.get());
        for client in 0..self.clients.len() {
            if let Some(promise) = self.clients[client].promise.clone().filter(|promise| promise.token == token) {
                self.keep_minimum(&promise);
                self.lapse(client);
            }
        }
    }

    pub fn renew(&mut self, engine: &Engine, client: usize) {
        self.clients[client].renewed += 1;
        let Some(promise) = self.clients[client].promise.clone() else { return };
        let (now_ms, sidecar, wish) = (self.now_ms, self.clients[client].sidecar, self.clients[client].wish());
        let (key, push) = (engine.key.as_str(), engine.space.push(engine.key.shard()));
        let (token, ttl) = (promise.token.to_string(), wish.ttl_ms.to_string());
        let claim = record::claim(Claim::System);
        let args = [key, &token, &claim, &ttl, push, "set", "", ""];
        self.sidecars[sidecar].send_in_time(engine, now_ms, "renew", &args, Origin::Renew(client));
    }

    /// An answer to a renewal; without one the client counts on what it was promised before.
    pub fn renewed(&mut self, engine: &Engine, client: usize, sent_ms: i64, reply: Option<&Reply>) {
        let (Some(reply), Some(promise)) = (reply, self.clients[client].promise.clone()) else { return };
        let ("renewed", rest) = row(reply) else {
            // Refused by Redis, or by too few replicas, it says nothing of the lease.
            if !matches!(reply, Reply::Error(_)) {
                self.lapse(client);
            }
            return;
        };
        let found = stored(rest).expect("a lease");
        let mut lease = record::read(&engine.key, &found).expect("a lease of ours");
        if lease.token != promise.token {
            return;
        }
        let (now, sent) = (engine.instant(self.now_ms), engine.instant(sent_ms));
        let ttl_ms = self.clients[client].wish().ttl_ms;
        if lease.promise_at(ttl_ms, sent, now).is_ok() {
            self.clients[client].promise = Some(Promise::of(&lease, self.now_ms, promise.sending));
        }
    }

    /// A client counts on its lease no more.
    pub fn lapse(&mut self, client: usize) {
        self.clients[client].promise = None;
        self.clients[client].next_wish();
    }

    /// A client closes its connection before it is answered, or the one that holds its lease.
    pub fn hang_up(&mut self, engine: &Engine, client: usize) {
        if self.clients[client].course.is_none() {
            self.lapse(client);
            return self.close_hold(engine, client);
        }
        self.clients[client].is_gone = true;
        self.wait_is_over(engine, client);
    }
}
