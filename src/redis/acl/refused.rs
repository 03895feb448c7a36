//! What Redis refused to the ACL user: told in the log with what to change, and known until Redis allows it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use super::missing::Missing;
use super::steps::{self, Command};
use super::{Needs, advice};
use crate::redis::Patterns;
use crate::redis::operation::RedisOperation;

/// What is to be changed is told again after this long.
const REPEAT: Duration = Duration::from_secs(60);

/// What Redis refuses to this user.
pub(in crate::redis) struct Rights {
    pub(super) needs: OnceLock<Needs>,
    /// The commands of its scripts: read off their texts once, since there are many.
    commands: OnceLock<BTreeSet<Command>>,
    refused: Mutex<Option<Refused>>,
    /// Whether `refused` applies.
    is_refused: AtomicBool,
    /// What was asked for last, and when.
    pub(super) missing: Mutex<Option<(Instant, Missing)>>,
}

pub(super) struct Refused {
    text: String,
    last: Instant,
    told: Instant,
    /// What for, where that is known.
    pub(super) operation: Option<RedisOperation>,
}

impl Rights {
    pub(in crate::redis) fn new() -> Rights {
        Rights {
            needs: OnceLock::new(),
            commands: OnceLock::new(),
            refused: Mutex::new(None),
            is_refused: AtomicBool::new(false),
            missing: Mutex::new(None),
        }
    }

    /// What the user must be allowed in this namespace.
    pub(in crate::redis) fn know(&self, needs: Needs) {
        // Said once.
        let _ = self.needs.set(needs);
    }

    /// The commands of all scripts of these needs, which are this user's.
    pub(super) fn commands_of(&self, needs: &Needs) -> &BTreeSet<Command> {
        self.commands.get_or_init(|| needs.scripts.iter().flat_map(|script| steps::commands(&script.text)).collect())
    }

    /// A refusal with what to change; where that is a right, it is told in the log, unless it just was.
    pub(in crate::redis) fn advise(&self, text: &str) -> String {
        let unknown = Patterns { keys: "~{PREFIX:*}:*".to_owned(), channels: "&PREFIX:push:*".to_owned() };
        let text = advice::attach(text, self.needs.get().map_or(&unknown, |needs| &needs.patterns));
        if advice::is_of_rights(&text) {
            self.learn(&text);
        }
        text
    }

    fn learn(&self, text: &str) {
        let now = Instant::now();
        let mut refused = self.lock();
        let is_the_same = |known: &&Refused| advice::attached(&known.text) == advice::attached(text);
        let told = match refused.as_ref().filter(is_the_same) {
            Some(known) if known.told.elapsed() < REPEAT => known.told,
            _ => {
                tracing::error!("redis ACL: permission denied: {text}");
                now
            }
        };
        *refused = Some(Refused { text: text.to_owned(), last: now, told, operation: None });
        self.is_refused.store(true, Ordering::Relaxed);
    }

    /// What Redis refused within the last minute, and what to change; unless it has allowed it since.
    pub(in crate::redis) fn refused(&self) -> Option<String> {
        self.current(|refused| format!("redis ACL: permission denied: {}", refused.text))
    }

    /// Whether that was of a script.
    pub(in crate::redis) fn refuses_a_script(&self) -> bool {
        self.current(|refused| matches!(refused.operation, Some(RedisOperation::Script(_)))).unwrap_or(false)
    }

    fn current<T>(&self, of: impl FnOnce(&Refused) -> T) -> Option<T> {
        if !self.is_refused.load(Ordering::Relaxed) {
            return None;
        }
        self.lock().as_ref().filter(|known| known.last.elapsed() < REPEAT).map(of)
    }

    /// The last refusal was of this operation.
    pub(in crate::redis) fn were_refused_to(&self, operation: RedisOperation) {
        if let Some(refused) = self.lock().as_mut() {
            refused.operation = Some(operation);
        }
    }

    /// Takes in that an operation was done: Redis allows it again.
    pub(in crate::redis) fn succeeded(&self, operation: RedisOperation) {
        self.forget_if(|refused| refused.operation == Some(operation));
    }

    /// What was refused until now need not be refused any more. When it was told stays known.
    pub(in crate::redis) fn forget(&self) {
        self.forget_if(|_| true);
    }

    pub(super) fn forget_if(&self, is_over: impl FnOnce(&Refused) -> bool) {
        if self.is_refused.load(Ordering::Relaxed) && self.lock().as_ref().is_some_and(is_over) {
            self.is_refused.store(false, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Refused>> {
        self.refused.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_ends_with_the_connection_and_with_what_succeeds_under_that_right() {
        let (rights, renew) = (Rights::new(), RedisOperation::Script("renew"));
        let refuse = || {
            rights.advise("NOPERM this user has no permissions to run the 'pexpireat' command");
            rights.were_refused_to(renew);
        };
        refuse();
        rights.succeeded(RedisOperation::Script("acquire"));
        assert!(rights.refused().is_some_and(|text| text.contains("+pexpireat")) && rights.refuses_a_script());
        rights.succeeded(renew);
        assert_eq!((rights.refused(), rights.refuses_a_script()), (None, false));
        refuse();
        assert!(rights.refused().is_some());
        rights.forget();
        assert_eq!(rights.refused(), None);
    }
}
