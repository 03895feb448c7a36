//! One sidecar around its shipped queues: what `lock/queue/driver.rs` and `lock/undo` do, without a runtime.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use lockside::lock::Token;
use lockside::lock::model::queue::{Effect, Entry, Input, Message, Queues, Turn, Word};
use lockside::lock::model::{AdvanceRow, KeyState, Place, Precision, Stored};

use super::World;
use super::engine::{Engine, TIMEOUT_MS};
use super::network::{Connection, Origin, Request};
use super::plant::Fault;
use crate::redis::Reply;

/// Pause before an undo is tried again.
const UNDO_PAUSE_MS: i64 = 100;
/// How long an entry is tried to be removed from the queue.
pub const KEPT_ENTRY_MS: i64 = 60_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sidecar {
    /// PROCESS-N.
    pub name: &'static str,
    pub queues: Queues,
    pub connection: Connection,
    /// The highest sequence that it has seen.
    pub floor: u64,
    /// The highest that it was shown, as the world has it.
    pub shown: u64,
    /// What is still to be undone, and whether the first is on its way.
    pub undos: VecDeque<Undo>,
    pub is_undoing: bool,
    pub undo_at: Option<i64>,
    /// How many sendings it named.
    pub names: u32,
    /// It does nothing for a while.
    pub is_frozen: bool,
    /// It is being stopped.
    pub is_draining: bool,
    /// It did not crash yet.
    pub is_new: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Undo {
    pub identity: String,
    pub sending: String,
    pub entry: String,
    pub retry_until_ms: i64,
}

impl Sidecar {
    pub fn new(name: &'static str) -> Sidecar {
        Sidecar {
            name,
            queues: Queues::new(name.to_owned(), false),
            connection: Connection::default(),
            floor: 0,
            shown: 0,
            undos: VecDeque::new(),
            is_undoing: false,
            undo_at: None,
            names: 0,
            is_frozen: false,
            is_draining: false,
            is_new: true,
        }
    }

    fn process(&self) -> &'static str {
        self.name.split('-').next().unwrap_or_default()
    }

    /// Sends a script that may run until its deadline.
    pub fn send_in_time(&mut self, engine: &Engine, now_ms: i64, script: &'static str, args: &[&str], origin: Origin) {
        // A moment that Redis's clock does not pass before the deadline.
        let not_after_ms = super::engine::BEGIN_MS + now_ms + TIMEOUT_MS - 1;
        let not_after = not_after_ms.to_string();
        let joins = engine.plant.has(Fault::JoinsWithoutDeadline) && script == "queue_join";
        let undoes = engine.plant.has(Fault::UndoesWithoutDeadline) && script == "undo" && origin != Origin::Undo;
        let not_after = if joins || undoes { "" } else { not_after.as_str() };
        let further: Vec<&str> = args.iter().copied().chain([not_after]).collect();
        self.send(engine, now_ms, script, &further, (!undoes).then_some(not_after_ms), origin);
    }

    /// Sends a script, with what every script that may grant a key is given before the rest.
    fn send(
        &mut self,
        engine: &Engine,
        now_ms: i64,
        script: &'static str,
        further: &[&str],
        not_after_ms: Option<i64>,
        origin: Origin,
    ) {
        let shard = engine.key.shard();
        let line = [engine.key.as_str(), engine.space.number(shard), &self.floor.to_string(), engine.space.push(shard)]
            .map(str::to_owned);
        let line: &[String] = if script == "renew" { &[] } else { &line };
        let args = line.iter().cloned().chain(further.iter().map(|arg| (*arg).to_owned())).collect();
        let request =
            Request { script, args, sent_ms: now_ms, not_after_ms, origin, shown: self.shown, is_of_lost_data: false };
        self.connection.sent.push_back((Rc::new(request), true));
    }

    pub fn undo(&mut self, engine: &Engine, now_ms: i64, undo: Undo) {
        self.undos.push_back(undo);
        self.undo_next(engine, now_ms);
    }

    fn undo_next(&mut self, engine: &Engine, now_ms: i64) {
        while !self.is_undoing && self.undos.front().is_some_and(|undo| now_ms >= undo.retry_until_ms) {
            self.undos.pop_front();
        }
        let Some(undo) = self.undos.front().cloned().filter(|_| !self.is_undoing && self.undo_at.is_none()) else {
            return;
        };
        self.is_undoing = true;
        self.send_in_time(engine, now_ms, "undo", &[&undo.identity, &undo.sending, &undo.entry], Origin::Undo);
    }

    fn undone(&mut self, engine: &Engine, now_ms: i64, is_answered: bool) {
        self.is_undoing = false;
        if is_answered || engine.plant.has(Fault::UndoesOnce) {
            self.undos.pop_front();
        } else {
            self.undo_at = Some(now_ms + UNDO_PAUSE_MS);
        }
        self.undo_next(engine, now_ms);
    }

    /// Whether something happens here before time passes.
    pub fn is_busy(&self) -> bool {
        if self.is_frozen {
            return !self.connection.sent.is_empty() && !self.connection.is_stalled;
        }
        self.connection.is_busy()
    }

    pub fn next_due(&self, engine: &Engine) -> Option<i64> {
        let queue = self.queues.next_due().map(|due| engine.ms(due));
        [queue, self.undo_at, self.connection.next_deadline(TIMEOUT_MS)].into_iter().flatten().min()
    }
}

