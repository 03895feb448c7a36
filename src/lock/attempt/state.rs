//! The life of one attempt until it is answered: asked for, waiting in the queue, taking its turn, asked for again, undone.
//!
//! Architecture invariant: no I/O, no clock, no channel. Each input brings the time, and is answered by the one thing to do
//! next; [`super::Course`] does it, and brings what came of it as the next input.

use std::time::{Duration, Instant};

use crate::lock::queue::Turn;
use crate::lock::token::Token;

/// Pause before Redis is asked again that did not answer, or that answered what cannot last.
pub const PAUSE: Duration = Duration::from_millis(50);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// What came of [`Next::Ask`].
    Answered(Answer),
    /// The entry is in the queue, or its turn has come already.
    Joined,
    /// Redis did not say so; whether the entry may be in the queue all the same.
    NotJoined { is_passing: bool, may_be_there: bool },
    /// What came of [`Next::Wait`].
    Turn(Turn),
    /// The wait is over without a turn.
    Over(Over),
    /// What came of [`Next::Take`].
    Taken(Taken),
    /// [`Next::Undo`] is done, or goes on in the background.
    Undone,
    /// [`Next::Pause`] is over.
    Paused,
}

/// How Redis answered an acquire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The attempt has the key.
    Acquired,
    Held,
    /// By its owner, in another way than asked for: no wait can end well.
    HeldInVain,
    /// It was granted, but too few replicas have it.
    Unreplicated,
    Failed {
        /// Whether Redis may answer again soon.
        is_passing: bool,
        /// Whether there may be a grant.
        leaves_a_grant: bool,
    },
}

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Over {
    /// Its time, or its caller has gone.
    Timeout,
    /// The process is being stopped.
    Draining,
}

/// How the taking of a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Taken {
    Lease,
    /// The offer had lapsed.
    Lapsed,
    Failed {
        /// Whether Redis may answer again soon.
        is_passing: bool,
        /// Whether the lease may be the attempt's.
        leaves_a_grant: bool,
    },
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// Before the rest, and without waiting for it.
    pub tidy: Tidy,
    pub next: Next,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tidy {
    Nothing,
    /// Go on by a new name: the undo of the old one may still be on its way.
    Rename,
    /// Undo the sending in the background.
    Undo,
    /// Both: undo the sending, and go on by a new name.
    Replace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// Run `acquire.lua`.
    Ask,
    /// Run `queue_join.lua`, at the end of the queue or at the position that the attempt had.
    Join,
    /// Wait for the turn until then, until the caller goes, or the process is being stopped.
    Wait(Instant),
    /// Take the lease that is on offer, by `renew.lua`.
    Take(Token),
    /// Leave the queue, and give back whatever was granted meanwhile, by `undo.lua`.
    Undo,
    Pause(Instant),
    /// Answer the caller.
    End(End),
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// As the last thing did that was done for it.
    Answered,
    Over(Over),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Asking {
        /// Whether it stood in the queue before.
        again: bool,
    },
    Joining,
    Waiting,
    Taking(Token),
    Undoing(After),
    Pausing(Then),
    Ended,
}

/// What follows an undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum After {
    Ask,
    End(End),
}

/// What follows a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Then {
    Join,
    Take(Token),
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Life {
    /// Until when it waits in the queue; `None`: not at all.
    until: Option<Instant>,
    has_waited: bool,
    stage: Stage,
}

impl Step {
    /// Whether nothing is left but to answer.
    pub fn is_last(self) -> bool {
        matches!(self.next, Next::End(_))
    }
}

fn undo_if(needed: bool) -> Tidy {
    if needed { Tidy::Undo } else { Tidy::Nothing }
}

impl Life {
    /// An attempt that is being asked for: the first thing to do is [`Next::Ask`].
    pub fn new(until: Option<Instant>) -> Life {
        Life { until, has_waited: false, stage: Stage::Asking { again: false } }
    }

