//! Where the keys of JWTs come from: a file that is followed, or a URL that is fetched.

use std::sync::Arc;

use super::jwt::Verifier;
use super::key_set::KeySet;
use super::unauthorized::Unauthorized;
use crate::secret::{Reloaded, Watched};

/// Where the keys of JWTs come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    File(Reloaded<Verifier>),
    Url(KeySet),
}

impl KeySource {
    /// What verifies tokens now; an error while keys were never fetched.
    pub fn now(&self) -> Result<Arc<Verifier>, Unauthorized> {
        match self {
            KeySource::File(verifier) => Ok(verifier.now()),
            KeySource::Url(set) => set.now(),
        }
    }

    /// The file to follow, where they come from one.
    pub fn file(&self) -> Option<Box<dyn Watched>> {
        match self {
            KeySource::File(verifier) => verifier.file(),
            KeySource::Url(_) => None,
        }
    }

    /// The set to fetch, where they come from a URL.
    pub fn set(&self) -> Option<&KeySet> {
        match self {
            KeySource::File(_) => None,
            KeySource::Url(set) => Some(set),
        }
    }
}
