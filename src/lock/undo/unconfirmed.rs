//! From a detached operation to its caller, who may have gone: what does not arrive is undone.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

use super::outcome::{Acquired, LockFailure};
use super::undo::{Undo, Undoer};
use crate::redis::Flight;
use crate::request::continued;

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

/// `work` as [`Detached`]; `flight` counts as long as it lasts.
pub fn detached<T: Send + 'static>(
    flight: Flight,
    work: impl Future<Output = Result<T, LockFailure>> + Send + 'static,
) -> Detached<Result<T, LockFailure>> {
    Detached::new(async move {
        let outcome = work.await;
        drop(flight);
        outcome
    })
}

/// Work that runs to its end even if its caller goes: within its caller's task while that waits for it, and in a task of
/// its own once the caller drops it. So nothing is spawned for an operation whose caller stays.
pub struct Detached<T: Send + 'static>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T: Send + 'static> Detached<T> {
    pub fn new(work: impl Future<Output = T> + Send + 'static) -> Detached<T> {
        Detached(Some(Box::pin(work)))
    }
}

impl<T: Send + 'static> Future for Detached<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // Kept only if it goes on: work that panics is not polled again.
        let mut work = self.0.take().expect("polled no more once it is done");
        let outcome = work.as_mut().poll(cx);
        if outcome.is_pending() {
            self.0 = Some(work);
        }
        outcome
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(continued(async move { drop(work.await) }));
        }
    }
}
