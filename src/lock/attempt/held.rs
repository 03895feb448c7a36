//! A lease that a connection holds: when it is renewed, what its client is told and when, and how it ends.
//!
//! Architecture invariant: no I/O, no clock, no channel. The time comes in with each input; [`Held::next_due`] says when to
//! bring [`Input::Due`] if nothing happens before.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

/// A renewal is asked for after this part of the ttl, less a little by chance, so that many holds spread over time.
const RENEWALS_IN_A_TTL: u32 = 3;
/// After a renewal that Redis did not answer, or refused.
const RETRY: Duration = Duration::from_millis(200);
/// So long before the promise ends, the word that it is lost goes out.
const LAST_WORD: Duration = Duration::from_millis(5);
/// A line is written at least every two seconds, so that no client, proxy or network takes the stream for dead.
pub const SIGN_OF_LIFE: Duration = Duration::from_millis(1900);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A renewal promises it until then.
    Renewed {
        until: Instant,
        /// Whether no renewal can promise more.
        is_last: bool,
    },
    /// Redis did not do it, or did not say so.
    NotRenewed,
    /// A renewal found that it is over.
    Over(End),
    /// Others did something to the lease, which a renewal is to find out about.
    Changed,
    /// It ends so soon unless it is renewed.
    Shortened { left: Duration },
    /// It was released by its token.
    Released,
    /// The client closed the connection.
    Closed,
    /// The process is being stopped, and keeps the lock for so long.
    Draining { grace: Duration },
    /// [`Held::next_due`] has come.
    Due,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Ask for a renewal, and forget one that is under way.
    Renew,
    /// Say that the lease is renewed.
    SayRenewed,
    /// A sign of life: so much is left.
    SayLeft(Duration),
    SayDraining,
    End(End),
}

/// How a hold ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// By its client.
    Closed,
    /// By a release of its lease, which was not the hold's own.
    Released,
    /// By force.
    Forced,
    /// By itself, or Redis lost it.
    Expired,
    /// Another sending of the attempt was told of the lease and holds it now, or it is another's.
    Superseded,
    /// It was renewed for as long as its terms let it.
    Capped,
    /// Redis did not renew it in time.
    Unrenewed,
    /// The credential lets its owner go on no longer.
    Unauthorized,
    /// The process is being stopped.
    Drained,
}

impl End {
    /// Why the lock is lost, in a word; `None` where its client or its owner wanted it to end.
    pub fn loss(self) -> Option<&'static str> {
        match self {
            End::Closed | End::Released => None,
            End::Forced => Some("forced"),
            End::Expired => Some("expired"),
            End::Superseded => Some("superseded"),
            End::Capped => Some("max-hold"),
            End::Unrenewed => Some("redis"),
            End::Unauthorized => Some("unauthorized"),
            End::Drained => Some("draining"),
        }
    }

    /// Whether the lease may be there still, and is to be released. What was superseded is released, too: the sending that
    /// was told of it later may have been undone meanwhile. A lost lease whose key its terms keep `outlasting` the promise
    /// is left to end as they say.
    pub fn leaves_a_lease(self, outlasting: bool) -> bool {
        match self {
            End::Closed | End::Drained => true,
            End::Superseded | End::Unrenewed | End::Unauthorized => !outlasting,
            End::Released | End::Forced | End::Expired | End::Capped => false,
        }
    }
}

/// A lease that is being held.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// Between two renewals.
    pause: Duration,
    /// When the last promise ends, Redis or no Redis.
    deadline: Instant,
    /// Whether no renewal can move that.
    is_last: bool,
    renew_at: Instant,
    is_renewing: bool,
    /// Once the process is being stopped.
    give_up_at: Option<Instant>,
    /// When its owner's credential ends.
    unauthorized_at: Option<Instant>,
    /// When the last line was written.
    said: Instant,
}

