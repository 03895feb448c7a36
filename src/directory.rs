//! The user directory: a Redis hash of who is known and active, written by what manages users. Knows Redis; knows
//! no lock and no route.

use serde::Deserialize;

use crate::auth::User;
use crate::redis::{Purpose, Redis, RedisFailure};

/// Looks users up, where that is configured.
#[derive(Clone)]
pub struct Directory {
    redis: Redis,
    hash: String,
}

/// A user's entry: `{"label", "description", "active"}`.
#[derive(Deserialize)]
struct Entry {
    label: Option<String>,
    description: Option<String>,
    active: bool,
}

impl Directory {
    /// A directory in the Redis hash `hash`: field = user id.
    pub fn new(redis: Redis, hash: String) -> Directory {
        Directory { redis, hash }
    }

    /// Whether users can be looked up: looks for one that there is not.
    pub async fn probe(&self) -> Result<(), RedisFailure> {
        let redis = self.redis.for_purpose(Purpose::Probe);
        redis.hash_field(&self.hash, "").await.map(|_| ()).map_err(RedisFailure::of_a_read)
    }

    /// The user as the directory knows them; `None` when it does not, or they are not active.
    pub async fn find(&self, user: User) -> Result<Option<User>, RedisFailure> {
        let _flight = self.redis.enter()?;
        let Some(text) = self.redis.hash_field(&self.hash, &user.id).await.map_err(RedisFailure::of_a_read)? else {
            return Ok(None);
        };
        let id = user.id.clone();
        Ok(known(&text, user).unwrap_or_else(|error| {
            tracing::error!(user = id, %error, hash = self.hash, "a user's entry cannot be read; refusing the user");
            None
        }))
    }
}

/// The user as their entry describes them; `None` where it says that they are not active.
pub(crate) fn known(entry: &[u8], user: User) -> Result<Option<User>, serde_json::Error> {
    let entry: Entry = serde_json::from_slice(entry)?;
    Ok(entry.active.then(|| User {
        label: entry.label.or(user.label),
        description: entry.description.or(user.description),
        ..user
    }))
}
