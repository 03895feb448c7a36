//! What a hold is told of by an election, and tells it: see [`crate::hold`].

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::Election;
use crate::hold::{Client, Told};
use crate::lock::{Lease, LockFailure, Owner};
use crate::redis::RedisFailure;

/// Why a leader wants to lead no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// It resigns, or is being stopped: the next one leads at once.
    Resigned,
    /// Its app is not healthy, and so has not asked for a while: it may still count on its last answer, and the next one
    /// waits until that has ended.
    Unhealthy,
}

/// The leader of an election as the client of its hold.
pub struct Leader {
    election: Arc<Election>,
    /// From when on it leads.
    from: Instant,
    /// Why it is to end, once it is.
    end: watch::Receiver<Option<Withdrawal>>,
}

impl Leader {
    /// One that leads from then on, and what ends it.
    pub fn of(election: Arc<Election>, from: Instant) -> (Leader, watch::Sender<Option<Withdrawal>>) {
        let (send, end) = watch::channel(None);
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
            let _ = end.wait_for(Option::is_some).await;
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
        self.from <= Instant::now() && *self.end.borrow() != Some(Withdrawal::Unhealthy)
    }

    fn failed(&self, lease: &Lease, failure: LockFailure, what: &str) {
        let (key, token, reason) = (lease.key.as_str(), lease.token.get(), failure.to_string());
        tracing::warn!(operation = "election", election = self.election.name, key, token, reason, "{what}");
    }
}
