//! Several keys in one step: all of them, or none. On one Redis one script does it; on a cluster no step is one.

mod scripts;

use std::sync::Arc;
use std::time::Instant;

use super::attempt::Sending;
use super::detached::detached;
use super::holder::Holder;
use super::lease::{Lease, Mode, Owner, Ttl};
use super::request::{Acquired, Attempt, Changed, LockFailure};
use super::scripts::{AcquireRow, How, UndoRow};
use super::undo::Unconfirmed;
use super::{Engine, Key, Locks, Token, record};
use crate::redis::RedisFailure;
use scripts::AcquireAllRow;

/// How a renewal of several leases ended.
pub enum RenewedAll {
    /// Of each what became of it: on a cluster one may be lost yet.
    Renewed(Vec<Changed<Lease>>),
    /// None is renewed: of each what would have become of it.
    Refused(Vec<Changed<()>>),
}

/// How an acquire of several keys ended.
pub enum AcquiredAll {
    /// Of each key the lease, and the guard of what its caller is to be told of.
    Granted(Vec<(Acquired, Unconfirmed)>),
    /// None is granted, because of this one.
    Held(Key, Holder),
}

impl Locks {
    /// Whether several keys can be had in one step.
    pub fn are_in_one_place(&self) -> bool {
        !self.0.scripts.redis.is_cluster()
    }

    /// Asks for keys in one step, and does not wait for them: at least one, in the order in which the one is told that stands
    /// in the way. Only where [`Locks::are_in_one_place`]. When the caller has gone by the time they are granted, or Redis did
    /// not say in time whether they are, each is undone.
    pub async fn acquire_all(&self, wanted: Vec<(Key, Attempt)>) -> Result<AcquiredAll, LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter()?;
        let wanted: Vec<_> = wanted.into_iter().map(|(key, attempt)| (key, engine.capped(attempt))).collect();
        wanted.iter().for_each(|(_, attempt)| engine.shared.modes.asked(attempt.mode));
        // Detached: once sent, the outcome must be learned even if the caller has gone.
        detached(flight, async move { engine.acquire_all(wanted).await }).await
    }

    /// Sets the remaining time of leases in one step, or of none of them, as [`Locks::renew`] does of one. On a cluster they are
    /// looked at first, and then renewed.
    pub async fn renew_all(
        &self,
        leases: Vec<(Key, Token)>,
        owner: Owner,
        ttl: Option<Ttl>,
    ) -> Result<RenewedAll, LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter_always();
        detached(flight, async move {
            let identity = record::claim(owner.claim());
            if !engine.scripts.redis.is_cluster() {
                let sent = Instant::now();
                let (is_renewed, rows) =
                    engine.scripts.renew_all(&leases, &identity, ttl, engine.shared.max_ttl_ms).await?;
                let rows = leases.iter().zip(rows);
                if is_renewed {
                    let changed = rows.map(|((key, token), row)| engine.renewed(key, *token, ttl, row, sent));
                    return engine.all_renewed(&leases, changed.collect::<Result<_, _>>()?);
                }
                let checked = rows.map(|((key, token), row)| engine.checked(key, *token, row));
                return engine.none_renewed(&leases, checked.collect::<Result<_, _>>()?);
            }
            let checked: Vec<_> =
                engine.check_each(&leases, &identity, ttl).await.into_iter().collect::<Result<_, _>>()?;
            if checked.iter().any(|changed| !matches!(changed, Changed::Done(()))) {
                return engine.none_renewed(&leases, checked);
            }
            let changed = engine.renew_each(&leases, &identity, ttl).await?;
            engine.all_renewed(&leases, changed)
        })
        .await
    }

    /// What would become of leases that were renewed, of each by itself.
    pub async fn check_all(
        &self,
        leases: Vec<(Key, Token)>,
        owner: Owner,
    ) -> Result<Vec<Result<Changed<()>, LockFailure>>, LockFailure> {
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter_always();
        detached(flight, async move { Ok(engine.check_each(&leases, &record::claim(owner.claim()), None).await) }).await
    }
}

