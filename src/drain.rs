//! The end of the process: every part that waits, serves or holds ends once the drain has begun.

use tokio::sync::watch;

/// Whether the process is being stopped. Cheap to clone.
#[derive(Clone)]
pub struct Drain(watch::Receiver<bool>);

impl Drain {
    /// A drain that begins when the sender says true; also when it is dropped, since nothing could begin it afterwards.
    pub fn channel() -> (watch::Sender<bool>, Drain) {
        let (begin, begun) = watch::channel(false);
        (begin, Drain(begun))
    }

    pub fn has_begun(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Ends when the drain begins.
    pub fn begun(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut begun = self.0.clone();
        async move { drop(begun.wait_for(|begun| *begun).await) }
    }
}