impl Held {
    /// A lease that is promised until `promised`, which no renewal can move if `is_last`. `chance`: of 256, the part of a
    /// tenth by which it renews earlier than others.
    pub fn new(
        ttl: Duration,
        chance: u8,
        promised: Instant,
        is_last: bool,
        unauthorized_at: Option<Instant>,
        now: Instant,
    ) -> Held {
        let third = ttl / RENEWALS_IN_A_TTL;
        let pause = third - third.mul_f64(0.1 * f64::from(chance) / 256.0);
        let deadline = promised.checked_sub(LAST_WORD).unwrap_or(promised);
        Held {
            pause,
            deadline,
            is_last,
            renew_at: now + pause,
            is_renewing: false,
            give_up_at: None,
            unauthorized_at,
            said: now,
        }
    }

    /// How long a renewal is waited for: the next need not wait for one that is not answered, since a short ttl has no time.
    pub fn longest_renewal(&self) -> Duration {
        self.pause.max(RETRY)
    }

    /// How much of the promise is left.
    pub fn left(&self, now: Instant) -> Duration {
        (self.deadline + LAST_WORD).saturating_duration_since(now)
    }

    /// Until when a release is tried again.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    pub fn next_due(&self) -> Instant {
        let renew_at = (!self.is_renewing).then_some(self.renew_at);
        let times = [self.unauthorized_at, self.give_up_at, renew_at, Some(self.said + SIGN_OF_LIFE)];
        times.into_iter().flatten().fold(self.deadline, Instant::min)
    }

    pub fn handle(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        match input {
            Input::Renewed { until, is_last } => {
                (self.is_renewing, self.is_last) = (false, is_last);
                self.deadline = until.checked_sub(LAST_WORD).unwrap_or(until);
                self.renew_at = now + self.pause;
                self.say(Effect::SayRenewed, now)
            }
            // Again, for as long as the promise lasts.
            Input::NotRenewed => {
                self.is_renewing = false;
                self.renew_at = now + RETRY.min(self.pause);
                Vec::new()
            }
            Input::Over(end) => vec![Effect::End(end)],
            Input::Changed => self.renew(),
            Input::Shortened { left } => {
                let deadline = now + left.saturating_sub(LAST_WORD);
                let mut effects = Vec::new();
                if deadline < self.deadline {
                    (self.deadline, self.is_last) = (deadline, false);
                    effects = self.say(Effect::SayLeft(left), now);
                }
                effects.extend(self.renew());
                effects
            }
            Input::Released => vec![Effect::End(End::Released)],
            Input::Closed => vec![Effect::End(End::Closed)],
            Input::Draining { grace } => {
                if self.give_up_at.is_some() {
                    return Vec::new();
                }
                self.give_up_at = Some(now + grace);
                self.say(Effect::SayDraining, now)
            }
            Input::Due => self.due(now),
        }
    }

    fn due(&mut self, now: Instant) -> Vec<Effect> {
        let has_come = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        let ends = [
            (self.unauthorized_at, End::Unauthorized),
            (Some(self.deadline), if self.is_last { End::Capped } else { End::Unrenewed }),
            (self.give_up_at, End::Drained),
        ];
        if let Some((_, end)) = ends.into_iter().find(|(at, _)| has_come(*at)) {
            return vec![Effect::End(end)];
        }
        let mut effects = Vec::new();
        if !self.is_renewing && now >= self.renew_at {
            effects = self.renew();
        }
        if now >= self.said + SIGN_OF_LIFE {
            effects.extend(self.say(Effect::SayLeft(self.left(now)), now));
        }
        effects
    }

    /// A renewal says what became of the lease; not one that may have been sent before.
    fn renew(&mut self) -> Vec<Effect> {
        self.is_renewing = true;
        vec![Effect::Renew]
    }

    fn say(&mut self, line: Effect, now: Instant) -> Vec<Effect> {
        self.said = now;
        vec![line]
    }
}
