//! The task that drives the queues of a thread.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};

use super::event::{Effect, Entry, Input, Position, Turn};
use super::messages::{Message, Word};
use super::state::Queues;
use super::watch::Holds;
use super::{Command, Door};
use crate::lock::Key;
use crate::lock::holder::Holder;
use crate::lock::record;
use crate::lock::request::{Progress, Reentry, Succession};
use crate::lock::scripts::{JoinArgs, JoinRow, KeyState, Precision, Scripts, Stored};
use crate::lock::undo::{Undo, Undoer};
use crate::redis::{Attention, Heard, Purpose, RedisFailure};
use crate::timer::sleep_until;

/// For how long a lease is offered to a waiter at most, as `lua/queue.lua` has it.
const LONGEST_OFFER: Duration = Duration::from_millis(1500);

/// The one task that owns the state: it takes in what happens and does what comes of it.
pub struct Driver {
    sidecar: String,
    scripts: Scripts,
    state: Queues,
    waiters: HashMap<String, Waiter>,
    holds: Holds,
    undoer: Undoer,
    work: FuturesUnordered<BoxFuture<'static, Option<Input>>>,
    /// While a caller waits, it is made sure every moment that all is heard.
    attention: Option<Attention>,
}

struct Waiter {
    call: Option<oneshot::Sender<Turn>>,
    progress: Option<tokio::sync::watch::Sender<Option<Progress>>>,
    succession: Option<Succession>,
}

impl Driver {
    pub fn new(door: &Door, undoer: Undoer) -> Driver {
        let Door { sidecar, scripts, .. } = door;
        Driver {
            sidecar: sidecar.clone(),
            scripts: Scripts { redis: scripts.redis.for_purpose(Purpose::Queues), ..scripts.clone() },
            state: Queues::new(sidecar.clone(), scripts.redis.is_cluster()),
            waiters: HashMap::new(),
            holds: Holds::default(),
            undoer,
            work: FuturesUnordered::new(),
            attention: None,
        }
    }

    pub async fn run(
        mut self,
        door: std::sync::Weak<Door>,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut heard: mpsc::UnboundedReceiver<Heard>,
    ) {
        loop {
            let due = self.state.next_due();
            let effects = tokio::select! {
                // A turn may be heard of a waiter that has just joined: what callers say comes first.
                biased;
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                message = heard.recv() => match message {
                    Some(Heard::Message(text)) => self.message(&text),
                    Some(Heard::Gap) => self.state.handle(Input::Gap, Instant::now()),
                    None => return,
                },
                Some(done) = self.work.next() => match done {
                    Some(input) => self.state.handle(input, Instant::now()),
                    None => Vec::new(),
                },
                () = sleep_until(due) => self.state.due(Instant::now()),
            };
            effects.into_iter().for_each(|effect| self.carry_out(effect));
            if self.state.is_empty() != self.attention.is_none() {
                self.attention =
                    if self.state.is_empty() { None } else { door.upgrade().map(|door| door.push.attention()) };
            }
        }
    }

    fn command(&mut self, command: Command) -> Vec<Effect> {
        match command {
            Command::Input(input) => {
                if let Input::Leave(_, id) = &input {
                    self.waiters.remove(id);
                }
                self.state.handle(input, Instant::now())
            }
            Command::Join { key, entry, call, progress, succession } => {
                self.waiters.insert(entry.id.clone(), Waiter { call: Some(call), progress, succession });
                self.state.handle(Input::Join(key, entry), Instant::now())
            }
            Command::Watch { lease, number, news } => {
                self.holds.add(lease, number, news);
                Vec::new()
            }
            Command::Unwatch { lease, number } => {
                self.holds.remove(&lease, number);
                Vec::new()
            }
        }
    }

    fn message(&mut self, text: &str) -> Vec<Effect> {
        let Some(message) = Message::parse(text) else { return Vec::new() };
        self.holds.tell(&message);
        // Before the waiter hears of its turn.
        if let Word::Turn { id, token, left_ms, is_resigned: true } = &message.word
            && let Some(succession) = self.waiters.get(id).and_then(|waiter| waiter.succession.as_ref())
        {
            let left = Duration::from_millis(u64::try_from(*left_ms).unwrap_or(0)).min(LONGEST_OFFER);
            succession.mark(*token, Instant::now() + left);
        }
        self.state.handle(Input::Told(message), Instant::now())
    }

