//! The line before a key: who of this process waits for which key, and how each hears of its turn.
//!
//! The line itself lies in Redis, and the scripts move it: whoever frees a key offers it to the first waiter whose
//! sidecar listens. Nobody polls. What is left to us: to hear of a turn, to know when the lease before us ends, since
//! an expiry tells nobody, and to notice that we hear nothing any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::sync::{OnceCell, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};

use super::LockFailure;
use super::record;
use super::scripts::{AdvanceRow, Scripts};
use super::types::{Key, Token};
use crate::redis::{Heard, Push};

/// Between two signs of life that we send ourselves through Redis while anybody waits. Two of them bound what a lost
/// message costs.
const ECHO_INTERVAL: Duration = Duration::from_millis(400);
/// Added to what is left of a lease, so that Redis has let it expire.
const EXPIRY_SLACK: Duration = Duration::from_millis(3);
/// How often a key is looked at that has no expiry, or that could not be looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Lines looked at together when messages may have been lost.
const LOOKS_AT_ONCE: usize = 32;

/// Everybody of one thread who waits.
pub struct Line {
    sidecar: String,
    scripts: Scripts,
    places: Mutex<HashMap<Key, Place>>,
    push: OnceCell<Push>,
    /// When anything was last heard.
    heard: Mutex<Instant>,
}

/// The waiters of one key, in the order in which they came, and what is known of the lease before them.
#[derive(Default)]
struct Place {
    waiters: Vec<Waiter>,
    alarm: Option<AbortHandle>,
}

struct Waiter {
    id: String,
    /// As the line in Redis has it.
    entry: String,
    /// Owner, nonce and request as the lease spells them.
    attempt: String,
    longest_ms: u64,
    stood: Option<String>,
    turn: Option<oneshot::Sender<Token>>,
}

/// A place in line, for the one who waits.
pub struct Ticket {
    pub entry: String,
    id: String,
    key: Key,
    line: Arc<Line>,
    turn: oneshot::Receiver<Token>,
}

impl Ticket {
    /// Waits for the turn: the token of the lease that is offered.
    pub async fn turn(&mut self) -> Option<Token> {
        (&mut self.turn).await.ok()
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
                    alarm.abort();
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
    /// Nonce and request as the lease spells them.
    pub attempt: &'a str,
    pub ttl_ms: u64,
    pub further: &'a str,
    /// How long it waits at most, milliseconds.
    pub longest_ms: u64,
}

impl Line {
    /// `sidecar` names this thread's line among all others.
    pub fn new(sidecar: String, scripts: Scripts) -> Arc<Line> {
        Arc::new(Line {
            sidecar,
            scripts,
            places: Mutex::new(HashMap::new()),
            push: OnceCell::new(),
            heard: Mutex::new(Instant::now()),
        })
    }

    /// Joins the line before `key`, at its end or where the `ticket` stood before. The ticket is made before the
    /// script runs: a turn may come before its answer does.
    pub async fn join(self: &Arc<Line>, key: &Key, joining: Joining<'_>) -> Result<Ticket, (LockFailure, String)> {
        let Joining { id, identity, attempt, ttl_ms, further, longest_ms } = joining;
        let entry = format!("{}\n{id}\n{ttl_ms}\n{identity}\n{attempt}\n{further}", self.sidecar);
        if let Err(failure) = self.listen().await {
            return Err((failure, String::new()));
        }
        let (give, turn) = oneshot::channel();
        let waiter = Waiter {
            id: id.clone(),
            entry: entry.clone(),
            attempt: format!("{identity}{attempt}"),
            longest_ms,
            stood: None,
            turn: Some(give),
        };
        self.places().entry(key.clone()).or_default().waiters.push(waiter);
        let ticket = Ticket { entry, id, key: key.clone(), line: Arc::clone(self), turn };
        match self.scripts.wait(key, &ticket.entry, longest_ms, None).await {
            Ok(row) => {
                self.stands(key, &ticket.id, row.place);
                self.alarm(key, row.left_ms, String::new());
                Ok(ticket)
            }
            Err(failure) => Err((failure.into(), ticket.entry.clone())),
        }
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Key, Place>> {
        self.places.lock().expect("no holder of this lock panics")
    }

    fn stands(&self, key: &Key, id: &str, at: String) {
        let mut places = self.places();
        let waiters = places.get_mut(key).into_iter().flat_map(|place| place.waiters.iter_mut());
        waiters.filter(|waiter| waiter.id == id).for_each(|waiter| waiter.stood = Some(at.clone()));
    }

    /// Starts to listen, once.
    async fn listen(self: &Arc<Line>) -> Result<(), LockFailure> {
        let begin = async || {
            let (ear, heard) = mpsc::unbounded_channel();
            let push = self.scripts.space.push();
            let channels = vec![format!("{push}{}", self.sidecar), format!("{push}all")];
            let listening = self.scripts.redis.listen(channels, ear).await?;
            tokio::spawn(Arc::clone(self).hear(heard));
            tokio::spawn(Arc::clone(self).keep_hearing());
            Ok::<_, LockFailure>(listening)
        };
        self.push.get_or_try_init(begin).await.map(|_| ())
    }

    async fn hear(self: Arc<Line>, mut heard: mpsc::UnboundedReceiver<Heard>) {
        while let Some(heard) = heard.recv().await {
            *self.heard.lock().expect("no holder of this lock panics") = Instant::now();
            match heard {
                Heard::Gap => self.look_at_all().await,
                Heard::Message(text) => self.take_in(&text),
            }
        }
    }

    fn take_in(self: &Arc<Line>, message: &str) {
        let mut words = message.split('\n');
        let (word, key) = (words.next().unwrap_or_default(), words.next().and_then(|key| Key::parse(key).ok()));
        let Some(key) = key else { return };
        match word {
            "turn" => {
                let (Some(id), Some(token)) = (words.next(), words.next().and_then(|token| token.parse().ok())) else {
                    return;
                };
                if let Some(token) = Token::new(token) {
                    self.call(&key, |waiter| waiter.id == id, token);
                }
            }
            "offer" => {
                let left_ms = words.next().and_then(|left| left.parse().ok()).unwrap_or(0);
                let offered = words.next().filter(|sidecar| *sidecar != self.sidecar).unwrap_or_default();
                self.alarm(&key, left_ms, offered.to_owned());
            }
            "dropped" => self.alarm(&key, 0, String::new()),
            _ => {}
        }
    }

    /// Tells a waiter that it is its turn.
    fn call(&self, key: &Key, is_it: impl Fn(&Waiter) -> bool, token: Token) {
        let mut places = self.places();
        let waiters = places.get_mut(key).into_iter().flat_map(|place| place.waiters.iter_mut());
        for turn in waiters.filter(|waiter| is_it(waiter)).filter_map(|waiter| waiter.turn.take()) {
            let _ = turn.send(token);
        }
    }

    /// Looks at the key when the lease before us must have ended; replaces what was planned before.
    fn alarm(self: &Arc<Line>, key: &Key, left_ms: i64, silent: String) {
        let pause = u64::try_from(left_ms).map_or(LOOK_AGAIN, |ms| Duration::from_millis(ms) + EXPIRY_SLACK);
        let mut places = self.places();
        let Some(place) = places.get_mut(key) else { return };
        let (line, at) = (Arc::clone(self), key.clone());
        let alarm = tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            // On its own: the next alarm, which this look sets, would end it.
            tokio::spawn(async move { line.look(&at, &silent).await });
        });
        if let Some(before) = place.alarm.replace(alarm.abort_handle()) {
            before.abort();
        }
    }