impl Engine {
    async fn acquire_all(&self, wanted: Vec<(Key, Attempt)>) -> Result<AcquiredAll, LockFailure> {
        let sendings: Vec<Sending> = wanted.iter().map(|(_, attempt)| self.sending(attempt)).collect();
        let keys: Vec<&Key> = wanted.iter().map(|(key, _)| key).collect();
        let args: Vec<_> = wanted.iter().zip(&sendings).map(|((_, attempt), sending)| sending.args(attempt)).collect();
        let sent = Instant::now();
        let answered = self.scripts.acquire_all(&keys, &args).await;
        drop(args);
        let rows = match answered {
            Ok(AcquireAllRow::Granted(rows)) => rows,
            Ok(AcquireAllRow::Refused(at, row)) => {
                let Some((key, attempt)) = wanted.get(at) else { return Err(nonsense()) };
                return self.refused(key, attempt, row, sent);
            }
            Err(failure) => return Err(self.undo_all(&wanted, sendings, failure).await),
        };
        let mut granted = Vec::with_capacity(wanted.len());
        let mut outcome = Ok(());
        for (((key, attempt), sending), row) in wanted.into_iter().zip(sendings).zip(rows) {
            let acquired = self.answered(&key, &attempt, row, sent);
            // A guard of each from here on: where one is of no use, all are undone.
            let unconfirmed = Unconfirmed::new(sending.into_undo(key, &attempt), self.undoer.clone());
            match acquired {
                Ok(acquired) => {
                    let mut one = Ok((acquired, unconfirmed));
                    self.note_granted(&mut one);
                    granted.extend(one);
                }
                Err(failure) => {
                    outcome = Err(failure);
                    drop(unconfirmed);
                }
            }
        }
        outcome.map(|()| AcquiredAll::Granted(granted))
    }

    fn refused(
        &self,
        key: &Key,
        attempt: &Attempt,
        row: AcquireRow,
        sent: Instant,
    ) -> Result<AcquiredAll, LockFailure> {
        let acquired = self.answered(key, attempt, row, sent)?;
        if attempt.mode != Mode::Exclusive {
            self.shared.modes.answered(key, attempt.mode, &acquired);
        }
        self.note_held(key, &attempt.owner, &acquired);
        match acquired {
            Acquired::Held(holder, _) => Ok(AcquiredAll::Held(key.clone(), holder)),
            Acquired::Granted(_) | Acquired::Replayed(_) | Acquired::Renewed(_) => Err(nonsense()),
        }
    }

    /// Undoes what may have been granted where Redis did not say so, and says what is known then.
    async fn undo_all(&self, wanted: &[(Key, Attempt)], sendings: Vec<Sending>, failure: RedisFailure) -> LockFailure {
        let is_unsent = matches!(failure, RedisFailure::NotSent(_) | RedisFailure::Late | RedisFailure::Overloaded(_));
        if is_unsent {
            return failure.into();
        }
        let undos = wanted.iter().zip(&sendings).map(|((key, _), sending)| {
            let undone = self.scripts.undo(key, sending.identity(), &sending.id, "");
            async move { matches!(undone.await, Ok(UndoRow::Undone | UndoRow::Nothing)) }
        });
        // Of grants that too few replicas have it is certain then that there are none.
        if let RedisFailure::Unreplicated { why, .. } = &failure
            && futures_util::future::join_all(undos).await.iter().all(|is_undone| *is_undone)
        {
            return LockFailure::TakenBack(why.clone());
        }
        for ((key, attempt), sending) in wanted.iter().zip(sendings) {
            self.undoer.push(sending.into_undo(key.clone(), attempt));
        }
        failure.into()
    }

    fn all_renewed(
        &self,
        leases: &[(Key, Token)],
        mut changed: Vec<Changed<Lease>>,
    ) -> Result<RenewedAll, LockFailure> {
        // The first answer was kept back for as long as the last one took.
        let now = Instant::now();
        for ((key, token), changed) in leases.iter().zip(&mut changed) {
            self.note_lost(changed, Some(key), *token);
            if let Changed::Done(lease) = changed {
                lease.count_down(now).map_err(LockFailure::RenewedTooLate)?;
            }
        }
        Ok(RenewedAll::Renewed(changed))
    }

    fn none_renewed(&self, leases: &[(Key, Token)], checked: Vec<Changed<()>>) -> Result<RenewedAll, LockFailure> {
        for ((key, token), checked) in leases.iter().zip(&checked) {
            self.note_lost(checked, Some(key), *token);
        }
        Ok(RenewedAll::Refused(checked))
    }

    async fn check_each(
        &self,
        leases: &[(Key, Token)],
        identity: &str,
        ttl: Option<Ttl>,
    ) -> Vec<Result<Changed<()>, LockFailure>> {
        let how = How::Check { longest_ms: self.shared.max_ttl_ms };
        let each = leases.iter().map(|(key, token)| async move {
            let row = self.scripts.renew(key, *token, identity, ttl, how).await.map_err(RedisFailure::of_a_read)?;
            self.checked(key, *token, row)
        });
        futures_util::future::join_all(each).await
    }

    async fn renew_each(
        &self,
        leases: &[(Key, Token)],
        identity: &str,
        ttl: Option<Ttl>,
    ) -> Result<Vec<Changed<Lease>>, LockFailure> {
        let how = How::Set { longest_ms: self.shared.max_ttl_ms };
        let each = leases.iter().map(|(key, token)| async move {
            let sent = Instant::now();
            let row = self.scripts.renew(key, *token, identity, ttl, how).await?;
            self.renewed(key, *token, ttl, row, sent)
        });
        futures_util::future::join_all(each).await.into_iter().collect()
    }
}

fn nonsense() -> LockFailure {
    RedisFailure::Nonsense("a key stands in the way of itself".to_owned()).into()
}
