//! All API tokens: the one of `--api-token-file`, and those of a folder.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use super::token_folder::TokenFolder;
use crate::secret::{Reloaded, Secret, Watched};

/// The name of an API token.
pub type TokenName = Arc<str>;

/// The name of the token of `--api-token-file`.
pub const DEFAULT_TOKEN: &str = "default";

/// By which credential a service caller came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceCredential {
    /// The API token of this name.
    Token(TokenName),
    /// A client certificate, by its first URI or DNS name.
    Certificate(Arc<str>),
}

/// As the policy and the audit trail name it.
impl Display for ServiceCredential {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            ServiceCredential::Token(name) => write!(f, "token:{name}"),
            ServiceCredential::Certificate(name) => write!(f, "cert:{name}"),
        }
    }
}

/// All API tokens that callers may send.
#[derive(Clone, Debug)]
pub struct ApiTokens {
    single: Option<(TokenName, Reloaded<Secret>)>,
    folder: Option<TokenFolder>,
}

impl ApiTokens {
    pub fn new(single: Option<Reloaded<Secret>>, folder: Option<TokenFolder>) -> ApiTokens {
        ApiTokens { single: single.map(|token| (DEFAULT_TOKEN.into(), token)), folder }
    }

    /// Whether callers may send one.
    pub fn are_set(&self) -> bool {
        self.single.is_some() || self.folder.is_some()
    }

    /// The names of all of them.
    pub fn names(&self) -> Vec<TokenName> {
        let single = self.single.iter().map(|(name, _)| Arc::clone(name));
        let folder = self
            .folder
            .iter()
            .flat_map(|folder| folder.now().iter().map(|(name, _)| Arc::clone(name)).collect::<Vec<_>>());
        single.chain(folder).collect()
    }

    /// The name of the token that was sent. All are compared, whichever it is.
    pub fn name_of(&self, shown: &str) -> Option<TokenName> {
        let is_it = |token: &Secret| token.is_text(shown);
        let mut found = self.single.as_ref().filter(|(_, token)| is_it(&token.now())).map(|(name, _)| Arc::clone(name));
        if let Some(folder) = &self.folder {
            for (name, token) in folder.now().iter() {
                if is_it(token) {
                    found = Some(Arc::clone(name));
                }
            }
        }
        found
    }

    /// What to follow while we run.
    pub fn files(&self) -> impl Iterator<Item = Box<dyn Watched>> {
        let single = self.single.as_ref().and_then(|(_, token)| token.file());
        let folder = self.folder.clone().map(|folder| Box::new(folder) as Box<dyn Watched>);
        single.into_iter().chain(folder)
    }
}
