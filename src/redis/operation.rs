//! What commands and connections are for, as metrics name it.

use crate::metrics::Label;

/// What a Redis round trip was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisOperation {
    /// A script, by its file's name.
    Script(&'static str),
    Range,
    Count,
    Directory,
    Mark,
    Info,
    Time,
    /// An acquire, a renewal and a release, to see whether they can be done, and what else locks need.
    Probe,
}

impl Label for RedisOperation {
    fn label(&self) -> &'static str {
        match self {
            RedisOperation::Script(name) => name,
            RedisOperation::Range => "range",
            RedisOperation::Count => "count",
            RedisOperation::Directory => "directory",
            RedisOperation::Mark => "mark",
            RedisOperation::Info => "info",
            RedisOperation::Time => "time",
            RedisOperation::Probe => "probe",
        }
    }
}

/// Why a connection to Redis was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnection {
    /// There was none before.
    First,
    /// The one before broke.
    Lost,
    /// Nothing was answered on the one before.
    Silent,
    /// The server refused to do what a master does.
    Refused,
    /// The sentinels name another master.
    Switch,
}

impl Label for Reconnection {
    fn label(&self) -> &'static str {
        match self {
            Reconnection::First => "first",
            Reconnection::Lost => "lost",
            Reconnection::Silent => "silent",
            Reconnection::Refused => "refused",
            Reconnection::Switch => "switch",
        }
    }
}
