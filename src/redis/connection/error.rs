//! The client library's errors: as failures of a command, and as problems of a connection.

use fred::error::{Error, ErrorKind};

use crate::redis::{RedisFailure, advice};

/// Why a connection is not made, or broke: as the client library says it.
#[derive(Clone, Debug)]
pub struct Problem {
    pub kind: Kind,
    pub text: String,
}

/// What sort of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Timeout,
    Canceled,
    Protocol,
    Other,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        let kind = match error.kind() {
            ErrorKind::Timeout => Kind::Timeout,
            ErrorKind::Canceled => Kind::Canceled,
            ErrorKind::Protocol => Kind::Protocol,
            _ => Kind::Other,
        };
        Problem { kind, text: error.details().to_owned() }
    }
}

impl From<Problem> for RedisFailure {
    fn from(problem: Problem) -> RedisFailure {
        RedisFailure::of_an_error(advice::without_args(&problem.text).to_owned())
    }
}

impl From<Error> for RedisFailure {
    fn from(error: Error) -> RedisFailure {
        let text = advice::without_args(error.details()).to_owned();
        match error.kind() {
            ErrorKind::Backpressure => RedisFailure::NotSent(text),
            // The client library answers all that is under way with the refusal of one.
            ErrorKind::Cluster if text.starts_with("CLUSTERDOWN") => RedisFailure::NoAnswer(text),
            _ => RedisFailure::of_an_error(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reply_did_not_happen_and_a_silence_may_have() {
        let of = |kind, text: &'static str| RedisFailure::from(Error::new(kind, text)).may_have_happened();
        for reply in [
            "OOM command not allowed when used memory > 'maxmemory'.",
            "READONLY You can't write against a read only replica.",
            "LOADING Redis is loading the dataset in memory",
            "BUSY Redis is busy running a script.",
            "NOSCRIPT No matching script.",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "ERR unknown command",
            "ERR The user executing the script can't run this command or subcommand",
        ] {
            assert!(!of(ErrorKind::Unknown, reply), "{reply}");
        }
        assert!(of(
            ErrorKind::Unknown,
            "ERR The user executing the script can't run this command or subcommand script: 8d, on @user_script:72."
        ));
        assert!(of(
            ErrorKind::Unknown,
            "ERR ACL failure in script: User lockside has no permissions to run the 'spublish' command script: 8d, on \
             @user_script:72."
        ));
        assert!(of(ErrorKind::Unknown, "ERR value is not an integer or out of range script: 8d, on @user_script:72."));
        assert!(!of(
            ErrorKind::Unknown,
            "OOM command not allowed when used memory > 'maxmemory'. script: 8d, on @user_script:7."
        ));
        assert!(of(ErrorKind::Timeout, "Request timed out."));
        assert!(of(ErrorKind::IO, "Connection Closed"));
        assert!(of(ErrorKind::Canceled, "Canceled."));
        assert!(!of(ErrorKind::Backpressure, "Max queue length."));
    }
}
