//! Who is believed, and what callers without a credential may do.

use super::{Anonymous, ApiTokens, CookieName, KeySource};
use crate::policy::{Limits, Permissions, Policy};
use crate::secret::Reloaded;

#[derive(Clone, Debug)]
pub struct AuthConfig {
    pub jwt: Option<KeySource>,
    /// The cookie that carries a user's JWT.
    pub cookie_name: CookieName,
    /// Where a JWT lists the permissions of its user, and which of them is the one to manage locks.
    pub permissions: Permissions,
    pub api_tokens: ApiTokens,
    /// Who may do what; `None`: each caller that is served may do all that `anonymous` and `manage-locks` leave.
    pub policy: Option<Reloaded<Policy>>,
    /// What a caller may have at once, of whom the policy says nothing.
    pub limits: Limits,
    pub user_directory: bool,
    /// What callers without a credential may do, where that was said.
    pub anonymous: Option<Anonymous>,
}

impl AuthConfig {
    /// Whether callers can authenticate: a JWT key or an API token is configured.
    pub fn has_credential(&self) -> bool {
        self.jwt.is_some() || self.api_tokens.are_set()
    }
}
