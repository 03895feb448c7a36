//! A lease that a connection holds, around its shipped life: what `hold/mod.rs` does, without a runtime.

use std::time::{Duration, Instant};

use lockside::lock::held::{Effect, End, Held, Input};
use lockside::lock::model::queue::{Message, Word};
use lockside::lock::model::record;
use lockside::lock::{Claim, Lease, Owner, Terms, Token};

use super::client::{Client, Promise};
use super::network::{Origin, Request};
use super::plant::Fault;
use super::sidecar::{row, stored};
use super::{Engine, Held as Lasting, World};
use crate::redis::Reply;

/// Pause after a release that Redis did not answer, or refused.
const RETRY_MS: i64 = 200;
/// How long a lock is kept once its sidecar is being stopped.
const GRACE: Duration = Duration::from_millis(500);

/// A lease that is held, or that is being released since its hold has ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    pub client: usize,
    pub sidecar: usize,
    pub token: Token,
    /// Which sending of the attempt holds it.
    sending: String,
    ttl_ms: u64,
    terms: Terms,
    held: Held,
    /// How many renewals were asked for, and until when the last one is waited for.
    asked: u8,
    waits_until_ms: Option<i64>,
    /// How many it was told of.
    renewed: u8,
    /// Its client has closed the connection, and its sidecar did not see it yet.
    is_closed: bool,
    release: Option<Release>,
}

/// A release after the end of a hold: on its way, or tried again then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Release {
    Sent,
    At(i64),
}

impl Hold {
    /// Whether it goes on.
    pub fn is_live(&self) -> bool {
        self.release.is_none()
    }

    pub fn next_due(&self, engine: &Engine) -> Option<i64> {
        match self.release {
            Some(Release::At(at)) => Some(at),
            Some(Release::Sent) => None,
            None if self.is_closed => Some(0),
            None => self.waits_until_ms.into_iter().chain([reached(engine, self.held.next_due())]).min(),
        }
    }
}

/// The first millisecond in which a moment is over.
fn reached(engine: &Engine, at: Instant) -> i64 {
    let ms = engine.ms(at);
    ms + i64::from(engine.instant(ms) < at)
}

impl World {
    /// A client's connection holds what it was granted or told of just now.
    pub(super) fn hold(&mut self, engine: &Engine, client: usize, promise: &Promise) {
        let wish = self.clients[client].wish();
        let (ttl, now) = (Duration::from_millis(wish.ttl_ms), engine.instant(self.now_ms));
        let chance = u8::try_from(promise.token.sequence() % 256).expect("below 256");
        let promised = engine.instant(promise.until_ms);
        self.holds.push(Hold {
            client,
            sidecar: self.clients[client].sidecar,
            token: promise.token,
            sending: promise.sending.clone(),
            ttl_ms: wish.ttl_ms,
            terms: wish.terms,
            held: Held::new(ttl, chance, promised, promise.is_capped, None, now),
            asked: 0,
            waits_until_ms: None,
            renewed: 0,
            is_closed: false,
            release: None,
        });
    }

    /// Whether a connection of this client holds a lease.
    pub fn holds_one(&self, client: usize) -> bool {
        self.holds.iter().any(|hold| hold.client == client && hold.is_live())
    }

    /// A client closes the connection that holds a lease: it counts on that no more.
    pub(super) fn close_hold(&mut self, engine: &Engine, client: usize) {
        for at in 0..self.holds.len() {
            let Hold { client: of, sidecar, .. } = self.holds[at];
            if of == client && self.holds[at].is_live() {
                self.holds[at].is_closed = true;
                if !self.sidecars[sidecar].is_frozen {
                    self.holds_due(engine, sidecar);
                }
                return;
            }
        }
    }

    /// What the time brings to the holds of a sidecar.
    pub(super) fn holds_due(&mut self, engine: &Engine, sidecar: usize) {
        let now_ms = self.now_ms;
        let due = |hold: &&Hold| hold.sidecar == sidecar && hold.next_due(engine).is_some_and(|due| due <= now_ms);
        let due: Vec<String> = self.holds.iter().filter(due).map(|hold| hold.sending.clone()).collect();
        for sending in due {
            let Some(at) = self.hold_of(&sending) else { continue };
            let hold = &mut self.holds[at];
            if matches!(hold.release, Some(Release::At(_))) {
                self.release_hold(engine, at);
            } else if hold.is_closed {
                self.tell_hold(engine, &sending, Input::Closed);
            } else if hold.waits_until_ms.is_some_and(|until_ms| now_ms >= until_ms) {
                hold.waits_until_ms = None;
                self.tell_hold(engine, &sending, Input::NotRenewed);
            } else {
                self.tell_hold(engine, &sending, Input::Due);
            }
        }
    }