    /// Sees how the line stands, moves it on where it should, and takes our places again where they were lost.
    async fn look(self: &Arc<Line>, key: &Key, silent: &str) {
        let Some(first) = self.places().get(key).and_then(|place| place.waiters.first().map(|w| w.entry.clone()))
        else {
            return;
        };
        let queued = match self.scripts.advance(key, &first, silent).await {
            Ok(AdvanceRow::Held { text, left_ms, queued }) => {
                if let Some(token) = record::token(key, &text) {
                    let text = String::from_utf8_lossy(&text);
                    self.call(key, |waiter| text.contains(&waiter.attempt), token);
                }
                self.alarm(key, left_ms, String::new());
                queued
            }
            Ok(AdvanceRow::Stranger { queued } | AdvanceRow::Free { queued }) => {
                self.alarm(key, -1, String::new());
                queued
            }
            Err(failure) => {
                tracing::debug!(%key, %failure, "cannot see how the line stands; looking again");
                self.alarm(key, -1, String::new());
                true
            }
        };
        if !queued {
            self.stand_again(key).await;
        }
    }

    async fn stand_again(self: &Arc<Line>, key: &Key) {
        let standing: Vec<_> = {
            let places = self.places();
            let waiters = places.get(key).into_iter().flat_map(|place| place.waiters.iter());
            // Whose turn has come stands in no line.
            let waiting = waiters.filter(|waiter| waiter.turn.is_some() && waiter.stood.is_some());
            waiting.map(|w| (w.id.clone(), w.entry.clone(), w.longest_ms, w.stood.clone())).collect()
        };
        for (id, entry, longest_ms, stood) in standing {
            match self.scripts.wait(key, &entry, longest_ms, stood.as_deref()).await {
                Ok(row) => {
                    // It may have left meanwhile: then nobody would take its turn.
                    let is_here = self.places().get(key).is_some_and(|place| place.waiters.iter().any(|w| w.id == id));
                    if !is_here {
                        let _ = self.scripts.undo(key, "-", "", &entry).await;
                    }
                    self.alarm(key, row.left_ms, String::new());
                }
                Err(_) => self.alarm(key, -1, String::new()),
            }
        }
    }

    async fn look_at_all(self: &Arc<Line>) {
        let keys: Vec<Key> = self.places().keys().cloned().collect();
        futures_util::stream::iter(keys)
            .for_each_concurrent(LOOKS_AT_ONCE, |key| async move { self.look(&key, "").await })
            .await;
    }

    /// Sends ourselves a sign of life while anybody waits. When it is not heard, or nobody is said to listen, messages
    /// are being lost: the connection is made anew, and until then every line is looked at.
    async fn keep_hearing(self: Arc<Line>) {
        let channel = format!("{}{}", self.scripts.space.push(), self.sidecar);
        let mut sent = None;
        let mut listening: Option<JoinHandle<()>> = None;
        loop {
            tokio::time::sleep(ECHO_INTERVAL).await;
            if self.places().is_empty() {
                sent = None;
                continue;
            }
            let heard = *self.heard.lock().expect("no holder of this lock panics");
            let is_deaf = sent.is_some_and(|sent| heard < sent);
            sent = Some(Instant::now());
            let listeners = self.scripts.redis.publish(&channel, "echo").await;
            if is_deaf || matches!(listeners, Ok(0)) {
                if listening.as_ref().is_none_or(JoinHandle::is_finished) {
                    tracing::warn!("redis's messages are not heard; listening anew");
                    let line = Arc::clone(&self);
                    listening = Some(tokio::spawn(async move {
                        if let Some(push) = line.push.get() {
                            push.reconnect().await;
                        }
                    }));
                }
                self.look_at_all().await;
            }
        }
    }
}
