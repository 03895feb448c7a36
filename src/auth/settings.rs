//! Who is believed, and what callers without a credential may do.

use super::Anonymous;
use super::jwt::Verifier;
use crate::secret::{Reloaded, Secret};

#[derive(Clone, Debug)]
pub struct AuthConfig {
    pub jwt: Option<Reloaded<Verifier>>,
    pub api_token: Option<Reloaded<Secret>>,
    pub user_directory: bool,
    /// What callers without a credential may do, where that was said.
    pub anonymous: Option<Anonymous>,
}

impl AuthConfig {
    /// Whether callers can authenticate: a JWT key or an API token is configured.
    pub fn has_credential(&self) -> bool {
        self.jwt.is_some() || self.api_token.is_some()
    }
}
