//! A lock that is taken away is told to whoever holds it here at once, and not only when it is next renewed.

use std::sync::Arc;

use tokio::sync::Notify;

use super::Line;
use crate::lock::types::{Key, Token};

/// One holder's ear for the removal of its lease.
pub struct Removal {
    lease: (Key, Token),
    told: Arc<Notify>,
    line: Arc<Line>,
}

impl Removal {
    /// Ends when Redis says that the lease was taken away. A message that is lost never ends it: renewals tell, too.
    pub async fn told(&self) {
        self.told.notified().await;
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        let mut held = self.line.held();
        // Ours and the list's: nobody else here holds the same lease, as a repetition of its attempt would.
        if Arc::strong_count(&self.told) == 2 {
            held.remove(&self.lease);
        }
    }
}

impl Line {
    pub fn removal(self: &Arc<Line>, key: Key, token: Token) -> Removal {
        let channels = self.channels(&key);
        if !self.push.hears(&channels) {
            let line = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(failure) = line.push.hear(&channels).await {
                    tracing::debug!(%failure, "cannot listen for removals yet; the next renewal tells");
                }
            });
        }
        let lease = (key, token);
        let told = Arc::clone(self.held().entry(lease.clone()).or_default());
        Removal { lease, told, line: Arc::clone(self) }
    }

    pub(super) fn removed(&self, key: &Key, token: Token) {
        if let Some(told) = self.held().get(&(key.clone(), token)) {
            told.notify_waiters();
        }
    }
}
