//! What lets a hold and a waiter go on: the credential that was shown, verified again with the keys and the user directory
//! of that moment.

use std::borrow::Borrow;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use hyper::HeaderMap;
use tokio::time::{timeout, timeout_at};

use super::Context;
use super::failure::Failure;
use crate::auth::{Authenticator, Principal, Shown};
use crate::directory::Directory;
use crate::lock::{Owner, OwnerKind};
use crate::redis::RedisFailure;

/// What was verified so lately is good still.
const FRESH: Duration = Duration::from_secs(1);

/// The permit of one hold, or of one that waits.
pub struct Permit {
    authenticator: Authenticator,
    directory: Option<Directory>,
    shown: Shown,
    ends: Option<Instant>,
}

impl Permit {
    pub fn new(cx: &Context, headers: &HeaderMap) -> Permit {
        Permit::of(cx, cx.authenticator.shown(headers))
    }

    /// For what was shown.
    pub fn of(cx: &Context, shown: Shown) -> Permit {
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

/// What a wait has come to.
pub struct Turn<T> {
    pub content: T,
    /// For so long it was looked whether it may be told: a promise in it is shorter by that.
    pub checked_for: Duration,
}

/// Waits for what is to be granted to `owner`, for no longer than the credential lasts. It is verified again when the turn
/// comes, unless it just was; what was granted then is undone with what is dropped here.
pub async fn turn<T, P: Borrow<Permit>>(
    owner: &Owner,
    permit: impl FnOnce() -> P,
    acquiring: impl Future<Output = Result<T, Failure>>,
) -> Result<Turn<T>, Failure> {
    let ended = || Failure::Unauthorized("the credential is good no longer: it ended during the wait".to_owned());
    let mut acquiring = pin!(acquiring);
    if let Ok(content) = timeout(FRESH, acquiring.as_mut()).await {
        return Ok(Turn { content: content?, checked_for: Duration::ZERO });
    }
    let permit = permit();
    let permit = permit.borrow();
    let content = match permit.ends() {
        Some(end) => timeout_at(end.into(), acquiring).await.map_err(|_| ended())??,
        None => acquiring.await?,
    };
    let granted = Instant::now();
    match permit.is_valid(owner).await? {
        true => Ok(Turn { content, checked_for: granted.elapsed() }),
        false => Err(ended()),
    }
}
