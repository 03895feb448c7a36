//! What lets a hold go on: the credential that it was asked for with, verified again with the keys and the user directory
//! of that moment.

use std::time::{Instant, SystemTime};

use hyper::HeaderMap;

use super::Context;
use crate::auth::{Authenticator, Principal, Shown};
use crate::directory::Directory;
use crate::lock::{Owner, OwnerKind};
use crate::redis::RedisFailure;

/// The permit of one hold.
pub struct Permit {
    authenticator: Authenticator,
    directory: Option<Directory>,
    shown: Shown,
    ends: Option<Instant>,
}

impl Permit {
    pub fn new(cx: &Context, headers: &HeaderMap) -> Permit {
        let shown = cx.authenticator.shown(headers);
        let left = cx.authenticator.good_until(&shown).map(|end| end.duration_since(SystemTime::now()));
        let ends = left.and_then(|left| Instant::now().checked_add(left.unwrap_or_default()));
        Permit { authenticator: cx.authenticator.clone(), directory: cx.directory.clone(), shown, ends }
    }

    /// When it ends by itself: with its token, leeway included. `None` where no token was shown.
    pub fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// Whether it still lets `owner` go on. An error where the user directory does not say.
    pub async fn is_valid(&self, owner: &Owner) -> Result<bool, RedisFailure> {
        match self.authenticator.principal_of(&self.shown) {
            Ok(Principal::User(user)) if owner.kind != OwnerKind::User || owner.id != user.id => Ok(false),
            Ok(Principal::User(user)) => match &self.directory {
                Some(directory) => Ok(directory.find(user).await?.is_some()),
                None => Ok(true),
            },
            // Who needed no credential then needs none now: that is not a matter of files.
            Ok(Principal::System | Principal::Anonymous) => Ok(owner.kind == OwnerKind::System),
            Err(_) => Ok(false),
        }
    }
}
