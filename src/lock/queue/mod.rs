//! The queue before a key: who of this process waits for which key, and how each hears of its turn.
//!
//! The queue itself lies in Redis, and the scripts move it: the script that frees a key offers it to the first waiter.
//! Nothing polls. What is left to us: to hear of a turn, to know when the lease before us ends, since an expiry tells
//! nothing, and to notice that we hear nothing any more. All of that is decided by [`state`]; one task drives it.

mod messages;
mod state;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};

use self::watch::Holds;
pub use self::watch::{News, Watch};
use super::LockFailure;
use super::record;
use super::request::{Holder, Own, Progress};
use super::scripts::{Found, JoinArgs, JoinRow, KeyState, Precision, Scripts};
use super::{Key, Token};
use crate::redis::{Attention, Heard, Purpose, Push, RedisFailure};
use messages::Message;
use state::{Effect, Input, Queues};
pub use state::{Entry, Turn};

/// All that wait of one thread. Cheap to clone.
#[derive(Clone)]
pub struct Queue(Arc<Door>);

struct Door {
    /// This thread's name among all that have waiters: PROCESS-N.
    sidecar: String,
    scripts: Scripts,
    push: Push,
    commands: mpsc::UnboundedSender<Command>,
}

enum Command {
    Input(Input),
    Join {
        key: Key,
        entry: Entry,
        call: oneshot::Sender<Turn>,
        progress: Option<tokio::sync::watch::Sender<Option<Progress>>>,
    },
    Watch {
        lease: (Key, Token),
        number: u64,
        news: mpsc::UnboundedSender<News>,
    },
    Unwatch {
        lease: (Key, Token),
        number: u64,
    },
}

/// A caller that wants to wait.
pub struct Joining<'a> {
    /// The sending of its attempt.
    pub id: &'a str,
    pub identity: &'a str,
    /// As the lease spells it.
    pub nonce: &'a str,
    /// The sending, where the nonce does not name it.
    pub request: &'a str,
    pub ttl_ms: u64,
    pub further: &'a str,
    pub own: Own,
    /// How long it waits at most, milliseconds.
    pub wait_ms: u64,
    /// The position that it had before its turn came and passed.
    pub position: Option<String>,
    pub progress: Option<tokio::sync::watch::Sender<Option<Progress>>>,
}

/// A place in the queue, for the one who waits. Dropped, it leaves this process's list; the queue in Redis is left by
/// `undo.lua`.
pub struct Ticket {
    /// As the queue in Redis has it.
    pub entry: String,
    pub position: Option<String>,
    id: String,
    key: Key,
    queue: Queue,
    turn: oneshot::Receiver<Turn>,
}

impl Ticket {
    /// Ends when its turn has come; `None` when the process ends.
    pub async fn turn(&mut self) -> Option<Turn> {
        (&mut self.turn).await.ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.queue.tell(Command::Input(Input::Leave(self.key.clone(), std::mem::take(&mut self.id))));
    }
}

impl Queue {
    /// `sidecar` names this thread's waiters among all others. Must be called inside the runtime that owns the scripts.
    pub fn new(sidecar: String, scripts: Scripts) -> Queue {
        let (push, heard) = scripts.redis.listen();
        let (commands, told) = mpsc::unbounded_channel();
        let door = Arc::new(Door { sidecar, scripts, push, commands });
        let is_clustered = door.scripts.redis.is_cluster();
        let driver = Driver {
            sidecar: door.sidecar.clone(),
            scripts: Scripts { redis: door.scripts.redis.for_purpose(Purpose::Queues), ..door.scripts.clone() },
            state: Queues::new(door.sidecar.clone(), is_clustered),
            waiters: HashMap::new(),
            holds: Holds::default(),
            work: FuturesUnordered::new(),
            attention: None,
        };
        tokio::spawn(driver.run(Arc::downgrade(&door), told, heard));
        Queue(door)
    }

    /// This thread's name among all that have waiters or hold locks.
    pub fn sidecar(&self) -> &str {
        &self.0.sidecar
    }

