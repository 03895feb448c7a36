//! Whether Redis is there. Every outcome teaches; and a connection on which nothing is answered any more is replaced, one
//! attempt at a time.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::acl::Rights;
use super::connection::Connection;
use super::{RedisFailure, advice};
use crate::metrics::{Label, Metrics};
use crate::redis::operation::Reconnection;

/// So many unanswered commands in a row make a connection suspect.
const SILENCES: u32 = 3;
/// The number of the last connection of this process.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
/// Between two forced reconnections: commands that are lost in one would otherwise trigger the next.
const COOL_DOWN: Duration = Duration::from_millis(1500);

/// What is known of Redis. Ready means: the last thing that we heard from Redis was an answer.
pub struct Status {
    state: Mutex<State>,
    silences: AtomicU32,
    /// A number that no other connection of this process has.
    connection: AtomicU64,
    reconnecting: AtomicBool,
    rights: Arc<Rights>,
    /// Which of several servers this is of, as people say it.
    server: Option<String>,
    /// Where a connection is replaced by its owner: how the owner is asked to.
    replacer: Option<Replacer>,
    pub(super) metrics: Arc<Metrics>,
}

/// How the owner of a connection is asked to replace it, and why.
#[derive(Default)]
struct Replacer {
    wanted: Notify,
    /// A command came to a server that is not the master of its keys.
    news: Notify,
    reason: Mutex<Option<Reconnection>>,
    /// It has replaced this connection already.
    is_done: AtomicBool,
}

struct State {
    /// `Err` says why not.
    ready: Result<(), String>,
    /// Whether it ever was.
    was_ready: bool,
    /// When the server last showed that it is there.
    last_sign: Option<Instant>,
    last_reconnection: Option<Instant>,
}

impl Status {
    pub(super) fn new(metrics: Arc<Metrics>) -> Status {
        Status::with(None, metrics)
    }

    /// Status of a connection that its owner replaces on request, see [`Status::wants_another`].
    pub(super) fn replacing(metrics: Arc<Metrics>) -> Status {
        Status::with(Some(Replacer::default()), metrics)
    }

    /// Status of one master of several, `all`. It may not ask for replacement again soon after the one before was
    /// `given_up`.
    pub(super) fn of_a_node(all: &Status, server: String, given_up: Option<Instant>) -> Status {
        let status = Status::with(Some(Replacer::default()), Arc::clone(&all.metrics));
        status.lock().last_reconnection = given_up;
        Status { server: Some(server), rights: Arc::clone(&all.rights), ..status }
    }

    /// Of a second connection to the server that `other` is of. What happens there is of no consequence, but for the
    /// rights that Redis refuses.
    pub(super) fn beside(other: &Status) -> Status {
        let replacer = Replacer { is_done: AtomicBool::new(true), ..Replacer::default() };
        let status = Status::with(Some(replacer), Arc::clone(&other.metrics));
        status.lock().ready = Ok(());
        Status { rights: Arc::clone(&other.rights), ..status }
    }

    /// Whether the last command was not answered.
    pub(super) fn is_suspect(&self) -> bool {
        self.silences.load(Ordering::Relaxed) > 0
    }

    /// Waits until this connection seems no good; why.
    pub(super) async fn wants_another(&self) -> Reconnection {
        let Some(replacer) = &self.replacer else { return std::future::pending().await };
        replacer.wanted.notified().await;
        replacer.reason.lock().expect("no holder of this lock panics").take().unwrap_or(Reconnection::Silent)
    }

    /// Called when the connection is being drained: its failures are ignored.
    pub(super) fn retire(&self) {
        if let Some(replacer) = &self.replacer {
            replacer.is_done.store(true, Ordering::Relaxed);
        }
    }

    /// Asks the owner of the connection to look who is master now.
    pub(super) fn wants_news(&self) {
        if let Some(replacer) = &self.replacer {
            replacer.news.notify_one();
        }
    }

    /// Waits until a look at who is master now is wanted.
    pub(super) async fn news_are_wanted(&self) {
        match &self.replacer {
            Some(replacer) => replacer.news.notified().await,
            None => std::future::pending().await,
        }
    }

    fn with(replacer: Option<Replacer>, metrics: Arc<Metrics>) -> Status {
        Status {
            state: Mutex::new(State {
                ready: Err("has not answered yet".to_owned()),
                was_ready: false,
                last_sign: None,
                last_reconnection: None,
            }),
            silences: AtomicU32::new(0),
            connection: AtomicU64::new(another()),
            reconnecting: AtomicBool::new(false),
            rights: Arc::new(Rights::new()),
            server: None,
            replacer,
            metrics,
        }
    }

    /// `Ok` while Redis answers, else the reason.
    pub fn ready(&self) -> Result<(), String> {
        self.lock().ready.clone()
    }

    /// A right that Redis refused us within the last minute, on this connection, and what to change.
    pub fn lacks_a_right(&self) -> Option<String> {
        self.rights.refused()
    }