/// A key that a lease's row tells of. A batch writes some numbers as texts.
pub fn stored(rows: &[Reply]) -> Option<Stored> {
    let number = |reply: &Reply| text(reply).parse().ok();
    let [Reply::Bulk(lease), valid_until_ms, left_ms, ..] = rows else { return None };
    let (valid_until_ms, left_ms) = (number(valid_until_ms)?, number(left_ms)?);
    Some(Stored { text: lease.clone().into(), valid_until_ms, left_ms })
}

/// The token of the lease that a row tells of.
pub fn told_token(reply: &Reply) -> Option<Token> {
    match row(reply) {
        ("granted", [token, ..]) => text(token).parse().ok().and_then(Token::new),
        ("replayed" | "renewed" | "held" | "own" | "shared", [Reply::Bulk(lease), ..]) => token_of(lease),
        _ => None,
    }
}

/// The one that a row grants.
pub fn granted(reply: &Reply) -> Option<Token> {
    told_token(reply).filter(|_| row(reply).0 == "granted")
}

/// The token of a lease, by its text.
pub fn token_of(lease: &[u8]) -> Option<Token> {
    let text = String::from_utf8_lossy(lease);
    let (_, behind) = text.split_once("\"token\":\"")?;
    behind.split('"').next()?.parse().ok().and_then(Token::new)
}

/// Whether Redis has said what became of an undo.
pub fn is_done(reply: Option<&Reply>) -> bool {
    reply.is_some_and(|reply| !matches!(reply, Reply::Error(_)) && row(reply).0 != "late")
}

/// Whether Redis refused a script because its keys are moving to another server.
pub fn is_elsewhere(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(text) if text.starts_with("TRYAGAIN"))
}

/// The word that a row begins with, and the rest.
pub fn row(reply: &Reply) -> (&str, &[Reply]) {
    match reply {
        Reply::Array(parts) => match parts.split_first() {
            Some((Reply::Bulk(word), rest)) => (std::str::from_utf8(word).unwrap_or_default(), rest),
            _ => ("", &[]),
        },
        _ => ("", &[]),
    }
}

pub fn text(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
        Reply::Integer(number) => number.to_string(),
        _ => String::new(),
    }
}

fn advance_row(reply: &Reply) -> Option<AdvanceRow> {
    let (word, rest) = row(reply);
    let (key, ranks) = match word {
        "held" => (KeyState::Held(stored(rest)?), &rest[3..]),
        "shared" => match &rest[3..] {
            [Reply::Integer(look_ms), ranks @ ..] => {
                (KeyState::Shared { awaited: stored(rest)?, look_ms: *look_ms }, ranks)
            }
            _ => return None,
        },
        "stranger" => (KeyState::Stranger, rest),
        "free" => match rest {
            [Reply::Integer(left_ms), ranks @ ..] => (KeyState::Free { left_ms: *left_ms }, ranks),
            _ => return None,
        },
        _ => return None,
    };
    let place = |rank: &Reply| match rank {
        Reply::Integer(rank) => Some(Place::of(*rank)),
        _ => None,
    };
    Some(AdvanceRow { key, places: ranks.iter().map(place).collect::<Option<_>>()? })
}

impl World {
    /// Brings an input to the queues of a sidecar, and does what comes of it.
    pub fn tell_queues(&mut self, engine: &Engine, sidecar: usize, input: Input) {
        let now = engine.instant(self.now_ms);
        let looks_again = matches!(input, Input::Looked { .. }) && engine.plant.has(Fault::QueuesLookAtOnce);
        let is_offer = matches!(&input, Input::Told(Message { word: Word::Offer { .. }, .. }));
        if is_offer && engine.plant.has(Fault::QueuesHearOfNoOffer) {
            return;
        }
        let is_own =
            matches!(&input, Input::Told(Message { word: Word::Lost { by }, .. }) if by == self.sidecars[sidecar].name);
        if is_own && engine.plant.has(Fault::QueuesIgnoreTheirOwn) {
            return;
        }
        // A moment before a look that is asked for in the same instant.
        let is_put_off = matches!(input, Input::Told(_)) && engine.plant.has(Fault::QueuesPutLooksOff);
        let heard = now.checked_sub(Duration::from_micros(u64::from(is_put_off))).unwrap_or(now);
        let mut effects = self.sidecars[sidecar].queues.handle(input, heard);
        if engine.plant.has(Fault::QueuesNeverRejoin) {
            effects.retain(|effect| !matches!(effect, Effect::Rejoin { .. }));
        }
        self.carry_out(engine, sidecar, effects);
        if looks_again {
            self.tell_queues(engine, sidecar, Input::Gap);
        }
    }

