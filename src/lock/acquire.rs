//! Acquires a key, and waits for it where the attempt does.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::attempt::{self, Outcome, Sending};
use super::detached::Detached;
use super::holder::{Expiry, Holder};
use super::key::Key;
use super::lease::{Lease, Mode};
use super::promise::promised;
use super::request::{Acquired, Attempt, LockFailure, Why};
use super::scripts::AcquireRow;
use super::{Engine, Locks};
use crate::redis::RedisFailure;

impl Locks {
    /// Asks for a key. When the caller has gone by the time it is granted, does not confirm it, or Redis did not say in
    /// time whether it is granted, it is undone.
    pub async fn acquire(&self, key: Key, attempt: Attempt) -> Outcome {
        let engine = Arc::clone(&self.0);
        let attempt = engine.capped(attempt);
        let flight = engine.scripts.redis.enter()?;
        // A caller that waits leaves the queue when it goes: `stays` is dropped then.
        let (stays, gone) = attempt.wait.as_ref().map(|_| oneshot::channel::<()>()).unzip();
        let gone = async {
            match gone {
                Some(gone) => drop(gone.await),
                None => std::future::pending().await,
            }
        };
        engine.shared.modes.asked(attempt.mode);
        let asker = engine.asker(&key, &attempt.owner);
        let shares = (attempt.mode != Mode::Exclusive).then(|| (key.clone(), attempt.mode));
        // Detached: once sent, the outcome must be learned even if the caller has gone.
        let outcome = Detached::new(async move {
            let mut outcome = attempt::run(Arc::clone(&engine), key, attempt, flight, gone).await;
            engine.note_granted(&mut outcome);
            outcome
        })
        .await;
        drop(stays);
        self.0.note_not_granted(&outcome, asker);
        if let (Some((key, mode)), Ok((acquired, _))) = (shares, &outcome) {
            self.0.shared.modes.answered(&key, mode, acquired);
        }
        outcome
    }
}

impl Engine {
    /// The attempt, whose lease is to last no longer than any may.
    pub fn capped(&self, mut attempt: Attempt) -> Attempt {
        if !attempt.is_candidate() {
            attempt.terms.max_hold_ms = attempt.terms.max_hold_ms.or(self.shared.max_hold_ms);
        }
        attempt
    }

    /// A further sending of an attempt.
    pub fn sending(&self, attempt: &Attempt) -> Sending {
        Sending::of(attempt, self.shared.nonces.next(), self.queue.sidecar())
    }

    /// Asks Redis for a key once.
    pub async fn ask(&self, key: &Key, attempt: &Attempt, sending: &Sending) -> Result<Acquired, LockFailure> {
        let args = sending.args(attempt);
        let sent = Instant::now();
        let row = self.scripts.acquire(key, attempt.mode, args).await?;
        self.answered(key, attempt, row, sent)
    }

    /// What Redis answered to a sending for a key.
    pub fn answered(
        &self,
        key: &Key,
        attempt: &Attempt,
        row: AcquireRow,
        sent: Instant,
    ) -> Result<Acquired, LockFailure> {
        let (ttl_ms, key_ms) = (attempt.ttl.as_ms(), attempt.key_ms());
        match row {
            // An answer to another question, as after a proxy lost one.
            AcquireRow::Granted { token, .. } if token.shard() != key.shard() => {
                Err(RedisFailure::Nonsense(format!("the token {} for a key of shard {}", token.get(), key.shard()))
                    .into())
            }
            AcquireRow::Granted { token, since_ms, valid_until_ms } => {
                self.shared.ledger.granted(key.shard(), key_ms);
                self.shared.high_water.granted(token);
                let lease = Lease {
                    key: key.clone(),
                    token,
                    mode: attempt.mode,
                    owner: attempt.owner.clone(),
                    since_ms,
                    valid_until_ms,
                    ttl_ms,
                    valid_for_ms: key_ms,
                    promised_until: None,
                    terms: attempt.terms,
                    is_resting: false,
                    meta: attempt.meta.clone(),
                };
                promised(lease, ttl_ms, sent).map(Acquired::Granted).map_err(LockFailure::TooLate)
            }
            AcquireRow::Replayed(found) => {
                let lease = self.lease(key, &found)?;
                let ttl_ms = lease.ttl_ms;
                promised(lease, ttl_ms, sent).map(Acquired::Replayed).map_err(LockFailure::TooLate)
            }
            AcquireRow::Renewed(found) => {
                let lease = self.lease(key, &found)?;
                self.shared.ledger.extended(key.shard(), lease.valid_for_ms);
                let ttl_ms = ttl_ms.max(lease.ttl_ms);
                promised(lease, ttl_ms, sent).map(Acquired::Renewed).map_err(LockFailure::TooLate)
            }
            AcquireRow::Held(found) => Ok(Acquired::Held(self.holder(key, &found), Why::Exclusive)),
            AcquireRow::Own(found) => Ok(Acquired::Held(self.holder(key, &found), Why::Own)),
            AcquireRow::Shared { found, count, waiters, why } => {
                Ok(Acquired::Held(self.sharing(key, count, waiters, &found), why))
            }
            AcquireRow::Stranger => Ok(Acquired::Held(Holder::UNKNOWN, Why::Exclusive)),
            AcquireRow::Rejoining { valid_until_ms, left_ms } => {
                let expiry = Expiry { valid_until_ms, valid_for_ms: left_ms };
                Ok(Acquired::Held(Holder::Queue(expiry), Why::Queue))
            }
        }
    }
}
