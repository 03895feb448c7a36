//! Several keys at once, a bundle: all of them, or none. Its keys are acquired one after another in one order, so that no two
//! bundles wait for each other, and the leases that are there already are renewed until the last one is. Where the keys lie in
//! one place and there is no wait, they are acquired in one step. Knows no HTTP.
//!
//! Architecture invariant: until a bundle has reached its caller each of its leases has a guard of its own. So whatever ends a
//! bundle early undoes each lease by itself, and no failure of one keeps another.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use crate::lock::{
    Acquired, AcquiredAll, Attempt, Changed, Holder, Key, Lease, LockFailure, Locks, Mode, Ttl, Unconfirmed,
};

/// Leases that are there already are renewed after this part of their ttl.
const RENEWALS_IN_A_TTL: u32 = 3;
/// After a renewal that Redis did not answer, or refused.
const RETRY: Duration = Duration::from_millis(200);

/// What is asked for.
pub struct Wanted {
    /// In the order of [`in_order`].
    pub keys: Vec<(Key, Mode)>,
    /// For each of the keys, but for the mode. Its wait is that for all of them together.
    pub attempt: Attempt,
    /// Told which key is waited for.
    pub waits_for: Option<watch::Sender<Key>>,
}

/// One key of a bundle.
pub struct Leg {
    pub lease: Lease,
    pub unconfirmed: Unconfirmed,
    /// Whether it was granted now, and not to an earlier sending of the attempt.
    pub is_new: bool,
}

/// Why there is no bundle.
#[derive(Debug)]
pub enum Refusal {
    /// This key is held by another owner.
    Held(Key, Holder),
    /// The lease of this key was lost while another one was waited for.
    Lost(Key),
    /// This key could not be asked for, or its lease not be renewed.
    Failed(Key, LockFailure),
}

/// Puts keys in the order in which all bundles acquire them: that of their bytes. A key that is there twice is told.
pub fn in_order(keys: &mut [(Key, Mode)]) -> Result<(), Key> {
    keys.sort_by(|(one, _), (other, _)| one.cmp(other));
    let twice = keys.windows(2).find(|pair| pair[0].0 == pair[1].0);
    twice.map_or(Ok(()), |pair| Err(pair[0].0.clone()))
}

/// Acquires all keys, or none. In the order in which they were asked for. When it is dropped, everything is undone.
pub async fn acquire(locks: &Locks, wanted: &Wanted) -> Result<Vec<Leg>, Refusal> {
    let is_one_step = wanted.attempt.wait.is_none() && locks.are_in_one_place();
    let mut legs = if is_one_step { in_one_step(locks, wanted).await? } else { one_by_one(locks, wanted).await? };
    let are_new = legs.iter().all(|leg| leg.is_new);
    // Of the first keys less is left than of the last one; and of a lease that was replayed perhaps little, which is no
    // beginning for a hold.
    let are_whole = if is_one_step { are_new || !wanted.attempt.is_hold } else { are_new && legs.len() == 1 };
    if !are_whole {
        renew(locks, &mut legs, wanted.attempt.ttl, None).await.map_err(|unrenewed| unrenewed.refusal)?;
    }
    Ok(legs)
}

async fn in_one_step(locks: &Locks, wanted: &Wanted) -> Result<Vec<Leg>, Refusal> {
    let attempts = wanted.keys.iter().map(|(key, mode)| (key.clone(), attempt_for(wanted, *mode))).collect();
    let (first, _) = &wanted.keys[0];
    match locks.acquire_all(attempts).await {
        Ok(AcquiredAll::Held(key, holder)) => Err(Refusal::Held(key, holder)),
        Ok(AcquiredAll::Granted(granted)) => {
            let legs = granted.into_iter().zip(&wanted.keys);
            legs.map(|((acquired, unconfirmed), (key, _))| leg(key, acquired, unconfirmed)).collect()
        }
        Err(failure) => Err(Refusal::Failed(first.clone(), failure)),
    }
}

async fn one_by_one(locks: &Locks, wanted: &Wanted) -> Result<Vec<Leg>, Refusal> {
    let (mut legs, ttl) = (Vec::with_capacity(wanted.keys.len()), wanted.attempt.ttl);
    let mut renew_at = Instant::now();
    for (key, mode) in &wanted.keys {
        if legs.is_empty() {
            renew_at = Instant::now() + pause(ttl);
        }
        tell_of_turn(wanted, key);
        let acquired = tokio::select! {
            biased;
            acquired = locks.acquire(key.clone(), attempt_for(wanted, *mode)) => acquired,
            refusal = keep(locks, &mut legs, ttl, &mut renew_at) => return Err(refusal),
        };
        let (acquired, unconfirmed) = acquired.map_err(|failure| Refusal::Failed(key.clone(), failure))?;
        legs.push(leg(key, acquired, unconfirmed)?);
    }
    Ok(legs)
}