    pub(super) fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Takes in why a command was refused: a right that is missing is told in the log.
    pub(super) fn refused(&self, failure: &RedisFailure) {
        self.advised(failure.clone());
    }

    /// A failure with what to change. What does not say yet which commands it is about is left for `Node::explained`.
    pub(super) fn advised(&self, failure: RedisFailure) -> RedisFailure {
        match &failure {
            RedisFailure::Refused(text) if !advice::is_of_commands(text) => {
                RedisFailure::Refused(self.rights.advise(text))
            }
            RedisFailure::Stopped(text) if !advice::is_of_commands(text) => {
                RedisFailure::Stopped(self.rights.advise(text))
            }
            _ => failure,
        }
    }

    /// A number that changes with the connection.
    pub(super) fn connection(&self) -> u64 {
        self.connection.load(Ordering::Relaxed)
    }

    /// What was refused on the connection before may be allowed on this one.
    fn is_another(&self) {
        self.connection.store(another(), Ordering::Relaxed);
        self.rights.forget();
    }

    /// Why Redis is not there, as far as is known.
    pub(super) fn reason(&self) -> String {
        self.ready().err().unwrap_or_else(|| "connecting".to_owned())
    }

    /// Takes in how a command ended.
    pub(super) fn learn(self: &Arc<Status>, connection: &Connection, failure: Option<&RedisFailure>) {
        match failure {
            None => self.answered(),
            Some(RedisFailure::NoAnswer(_)) => {
                if self.silences.fetch_add(1, Ordering::Relaxed) + 1 >= SILENCES {
                    self.reconnect(connection, Reconnection::Silent);
                }
            }
            // With several servers the slot map or the sentinels settle who is master; reconnecting to this one would not help.
            Some(failure) if self.server.is_some() && failure.is_of_the_server() => {}
            Some(failure) if failure.wants_reconnection() => self.reconnect(connection, Reconnection::Refused),
            Some(_) => {}
        }
    }

    pub(super) fn answered(&self) {
        self.silences.store(0, Ordering::Relaxed);
        let mut state = self.lock();
        state.last_sign = Some(Instant::now());
        if state.ready.is_err() {
            (state.ready, state.was_ready) = (Ok(()), true);
            drop(state);
            self.is_another();
            tracing::info!(server = self.server, "connected to redis");
        }
    }

    /// Something was answered on another connection: no probe need ask for a while, as long as this one is good.
    pub(super) fn is_alive(&self) {
        self.lock().last_sign = Some(Instant::now());
    }

    pub(super) fn silent(&self, reason: String) {
        let mut state = self.lock();
        if state.ready.as_ref().err() != Some(&reason) {
            let (answered, was_ready) = (state.ready.is_ok(), state.was_ready);
            state.ready = Err(reason.clone());
            drop(state);
            if answered {
                tracing::error!(server = self.server, reason, "lost connection to redis");
            } else if was_ready {
                tracing::warn!(server = self.server, reason, "still cannot connect to redis; retrying");
            } else {
                tracing::warn!(server = self.server, reason, "cannot connect to redis yet; retrying");
            }
        }
    }

    /// What is left of so long a time since the last sign of life; nothing is known of one that is suspect.
    pub(super) fn quiet(&self, for_long: Duration) -> Option<Duration> {
        let state = self.lock();
        let is_good = state.ready.is_ok() && self.silences.load(Ordering::Relaxed) == 0;
        let since = state.last_sign.filter(|_| is_good)?.elapsed();
        for_long.checked_sub(since).filter(|left| !left.is_zero())
    }

    /// Reconnects: never twice at once, and not again within [`COOL_DOWN`].
    fn reconnect(self: &Arc<Status>, connection: &Connection, reason: Reconnection) {
        let mut state = self.lock();
        if self.replacer.as_ref().is_some_and(|replacer| replacer.is_done.load(Ordering::Relaxed)) {
            return;
        }
        let cooling = state.last_reconnection.is_some_and(|at| at.elapsed() < COOL_DOWN);
        if cooling || self.reconnecting.swap(true, Ordering::AcqRel) {
            return;
        }
        state.last_reconnection = Some(Instant::now());
        drop(state);
        self.silences.store(0, Ordering::Relaxed);
        self.is_another();
        let server = self.server.as_deref();
        tracing::warn!(server, reason = reason.label(), "no reply on this connection; reconnecting");
        if let Some(replacer) = &self.replacer {
            *replacer.reason.lock().expect("no holder of this lock panics") = Some(reason);
            replacer.wanted.notify_one();
            self.reconnecting.store(false, Ordering::Release);
            return;
        }
        self.metrics.redis_reconnections.with_label_values(&[reason.label()]).inc();
        let (connection, status) = (connection.clone(), Arc::clone(self));
        tokio::spawn(async move {
            connection.reconnect().await;
            status.reconnecting.store(false, Ordering::Release);
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

fn another() -> u64 {
    CONNECTIONS.fetch_add(1, Ordering::Relaxed)
}
