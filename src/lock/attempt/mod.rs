//! One attempt on its way through Redis: [`state`] decides what is done next, and it is done here.

pub mod held;
mod sending;
pub(super) mod state;
#[cfg(test)]
mod tests;

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use super::Engine;
use super::key::Key;
use super::lease::Lease;
use super::promise::promised;
use super::queue::{Joining, Ticket};
use super::request::{Acquired, Attempt, LockFailure, Wait, Why};
use super::scripts::{How, RenewRow, UndoRow};
use super::seats::Seat;
use super::token::Token;
use super::undo::Unconfirmed;
use crate::redis::{Flight, RedisFailure};
pub use sending::Sending;
use state::{Answer, End, Input, Life, Next, Over, Step, Taken, Tidy};

/// What an acquire found, and the guard of what its caller is to be told of.
pub type Outcome = Result<(Acquired, Unconfirmed), LockFailure>;

/// Asks for `key`, and waits for it where the attempt does, until `gone` ends: its caller has gone. `flight` is one request
/// that waits for Redis; one that waits in the queue is none.
pub async fn run(
    engine: Arc<Engine>,
    key: Key,
    attempt: Attempt,
    flight: Flight,
    gone: impl Future<Output = ()> + Send,
) -> Outcome {
    let sending = engine.sending(&attempt);
    let mut life = Life::new(attempt.wait.as_ref().map(|wait| wait.until));
    let answered = engine.ask(&key, &attempt, &sending).await;
    drop(flight);
    let mut step = life.handle(Input::Answered(answer(&answered)), Instant::now());
    let mut course = Course {
        engine,
        key,
        attempt,
        sending,
        answered,
        seat: None,
        ticket: None,
        entry: String::new(),
        position: None,
    };
    if !step.is_last() {
        // Boxed, so that a request that need not wait keeps no room for it.
        step = Box::pin(course.go_on(&mut life, step, gone)).await;
    }
    course.end(step)
}

/// An attempt under way.
struct Course {
    engine: Arc<Engine>,
    key: Key,
    attempt: Attempt,
    /// The latest one: each time that the key is asked for again it is by a new name.
    sending: Sending,
    /// How the last thing ended that was done for it.
    answered: Result<Acquired, LockFailure>,
    seat: Option<Seat>,
    /// While it is in the queue. Without it an offer would be declined.
    ticket: Option<Ticket>,
    /// What may be in the queue in Redis for it.
    entry: String,
    /// The position that it had last.
    position: Option<String>,
}

impl Course {
    async fn go_on(&mut self, life: &mut Life, mut step: Step, gone: impl Future<Output = ()> + Send) -> Step {
        let mut gone = pin!(gone);
        loop {
            self.tidy(step.tidy);
            step.tidy = Tidy::Nothing;
            let input = match step.next {
                Next::Ask => {
                    self.answered = self.engine.ask(&self.key, &self.attempt, &self.sending).await;
                    Input::Answered(answer(&self.answered))
                }
                Next::Join => self.join().await,
                Next::Wait(until) => self.wait(until, gone.as_mut()).await,
                Next::Take(token) => self.take(token).await,
                Next::Undo => {
                    self.undo().await;
                    Input::Undone
                }
                Next::Pause(until) => {
                    tokio::time::sleep_until(until.into()).await;
                    Input::Paused
                }
                Next::End(_) => return step,
            };
            step = life.handle(input, Instant::now());
        }
    }

    fn tidy(&mut self, tidy: Tidy) {
        if matches!(tidy, Tidy::Undo | Tidy::Replace) {
            let undo = self.sending.undo(self.key.clone(), &self.attempt);
            self.engine.undoer.push(undo.with_entry(std::mem::take(&mut self.entry)));
        }
        if matches!(tidy, Tidy::Rename | Tidy::Replace) {
            self.sending = self.engine.sending(&self.attempt);
        }
    }

    fn end(mut self, step: Step) -> Outcome {
        self.tidy(step.tidy);
        match (step.next, self.answered) {
            (Next::End(End::Over(Over::Timeout)), _) => Err(LockFailure::WaitTimeout),
            (Next::End(End::Over(Over::Draining)), _) => Err(LockFailure::Draining),
            (_, Ok(held @ Acquired::Held(..))) => Ok((held, Unconfirmed::none())),
            (_, Ok(acquired)) => {
                let undo = self.sending.into_undo(self.key, &self.attempt);
                Ok((acquired, Unconfirmed::new(undo, self.engine.undoer.clone())))
            }
            (_, Err(failure)) => Err(failure),
        }
    }

    /// What it waits for, and until when.
    fn patience(&self) -> &Wait {
        self.attempt.wait.as_ref().expect("an attempt that does not wait never joins a queue")
    }