fn attempt_for(wanted: &Wanted, mode: Mode) -> Attempt {
    Attempt { mode, ..wanted.attempt.clone() }
}

fn leg(key: &Key, acquired: Acquired, unconfirmed: Unconfirmed) -> Result<Leg, Refusal> {
    match acquired {
        Acquired::Granted(lease) => Ok(Leg { lease, unconfirmed, is_new: true }),
        Acquired::Replayed(lease) | Acquired::Renewed(lease) => Ok(Leg { lease, unconfirmed, is_new: false }),
        Acquired::Held(holder, _) => Err(Refusal::Held(key.clone(), holder)),
    }
}

/// The progress of the key before says nothing of this one. Nothing is to be told of a key that is had at once.
fn tell_of_turn(wanted: &Wanted, key: &Key) {
    if let Some(progress) = wanted.attempt.wait.as_ref().and_then(|wait| wait.progress.as_ref()) {
        progress.send_if_modified(|progress| {
            *progress = None;
            false
        });
    }
    if let Some(waits_for) = &wanted.waits_for {
        waits_for.send_replace(key.clone());
    }
}

fn pause(ttl: Ttl) -> Duration {
    Duration::from_millis(ttl.as_ms()) / RENEWALS_IN_A_TTL
}

/// Renews what is there for as long as it is polled; ends when one of the leases is lost.
async fn keep(locks: &Locks, legs: &mut [Leg], ttl: Ttl, renew_at: &mut Instant) -> Refusal {
    if legs.is_empty() {
        return std::future::pending().await;
    }
    loop {
        sleep_until((*renew_at).into()).await;
        *renew_at = Instant::now() + pause(ttl);
        match renew(locks, legs, ttl, Some(pause(ttl).max(RETRY))).await {
            Ok(()) => {}
            Err(Unrenewed { refusal, is_lost: true }) => return refusal,
            // As long as Redis does not say that it is lost: who is answered has all leases renewed once more.
            Err(Unrenewed { is_lost: false, .. }) => *renew_at = Instant::now() + pause(ttl).min(RETRY),
        }
    }
}

/// A lease that was not renewed.
struct Unrenewed {
    refusal: Refusal,
    is_lost: bool,
}

/// Renews all, each by itself; where one is not renewed, says which.
async fn renew(locks: &Locks, legs: &mut [Leg], ttl: Ttl, longest: Option<Duration>) -> Result<(), Unrenewed> {
    let renewals = legs.iter_mut().map(|leg| async move {
        let renewal = locks.renew_told(&leg.lease, leg.unconfirmed.sending(), ttl);
        let renewed = match longest {
            // A renewal without an answer runs until its timeout.
            Some(longest) => timeout(longest, renewal).await.unwrap_or(Err(LockFailure::RenewedTooLate(0))),
            None => renewal.await,
        };
        let key = leg.lease.key.clone();
        match renewed {
            Ok(Changed::Done(lease)) => {
                leg.lease = lease;
                Ok(())
            }
            Ok(Changed::Lost(_) | Changed::NotYours) => Err(Unrenewed { refusal: Refusal::Lost(key), is_lost: true }),
            Err(failure) => Err(Unrenewed { refusal: Refusal::Failed(key, unapplied(failure)), is_lost: false }),
        }
    });
    let unrenewed = join_all(renewals).await.into_iter().filter_map(Result::err);
    unrenewed.reduce(|one, other| if other.is_lost && !one.is_lost { other } else { one }).map_or(Ok(()), Err)
}

/// A bundle that is not whole is undone, also where a renewal of it was done.
fn unapplied(failure: LockFailure) -> LockFailure {
    match failure {
        LockFailure::RenewedTooLate(ms) => LockFailure::TooLate(ms),
        failure => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> Vec<(Key, Mode)> {
        names.iter().map(|name| (Key::parse(name).expect("a key"), Mode::Exclusive)).collect()
    }

    #[test]
    fn keys_are_in_the_order_of_their_bytes_whatever_the_order_of_the_request() {
        let mut given = keys(&["ä", "b", "a", "B", "aa", "z"]);
        in_order(&mut given).expect("no key is there twice");
        assert_eq!(given, keys(&["B", "a", "aa", "b", "z", "ä"]));
    }

    #[test]
    fn a_key_that_is_there_twice_is_told() {
        let mut given = keys(&["b", "a", "c", "b"]);
        assert_eq!(in_order(&mut given).expect_err("it is there twice").as_str(), "b");
    }
}
