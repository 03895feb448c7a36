//! The line before a key: who of this process waits for which key, and how each hears of its turn.
//!
//! The line itself lies in Redis, and the scripts move it: whoever frees a key offers it to the first waiter whose
//! sidecar listens. Nobody polls. What is left to us: to hear of a turn, to know when the lease before us ends, since
//! an expiry tells nobody, and to notice that we hear nothing any more.

mod hearing;
mod looking;
mod removal;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

use super::LockFailure;
use super::record;
use super::scripts::{Scripts, WaitRow};
use super::types::{Key, Token};
use crate::redis::{Attention, Push};
pub use removal::Removal;

/// Everybody of one thread who waits.
pub struct Line {
    sidecar: String,
    scripts: Scripts,
    places: Mutex<HashMap<Key, Place>>,
    /// The leases that are held by connections to us.
    held: Mutex<HashMap<(Key, Token), Arc<Notify>>>,
    push: Push,
    /// Asks for a look at every line.
    doubt: Notify,
}

/// The waiters of one key, in the order in which they came, and what is known of the lease before them.
struct Place {
    waiters: Vec<Waiter>,
    alarm: Option<Alarm>,
    /// When we were last told of this line: an answer to what was asked before may be older news.
    told: Instant,
    /// Whether some of ours may have lost their places.
    is_scattered: bool,
    /// We count on being told.
    _attention: Attention,
}

struct Alarm {
    due: Instant,
    task: AbortHandle,
}

struct Waiter {
    id: String,
    /// As the line in Redis has it.
    entry: String,
    /// Owner and nonce as the lease spells them, and the sending.
    attempt: String,
    request: String,
    longest_ms: u64,
    stood: Option<String>,
    turn: Option<oneshot::Sender<Turn>>,
}

/// What a waiter waits for.
#[derive(Clone, Copy, Debug)]
pub enum Turn {
    /// The lease of this token is on offer to it.
    Offered(Token),
    /// Its attempt has the key already, by another sending.
    Repeated,
}

/// A place in line, for the one who waits.
pub struct Ticket {
    pub entry: String,
    id: String,
    key: Key,
    line: Arc<Line>,
    turn: oneshot::Receiver<Turn>,
}

impl Ticket {
    pub async fn turn(&mut self) -> Option<Turn> {
        (&mut self.turn).await.ok()
    }

    /// Where in line it stands; keeps its place when it joins again.
    pub fn stood(&self) -> Option<String> {
        let places = self.line.places();
        places.get(&self.key)?.waiters.iter().find(|waiter| waiter.id == self.id)?.stood.clone()
    }
}

impl Drop for Ticket {
    /// Leaves this process's list. The line in Redis is left by `undo.lua`.
    fn drop(&mut self) {
        let mut places = self.line.places();
        if let Some(place) = places.get_mut(&self.key) {
            place.waiters.retain(|waiter| waiter.id != self.id);
            if place.waiters.is_empty() {
                if let Some(alarm) = place.alarm.take() {
                    alarm.task.abort();
                }
                places.remove(&self.key);
            }
        }
    }
}

/// Who wants to wait.
pub struct Joining<'a> {
    pub id: String,
    pub identity: &'a str,
    /// As the lease spells it.
    pub nonce: &'a str,
    /// The sending, where the nonce does not name it.
    pub request: &'a str,
    pub ttl_ms: u64,
    pub further: &'a str,
    /// How long it waits at most, milliseconds.
    pub longest_ms: u64,
    /// Where it stood before its turn came and passed.
    pub stood: Option<String>,
}

impl Line {
    /// `sidecar` names this thread's line among all others.
    pub fn new(sidecar: String, scripts: Scripts) -> Arc<Line> {
        let (push, heard) = scripts.redis.listen();
        let line = Arc::new(Line {
            sidecar,
            scripts,
            places: Mutex::new(HashMap::new()),
            held: Mutex::new(HashMap::new()),
            push,
            doubt: Notify::new(),
        });
        tokio::spawn(Arc::clone(&line).hear(heard));
        tokio::spawn(Arc::clone(&line).look_when_in_doubt());
        tokio::spawn(Arc::clone(&line).look_for_lines());
        line
    }

