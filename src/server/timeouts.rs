//! How long a client may keep a connection without progress. One timer a connection, moved only when it would fire too
//! late: a request that is sent and answered in time touches no timer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::request::Remote;

/// Between two requests: longer than common clients keep a connection in their pool (90 s), so that the client closes
/// first, and sends no request on a connection that is being closed.
pub const IDLE: Duration = Duration::from_secs(120);
/// For a client to take any byte of what is being sent.
pub const STALL: Duration = Duration::from_secs(30);
/// For a whole answer, unless it is a stream without an end.
pub const ANSWER: Duration = Duration::from_secs(300);
/// Bytes that one connection may write before the others have their turn.
const TURN: usize = 128 * 1024;

/// The stage of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Open, without a request yet.
    Fresh,
    Head,
    /// From a whole head to the beginning of the answer.
    Request,
    Answer,
    /// An answer that ends only with its connection.
    Endless,
    Idle,
    /// Several requests at a time may come, and none is there: not every byte that comes begins one.
    NoRequest,
}

const STAGES: [Stage; 7] =
    [Stage::Fresh, Stage::Head, Stage::Request, Stage::Answer, Stage::Endless, Stage::Idle, Stage::NoRequest];

/// Why a connection was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    Head,
    Idle,
    Request,
    Answer,
    Stall,
    /// Another connection came, and the limit was reached.
    GaveWay,
    /// No TLS was agreed upon, or the client's certificate was not accepted.
    Handshake,
}

impl Timeout {
    pub fn label(self) -> &'static str {
        match self {
            Timeout::Head => "head",
            Timeout::Idle => "idle",
            Timeout::Request => "request",
            Timeout::Answer => "answer",
            Timeout::Stall => "stall",
            Timeout::GaveWay => "gave_way",
            Timeout::Handshake => "handshake",
        }
    }
}

/// The stage of a connection, and since when: written where bytes and requests pass, read by the timer.
pub struct Activity {
    pub peer: Remote,
    opened: Instant,
    /// Longest time for a head.
    head: Duration,
    /// Longest time for a request before its answer begins.
    request: Duration,
    /// Milliseconds since `opened`, times 8, and the stage.
    stage: AtomicU64,
    /// Since when the client has taken nothing, milliseconds since `opened` plus 1; 0 while it takes bytes.
    blocked: AtomicU64,
    /// Within how many milliseconds a client that vanished must be noticed; 0 unless a lock depends on it.
    watched: AtomicU64,
    /// Whether the request has a body, which is not always read before it is answered.
    has_body: AtomicBool,
    /// Bytes written since the connection was last polled.
    written: AtomicUsize,
}

impl Activity {
    pub fn new(peer: Remote, head: Duration, request: Duration) -> Arc<Activity> {
        Arc::new(Activity {
            peer,
            opened: Instant::now(),
            head,
            request,
            stage: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            watched: AtomicU64::new(0),
            has_body: AtomicBool::new(false),
            written: AtomicUsize::new(0),
        })
    }

    /// Longest time for a request before its answer begins.
    pub fn longest_request(&self) -> Duration {
        self.request
    }

    /// Whether it has a whole head, and since when: the least in this order gives way first.
    pub fn standing(&self) -> (bool, Instant) {
        let (stage, since) = self.stage();
        let has_head = matches!(stage, Stage::Request | Stage::Answer | Stage::Endless);
        (has_head, self.opened + Duration::from_millis(since))
    }

    /// The connection is polled: it may write again.
    pub fn turn(&self) {
        self.written.store(0, Ordering::Relaxed);
    }

