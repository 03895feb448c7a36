//! What lets a hold and a waiter go on: the credential that the caller sent, verified again with the keys and the user
//! directory of that moment.

use std::sync::Mutex;
use std::time::{Instant, SystemTime};

use crate::api::context::Context;
use crate::auth::{Authenticator, Principal, Shown, Unauthorized};
use crate::directory::Directory;
use crate::lock::held::SIGN_OF_LIFE;
use crate::lock::{Owner, OwnerKind};
use crate::redis::RedisFailure;

/// The permit of one hold, or of one waiter.
pub struct Permit {
    authenticator: Authenticator,
    directory: Option<Directory>,
    shown: Shown,
    ends: Option<Instant>,
    /// Since when its key is not known.
    doubted: Mutex<Option<Instant>>,
}

impl Permit {
    /// The permit of a caller who sent this credential.
    pub fn of(cx: &Context, shown: Shown) -> Permit {
        let left = cx.authenticator.good_until(&shown).map(|end| end.duration_since(SystemTime::now()));
        let ends = left.and_then(|left| Instant::now().checked_add(left.unwrap_or_default()));
        let (authenticator, directory) = (cx.authenticator.clone(), cx.directory.clone());
        Permit { authenticator, directory, shown, ends, doubted: Mutex::default() }
    }

    /// When its token expires, leeway included, or its client certificate. `None` where neither was sent.
    pub fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// Resolves when the client certificate of the connection is refused; never where there is none.
    pub async fn certificate_refused(&self) {
        let Some(certificate) = self.shown.certificate() else { return std::future::pending().await };
        while certificate.check().is_ok() {
            tokio::time::sleep(SIGN_OF_LIFE).await;
        }
    }

    /// Whether the credential is still valid for `owner`. An error if the user directory cannot be read.
    pub async fn is_valid(&self, owner: &Owner) -> Result<bool, RedisFailure> {
        match self.principal() {
            Ok(Principal::User(user)) if owner.kind != OwnerKind::User || owner.id != user.id => Ok(false),
            Ok(Principal::User(user)) => match &self.directory {
                Some(directory) => Ok(directory.find(user).await?.is_some()),
                None => Ok(true),
            },
            // A caller who needed no credential before needs none now: no reloaded file decides that.
            Ok(Principal::Anonymous) => Ok(is_of(owner, || "anonymous".to_owned())),
            Ok(Principal::System(credential)) => Ok(is_of(owner, || credential.to_string())),
            Err(Unauthorized::UnknownKey(_)) if self.is_doubtful() => Ok(true),
            Err(_) => Ok(false),
        }
    }

    /// Waits for a key that is no longer known. An error where the keys were not fetched again in time.
    pub async fn settle(&self) -> Result<(), Unauthorized> {
        let doubted = Instant::now();
        let settled = self.authenticator.settle(&self.shown).await;
        self.doubted.lock().expect("no holder of this lock panics").get_or_insert(doubted);
        settled
    }

    fn principal(&self) -> Result<Principal, Unauthorized> {
        let principal = self.authenticator.principal_of(&self.shown);
        if principal.is_ok() {
            *self.doubted.lock().expect("no holder of this lock panics") = None;
        }
        principal
    }

    /// Whether the keys were not fetched since one was found missing: a single answer of the issuer that lacks it ends
    /// nothing, and a renewal does not wait for the next one.
    fn is_doubtful(&self) -> bool {
        let doubted = *self.doubted.lock().expect("no holder of this lock panics").get_or_insert_with(Instant::now);
        !self.authenticator.has_fetched_since(doubted)
    }
}

/// Whether it is a service caller's owner, who came by this credential as far as a policy tells them apart.
fn is_of(owner: &Owner, credential: impl FnOnce() -> String) -> bool {
    owner.kind == OwnerKind::System && owner.credential.as_deref().is_none_or(|came| came == credential())
}