    /// A sidecar hears of a lease that connections to it hold.
    pub(super) fn holds_hear(&mut self, engine: &Engine, sidecar: usize, Message { word, .. }: &Message) {
        let (token, input) = match word {
            Word::Forced(token) | Word::Repeated(token) => (*token, Input::Changed),
            Word::Released(token) => (*token, Input::Released),
            Word::Shortened { token, left_ms } => {
                let left = Duration::from_millis(u64::try_from(*left_ms).unwrap_or(0));
                (*token, Input::Shortened { left })
            }
            _ => return,
        };
        let is_of_it = |hold: &&Hold| hold.sidecar == sidecar && hold.token == token;
        let of_it: Vec<_> =
            self.holds.iter().filter(is_of_it).map(|hold| (hold.sending.clone(), hold.terms.delay_ms)).collect();
        for (sending, delay_ms) in of_it {
            let input = match input {
                // It is told when the key gets free.
                Input::Shortened { left } => {
                    Input::Shortened { left: left.saturating_sub(Duration::from_millis(delay_ms)) }
                }
                input => input,
            };
            self.tell_hold(engine, &sending, input);
        }
    }

    /// The sidecar is being stopped.
    pub(super) fn drain_holds(&mut self, engine: &Engine, sidecar: usize) {
        let its = self.holds.iter().filter(|hold| hold.sidecar == sidecar);
        for sending in its.map(|hold| hold.sending.clone()).collect::<Vec<_>>() {
            self.tell_hold(engine, &sending, Input::Draining { grace: GRACE });
        }
    }

    /// An answer to a hold's renewal; `None`: there is none.
    pub(super) fn hold_renewed(
        &mut self,
        engine: &Engine,
        (sending, number): (&str, u8),
        sent_ms: i64,
        reply: Option<&Reply>,
    ) {
        let Some(at) = self.hold_of(sending) else { return };
        let hold = &mut self.holds[at];
        // One that is not waited for any more.
        if hold.asked != number || hold.waits_until_ms.take().is_none() {
            return;
        }
        let (sent, now) = (engine.instant(sent_ms), engine.instant(self.now_ms));
        let renewed = |rest| {
            let mut lease = record::read(&engine.key, &stored(rest)?)?;
            lease.promise_at(hold.ttl_ms, sent, now).ok()?;
            Some(lease)
        };
        let input = match reply.map(row) {
            Some(("renewed", rest)) => match renewed(rest) {
                Some(lease) => return self.hold_goes_on(engine, sending, &lease),
                None => Input::NotRenewed,
            },
            Some(("lost", _)) => Input::Over(End::Expired),
            Some(("forced", _)) => Input::Over(End::Forced),
            Some(("capped", _)) => Input::Over(End::Capped),
            Some(("superseded" | "stranger" | "other", _)) => Input::Over(End::Superseded),
            _ => Input::NotRenewed,
        };
        self.tell_hold(engine, sending, input);
    }

    fn hold_goes_on(&mut self, engine: &Engine, sending: &str, lease: &Lease) {
        let until = lease.promised_until.expect("a promise has an end");
        self.tell_hold(engine, sending, Input::Renewed { until, is_last: lease.is_capped() });
    }

    /// An answer to the release after the end of a hold; `None`: there is none.
    pub(super) fn hold_released(&mut self, engine: &Engine, sending: &str, reply: Option<&Reply>) {
        let Some(at) = self.hold_of(sending) else { return };
        let is_done = reply.is_some_and(|reply| !matches!(reply, Reply::Error(_)) && row(reply).0 != "late");
        if is_done || self.now_ms >= engine.ms(self.holds[at].held.deadline()) {
            self.holds.remove(at);
        } else {
            self.holds[at].release = Some(Release::At(self.now_ms + RETRY_MS));
        }
    }

    /// A hold has released its lease: of the sendings of one attempt the one holds it that was told of it last, and the others
    /// count on it only until they hear of that.
    pub(super) fn note_let_go(&mut self, leases: &[Lasting], request: &Request, reply: &Reply) {
        let (Origin::HoldRelease(sending), "released") = (&request.origin, row(reply).0) else { return };
        let is_last = |held: &&Lasting| held.by.rsplit(' ').next() == Some(sending.as_str());
        let Some(held) = leases.iter().find(is_last) else { return };
        let is_of_it = |name: &&str| held.attempt.contains(&format!("\"nonce\":\"caller:{name}\""));
        let Some(name) = self.clients.iter().filter_map(|client| client.wish().name).find(is_of_it) else { return };
        self.let_go.insert((held.token.get(), name));
        for client in 0..self.clients.len() {
            let Client { promise, .. } = &self.clients[client];
            let is_of_it = promise.as_ref().is_some_and(|promise| promise.token == held.token);
            if is_of_it && self.clients[client].wish().name == Some(name) {
                self.lapse(client);
            }
        }
    }