    /// Joins the line before `key`, at its end or where it stood before. The ticket is made before the script runs: a
    /// turn may come before its answer does.
    pub async fn join(self: &Arc<Line>, key: &Key, joining: Joining<'_>) -> Result<Ticket, (LockFailure, String)> {
        let Joining { id, identity, nonce, request, ttl_ms, further, longest_ms, stood } = joining;
        let attempt = format!("{nonce}{}", record::sending(request));
        let entry = format!("{}\n{id}\n{ttl_ms}\n{identity}\n{attempt}\n{further}", self.sidecar);
        // Whoever comes back is listened for already; and where that broke, all is looked at when it is mended.
        if stood.is_none()
            && let Err(failure) = self.push.hear(&self.channels(key)).await
        {
            return Err((failure.into(), String::new()));
        }
        let (give, turn) = oneshot::channel();
        let waiter = Waiter {
            id: id.clone(),
            entry: entry.clone(),
            attempt: format!("{identity}{nonce}"),
            request: request.to_owned(),
            longest_ms,
            stood: None,
            turn: Some(give),
        };
        let asked = Instant::now();
        let place = || Place {
            waiters: Vec::new(),
            alarm: None,
            told: asked,
            is_scattered: false,
            _attention: self.push.attention(),
        };
        self.places().entry(key.clone()).or_insert_with(place).waiters.push(waiter);
        let ticket = Ticket { entry, id, key: key.clone(), line: Arc::clone(self), turn };
        match self.scripts.wait(key, &ticket.entry, longest_ms, stood.as_deref()).await {
            Ok(WaitRow::Waiting { place, left_ms, offered }) => {
                self.change(key, &ticket.id, |waiter| waiter.stood = Some(place.clone()));
                self.alarm(key, self.first_look(left_ms), &offered, asked);
            }
            Ok(WaitRow::Turn(token)) => self.call(key, &ticket.id, Turn::Offered(token)),
            Err(failure) => return Err((failure.into(), ticket.entry.clone())),
        }
        Ok(ticket)
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Key, Place>> {
        self.places.lock().expect("no holder of this lock panics")
    }

    fn held(&self) -> MutexGuard<'_, HashMap<(Key, Token), Arc<Notify>>> {
        self.held.lock().expect("no holder of this lock panics")
    }

    fn change(&self, key: &Key, id: &str, change: impl FnMut(&mut Waiter)) {
        let mut places = self.places();
        let waiters = places.get_mut(key).into_iter().flat_map(|place| place.waiters.iter_mut());
        waiters.filter(|waiter| waiter.id == id).for_each(change);
    }

    /// Tells a waiter that it is its turn.
    fn call(&self, key: &Key, id: &str, turn: Turn) {
        self.change(key, id, |waiter| {
            if let Some(give) = waiter.turn.take() {
                let _ = give.send(turn);
            }
        });
    }

    /// Those of ours who stand in line, without those whose turn has come.
    fn standing(&self, key: &Key) -> Vec<Standing> {
        let places = self.places();
        let waiters = places.get(key).into_iter().flat_map(|place| place.waiters.iter());
        let standing = waiters.filter(|waiter| waiter.turn.is_some()).filter_map(|waiter| {
            Some(Standing {
                id: waiter.id.clone(),
                entry: waiter.entry.clone(),
                attempt: waiter.attempt.clone(),
                request: waiter.request.clone(),
                longest_ms: waiter.longest_ms,
                stood: waiter.stood.clone()?,
            })
        });
        standing.collect()
    }

    fn still_stands(&self, key: &Key, id: &str) -> bool {
        let places = self.places();
        places.get(key).is_some_and(|place| place.waiters.iter().any(|w| w.id == id && w.turn.is_some()))
    }
}

/// One of ours in line.
struct Standing {
    id: String,
    entry: String,
    attempt: String,
    request: String,
    longest_ms: u64,
    stood: String,
}
