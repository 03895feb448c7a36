//! What the engine writes into the audit trail. Each grant, renewal, release and loss passes here, of every API and of this
//! process's own elections, so that none of them has to write it.

use super::attempt::Outcome;
use super::holder::Holder;
use super::key::Key;
use super::lease::{Lease, Owner};
use super::record;
use super::request::{Acquired, Changed, LockFailure, Loss};
use super::scripts::Stored;
use super::token::Token;
use super::{Engine, Locks};
use crate::audit::{Audit, Entry, Event};

impl Locks {
    /// The audit trail, where there is one.
    pub fn audit(&self) -> Option<&Audit> {
        self.0.shared.audit.as_ref()
    }

    /// A hold lost its lease.
    pub fn lost(&self, lease: &Lease, why: &'static str) {
        if let Some(audit) = self.audit() {
            audit.write(Entry { reason: Some(why), since_ms: Some(lease.since_ms), ..of(Event::Lost, lease) });
        }
    }

    /// A hold released its lease, by a request without an answer.
    pub fn released(&self, lease: &Lease) {
        self.0.note_released_lease(lease);
    }

    /// A change by a token found no lease of it.
    pub fn gone(&self, token: Token) {
        self.0.note_lost(&Changed::<()>::Lost(Loss::Expired), None, token);
    }
}

impl Engine {
    /// Who asks for which key, where a refusal of it is written.
    pub fn asker(&self, key: &Key, owner: &Owner) -> Option<(Key, Owner)> {
        let audit = self.shared.audit.as_ref()?;
        audit.has(Event::Conflict).then(|| (key.clone(), owner.clone()))
    }

    /// A grant or a renewal, where an attempt ended so; a grant that is undone writes that, too. To be called where the
    /// outcome is learned even if the caller has gone, so that no grant is there without its line.
    pub fn note_granted(&self, outcome: &mut Outcome) {
        let Some(audit) = &self.shared.audit else { return };
        match outcome {
            Ok((Acquired::Granted(lease) | Acquired::Replayed(lease), unconfirmed)) => {
                audit.write(of(Event::Granted, lease));
                let undone = Entry { reason: Some("undelivered"), valid_until_ms: None, ..of(Event::Released, lease) };
                unconfirmed.tell_if_undone(audit.prepare(undone));
            }
            Ok((Acquired::Renewed(lease), _)) => audit.write(of(Event::Renewed, lease)),
            _ => {}
        }
    }

    /// A conflict, where an attempt of a caller who has not gone ended so.
    pub fn note_not_granted(&self, outcome: &Outcome, asker: Option<(Key, Owner)>) {
        let Some((key, owner)) = asker else { return };
        match outcome {
            Ok((Acquired::Held(holder, _), _)) => self.note_conflict(&key, &owner, "held", named(holder)),
            Err(LockFailure::WaitTimeout) => self.note_conflict(&key, &owner, "wait-timeout", None),
            _ => {}
        }
    }

    /// An attempt of several keys ended at this one.
    pub fn note_held(&self, key: &Key, owner: &Owner, acquired: &Acquired) {
        if let Acquired::Held(holder, _) = acquired {
            self.note_conflict(key, owner, "held", named(holder));
        }
    }

    fn note_conflict(&self, key: &Key, owner: &Owner, reason: &'static str, holder: Option<&str>) {
        let Some(audit) = self.shared.audit.as_ref().filter(|audit| audit.has(Event::Conflict)) else { return };
        let who = Some((owner.id.as_str(), owner.kind.label()));
        let (verb, key, reason) = (Some("lock"), Some(key.as_str()), Some(reason));
        audit.write(Entry { verb, who, key, reason, holder, ..Entry::new(Event::Conflict) });
    }

    /// A lease was renewed in Redis.
    pub fn note_renewed(&self, lease: &Lease) {
        if let Some(audit) = &self.shared.audit {
            audit.write(of(Event::Renewed, lease));
        }
    }

    /// Whether a release is to be shown what it released.
    pub fn tells_releases(&self) -> bool {
        self.shared.audit.as_ref().is_some_and(|audit| audit.has(Event::Released))
    }

    /// A lease was released: the text that was to be shown.
    pub fn note_released(&self, key: &Key, text: Option<bytes::Bytes>) {
        let Some(text) = text else { return };
        if let Some(lease) = record::read(key, &Stored { text, valid_until_ms: 0, left_ms: 0 }) {
            self.note_released_lease(&lease);
        }
    }

    pub fn note_released_lease(&self, lease: &Lease) {
        if let Some(audit) = &self.shared.audit {
            let since_ms = Some(lease.since_ms);
            audit.write(Entry { since_ms, valid_until_ms: None, ..of(Event::Released, lease) });
        }
    }

    /// A change by a token found that its lease is gone, if it did.
    pub fn note_lost<T>(&self, changed: &Changed<T>, key: Option<&Key>, token: Token) {
        let (Some(audit), Changed::Lost(loss)) = (&self.shared.audit, changed) else { return };
        let reason = Some(match loss {
            Loss::Expired => "expired",
            Loss::Forced => "forced",
            Loss::Superseded => "superseded",
            Loss::Capped => "max-hold",
        });
        let (key, token) = (key.map(Key::as_str), Some(token.get()));
        audit.write(Entry { key, token, reason, ..Entry::new(Event::Lost) });
    }

    pub fn note_forced(&self, lease: &Lease, reason: Option<&str>) {
        let Some(audit) = &self.shared.audit else { return };
        audit.write(Entry {
            who: None,
            reason,
            holder: Some(&lease.owner.id),
            since_ms: Some(lease.since_ms),
            valid_until_ms: None,
            ..of(Event::Forced, lease)
        });
    }

    /// A key was force-released that no lease had: its mark as a shared one was left alone.
    pub fn note_forced_none(&self, key: &Key, reason: Option<&str>) {
        if let Some(audit) = &self.shared.audit {
            audit.write(Entry { key: Some(key.as_str()), reason, ..Entry::new(Event::Forced) });
        }
    }
}

fn of(event: Event, lease: &Lease) -> Entry<'_> {
    Entry {
        who: Some((&lease.owner.id, lease.owner.kind.label())),
        key: Some(lease.key.as_str()),
        token: Some(lease.token.get()),
        valid_until_ms: (event != Event::Lost).then_some(lease.valid_until_ms),
        ..Entry::new(event)
    }
}

/// Who holds the key, where it is one.
fn named(holder: &Holder) -> Option<&str> {
    match holder {
        Holder::Lease(lease) => Some(&lease.owner.id),
        _ => None,
    }
}
