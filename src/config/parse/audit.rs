//! From the flags of the audit trail to settings.

use super::{Check, given, or_none};
use crate::audit::{AuditConfig, Destination, Scope};
use crate::config::flags::AuditFlags;

impl Check {
    /// `Some(None)`: no trail. A file is opened, and made where there is none.
    pub fn audit(&mut self, flags: &AuditFlags) -> Option<Option<AuditConfig>> {
        let scope = self.take("--audit-events", Scope::parse(&flags.audit_events));
        let destination = given(&flags.audit).map(|path| {
            let opened = Destination::open(path);
            self.take("--audit", opened.map_err(|error| format!("cannot write `{path}`: {error}")))
        });
        let (destination, scope) = (or_none(destination)?, scope?);
        Some(destination.map(|destination| AuditConfig { destination, scope }))
    }
}
