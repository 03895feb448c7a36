//! What is on its way between the sidecars and Redis.

use std::collections::VecDeque;
use std::rc::Rc;

use lockside::lock::model::queue::Entry;

use crate::redis::Reply;

/// How long what was sent is held up at most: all that is sent, given up and undone meanwhile has been so more than once.
const LONGEST_STALL_MS: i64 = 3_000;

/// Whom an answer is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The attempt of a client, which waits for it.
    Attempt(usize),
    /// The first undo of the sidecar's.
    Undo,
    Look {
        ids: Vec<String>,
    },
    Rejoin {
        entry: Entry,
    },
    Release(usize),
    Renew(usize),
    /// A hold's renewal, and which.
    HoldRenewal {
        sending: String,
        number: u8,
    },
    /// The release after a hold's end.
    HoldRelease(String),
    /// Whatever comes of it.
    None,
}

/// A script that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    pub script: &'static str,
    pub args: Rc<[String]>,
    pub sent_ms: i64,
    /// By the clock of Redis; without it the script changes something whenever it runs.
    pub not_after_ms: Option<i64>,
    pub origin: Origin,
    /// The highest sequence that its sidecar had been shown by then.
    pub shown: u64,
    /// Redis has lost its data since it ran.
    pub is_of_lost_data: bool,
}

impl Request {
    /// The sending that may be granted the key by this, or told of a lease.
    pub fn sending(&self) -> Option<&str> {
        match self.script {
            "acquire" | "share" if self.args[6].is_empty() => self.args[5].split('"').nth(3),
            "acquire" | "share" | "renew" => Some(&self.args[6]),
            "queue_join" => Some(&self.args[5]),
            _ => None,
        }
    }
}

/// The connection of one sidecar, and what it hears from Redis by another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Connection {
    /// Sent, and not run yet; whether their answers are waited for still.
    pub sent: VecDeque<(Rc<Request>, bool)>,
    /// Run, and not answered yet.
    pub answers: VecDeque<(Rc<Request>, Reply)>,
    /// Sent on a connection that broke; their deadlines are waited for, since they may be run until then.
    pub overdue: Vec<Rc<Request>>,
    pub messages: VecDeque<Vec<u8>>,
    /// Nothing that was sent is run until this ends.
    pub is_stalled: bool,
    /// Since when.
    pub stalled_ms: i64,
    /// The subscription is lost.
    pub is_deaf: bool,
}

impl Connection {
    /// Whether what was sent first may promise something.
    pub fn first_promises(&self) -> bool {
        let is_of_those = |script| ["acquire", "share", "renew"].contains(&script);
        self.sent.front().is_some_and(|(request, _)| is_of_those(request.script))
    }

    /// Whether the first two that were sent may run in one call.
    pub fn has_a_batch(&self) -> bool {
        let first = self.sent.iter().take(2).filter(|(request, _)| super::batch::SCRIPTS.contains(&request.script));
        first.count() == 2
    }

    /// Whether something happens here before time passes.
    pub fn is_busy(&self) -> bool {
        !self.messages.is_empty() || !(self.is_stalled || self.sent.is_empty() && self.answers.is_empty())
    }

    /// Whether what was sent has been held up for as long as it is held up at most.
    pub fn is_to_go_on(&self, now_ms: i64) -> bool {
        self.is_stalled && now_ms >= self.stalled_ms + LONGEST_STALL_MS
    }

    /// What was sent goes on.
    pub fn go_on(&mut self) {
        (self.is_stalled, self.stalled_ms) = (false, 0);
    }

    /// Whether something is held up, or lost and waited for still.
    pub fn is_in_trouble(&self) -> bool {
        self.is_stalled || self.is_deaf || !self.overdue.is_empty()
    }

    /// Redis loses its data, while answers are on their way that tell of it.
    pub fn lose_data(&mut self) {
        for (request, _) in &mut self.answers {
            *request = Rc::new(Request { is_of_lost_data: true, ..(**request).clone() });
        }
    }

    /// Whether nothing is on its way at all.
    pub fn is_idle(&self) -> bool {
        self.messages.is_empty() && self.sent.is_empty() && self.answers.is_empty() && self.overdue.is_empty()
    }

    /// When the first of those that are waited for is waited for no more.
    pub fn next_deadline(&self, timeout_ms: i64) -> Option<i64> {
        let sent = self.sent.iter().filter(|(_, is_awaited)| *is_awaited).map(|(request, _)| request.sent_ms);
        sent.chain(self.overdue.iter().map(|request| request.sent_ms)).map(|sent_ms| sent_ms + timeout_ms).min()
    }

    /// Those that are waited for no more.
    pub fn give_up(&mut self, now_ms: i64, timeout_ms: i64) -> Vec<Rc<Request>> {
        let is_over = |request: &Request| now_ms >= request.sent_ms + timeout_ms;
        let mut given_up = Vec::new();
        for (request, is_awaited) in &mut self.sent {
            if *is_awaited && is_over(request) {
                *is_awaited = false;
                given_up.push(Rc::clone(request));
            }
        }
        let (over, left) = std::mem::take(&mut self.overdue).into_iter().partition(|request| is_over(request));
        self.overdue = left;
        given_up.extend::<Vec<_>>(over);
        given_up
    }
}
