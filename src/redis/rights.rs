//! Rights that the ACL user lacks: what Redis says of it, and what to change.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What is to be changed is told again after this long.
const REPEAT: Duration = Duration::from_secs(60);

/// What Redis refuses to this user.
pub(super) struct Rights {
    refused: Mutex<Option<Refused>>,
}

struct Refused {
    reason: String,
    advice: String,
    last: Instant,
    told: Instant,
}

impl Rights {
    pub(super) fn new() -> Rights {
        Rights { refused: Mutex::new(None) }
    }

    /// Takes in what Redis refused; tells it in the log, unless it just did.
    pub(super) fn learn(&self, reason: &str) {
        let Some(advice) = advice(reason) else { return };
        let now = Instant::now();
        let mut refused = self.refused.lock().expect("no holder of this lock panics");
        let told = match &*refused {
            Some(known) if known.advice == advice && known.told.elapsed() < REPEAT => known.told,
            _ => {
                tracing::error!(reason, "redis refuses lockside's user a right; {advice}");
                now
            }
        };
        *refused = Some(Refused { reason: reason.to_owned(), advice, last: now, told });
    }

    /// What Redis refused within the last minute, and what to change.
    pub(super) fn refused(&self) -> Option<String> {
        let refused = self.refused.lock().expect("no holder of this lock panics");
        let known = refused.as_ref().filter(|known| known.last.elapsed() < REPEAT)?;
        Some(format!("redis refuses lockside's user a right ({}); {}", known.reason, known.advice))
    }
}

/// Whether a script was stopped by a right that its user lacks: at any of its commands, so that what came before is done.
/// Redis has said so in other words since 7.2.
pub(super) fn stopped_a_script(text: &str) -> bool {
    text.contains("The user executing the script can't") || text.contains("ACL failure in script")
}

/// What to change so that Redis does not refuse again; `None` for a refusal of another kind.
fn advice(reason: &str) -> Option<String> {
    if !reason.starts_with("NOPERM") && !stopped_a_script(reason) {
        return None;
    }
    let command = reason.split_once("run the '").and_then(|(_, rest)| rest.split('\'').next());
    let what = match command {
        Some(command) => format!("allow its ACL user the command: +{command}"),
        None if reason.contains("channel") => {
            "allow its ACL user the channels: &PREFIX:push:*, on a cluster &{PREFIX:*}:push:*".to_owned()
        }
        None if reason.contains("key") => "allow its ACL user the keys: ~{PREFIX:*}:*".to_owned(),
        None => "allow its ACL user the commands of the scripts".to_owned(),
    };
    Some(format!("{what} (all that it needs stands in deploy/redis/lockside.acl)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_what_to_change() {
        for (reason, change) in [
            ("NOPERM this user has no permissions to run the 'evalsha' command", "+evalsha "),
            ("NOPERM User lockside has no permissions to run the 'script|load' command", "+script|load "),
            ("NOPERM this user has no permissions to access one of the keys used as arguments", "~{PREFIX:*}:*"),
            ("NOPERM No permissions to access a key", "~{PREFIX:*}:*"),
            ("NOPERM this user has no permissions to access one of the channels used as arguments", "&PREFIX:push:*"),
            (
                "ERR The user executing the script can't publish to the channel mentioned in the command",
                "&PREFIX:push:*",
            ),
            (
                "ERR The user executing the script can't run this command or subcommand script: 8d, on @user_script:1.",
                "of the scripts",
            ),
            ("ERR ACL failure in script: User lockside has no permissions to run the 'spublish' command", "+spublish "),
            (
                "ERR ACL failure in script: User lockside has no permissions to access the 'lockside:push:all' channel",
                "&PREFIX:push:*",
            ),
            (
                "ERR The user executing the script can't access at least one of the keys mentioned in the command",
                "~{PREFIX:*}:*",
            ),
        ] {
            assert!(advice(reason).is_some_and(|advice| advice.contains(change)), "{reason}: {:?}", advice(reason));
        }
        for reason in ["OOM command not allowed", "ERR unknown command 'evalsha'", "NOAUTH Authentication required."] {
            assert_eq!(advice(reason), None, "{reason}");
        }
    }
}
