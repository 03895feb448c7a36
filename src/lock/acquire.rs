//! Acquires a key, and waits for it where the attempt does.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::attempt::{self, Outcome, Sending};
use super::detached::Detached;
use super::key::Key;
use super::lease::Lease;
use super::request::{Acquired, Attempt, Expiry, Holder, LockFailure};
use super::scripts::{AcquireArgs, AcquireRow};
use super::{Engine, Locks, promised};
use crate::redis::RedisFailure;

impl Locks {
    /// Asks for a key. When the caller has gone by the time it is granted, does not confirm it, or Redis did not say in
    /// time whether it is granted, it is undone.
    pub async fn acquire(&self, key: Key, attempt: Attempt) -> Outcome {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter()?;
        // A caller that waits leaves the queue when it goes: `stays` is dropped then.
        let (stays, gone) = attempt.wait.as_ref().map(|_| oneshot::channel::<()>()).unzip();
        let gone = async {
            match gone {
                Some(gone) => drop(gone.await),
                None => std::future::pending().await,
            }
        };
        // Detached: once sent, the outcome must be learned even if the caller has gone.
        let outcome = Detached::new(attempt::run(engine, key, attempt, flight, gone)).await;
        drop(stays);
        outcome
    }
}

impl Engine {
    /// A further sending of an attempt.
    pub fn sending(&self, attempt: &Attempt) -> Sending {
        Sending::of(attempt, self.shared.nonces.next(), self.queue.sidecar())
    }

    /// Asks Redis for a key once.
    pub async fn ask(&self, key: &Key, attempt: &Attempt, sending: &Sending) -> Result<Acquired, LockFailure> {
        let ttl = attempt.ttl;
        let args = AcquireArgs {
            ttl,
            identity: sending.identity(),
            nonce: sending.nonce(),
            further: &sending.further,
            reentry: attempt.reentry,
            request: &sending.request,
        };
        let sent = Instant::now();
        match self.scripts.acquire(key, args).await? {
            // An answer to another question, as after a proxy lost one.
            AcquireRow::Granted { token, .. } if token.shard() != key.shard() => {
                Err(RedisFailure::Nonsense(format!("the token {} for a key of shard {}", token.get(), key.shard()))
                    .into())
            }
            AcquireRow::Granted { token, since_ms, valid_until_ms } => {
                self.shared.ledger.granted(key.shard(), ttl.as_ms());
                self.shared.high_water.granted(token);
                let (key, ttl_ms) = (key.clone(), ttl.as_ms());
                let (owner, meta) = (attempt.owner.clone(), attempt.meta.clone());
                let lease = Lease { key, token, owner, since_ms, valid_until_ms, ttl_ms, valid_for_ms: ttl_ms, meta };
                promised(lease, ttl_ms, sent).map(Acquired::Granted).map_err(LockFailure::TooLate)
            }
            AcquireRow::Replayed(found) => {
                let lease = self.lease(key, &found)?;
                let left_ms = lease.valid_for_ms;
                promised(lease, left_ms, sent).map(Acquired::Replayed).map_err(LockFailure::TooLate)
            }
            AcquireRow::Renewed(found) => {
                let lease = self.lease(key, &found)?;
                self.shared.ledger.extended(key.shard(), lease.valid_for_ms);
                let left_ms = lease.valid_for_ms;
                promised(lease, left_ms, sent).map(Acquired::Renewed).map_err(LockFailure::TooLate)
            }
            AcquireRow::Held(found) => Ok(Acquired::Held(self.holder(key, &found))),
            AcquireRow::Stranger => Ok(Acquired::Held(Holder::UNKNOWN)),
            AcquireRow::Rejoining { valid_until_ms, left_ms } => {
                Ok(Acquired::Held(Holder::Queue(Expiry { valid_until_ms, valid_for_ms: left_ms })))
            }
        }
    }
}
