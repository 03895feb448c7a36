//! What a caller's limits mean for its attempts and for what it watches: the places that they need, and how long they may
//! ask for.

use super::failure::Failure;
use crate::lock::{Attempt, Key, Lease, Mode, Ttl};
use crate::quota::{HoldSeat, Quota, Seat, WatchSeat};

/// A place for an attempt; none is needed without a limit.
pub fn reserve(quota: Option<&Quota>, key: &Key, attempt: &Attempt) -> Result<Option<Seat>, Failure> {
    Ok(quota.map(|quota| quota.reserve(key, attempt)).transpose()?)
}

/// A place for one that watches, until it is dropped.
pub fn watch(quota: Option<&Quota>) -> Result<Option<WatchSeat>, Failure> {
    Ok(quota.map(Quota::watch).transpose()?)
}

/// Places for the keys of one attempt, which waits for one of them at a time.
pub fn reserve_all(quota: Option<&Quota>, keys: &[(Key, Mode)], attempt: &Attempt) -> Result<Vec<Seat>, Failure> {
    let Some(quota) = quota else { return Ok(Vec::new()) };
    let (mut of_key, mut seats) = (attempt.clone(), Vec::with_capacity(keys.len()));
    for (key, mode) in keys {
        of_key.mode = *mode;
        seats.push(quota.reserve(key, &of_key)?);
        of_key.wait = None;
    }
    Ok(seats)
}

/// The places of a hold of several keys: one for each lock, and one for the hold.
pub struct BundlePlaces(Option<(Vec<Seat>, HoldSeat)>);

impl BundlePlaces {
    pub fn reserve(quota: Option<&Quota>, keys: &[(Key, Mode)], attempt: &Attempt) -> Result<BundlePlaces, Failure> {
        let Some(of_caller) = quota else { return Ok(BundlePlaces(None)) };
        let seats = reserve_all(quota, keys, attempt)?;
        Ok(BundlePlaces(Some((seats, of_caller.hold(keys.iter().map(|(key, _)| key), attempt)?))))
    }

    /// The hold has begun, of these leases, in the order of the keys; its place is kept until the returned one is dropped.
    pub fn taken<'a>(self, leases: impl Iterator<Item = &'a Lease>) -> Option<HoldSeat> {
        self.0.map(|(seats, mut hold)| {
            seats.into_iter().zip(leases).for_each(|(seat, lease)| hold.takes(seat, lease));
            hold
        })
    }
}

/// The places of a hold: as a lock, and as a hold.
pub struct Places(Option<(Seat, HoldSeat)>);

impl Places {
    pub fn reserve(quota: Option<&Quota>, key: &Key, attempt: &Attempt) -> Result<Places, Failure> {
        let Some(of_caller) = quota else { return Ok(Places(None)) };
        let seat = of_caller.reserve(key, attempt)?;
        Ok(Places(Some((seat, of_caller.hold(std::iter::once(key), attempt)?))))
    }

    /// The hold has begun; its place is kept until the returned one is dropped.
    pub fn taken(self, lease: &Lease) -> Option<HoldSeat> {
        self.0.map(|(seat, mut hold)| {
            hold.takes(seat, lease);
            hold
        })
    }
}

/// A ttl that was asked for in this field: 400 above the caller's limit.
pub fn within(quota: Option<&Quota>, field: &str, ttl: Ttl) -> Result<Ttl, Failure> {
    match quota.and_then(Quota::ttl_ms) {
        Some(max_ms) if ttl.as_ms() > max_ms => Err(Failure::BadRequest(format!(
            "{field}: above the limit of this caller; expected a ttl of at most {max_ms} ms"
        ))),
        _ => Ok(ttl),
    }
}

/// A ttl that was not asked for: no longer than the caller's limit.
pub fn shortened(quota: Option<&Quota>, ttl: Ttl) -> Ttl {
    let max_ms = quota.and_then(Quota::ttl_ms);
    max_ms.and_then(|max_ms| Ttl::from_ms(ttl.as_ms(), max_ms).or_else(|| Ttl::from_ms(max_ms, max_ms))).unwrap_or(ttl)
}