    async fn join(&mut self) -> Input {
        self.ticket = None;
        if self.seat.is_none() && !self.attempt.is_candidate() {
            match Seat::of_a_waiter(&self.engine.shared) {
                Ok(seat) => self.seat = Some(seat),
                Err(failure) => {
                    self.answered = Err(failure);
                    return Input::NotJoined { is_passing: false, may_be_there: false };
                }
            }
        }
        let left = self.patience().until.saturating_duration_since(Instant::now());
        let joining = Joining {
            id: &self.sending.id,
            identity: self.sending.identity(),
            nonce: self.sending.nonce(),
            request: &self.sending.request,
            key_ms: self.attempt.key_ms(),
            further: &self.sending.further,
            reentry: self.attempt.reentry,
            wait_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            position: self.position.clone(),
            progress: self.patience().progress.clone(),
            succession: self.patience().succession.clone(),
        };
        match self.engine.queue.join(&self.key, joining).await {
            Ok(ticket) => {
                self.entry.clone_from(&ticket.entry);
                if ticket.position.is_some() {
                    self.position.clone_from(&ticket.position);
                }
                self.ticket = Some(ticket);
                Input::Joined
            }
            Err((failure, entry)) => {
                let (is_passing, may_be_there) = (failure.is_passing(), !entry.is_empty());
                self.entry = entry;
                self.answered = Err(failure);
                Input::NotJoined { is_passing, may_be_there }
            }
        }
    }

    async fn wait(&mut self, until: Instant, gone: impl Future<Output = ()>) -> Input {
        let draining = self.engine.shared.drain.begun();
        let ticket = self.ticket.as_mut().expect("a waiter has a ticket");
        tokio::select! {
            biased;
            turn = ticket.turn() => turn.map_or(Input::Over(Over::Draining), Input::Turn),
            () = tokio::time::sleep_until(until.into()) => Input::Over(Over::Timeout),
            () = gone => Input::Over(Over::Timeout),
            () = draining => Input::Over(Over::Draining),
        }
    }

    async fn take(&mut self, token: Token) -> Input {
        let Course { engine, key, attempt, sending, .. } = self;
        let sent = Instant::now();
        let how = How::Take(&sending.id);
        let row = engine.scripts.renew(key, token, sending.identity(), Some(attempt.ttl), how).await;
        let taken: Result<Option<Lease>, LockFailure> = match row {
            Ok(RenewRow::Renewed(found)) => {
                engine.shared.ledger.granted(key.shard(), attempt.key_ms());
                engine.lease(key, &found).map_err(LockFailure::from).and_then(|lease| {
                    promised(lease, attempt.ttl.as_ms(), sent).map(Some).map_err(LockFailure::TooLate)
                })
            }
            Ok(_) => Ok(None),
            Err(failure) => Err(failure.into()),
        };
        let input = match &taken {
            Ok(Some(_)) => Taken::Lease,
            Ok(None) => Taken::Lapsed,
            Err(failure) => {
                Taken::Failed { is_passing: failure.is_passing(), leaves_a_grant: failure.leaves_a_grant() }
            }
        };
        match taken {
            Ok(Some(lease)) => self.answered = Ok(Acquired::Granted(lease)),
            Ok(None) => {}
            Err(failure) => self.answered = Err(failure),
        }
        Input::Taken(input)
    }

    /// Leaves the queue at once, so that it moves on, and with it whatever was granted meanwhile; where that fails, it is
    /// tried until it is known to have happened.
    async fn undo(&mut self) {
        self.ticket = None;
        let Course { engine, key, sending, entry, .. } = self;
        let undone = engine.scripts.undo(key, sending.identity(), &sending.id, entry).await;
        // Of a grant that too few replicas have it is certain now that there is none.
        if let Err(LockFailure::Redis(RedisFailure::Unreplicated { why, .. })) = &self.answered
            && matches!(undone, Ok(UndoRow::Undone | UndoRow::Nothing))
        {
            self.answered = Err(LockFailure::TakenBack(why.clone()));
        }
        if undone.is_err() {
            self.tidy(Tidy::Undo);
        }
        self.entry.clear();
    }
}

fn answer(answered: &Result<Acquired, LockFailure>) -> Answer {
    match answered {
        Ok(Acquired::Held(_, Why::Own)) => Answer::HeldInVain,
        Ok(Acquired::Held(..)) => Answer::Held,
        Ok(_) => Answer::Acquired,
        // A renewal cannot be undone, nor a grant that another sending was told of.
        Err(LockFailure::Redis(RedisFailure::Unreplicated { word, .. })) if word == "granted" => Answer::Unreplicated,
        Err(failure) => Answer::Failed { is_passing: failure.is_passing(), leaves_a_grant: failure.leaves_a_grant() },
    }
}