    /// Whether it has written enough for now; then it is polled again after the others.
    pub fn has_had_its_turn(&self, cx: &Context<'_>) -> bool {
        let has_had = self.written.load(Ordering::Relaxed) >= TURN;
        if has_had {
            cx.waker().wake_by_ref();
        }
        has_had
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).expect("less than an eon")
    }

    fn stage(&self) -> (Stage, u64) {
        let stage = self.stage.load(Ordering::Relaxed);
        (STAGES[(stage % 8) as usize], stage / 8)
    }

    fn enter(&self, stage: Stage) {
        self.stage.store(self.now() * 8 + stage as u64, Ordering::Relaxed);
    }

    /// A request's head has come whole.
    pub fn request(&self, has_body: bool) {
        self.watched.store(0, Ordering::Relaxed);
        self.has_body.store(has_body, Ordering::Relaxed);
        self.enter(Stage::Request);
    }

    /// A connection of several requests at a time has none.
    pub fn no_request(&self) {
        self.enter(Stage::NoRequest);
    }

    /// The request has succeeded, and so its body was read or does not matter.
    pub fn is_served(&self) {
        self.has_body.store(false, Ordering::Relaxed);
    }

    /// Until its answer has been sent, a client that vanished must be noticed within `limit`.
    pub fn watch(&self, limit: Duration) {
        self.watched.store(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn watched(&self) -> Option<Duration> {
        match self.watched.load(Ordering::Relaxed) {
            0 => None,
            ms => Some(Duration::from_millis(ms)),
        }
    }

    /// Whether no request is under way.
    pub fn is_between_requests(&self) -> bool {
        matches!(self.stage().0, Stage::Fresh | Stage::Idle | Stage::NoRequest)
    }

    /// Whether the client may still be sending what has been answered: a body, or a head that was refused.
    pub fn may_be_sending(&self) -> bool {
        self.has_body.load(Ordering::Relaxed) || self.stage().0 == Stage::Head
    }

    /// An answer begins; `is_endless` if it goes on for as long as the connection does.
    pub fn answer(&self, is_endless: bool) {
        self.enter(if is_endless { Stage::Endless } else { Stage::Answer });
    }

    /// The answer has been sent, or will not be. What comes from now on is the next request's, and hyper waits for it.
    pub fn answered(&self) {
        self.watched.store(0, Ordering::Relaxed);
        self.enter(Stage::Idle);
    }

    /// Bytes have come.
    pub fn read(&self) {
        match self.stage() {
            (Stage::Fresh, since) => self.stage.store(since * 8 + Stage::Head as u64, Ordering::Relaxed),
            (Stage::Idle, _) => self.enter(Stage::Head),
            _ => {}
        }
    }

    /// A write has ended, or the client does not take more.
    pub fn wrote(&self, outcome: &Poll<io::Result<usize>>) {
        if outcome.is_pending() {
            if self.blocked.load(Ordering::Relaxed) == 0 {
                self.blocked.store(self.now() + 1, Ordering::Relaxed);
            }
        } else {
            self.blocked.store(0, Ordering::Relaxed);
        }
        if let Poll::Ready(Ok(count)) = outcome {
            self.written.store(self.written.load(Ordering::Relaxed) + count, Ordering::Relaxed);
        }
    }

    /// When the connection is cut without progress, and why.
    fn deadline(&self) -> Option<(Instant, Timeout)> {
        let at = |since: u64, limit: Duration| self.opened + Duration::from_millis(since) + limit;
        let (stage, since) = self.stage();
        let staged = match stage {
            Stage::Fresh | Stage::Head => Some((at(since, self.head), Timeout::Head)),
            Stage::Request => Some((at(since, self.request), Timeout::Request)),
            Stage::Answer => Some((at(since, ANSWER), Timeout::Answer)),
            Stage::Endless => None,
            Stage::Idle | Stage::NoRequest => Some((at(since, IDLE), Timeout::Idle)),
        };
        let blocked = self.blocked.load(Ordering::Relaxed).checked_sub(1);
        let blocked = blocked.map(|since| (at(since, STALL), Timeout::Stall));
        [staged, blocked].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Ready when the connection is to be cut. Must be polled after everything that may have changed the activity.
    pub fn poll_end(&self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<Timeout> {
        loop {
            let Some((deadline, cut)) = self.deadline() else { return Poll::Pending };
            if timer.deadline() > deadline || timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // A timer that was not moved may fire early.
            if Instant::now() >= deadline {
                return Poll::Ready(cut);
            }
        }
    }
}