    /// The client whose connection holds, or held, a lease by this sending.
    pub(super) fn client_of_hold(&self, sending: &str) -> Option<usize> {
        self.hold_of(sending).map(|at| self.holds[at].client)
    }

    fn hold_of(&self, sending: &str) -> Option<usize> {
        self.holds.iter().position(|hold| hold.sending == sending)
    }

    fn tell_hold(&mut self, engine: &Engine, sending: &str, input: Input) {
        let now = engine.instant(self.now_ms);
        let Some(at) = self.hold_of(sending).filter(|at| self.holds[*at].is_live()) else { return };
        for effect in self.holds[at].held.handle(input, now) {
            match effect {
                Effect::Renew => self.renew_hold(engine, at),
                Effect::SayRenewed | Effect::SayLeft(_) => {
                    let left = self.holds[at].held.left(now);
                    let is_renewed = effect == Effect::SayRenewed;
                    if self.hold_says(at, left, is_renewed) {
                        return self.tell_hold(engine, sending, Input::Closed);
                    }
                }
                Effect::SayDraining => {}
                Effect::End(end) => return self.end_hold(engine, at, end),
            }
        }
    }

    /// A client hears for how long it can count on what its connection holds; whether it closes that, since it has been
    /// renewed as often as it wants, or counts on it no more.
    fn hold_says(&mut self, at: usize, left: Duration, is_renewed: bool) -> bool {
        let (now_ms, hold) = (self.now_ms, &mut self.holds[at]);
        hold.renewed += u8::from(is_renewed);
        let (client, token, renewed) = (hold.client, hold.token, hold.renewed);
        let Client { promise, .. } = &mut self.clients[client];
        let Some(promise) = promise.as_mut().filter(|promise| promise.token == token) else { return true };
        promise.until_ms = now_ms + i64::try_from(left.as_millis()).expect("a short lease");
        promise.is_lost &= !is_renewed;
        let is_over = renewed > self.clients[client].wish().renewals;
        if is_over {
            self.lapse(client);
        }
        is_over
    }

    fn renew_hold(&mut self, engine: &Engine, at: usize) {
        let (now_ms, hold) = (self.now_ms, &mut self.holds[at]);
        hold.asked += 1;
        hold.waits_until_ms = Some(reached(engine, engine.instant(now_ms) + hold.held.longest_renewal()));
        let (key, push) = (engine.key.as_str(), engine.space.push(engine.key.shard()));
        let (token, ttl, claim) = (hold.token.to_string(), hold.ttl_ms.to_string(), record::claim(Claim::System));
        let args = [key, &token, &claim, &ttl, push, "extend", &hold.sending, ""];
        let origin = Origin::HoldRenewal { sending: hold.sending.clone(), number: hold.asked };
        self.sidecars[hold.sidecar].send_in_time(engine, now_ms, "renew", &args, origin);
    }

    fn end_hold(&mut self, engine: &Engine, at: usize, end: End) {
        let Hold { client, token, terms, .. } = self.holds[at];
        if self.clients[client].promise.as_ref().is_some_and(|promise| promise.token == token) {
            self.lapse(client);
        }
        if end.leaves_a_lease(terms.outlast_the_promise()) {
            self.release_hold(engine, at);
        } else {
            self.holds.remove(at);
        }
    }

    /// By its own sending, unless another one was told of the lease later.
    fn release_hold(&mut self, engine: &Engine, at: usize) {
        let (now_ms, hold) = (self.now_ms, &mut self.holds[at]);
        (hold.release, hold.waits_until_ms) = (Some(Release::Sent), None);
        let identity = record::identity(&Owner::system(self.clients[hold.client].owner.to_owned()));
        let sending = if engine.plant.has(Fault::ReleasesByToken) { "" } else { hold.sending.as_str() };
        let args = [&hold.token.to_string(), &identity, sending, "", ""];
        let origin = Origin::HoldRelease(hold.sending.clone());
        self.sidecars[hold.sidecar].send_in_time(engine, now_ms, "release", &args, origin);
    }
}
