//! Who is asking, of sidecars that know users by their cookie and system callers by [`API_TOKEN`].

use super::{Call, Scratch, Sidecar, jwt};

pub const API_TOKEN: &str = "the api token of the tests";

/// Who is asking.
#[derive(Clone, Debug)]
pub enum Who {
    /// By a JWT in the cookie.
    User(String),
    /// By the API token.
    System,
    Nobody,
}

/// A user who may manage locks.
pub fn editor(id: &str) -> Who {
    Who::User(jwt::editor(id))
}

/// A user without any permission.
pub fn reader(id: &str) -> Who {
    Who::User(jwt::reader(id))
}

impl Sidecar {
    /// On the Redis at `url`; knows users and system callers.
    pub async fn who_knows(url: &str, flags: &[&str]) -> Sidecar {
        let scratch = Scratch::new();
        let (secret, token) = (scratch.file("secret", jwt::SECRET), scratch.file("token", API_TOKEN));
        let known = ["--jwt-secret-file", &secret, "--api-token-file", &token];
        Sidecar::start_at(url, &[&known, flags].concat()).await
    }

    pub fn ask(&self, who: &Who, method: &str, path: &str) -> Call<'_> {
        let call = self.call(method, path);
        match who {
            Who::User(token) => call.cookie(token),
            Who::System => call.bearer(API_TOKEN),
            Who::Nobody => call,
        }
    }
}
