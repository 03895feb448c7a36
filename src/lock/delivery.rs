//! From a detached operation to its caller, who may have gone: what is not fetched is taken back.

use tokio::sync::oneshot;

use super::outcome::{Acquired, LockFailure};
use super::undo::{Undo, Undoer};
use crate::redis::{Flight, RedisFailure};

pub enum Acquisition {
    Parcel(Parcel),
    Other(Acquired),
}

/// A grant, or the lease of a repeated attempt, on its way to its caller. Dropped unopened, it is taken back.
pub struct Parcel {
    content: Option<Acquired>,
    undo: Option<Undo>,
    undoer: Undoer,
}

impl Parcel {
    /// `undo` takes `content` back.
    pub fn new(content: Acquired, undo: Undo, undoer: Undoer) -> Parcel {
        Parcel { content: Some(content), undo: Some(undo), undoer }
    }

    pub fn open(mut self) -> Acquired {
        self.undo = None;
        self.content.take().expect("a parcel is opened once")
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        if let Some(undo) = self.undo.take() {
            self.undoer.push(undo);
        }
    }
}

/// Runs `work` to its end even if its caller goes.
pub async fn detached<T: Send + 'static>(
    flight: Flight,
    work: impl Future<Output = Result<T, LockFailure>> + Send + 'static,
) -> Result<T, LockFailure> {
    let (give, take) = oneshot::channel();
    tokio::spawn(async move {
        let outcome = work.await;
        drop(flight);
        let _ = give.send(outcome);
    });
    arrived(take.await)
}

/// A task that ends without a word panicked, or went with its runtime: nobody knows how far it came.
pub fn arrived<T>(outcome: Result<Result<T, LockFailure>, oneshot::error::RecvError>) -> Result<T, LockFailure> {
    outcome.unwrap_or_else(|_| Err(RedisFailure::NoAnswer("the operation was broken off".to_owned()).into()))
}
