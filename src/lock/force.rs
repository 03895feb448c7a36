//! Force-releases a lease, of any owner.

use std::sync::Arc;

use super::Locks;
use super::detached::detached;
use super::key::Key;
use super::lease::Lease;
use super::request::{Forced, LockFailure, Target};
use super::scripts::{ForceRow, Stored};
use crate::request::Caller;

impl Locks {
    /// Removes a lease of any owner, or all that share a key. `by` and `reason` say who did it and why, for the log.
    pub async fn force(&self, target: Target, by: Caller, reason: Option<&str>) -> Result<Forced, LockFailure> {
        let reason = reason.map(str::to_owned);
        let engine = Arc::clone(&self.0);
        let flight = engine.scripts.redis.enter()?;
        detached(flight, async move {
            let (key, token) = match target {
                Target::Key(key) => (key, None),
                Target::Lease(which) => match engine.find(which).await? {
                    Some((key, token)) => (key, Some(token)),
                    None => return Ok(Forced::Free),
                },
            };
            match engine.scripts.force(&key, token).await? {
                ForceRow::Forced(texts) => {
                    let taken = texts
                        .into_iter()
                        .map(|text| engine.lease(&key, &Stored { text, valid_until_ms: 0, left_ms: 0 }))
                        .collect::<Result<Vec<Lease>, _>>()?;
                    for lease in &taken {
                        log(lease, &by, reason.as_deref());
                        engine.note_forced(lease, reason.as_deref());
                    }
                    if taken.is_empty() {
                        log_of_none(&key, &by, reason.as_deref());
                        engine.note_forced_none(&key, reason.as_deref());
                    }
                    Ok(Forced::Taken(taken))
                }
                ForceRow::Free => Ok(Forced::Free),
                ForceRow::Other | ForceRow::Stranger => Ok(Forced::Other),
            }
        })
        .await
    }
}

fn log(lease: &Lease, by: &Caller, reason: Option<&str>) {
    let (holder, holder_kind) = (lease.owner.id.as_str(), lease.owner.kind.label());
    let (by, by_kind) = (by.id(), by.kind());
    let (key, token) = (lease.key.as_str(), lease.token.get());
    tracing::warn!(target: "lockside.audit", key, token, by, by_kind, holder, holder_kind, reason, "lock force-released");
}

/// Of a key that was taken by the mark of a shared one alone.
fn log_of_none(key: &Key, by: &Caller, reason: Option<&str>) {
    let (key, by, by_kind) = (key.as_str(), by.id(), by.kind());
    tracing::warn!(target: "lockside.audit", key, by, by_kind, reason, "lock force-released");
}
