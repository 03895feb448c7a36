//! A Lua script and its digest.

use std::sync::LazyLock;

/// One script: loaded once into Redis, run by its digest.
#[derive(Debug)]
pub struct Script {
    /// The file's name, for metrics and logs.
    pub name: &'static str,
    pub text: &'static str,
    /// The script that runs this one together with others in one call, by its name.
    pub batch: Option<&'static LazyLock<Script>>,
    pub(super) sha1: String,
}

impl Script {
    pub fn new(name: &'static str, text: &'static str) -> Script {
        Script { name, text, batch: None, sha1: fred::util::sha1_hash(text) }
    }

    pub fn batched_by(self, batch: &'static LazyLock<Script>) -> Script {
        Script { batch: Some(batch), ..self }
    }
}

/// What one run of a script is given.
#[derive(Debug, Default)]
pub struct Call {
    pub keys: Vec<String>,
    pub args: Vec<String>,
}
