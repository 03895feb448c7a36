//! From a request's headers to who is asking. Knows tokens and cookies; knows no lock and no route.

mod anonymous;
mod authenticator;
mod bearer;
mod cookies;
mod form;
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/auth.rs"]
pub mod fuzz;
mod jwk_set;
pub mod jwt;
mod key_set;
mod key_source;
mod keys;
mod settings;
mod token_folder;
mod tokens;
mod unauthorized;
mod verified;

pub use anonymous::{Anonymous, Facts};
pub use authenticator::{Authenticator, Shown};
pub use bearer::{bearer_token, unwise_if_short};
pub use cookies::CookieName;
use jwt::AllClaims;
pub use key_set::{KeySet, Origin, check_url};
pub use key_source::KeySource;
pub use settings::AuthConfig;
pub use token_folder::TokenFolder;
pub use tokens::{ApiTokens, DEFAULT_TOKEN, ServiceCredential, TokenName};
pub use unauthorized::Unauthorized;

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A caller with a JWT.
    User(User),
    /// A service caller, by its credential.
    System(ServiceCredential),
    /// A caller without a credential.
    Anonymous,
}

/// A user whose JWT was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: String,
    pub label: Option<String>,
    pub description: Option<String>,
    pub manages_locks: bool,
    pub credential: Credential,
    /// What the token says altogether, where a policy may ask for it.
    pub claims: Option<AllClaims>,
}

/// What a user showed. A browser sends a cookie by itself, so that a page of another site can make it do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    Header,
    Cookie,
}
