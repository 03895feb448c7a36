//! What an attempt learns from an answer, as `lock/attempt/mod.rs` does.

use lockside::lock::model::attempt::Next;
use lockside::lock::model::attempt::{Answer, Input, Taken, Tidy};
use lockside::lock::model::queue::{Input as QueueInput, Turn};
use lockside::lock::model::{Stored, record};
use lockside::lock::{Lease, Mode, Token};

use super::World;
use super::attempt::Named;
use super::client::{Promise, Wish};
use super::engine::Engine;
use super::plant::Fault;
use super::sidecar::{is_done, is_elsewhere, row, stored, text, token_of};
use crate::redis::Reply;

impl World {
    /// An answer to what was sent for an attempt; `None`: there is none, and it may be done or not.
    pub fn answer_attempt(&mut self, engine: &Engine, client: usize, reply: Option<&Reply>) {
        let input = match self.course(client).next {
            Next::Ask => Input::Answered(self.asked(engine, client, reply)),
            Next::Join => self.joined(engine, client, reply),
            Next::Take(_) => Input::Taken(self.taken(engine, client, reply)),
            Next::Undo => {
                if !is_done(reply) && !engine.plant.has(Fault::ForgetsUndo) {
                    self.tidy(engine, client, Tidy::Undo);
                }
                self.course(client).entry.clear();
                Input::Undone
            }
            next => unreachable!("an answer while {next:?}"),
        };
        self.input(engine, client, input);
    }

    fn asked(&mut self, engine: &Engine, client: usize, reply: Option<&Reply>) -> Answer {
        self.course(client).answered = None;
        let Some(reply) = reply else { return Answer::Failed { is_passing: true, leaves_a_grant: true } };
        let wish = self.clients[client].wish().clone();
        let lease = match row(reply) {
            ("granted", [token, since, valid_until]) => {
                let found = self.granted(client, &wish, [text(token), text(since), text(valid_until)]);
                self.lease_told(engine, client, &found)
            }
            ("replayed" | "renewed", rest) => {
                let found = stored(rest).expect("a lease");
                self.lease_told(engine, client, &found)
            }
            (word @ ("held" | "own" | "shared" | "rejoining" | "stranger"), rest) => {
                if let Some(found) = stored(rest) {
                    self.saw(engine, self.clients[client].sidecar, &found);
                }
                let is_in_vain = word == "own" || word == "shared" && rest.last().map(text).as_deref() == Some("own");
                return if is_in_vain { Answer::HeldInVain } else { Answer::Held };
            }
            ("late", _) => return Answer::Failed { is_passing: true, leaves_a_grant: false },
            _ if engine.plant.has(Fault::KeepsWhatReplicasLack) => {
                return Answer::Failed { is_passing: false, leaves_a_grant: false };
            }
            _ => return refused(reply),
        };
        self.course(client).was_renewed = row(reply).0 == "renewed";
        let ttl_ms = if row(reply).0 == "granted" { wish.ttl_ms } else { wish.ttl_ms.max(lease.ttl_ms) };
        let ttl_ms = if row(reply).0 == "replayed" { lease.ttl_ms } else { ttl_ms };
        if self.keep(engine, client, lease, ttl_ms) {
            Answer::Acquired
        } else {
            let keeps_it = engine.plant.has(Fault::KeepsWhatIsTooLate)
                || engine.plant.has(Fault::KeepsRepetitionsTooLate) && row(reply).0 == "replayed";
            Answer::Failed { is_passing: false, leaves_a_grant: !keeps_it }
        }
    }

