//! What lets a hold and a waiter go on: the credential that the caller sent, verified again with the keys and the user
//! directory of that moment.

use std::time::{Instant, SystemTime};

use crate::api::context::Context;
use crate::auth::{Authenticator, Principal, Shown};
use crate::directory::Directory;
use crate::lock::{Owner, OwnerKind};
use crate::redis::RedisFailure;

/// The permit of one hold, or of one waiter.
pub struct Permit {
    authenticator: Authenticator,
    directory: Option<Directory>,
    shown: Shown,
    ends: Option<Instant>,
}

impl Permit {
    /// The permit of a caller who sent this credential.
    pub fn of(cx: &Context, shown: Shown) -> Permit {
        let left = cx.authenticator.good_until(&shown).map(|end| end.duration_since(SystemTime::now()));
        let ends = left.and_then(|left| Instant::now().checked_add(left.unwrap_or_default()));
        Permit { authenticator: cx.authenticator.clone(), directory: cx.directory.clone(), shown, ends }
    }

    /// When its token expires, leeway included. `None` where none was sent.
    pub fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// Whether the credential is still valid for `owner`. An error if the user directory cannot be read.
    pub async fn is_valid(&self, owner: &Owner) -> Result<bool, RedisFailure> {
        match self.authenticator.principal_of(&self.shown) {
            Ok(Principal::User(user)) if owner.kind != OwnerKind::User || owner.id != user.id => Ok(false),
            Ok(Principal::User(user)) => match &self.directory {
                Some(directory) => Ok(directory.find(user).await?.is_some()),
                None => Ok(true),
            },
            // A caller who needed no credential before needs none now: no reloaded file decides that.
            Ok(Principal::Anonymous) => Ok(is_of(owner, || "anonymous".to_owned())),
            Ok(Principal::System(credential)) => Ok(is_of(owner, || credential.to_string())),
            Err(_) => Ok(false),
        }
    }
}

/// Whether it is a service caller's owner, who came by this credential as far as a policy tells them apart.
fn is_of(owner: &Owner, credential: impl FnOnce() -> String) -> bool {
    owner.kind == OwnerKind::System && owner.credential.as_deref().is_none_or(|came| came == credential())
}