    pub fn queues_due(&mut self, engine: &Engine, sidecar: usize) {
        let effects = self.sidecars[sidecar].queues.due(engine.instant(self.now_ms));
        self.carry_out(engine, sidecar, effects);
    }

    fn carry_out(&mut self, engine: &Engine, sidecar: usize, effects: Vec<Effect>) {
        for effect in effects {
            let (now_ms, one) = (self.now_ms, &mut self.sidecars[sidecar]);
            match effect {
                Effect::Call { .. } if engine.plant.has(Fault::IgnoresTurns) => {}
                Effect::Call { id, turn } => self.call(engine, &id, turn),
                Effect::Progress { .. } => {}
                Effect::Look { ids, entries, precision, .. } => {
                    let how = if precision == Precision::Rank { "rank" } else { "" };
                    let mut args = vec![one.process(), how];
                    args.extend(entries.iter().map(String::as_str));
                    one.send(engine, now_ms, "queue_advance", &args, None, Origin::Look { ids });
                }
                Effect::Rejoin { entry, position, .. } => {
                    let own = if entry.is_reentrant { "extend" } else { "refuse" };
                    let (text, id, wait_ms) = (entry.text.clone(), entry.id.clone(), entry.wait_ms.to_string());
                    let args = [text.as_str(), &id, &wait_ms, &position.word(), own];
                    one.send_in_time(engine, now_ms, "queue_join", &args, Origin::Rejoin { entry });
                }
                Effect::Decline { .. } if engine.plant.has(Fault::NeverDeclines) => {}
                Effect::Decline { token, .. } => {
                    let name = one.name;
                    one.send(engine, now_ms, "queue_decline", &[&token.to_string(), name], None, Origin::None);
                }
                Effect::Remove { .. } if engine.plant.has(Fault::KeepsLatePlaces) => {}
                Effect::Remove { entry: Entry { identity, text, .. }, .. } => {
                    let retry_until_ms = now_ms + KEPT_ENTRY_MS + 1_000;
                    one.undo(engine, now_ms, Undo { identity, sending: String::new(), entry: text, retry_until_ms });
                }
            }
        }
    }

    /// A sidecar hears what Redis published.
    pub fn hear(&mut self, engine: &Engine, sidecar: usize) {
        if let Some(text) = self.sidecars[sidecar].connection.messages.pop_front()
            && let Some(message) = Message::parse(&String::from_utf8_lossy(&text))
        {
            self.holds_hear(engine, sidecar, &message);
            self.tell_queues(engine, sidecar, Input::Told(message));
        }
    }

    /// An answer for what the sidecar asked by itself; `None`: there is none.
    pub fn answer_sidecar(&mut self, engine: &Engine, sidecar: usize, origin: &Origin, reply: Option<&Reply>) {
        let key = engine.key.clone();
        match origin {
            Origin::Undo => {
                let now_ms = self.now_ms;
                self.sidecars[sidecar].undone(engine, now_ms, is_done(reply));
            }
            Origin::Look { ids } => {
                let input = match reply.and_then(advance_row) {
                    Some(row) => {
                        if let KeyState::Held(found) | KeyState::Shared { awaited: found, .. } = &row.key {
                            self.saw(engine, sidecar, found);
                        }
                        Input::Looked { key, ids: ids.clone(), row }
                    }
                    None => Input::NotLooked { key, is_of_this_key: reply.is_some_and(|reply| !is_elsewhere(reply)) },
                };
                self.tell_queues(engine, sidecar, input);
            }
            Origin::Rejoin { entry } => {
                let input = match reply.map(row) {
                    Some(("waiting", [_, Reply::Integer(left_ms)])) => {
                        Input::Rejoined { key, entry: entry.clone(), left_ms: *left_ms }
                    }
                    Some(("turn", [token])) => {
                        let token = text(token).parse().ok().and_then(Token::new).expect("a token");
                        Input::Called { key, id: entry.id.clone(), turn: Turn::Offered(token) }
                    }
                    Some(("own", _)) => Input::Called { key, id: entry.id.clone(), turn: Turn::AskAgain },
                    _ => Input::NotRejoined { key, entry: entry.clone() },
                };
                self.tell_queues(engine, sidecar, input);
            }
            _ => {}
        }
    }

    /// What the time brings to a sidecar.
    pub fn sidecar_due(&mut self, engine: &Engine, sidecar: usize) {
        let now_ms = self.now_ms;
        for request in self.sidecars[sidecar].connection.give_up(now_ms, TIMEOUT_MS) {
            self.answered(engine, sidecar, &request.origin, None);
        }
        let one = &mut self.sidecars[sidecar];
        if one.undo_at.is_some_and(|at| now_ms >= at) {
            one.undo_at = None;
            one.undo_next(engine, now_ms);
        }
        self.queues_due(engine, sidecar);
        self.holds_due(engine, sidecar);
    }
}