    fn joined(&mut self, engine: &Engine, client: usize, reply: Option<&Reply>) -> Input {
        let (sidecar, key) = (self.clients[client].sidecar, engine.key.clone());
        let id = self.course(client).sending.id.clone();
        let input = match reply.map(row) {
            Some(("waiting", [position, Reply::Integer(left_ms)])) => {
                let position = text(position);
                self.course(client).position = Some(position.clone());
                QueueInput::Joined { key, id, position, left_ms: *left_ms }
            }
            Some(("turn", [token])) => {
                let token = text(token).parse().ok().and_then(Token::new).expect("a token");
                QueueInput::Called { key, id, turn: Turn::Offered(token) }
            }
            Some(("own", _)) => QueueInput::Called { key, id, turn: Turn::AskAgain },
            _ => {
                self.leave(engine, client);
                let is_passing = reply.is_none_or(|reply| row(reply).0 == "late");
                return Input::NotJoined { is_passing, may_be_there: true };
            }
        };
        self.tell_queues(engine, sidecar, input);
        Input::Joined
    }

    fn taken(&mut self, engine: &Engine, client: usize, reply: Option<&Reply>) -> Taken {
        self.course(client).answered = None;
        let Some(reply) = reply else { return Taken::Failed { is_passing: true, leaves_a_grant: true } };
        if let Reply::Error(_) = reply {
            return Taken::Failed { is_passing: false, leaves_a_grant: !is_elsewhere(reply) };
        }
        let rest = match row(reply) {
            ("renewed", rest) => rest,
            ("late", _) => return Taken::Failed { is_passing: true, leaves_a_grant: false },
            _ => return Taken::Lapsed,
        };
        let (lease, ttl_ms) = (stored(rest).expect("a lease"), self.clients[client].wish().ttl_ms);
        let lease = self.lease_told(engine, client, &lease);
        if self.keep(engine, client, lease, ttl_ms) {
            Taken::Lease
        } else {
            Taken::Failed { is_passing: false, leaves_a_grant: true }
        }
    }

    /// The lease of a grant, as Redis would tell it.
    fn granted(&mut self, client: usize, wish: &Wish, [token, since, valid_until]: [String; 3]) -> Stored {
        let Named { identity, nonce, further, .. } = &self.course(client).sending;
        let key_ms = wish.key_ms();
        let shared = if wish.mode == Mode::Exclusive { "" } else { "\"shared\":true," };
        let text =
            format!("{{{shared}\"token\":\"{token}\",{identity}{nonce}\"since\":{since},\"ttl\":{key_ms}{further}}}");
        let left_ms = i64::try_from(key_ms).expect("a short ttl");
        Stored { text: text.into_bytes().into(), valid_until_ms: valid_until.parse().expect("a time"), left_ms }
    }

    fn lease_told(&mut self, engine: &Engine, client: usize, found: &Stored) -> Lease {
        self.saw(engine, self.clients[client].sidecar, found);
        record::read(&engine.key, found).expect("a lease of ours")
    }

    /// Keeps a lease for when its caller is answered; whether anything is left of it.
    fn keep(&mut self, engine: &Engine, client: usize, mut lease: Lease, ttl_ms: u64) -> bool {
        let (now_ms, sending) = (self.now_ms, self.course(client).sending.id.clone());
        let is_late = engine.plant.has(Fault::CountsFromTheAnswer);
        let sent = engine.instant(if is_late { now_ms } else { self.course(client).sent_ms });
        let promise = lease.promise_at(ttl_ms, sent, engine.instant(now_ms));
        self.course(client).answered = promise.ok().map(|()| Promise::of(&lease, now_ms, sending));
        self.course(client).answered.is_some()
    }

    /// A sidecar remembers each token that it is shown.
    pub fn saw(&mut self, engine: &Engine, sidecar: usize, found: &Stored) {
        if let Some(token) = token_of(&found.text)
            && !engine.plant.has(Fault::ForgetsTokens)
        {
            let floor = &mut self.sidecars[sidecar].floor;
            *floor = (*floor).max(token.sequence());
        }
    }
}

/// What an acquire is answered that Redis refused, or that too few replicas have.
fn refused(reply: &Reply) -> Answer {
    match reply {
        Reply::Error(text) if text.starts_with("UNREPLICATED granted") => Answer::Unreplicated,
        Reply::Error(text) => Answer::Failed { is_passing: false, leaves_a_grant: text.starts_with("UNREPLICATED") },
        _ => Answer::Failed { is_passing: false, leaves_a_grant: false },
    }
}
