//! A Lua script and its digest.

/// One script: loaded once into Redis, run by its digest.
#[derive(Debug)]
pub struct Script {
    /// The file's name, for metrics and logs.
    pub name: &'static str,
    pub text: &'static str,
    pub(super) sha1: String,
}

impl Script {
    pub fn new(name: &'static str, text: &'static str) -> Script {
        Script { name, text, sha1: fred::util::sha1_hash(text) }
    }
}
