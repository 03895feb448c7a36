//! Settings of the audit trail.

use super::file::Destination;

#[derive(Clone, Debug)]
pub struct AuditConfig {
    pub destination: Destination,
    pub scope: Scope,
}

/// Which events are written; each scope has those of the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Force-releases, and what was denied.
    Denials,
    /// Grants, releases and losses.
    Changes,
    /// Renewals, and requests that conflict with a lock.
    All,
}

impl Scope {
    /// As the flag has it.
    pub fn parse(text: &str) -> Result<Scope, String> {
        match text {
            "force,denied" => Ok(Scope::Denials),
            "changes" => Ok(Scope::Changes),
            "all" => Ok(Scope::All),
            _ => Err(format!("`{text}`; expected `force,denied`, changes or all")),
        }
    }
}
