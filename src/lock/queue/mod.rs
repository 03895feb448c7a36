//! The queue before a key: who of this process waits for which key, and how each hears of its turn.
//!
//! The queue itself lies in Redis, and the scripts move it: the script that frees a key offers it to the first waiter.
//! Nothing polls. What is left to us: to hear of a turn, to know when the lease before us ends, since an expiry tells
//! nothing, and to notice that we hear nothing any more. All of that is decided by [`state`]; one task drives it.

mod driver;
pub(super) mod event;
mod local;
pub(super) mod messages;
pub(super) mod state;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use self::driver::Driver;
use self::event::Input;
pub use self::event::{Entry, Turn};
pub use self::watch::{News, Watch};
use super::LockFailure;
use super::record;
use super::request::{Progress, Reentry, Succession};
use super::scripts::{JoinArgs, JoinRow, Scripts};
use super::undo::Undoer;
use super::{Key, Token};
use crate::redis::Push;

/// The end of an entry whose waiter would have the lease that its owner has, as `lua/queue.lua` has it.
const OWN: &str = ",\"own\":\"extend\"";

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
        succession: Option<Succession>,
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
    /// For how long a grant takes the key, milliseconds.
    pub key_ms: u64,
    pub further: &'a str,
    pub reentry: Reentry,
    /// How long it waits at most, milliseconds.
    pub wait_ms: u64,
    /// The position that it had before its turn came and passed.
    pub position: Option<String>,
    pub progress: Option<tokio::sync::watch::Sender<Option<Progress>>>,
    pub succession: Option<Succession>,
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
    /// `sidecar` names this thread's waiters among all others; `undoer` removes their places that are left. Must be called inside
    /// the runtime that owns the scripts.
    pub fn new(sidecar: String, scripts: Scripts, undoer: Undoer) -> Queue {
        let (push, heard) = scripts.redis.listen();
        let (commands, told) = mpsc::unbounded_channel();
        let door = Arc::new(Door { sidecar, scripts, push, commands });
        let driver = Driver::new(&door, undoer);
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
        let Joining { id, identity, nonce, request, key_ms, further, reentry, wait_ms, position, .. } = joining;
        let (progress, succession) = (joining.progress, joining.succession);
        let sidecar = &self.0.sidecar;
        let own = if reentry == Reentry::Extend { OWN } else { "" };
        let text =
            format!("{sidecar}\n{id}\n{key_ms}\n{identity}\n{nonce}{}\n{further}{own}", record::sending(request));
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
            is_reentrant: reentry == Reentry::Extend,
            is_named: !request.is_empty(),
            wants_progress: progress.is_some(),
        };
        self.tell(Command::Join { key: key.clone(), entry, call, progress, succession });
        let queue = self.clone();
        let mut ticket = Ticket { entry: text, position: None, id: id.to_owned(), key: key.clone(), queue, turn };
        let join = JoinArgs { entry: &ticket.entry, sending: id, wait_ms, position: position.as_deref(), reentry };
        let (key, id) = (key.clone(), id.to_owned());
        let input = match self.0.scripts.join(&key, &join).await {
            Ok(JoinRow::Waiting { position, left_ms }) => {
                ticket.position = Some(position.clone());
                Input::Joined { key, id, position, left_ms: self.first_look(left_ms) }
            }
            Ok(JoinRow::Turn(token)) => Input::Called { key, id, turn: Turn::Offered(token) },
            Ok(JoinRow::Owned) => Input::Called { key, id, turn: Turn::AskAgain },
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
