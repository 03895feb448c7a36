//! From a detached operation to its caller, who may have gone: what does not arrive is undone.

use tokio::sync::oneshot;

use super::outcome::{Acquired, LockFailure};
use super::undo::{Undo, Undoer};
use crate::redis::{Flight, RedisFailure};

/// How an acquire ended, on its way to its caller. Unless the caller signs for what it was granted, it is undone.
pub struct Delivery {
    pub content: Acquired,
    pub receipt: Receipt,
}

/// Stands for a lease that an acquire was granted or told of, until its caller has it. Dropped unsigned, it undoes that.
pub struct Receipt(Option<(Undo, Undoer)>);

impl Receipt {
    /// `undo` undoes what is delivered.
    pub fn new(undo: Undo, undoer: Undoer) -> Receipt {
        Receipt(Some((undo, undoer)))
    }

    /// For what needs no receipt.
    pub fn none() -> Receipt {
        Receipt(None)
    }

    /// The name of the sending that was told of a lease; empty where none was.
    pub fn sending(&self) -> &str {
        self.0.as_ref().map_or("", |(undo, _)| &undo.sending)
    }

    /// The caller has what was delivered, or a hold sees to it, which is given the name of the sending.
    pub fn sign(mut self) -> String {
        self.0.take().map(|(undo, _)| undo.sending).unwrap_or_default()
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some((undo, undoer)) = self.0.take() {
            undoer.push(undo);
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
