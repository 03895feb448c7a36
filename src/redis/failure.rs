//! What can go wrong with a Redis command, sorted by the one question that a lock's caller asks: did it happen?

use super::{advice, replicas};
use crate::metrics::Label;

/// Why a command has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RedisFailure {
    /// Never left this process: no connection.
    #[error("not sent to redis: {0}")]
    NotSent(String),
    /// Came to Redis past its deadline, and so was not done.
    #[error("reached redis past its deadline, and was not applied")]
    Late,
    /// Redis answered with an error before it changed anything.
    #[error("Redis refused the command: {0}")]
    Refused(String),
    /// Redis stopped a script at one of its commands, behind what it was to do, or it is unknown where.
    #[error("Redis aborted the command: {0}")]
    Stopped(String),
    /// Sent, and no answer within the deadline, or the connection broke: the outcome is unknown.
    #[error("no reply from redis: {0}")]
    NoAnswer(String),
    /// It was done, and was to promise something (`word`), but too few replicas have it: a failover may forget it.
    #[error("too few replicas acknowledged: {why}")]
    Unreplicated { word: String, why: String },
    /// A read without an answer: whatever becomes of it, it changed nothing.
    #[error("no reply from redis to a read: {0}")]
    Unread(String),
    /// Too many requests wait for Redis already.
    #[error("{0} requests already wait for redis")]
    Overloaded(usize),
    /// An answer that no version of our scripts gives.
    #[error("a reply from redis that makes no sense: {0}")]
    Nonsense(String),
}

impl RedisFailure {
    /// Whether the command may have changed something in Redis.
    pub fn may_have_happened(&self) -> bool {
        matches!(
            self,
            RedisFailure::NoAnswer(_)
                | RedisFailure::Nonsense(_)
                | RedisFailure::Stopped(_)
                | RedisFailure::Unreplicated { .. }
        )
    }

    /// Whether nothing that was sent for it is on its way any more.
    pub(super) fn was_answered(&self) -> bool {
        !matches!(self, RedisFailure::NoAnswer(_))
    }

    /// What to change so that Redis does not refuse again, where that is known.
    pub fn advice(&self) -> Option<&str> {
        match self {
            RedisFailure::Refused(text) | RedisFailure::Stopped(text) => advice::attached(text),
            _ => None,
        }
    }

    /// The word with which Redis refused it, such as `OOM`.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            RedisFailure::Refused(text) => text.split(' ').next(),
            _ => None,
        }
    }

    /// Whether a right is missing, or a command.
    pub fn is_of_rights(&self) -> bool {
        matches!(self, RedisFailure::Refused(text) | RedisFailure::Stopped(text)
            if advice::is_of_rights(text) || text.contains("unknown command"))
    }

    /// This failure, of a command that only reads.
    pub fn of_a_read(self) -> RedisFailure {
        match self {
            RedisFailure::Stopped(text) => RedisFailure::Refused(text),
            RedisFailure::NoAnswer(text) | RedisFailure::Nonsense(text) => RedisFailure::Unread(text),
            other => other,
        }
    }

    /// Whether another server has these keys, or is about to have them; nothing was done.
    pub fn is_elsewhere(&self) -> bool {
        self.has_moved() || self.begins_with(&["ASK ", "TRYAGAIN"])
    }

    /// Whether another server has these keys, for good.
    pub(super) fn has_moved(&self) -> bool {
        self.begins_with(&["MOVED "])
    }

    /// Whether a new connection may help: the server is no master, or wants a new AUTH.
    pub(super) fn wants_reconnection(&self) -> bool {
        self.is_of_the_server() || self.begins_with(&["NOAUTH"])
    }

    /// Whether this server takes no writes now, from whomever.
    pub(super) fn is_of_the_server(&self) -> bool {
        self.begins_with(&["READONLY", "MASTERDOWN", "NOREPLICAS"])
    }

    fn begins_with(&self, prefixes: &[&str]) -> bool {
        matches!(self, RedisFailure::Refused(text) if prefixes.iter().any(|prefix| text.starts_with(prefix)))
    }

    pub(super) fn is_unknown_script(&self) -> bool {
        matches!(self, RedisFailure::Refused(text) if text.starts_with("NOSCRIPT"))
    }

    /// Whether its user lacks a right for some of it, and so nothing of it was done.
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, RedisFailure::Refused(text) if text.starts_with("NOPERM"))
    }

    /// Of a command for which there is no connection, because Redis refuses one or cannot be reached.
    pub(super) fn unconnected(reason: String) -> RedisFailure {
        // As `diagnosis` says it, with the word of Redis in brackets.
        let said = reason.split_once('(').and_then(|(_, said)| said.split([' ', ')']).next());
        if said.is_some_and(begins_with_code) {
            let text = format!("{}{reason}", advice::UNCONNECTED);
            return RedisFailure::Refused(advice::attach(&text, &advice::Patterns::default()));
        }
        RedisFailure::NotSent(reason)
    }

    /// Of an error that a command in a script raised. Those with a code of their own (OOM, READONLY, MISCONF …) come
    /// before a script's first write; a plain one is a surprise, such as a right that is missing for one command alone,
    /// and may come in the script's middle.
    pub(super) fn raised(text: String) -> RedisFailure {
        if advice::stopped_a_script(&text) {
            RedisFailure::Stopped(text)
        } else if text.starts_with("ERR ") {
            RedisFailure::Nonsense(text)
        } else {
            RedisFailure::of_an_error(text)
        }
    }

    pub(super) fn of_an_error(text: String) -> RedisFailure {
        if let Some(failure) = replicas::of_an_error(&text) {
            return failure;
        }
        // A script that catches an error returns it before it has changed anything, and without the place.
        if text.starts_with("ERR ") && text.contains("on @user_script:") {
            return RedisFailure::raised(text);
        }
        // An error reply begins with a word in capitals. All of ours come before a script's first write: a script
        // checks what it writes to first, and what Redis refuses (OOM, READONLY, MISCONF …), it refuses there.
        if begins_with_code(&text) { RedisFailure::Refused(text) } else { RedisFailure::NoAnswer(text) }
    }
}

impl Label for RedisFailure {
    fn label(&self) -> &'static str {
        match self {
            RedisFailure::NotSent(_) => "not_sent",
            RedisFailure::Late => "late",
            RedisFailure::Refused(_) => "refused",
            RedisFailure::Stopped(_) => "stopped",
            RedisFailure::NoAnswer(_) => "no_answer",
            RedisFailure::Unreplicated { .. } => "unreplicated",
            RedisFailure::Unread(_) => "unread",
            RedisFailure::Overloaded(_) => "overloaded",
            RedisFailure::Nonsense(_) => "nonsense",
        }
    }
}

fn begins_with_code(text: &str) -> bool {
    let word = text.split_whitespace().next().unwrap_or_default();
    word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_uppercase())
}