    fn carry_out(&mut self, effect: Effect) {
        let scripts = self.scripts.clone();
        match effect {
            Effect::Call { id, turn } => {
                if let Some(call) = self.waiters.get_mut(&id).and_then(|waiter| waiter.call.take()) {
                    let _ = call.send(turn);
                }
            }
            Effect::Progress { id, ahead, key, state } => {
                if let Some(progress) = self.waiters.get(&id).and_then(|waiter| waiter.progress.as_ref()) {
                    let holder = scripts.holder(&key, &state);
                    progress.send_replace(Some(Progress { position: ahead + 1, holder }));
                }
            }
            Effect::Look { key, ids, entries, precision } => {
                let sidecar = self.sidecar.clone();
                let look = async move { Some(look(scripts, key, ids, entries, precision, &sidecar).await) };
                self.work.push(Box::pin(look));
            }
            Effect::Rejoin { key, entry, position } => {
                self.work.push(Box::pin(async move { Some(rejoin(scripts, key, entry, position).await) }));
            }
            Effect::Decline { key, token } => {
                let sidecar = self.sidecar.clone();
                self.work.push(Box::pin(async move {
                    if let Err(failure) = scripts.decline(&key, token, &sidecar).await {
                        tracing::debug!(%key, %failure, "an offer to a waiter that left was not declined; it will expire");
                    }
                    None
                }));
            }
            Effect::Remove { key, entry: Entry { text, identity, .. } } => {
                self.undoer.push(Undo::new(key, identity, String::new(), Duration::ZERO).with_entry(text));
            }
        }
    }
}

async fn look(
    scripts: Scripts,
    key: Key,
    ids: Vec<String>,
    entries: Vec<String>,
    precision: Precision,
    sidecar: &str,
) -> Input {
    let process = sidecar.split('-').next().unwrap_or_default();
    match scripts.advance(&key, process, &entries, precision).await {
        Ok(row) => {
            scripts.saw(&key, &row.key);
            Input::Looked { key, ids, row }
        }
        Err(failure) => {
            tracing::debug!(%key, %failure, "cannot read the queue; retrying");
            // Whether other keys may fare better.
            let is_of_this_key =
                matches!(failure, RedisFailure::Refused(_) | RedisFailure::Nonsense(_)) && !failure.is_elsewhere();
            Input::NotLooked { key, is_of_this_key }
        }
    }
}

async fn rejoin(scripts: Scripts, key: Key, entry: Entry, position: Position) -> Input {
    let reentry = if entry.is_reentrant { Reentry::Extend } else { Reentry::Refuse };
    let Entry { text, id, wait_ms, .. } = &entry;
    let join = JoinArgs { entry: text, sending: id, wait_ms: *wait_ms, position: Some(&position.word()), reentry };
    match scripts.join(&key, &join).await {
        Ok(JoinRow::Waiting { left_ms, .. }) => Input::Rejoined { key, entry, left_ms },
        Ok(JoinRow::Turn(token)) => Input::Called { key, id: entry.id, turn: Turn::Offered(token) },
        Ok(JoinRow::Owned) => Input::Called { key, id: entry.id, turn: Turn::AskAgain },
        Err(failure) => {
            tracing::debug!(%key, %failure, "re-queueing a waiter failed; retrying");
            Input::NotRejoined { key, entry }
        }
    }
}

impl Scripts {
    /// Who has a key, as far as a look tells.
    fn holder(&self, key: &Key, state: &KeyState) -> Option<Holder> {
        match state {
            KeyState::Held(found) | KeyState::Shared { awaited: found, .. } => Some(record::holder(key, found)),
            KeyState::Stranger => Some(Holder::UNKNOWN),
            KeyState::Free { .. } => None,
        }
    }

    /// Remembers the token that a look showed.
    fn saw(&self, key: &Key, state: &KeyState) {
        if let KeyState::Held(Stored { text, .. }) | KeyState::Shared { awaited: Stored { text, .. }, .. } = state
            && let Some(token) = record::token(key, text)
        {
            self.high_water.saw(token);
        }
    }
}
