//! What a hold is told of by an election, and tells it: see [`crate::hold`].

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::Election;
use crate::hold::{Client, Told};
use crate::lock::{Lease, LockFailure, Owner};
use crate::redis::RedisFailure;

/// The leader of an election as the client of its hold.
pub struct Leader {
    election: Arc<Election>,
    /// From when on it leads.
    from: Instant,
    /// Whether it is to end.
    end: watch::Receiver<bool>,
}

impl Leader {
    /// One that leads from then on, and what ends it.
    pub fn of(election: Arc<Election>, from: Instant) -> (Leader, watch::Sender<bool>) {
        let (send, end) = watch::channel(false);
        (Leader { election, from, end }, send)
    }
}

impl Client for Leader {
    fn told(&self, news: Told<'_>, until: Instant) {
        match news {
            Told::Acquired(_) | Told::Renewed(_) => self.election.renewed(until, true),
            Told::Left(_) | Told::Draining(_) => self.election.renewed(until, false),
            Told::Lost(_) | Told::Released => self.election.withdraw("lost"),
        }
    }

    fn gone(&self) -> BoxFuture<'_, ()> {
        let mut end = self.end.clone();
        Box::pin(async move {
            // The election lives as long as the hold.
            let _ = end.wait_for(|end| *end).await;
        })
    }

    fn rights_end(&self) -> Option<Instant> {
        None
    }

    fn may_hold<'a>(&'a self, _owner: &'a Owner) -> BoxFuture<'a, Result<bool, RedisFailure>> {
        Box::pin(std::future::ready(Ok(true)))
    }

    /// A leader that is silent cannot answer for one before it.
    fn resigns(&self) -> bool {
        self.from <= Instant::now()
    }

    fn failed(&self, lease: &Lease, failure: LockFailure, what: &str) {
        let (key, token, reason) = (lease.key.as_str(), lease.token.get(), failure.to_string());
        tracing::warn!(operation = "election", election = self.election.name, key, token, reason, "{what}");
    }
}