    /// Joins the queue before `key`, at its end or where it stood before. The ticket is made before the script runs: a
    /// turn may come before its answer does. Fails with the entry that may be in the queue, or an empty one.
    pub async fn join(&self, key: &Key, joining: Joining<'_>) -> Result<Ticket, (LockFailure, String)> {
        let Joining { id, identity, nonce, request, ttl_ms, further, own, wait_ms, position, progress } = joining;
        let sidecar = &self.0.sidecar;
        let text = format!("{sidecar}\n{id}\n{ttl_ms}\n{identity}\n{nonce}{}\n{further}", record::sending(request));
        // One that comes back is listened for already; and where that broke, all is looked at when it is restored.
        if position.is_none()
            && let Err(failure) = self.0.push.hear(&self.channels(key)).await
        {
            return Err((failure.into(), String::new()));
        }
        let (call, turn) = oneshot::channel();
        let entry = Entry {
            id: id.to_owned(),
            text: text.clone(),
            identity: identity.to_owned(),
            nonce: nonce.to_owned(),
            wait_ms,
            is_reentrant: own == Own::Extend,
            wants_progress: progress.is_some(),
        };
        self.tell(Command::Join { key: key.clone(), entry, call, progress });
        let queue = self.clone();
        let mut ticket = Ticket { entry: text, position: None, id: id.to_owned(), key: key.clone(), queue, turn };
        let join = JoinArgs { entry: &ticket.entry, sending: id, wait_ms, position: position.as_deref(), own };
        let (key, id) = (key.clone(), id.to_owned());
        let input = match self.0.scripts.join(&key, &join).await {
            Ok(JoinRow::Waiting { position, left_ms }) => {
                ticket.position = Some(position.clone());
                Input::Joined { key, id, position, left_ms: self.first_look(left_ms) }
            }
            Ok(JoinRow::Turn(token)) => Input::Called { key, id, turn: Turn::Offered(token) },
            Ok(JoinRow::Own) => Input::Called { key, id, turn: Turn::AskAgain },
            Err(failure) => return Err((failure.into(), std::mem::take(&mut ticket.entry))),
        };
        self.tell(Command::Input(input));
        Ok(ticket)
    }

    /// Until its first look nothing is known of the key; with raw keys another program may hold it.
    fn first_look(&self, left_ms: i64) -> i64 {
        if self.0.scripts.space.is_raw() { 0 } else { left_ms }
    }

    /// On which we are told of what happens at a key.
    fn channels(&self, key: &Key) -> [String; 2] {
        let push = self.0.scripts.space.push(key.shard());
        [[push, self.0.sidecar.as_str()].concat(), [push, "all"].concat()]
    }

    fn tell(&self, command: Command) {
        // Without a driver the runtime is ending.
        let _ = self.0.commands.send(command);
    }
}

/// The one task that owns the state: it takes in what happens and does what comes of it.
struct Driver {
    sidecar: String,
    scripts: Scripts,
    state: Queues,
    waiters: HashMap<String, Waiter>,
    holds: Holds,
    work: FuturesUnordered<BoxFuture<'static, Option<Input>>>,
    /// While a caller waits, it is made sure every moment that all is heard.
    attention: Option<Attention>,
}

struct Waiter {
    call: Option<oneshot::Sender<Turn>>,
    progress: Option<tokio::sync::watch::Sender<Option<Progress>>>,
}

impl Driver {
    async fn run(
        mut self,
        door: std::sync::Weak<Door>,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut heard: mpsc::UnboundedReceiver<Heard>,
    ) {
        loop {
            let due = self.state.next_due();
            let is_due = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
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
                () = is_due => self.state.due(Instant::now()),
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
            Command::Join { key, entry, call, progress } => {
                self.waiters.insert(entry.id.clone(), Waiter { call: Some(call), progress });
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
                self.work.push(Box::pin(async move {
                    if let Err(failure) = scripts.undo(&key, &identity, "", &text).await {
                        tracing::debug!(%key, %failure, "the queue entry of a waiter that left is not removed yet; retrying");
                    }
                    None
                }));
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

async fn rejoin(scripts: Scripts, key: Key, entry: Entry, position: String) -> Input {
    let own = if entry.is_reentrant { Own::Extend } else { Own::Refuse };
    let Entry { text, id, wait_ms, .. } = &entry;
    let join = JoinArgs { entry: text, sending: id, wait_ms: *wait_ms, position: Some(&position), own };
    match scripts.join(&key, &join).await {
        Ok(JoinRow::Waiting { left_ms, .. }) => Input::Rejoined { key, entry, left_ms },
        Ok(JoinRow::Turn(token)) => Input::Called { key, id: entry.id, turn: Turn::Offered(token) },
        Ok(JoinRow::Own) => Input::Called { key, id: entry.id, turn: Turn::AskAgain },
        Err(failure) => {
            tracing::debug!(%key, %failure, "re-queueing a waiter failed; retrying");
            Input::NotRejoined { key }
        }
    }
}

impl Scripts {
    /// Who has a key, as far as a look tells.
    fn holder(&self, key: &Key, state: &KeyState) -> Option<Holder> {
        match state {
            KeyState::Held(found) => Some(record::holder(key, found)),
            KeyState::Stranger => Some(Holder::UNKNOWN),
            KeyState::Free { .. } => None,
        }
    }

    /// Remembers the token that a look showed.
    fn saw(&self, key: &Key, state: &KeyState) {
        if let KeyState::Held(Found { text, .. }) = state
            && let Some(token) = record::token(key, text)
        {
            self.high_water.saw(token);
        }
    }
}
