//! Operations that outlive their callers.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

use super::request::LockFailure;
use crate::redis::Flight;
use crate::request::continued;

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
