//! What the audit trail says of requests that are refused. What is granted, renewed, released and lost the engine writes.

use super::failure::{Denial, Failure};
use super::route::Operation;
use super::wire::flag;
use crate::audit::{Audit, Entry, Event};
use crate::policy::Verb;

/// A refusal that the trail has: its event, and why.
pub type Refusal = (Event, &'static str);

impl Failure {
    /// The refusal that it is. `None`, too, where the trail has it from whom denied it: the policy, or the engine.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Failure::Forbidden(Denial::Policy(_)) | Failure::Held(_) | Failure::WaitTimeout(_) => None,
            Failure::OfBundle(of_bundle) => of_bundle.cause.refusal(),
            Failure::NotYours => Some((Event::Denied, "not-yours")),
            Failure::QuotaExceeded(_) => Some((Event::Denied, self.code())),
            _ => match self.row().status.as_u16() {
                401 | 403 => Some((Event::Denied, self.denied_for().unwrap_or(self.code()))),
                409 => Some((Event::Conflict, self.code())),
                _ => None,
            },
        }
    }
}

/// Writes that a request was refused, which asked for this verb.
pub fn refused(audit: &Audit, verb: Option<Verb>, (event, reason): Refusal) {
    audit.write(Entry { verb: verb.map(Verb::label), reason: Some(reason), ..Entry::new(event) });
}

/// Writes that another owner holds the lock, where no acquire of the engine found that.
pub fn held(audit: Option<&Audit>, verb: Verb) {
    if let Some(audit) = audit {
        refused(audit, Some(verb), (Event::Conflict, "held"));
    }
}

/// The verb that an operation asks for; `None` for what says nothing of a lock.
pub fn verb(operation: &Operation, query: Option<&str>) -> Option<Verb> {
    match operation {
        Operation::Release(_) if query.is_some_and(|query| flag(query, "force").unwrap_or_default()) => {
            Some(Verb::ForceRelease)
        }
        Operation::AdminLock
        | Operation::AdminRemove
        | Operation::LeaseCreate
        | Operation::LeaseRenew(_)
        | Operation::LeaseRelease(_)
        | Operation::Acquire(_)
        | Operation::Renew(_)
        | Operation::Release(_)
        | Operation::Hold(_)
        | Operation::AcquireAll
        | Operation::RenewAll
        | Operation::ReleaseAll
        | Operation::HoldAll
        | Operation::Resign(_)
        | Operation::DaprTryLock(_)
        | Operation::DaprUnlock(_) => Some(Verb::Lock),
        Operation::LeaseRemove(_) => Some(Verb::ForceRelease),
        Operation::LeaseList
        | Operation::List
        | Operation::Show(_)
        | Operation::Queue(_)
        | Operation::Status
        | Operation::Fence(_)
        | Operation::Leader
        | Operation::Election(_)
        | Operation::ElectionEvents(_)
        | Operation::Events(_)
        | Operation::EventsAll
        | Operation::Page => Some(Verb::Read),
        Operation::DaprMetadata
        | Operation::DaprHealth
        | Operation::Document
        | Operation::Errors
        | Operation::PageFile(_)
        | Operation::PageRedirect => None,
    }
}
