//! The table of warnings: what makes locks on this Redis less safe, and what to change. One row each.

use crate::lock::ProbeFailure;
use crate::redis::RedisFailure;

/// The warnings, in the order in which they are told, and their codes.
macro_rules! table {
    ($($warning:ident $code:literal),+ $(,)?) => {
        /// What may be wrong with this Redis.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Warning {
            $($warning),+
        }

        impl Warning {
            pub const ALL: &[Warning] = &[$(Warning::$warning),+];

            /// The warning as a word, in /readyz, metrics and the log.
            pub fn code(self) -> &'static str {
                match self {
                    $(Warning::$warning => $code),+
                }
            }
        }
    };
}

table! {
    Cluster "cluster",
    Replica "replica",
    NoGoodReplica "no-good-replica",
    Version "version",
    Memory "memory",
    Probe "probe",
    Partial "partial",
    Eviction "eviction",
    Persistence "persistence",
    MinReplicas "min-replicas",
    NoReplica "no-replica",
    LongLease "long-lease",
    ClockStep "clock-step",
    Rights "rights",
    RawKeys "raw-keys",
    JwtKeys "jwt-keys",
    Unknown "unknown",
}

impl Warning {
    /// Whether the log has a line each time that it happens, instead of one when it begins and one when it ends.
    pub fn is_told_as_it_happens(self) -> bool {
        matches!(self, Warning::ClockStep | Warning::Rights)
    }

    /// Whether a server with this warning refuses every lock.
    fn blocks(self) -> bool {
        matches!(self, Warning::Cluster | Warning::Replica | Warning::NoGoodReplica | Warning::Version)
    }
}

/// A warning that applies, and its sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub warning: Warning,
    pub text: String,
    /// Whether no lock can be granted meanwhile: then lockside is not ready.
    pub blocks: bool,
}

impl Finding {
    pub fn new(warning: Warning, text: impl Into<String>) -> Finding {
        Finding { warning, text: text.into(), blocks: warning.blocks() }
    }

    /// A finding that blocks, also where its warning alone does not.
    pub fn blocking(warning: Warning, text: impl Into<String>) -> Finding {
        Finding { warning, text: text.into(), blocks: true }
    }

    /// A right that is refused, and that locks can do without.
    pub fn of_an_optional_right(refused: &str) -> Finding {
        Finding::new(Warning::Rights, format!("redis ACL: permission denied: {refused}"))
    }

    /// Why a probe fails, under the warning that says most of it.
    pub fn of_a_probe(ProbeFailure { of, failure }: &ProbeFailure) -> Finding {
        let warning = match failure {
            RedisFailure::Unreplicated { .. } => Warning::NoGoodReplica,
            failure if failure.is_of_rights() => Warning::Rights,
            failure => match failure.refusal() {
                Some("OOM") => Warning::Memory,
                Some("READONLY" | "MASTERDOWN") => Warning::Replica,
                Some("NOREPLICAS") => Warning::NoGoodReplica,
                Some("UNFIT") => Warning::Version,
                _ => Warning::Probe,
            },
        };
        let text = match failure {
            // Without naming the part of the probe: all that locks do may need the right.
            RedisFailure::Refused(text) | RedisFailure::Stopped(text) if warning == Warning::Rights => {
                format!("redis ACL: permission denied: {text}")
            }
            failure => format!("a probe fails at its {of}: {failure}"),
        };
        Finding::blocking(warning, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_fails_blocks_under_the_warning_that_says_most() {
        let refused = |text: &str| RedisFailure::Refused(text.to_owned());
        for (failure, warning) in [
            (refused("OOM command not allowed when used memory > 'maxmemory'."), Warning::Memory),
            (refused("MISCONF Redis is configured to save RDB snapshots"), Warning::Probe),
            (refused("NOPERM this user has no permissions to run the 'evalsha' command"), Warning::Rights),
            (refused("ERR unknown command 'EVALSHA'"), Warning::Rights),
            (refused("READONLY You can't write against a read only replica."), Warning::Replica),
            (refused("NOREPLICAS Not enough good replicas to write."), Warning::NoGoodReplica),
            (refused("UNFIT this server is older than Redis 7.0"), Warning::Version),
            (RedisFailure::NoAnswer("no answer in time".to_owned()), Warning::Probe),
            (
                RedisFailure::Unreplicated { word: "granted".to_owned(), why: "0 of 1 replicas have it".to_owned() },
                Warning::NoGoodReplica,
            ),
        ] {
            let failure = ProbeFailure { of: "renewal", failure };
            let finding = Finding::of_a_probe(&failure);
            assert_eq!((finding.warning, finding.blocks), (warning, true), "{failure}");
            let says_where = finding.text.starts_with("a probe fails at its renewal: ");
            assert_eq!(says_where, warning != Warning::Rights, "{}", finding.text);
        }
    }
}