    pub fn handle(&mut self, input: Input, now: Instant) -> Step {
        match (self.stage, input) {
            (Stage::Asking { again }, Input::Answered(answer)) => self.answered(answer, again, now),
            (Stage::Joining, Input::Joined) => {
                self.has_waited = true;
                self.wait(now)
            }
            (Stage::Joining, Input::NotJoined { is_passing, may_be_there }) => {
                // A caller that waits need not hear of a Redis that is unavailable for a moment.
                if self.has_waited && is_passing && self.has_time(now) {
                    let tidy = if may_be_there { Tidy::Replace } else { Tidy::Rename };
                    return self.pause(tidy, Then::Join, now);
                }
                self.end(undo_if(may_be_there), End::Answered)
            }
            (Stage::Waiting, Input::Turn(Turn::Offered(token))) => self.take(token),
            (Stage::Waiting, Input::Turn(Turn::AskAgain)) => self.undo(After::Ask),
            (Stage::Waiting, Input::Over(over)) => self.undo(After::End(End::Over(over))),
            (Stage::Taking(_), Input::Taken(Taken::Lease)) => self.end(Tidy::Nothing, End::Answered),
            // The turn passed before it was taken: in the queue again.
            (Stage::Taking(_), Input::Taken(Taken::Lapsed)) => self.join(Tidy::Nothing),
            // Taken twice it is taken once.
            (Stage::Taking(token), Input::Taken(Taken::Failed { is_passing: true, .. })) if self.has_time(now) => {
                self.pause(Tidy::Nothing, Then::Take(token), now)
            }
            (Stage::Taking(_), Input::Taken(Taken::Failed { leaves_a_grant: true, .. })) => {
                self.end(Tidy::Undo, End::Answered)
            }
            (Stage::Taking(_), Input::Taken(Taken::Failed { leaves_a_grant: false, .. })) => {
                self.undo(After::End(End::Answered))
            }
            (Stage::Undoing(After::Ask), Input::Undone) => {
                self.stage = Stage::Asking { again: true };
                Step { tidy: Tidy::Rename, next: Next::Ask }
            }
            (Stage::Undoing(After::End(end)), Input::Undone) => self.end(Tidy::Nothing, end),
            (Stage::Pausing(Then::Join), Input::Paused) => self.join(Tidy::Nothing),
            (Stage::Pausing(Then::Take(token)), Input::Paused) => self.take(token),
            (stage, input) => unreachable!("{input:?} while {stage:?}"),
        }
    }

    fn answered(&mut self, answer: Answer, again: bool, now: Instant) -> Step {
        match answer {
            Answer::Held if self.until.is_some() && !again => self.join(Tidy::Nothing),
            // Its lease has ended meanwhile, or takes no further sending: without a pause it would be asked for at full speed.
            Answer::Held if again => self.pause(Tidy::Nothing, Then::Join, now),
            Answer::Failed { is_passing: true, .. } if again => self.join(Tidy::Replace),
            Answer::Failed { leaves_a_grant, .. } => self.end(undo_if(leaves_a_grant), End::Answered),
            // At once: only then it is certain that there is no grant.
            Answer::Unreplicated => self.undo(After::End(End::Answered)),
            Answer::Acquired | Answer::Held | Answer::HeldInVain => self.end(Tidy::Nothing, End::Answered),
        }
    }

    fn join(&mut self, tidy: Tidy) -> Step {
        self.stage = Stage::Joining;
        Step { tidy, next: Next::Join }
    }

    fn wait(&mut self, now: Instant) -> Step {
        self.stage = Stage::Waiting;
        Step { tidy: Tidy::Nothing, next: Next::Wait(self.until.unwrap_or(now)) }
    }

    fn take(&mut self, token: Token) -> Step {
        self.stage = Stage::Taking(token);
        Step { tidy: Tidy::Nothing, next: Next::Take(token) }
    }

    fn undo(&mut self, after: After) -> Step {
        self.stage = Stage::Undoing(after);
        Step { tidy: Tidy::Nothing, next: Next::Undo }
    }

    fn pause(&mut self, tidy: Tidy, then: Then, now: Instant) -> Step {
        self.stage = Stage::Pausing(then);
        Step { tidy, next: Next::Pause(now + PAUSE) }
    }

    fn end(&mut self, tidy: Tidy, end: End) -> Step {
        self.stage = Stage::Ended;
        Step { tidy, next: Next::End(end) }
    }

    /// Whether the wait goes on for longer than a pause.
    fn has_time(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now + PAUSE < until)
    }
}
