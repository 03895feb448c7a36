//! What to change when Redis refuses a command: one row for each refusal that has a remedy.
//!
//! The advice travels at the end of a refusal's text, behind [`SEPARATOR`], so that the log has both in one line and an
//! answer can show the advice alone.

/// What an ACL user may be given so that it covers one namespace and no other.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    pub keys: String,
    pub channels: String,
}

/// How a refusal begins that was one of the connection. It may end by itself, as that of a command may not.
pub(in crate::redis) const UNCONNECTED: &str = "no connection: ";
/// Stands in no advice.
const SEPARATOR: &str = "; ";
/// Where all rights stand together.
const SHIPPED: &str = "(deploy/redis/lockside.acl has all that it needs)";

/// The refusal with its advice, where there is one and it is not there yet.
pub(in crate::redis) fn attach(text: &str, patterns: &Patterns) -> String {
    match of(text, patterns) {
        Some(advice) if !text.ends_with(&advice) => format!("{text}{SEPARATOR}{advice}"),
        _ => text.to_owned(),
    }
}

/// The advice at the end of a refusal's text.
pub(in crate::redis) fn attached(text: &str) -> Option<&str> {
    let (reason, advice) = text.rsplit_once(SEPARATOR)?;
    of(reason, &Patterns::default()).is_some().then_some(advice)
}

/// Whether a right is missing.
pub(in crate::redis) fn is_of_rights(text: &str) -> bool {
    text.starts_with("NOPERM") || stopped_by_rights(text)
}

/// Whether a script was stopped by a right that its user lacks. Redis has said so in other words since 7.2.
fn stopped_by_rights(text: &str) -> bool {
    text.contains("The user executing the script can't") || text.contains("ACL failure in script")
}

/// Whether a script was stopped at one of its commands, which its user may not run or this server does not know.
pub(in crate::redis) fn stopped_a_script(text: &str) -> bool {
    stopped_by_rights(text) || text.contains("command called from script")
}

/// Whether a script was stopped because of a command, not of a key or a channel: it is said at most which was the first.
pub(in crate::redis) fn is_of_commands(text: &str) -> bool {
    let is_one = ["can't run this command or subcommand", "run the '", "command called from script"];
    stopped_a_script(text) && is_one.iter().any(|said| text.contains(said))
}

/// What to change so that Redis does not refuse again.
pub(in crate::redis) fn of(text: &str, patterns: &Patterns) -> Option<String> {
    if let Some(reason) = text.strip_prefix(UNCONNECTED) {
        return of(reason.split_once('(')?.1, patterns);
    }
    if is_of_rights(text) {
        return Some(format!("{} {SHIPPED}", of_rights(text, patterns)));
    }
    if ["unknown command", "command called from script", "unknown subcommand"].iter().any(|said| text.contains(said)) {
        let names = quoted(text);
        let what = if names.is_empty() { "the commands of the scripts".to_owned() } else { names.join(" ") };
        return Some(format!(
            "give redis back {what}: remove its rename-command, or install Redis 7.0 or later where it is too old"
        ));
    }
    let advice = match text.split(' ').next()? {
        "OOM" => "its memory is full: raise maxmemory, or delete data that is not a lock",
        "MISCONF" => {
            "it cannot save its data, and so takes no writes: look into its log (is the disk full?), or set \
             stop-writes-on-bgsave-error to no"
        }
        "READONLY" => "this is a replica: point --redis-url at the master",
        "MASTERDOWN" => "this is a replica without its master: point --redis-url at the master",
        "NOREPLICAS" => "min-replicas-to-write asks for replicas that keep up: bring one back",
        "LOADING" => "it is loading its data from the disk: wait for it",
        "BUSY" => "a script of another client runs for too long: end it with SCRIPT KILL or FUNCTION KILL",
        "NOAUTH" => "name the file of its password with --redis-password-file",
        "WRONGPASS" => "correct --redis-username or --redis-password-file",
        "UNFIT" => "install Redis 7.0 or later",
        "ERR" if text.contains("DB index is out of range") => {
            "it has fewer databases: name a lower one in --redis-url, or raise databases in its configuration"
        }
        _ => return None,
    };
    Some(advice.to_owned())
}

fn of_rights(text: &str, Patterns { keys, channels }: &Patterns) -> String {
    let commands = text.split_once("run the '").map(|(_, rest)| quoted(&format!("'{rest}"))).unwrap_or_default();
    let mut wanted = Vec::new();
    if !commands.is_empty() {
        let commands: Vec<String> = commands.iter().map(|command| format!("+{command}")).collect();
        wanted.push(format!("the command{}: {}", plural(&commands), commands.join(" ")));
    }
    // A refusal of Redis is of one thing; ours may be of several.
    let is_ours = ["key", "channel"].map(|what| text.contains(&format!("access the {what} `")));
    let [of_keys, of_channels] = match is_ours {
        [false, false] if wanted.is_empty() && text.contains("channel") => [false, true],
        [false, false] if wanted.is_empty() => [text.contains("key"), false],
        ours => ours,
    };
    wanted.extend(of_channels.then(|| format!("the channels: {channels}")));
    wanted.extend(of_keys.then(|| format!("the keys: {keys}")));
    if wanted.is_empty() {
        wanted.push("the commands of the scripts".to_owned());
    }
    format!("allow its ACL user {}", wanted.join(", and "))
}

fn plural(things: &[String]) -> &'static str {
    if things.len() == 1 { "" } else { "s" }
}

/// The commands that a text names in quotes, in small letters.
fn quoted(text: &str) -> Vec<String> {
    let is_command =
        |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'|');
    // `args beginning with: 'a' 'b'` are what the caller said.
    without_args(text).split('\'').skip(1).step_by(2).filter(is_command).map(str::to_ascii_lowercase).collect()
}

/// What Redis says, without what it repeats of a command that it does not know: a script's name and keys do not help.
pub(in crate::redis) fn without_args(text: &str) -> &str {
    let end = text.find("with args beginning with").or_else(|| text.find("args beginning with"));
    end.map_or(text, |end| text[..end].trim_end_matches([' ', ',']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns() -> Patterns {
        Patterns { keys: "~{app:[0-9]}:*".to_owned(), channels: "&app:push:*".to_owned() }
    }

    #[test]
    fn each_refusal_of_a_right_names_it() {
        for (reason, change) in [
            ("NOPERM this user has no permissions to run the 'evalsha' command", "+evalsha "),
            ("NOPERM User lockside has no permissions to run the 'script|load' command", "+script|load "),
            ("NOPERM this user has no permissions to run the 'zadd' 'set' commands in a script", "+zadd +set "),
            ("NOPERM this user has no permissions to access one of the keys used as arguments", "~{app:[0-9]}:*"),
            ("NOPERM No permissions to access a key", "~{app:[0-9]}:*"),
            ("NOPERM this user has no permissions to access one of the channels used as arguments", "&app:push:*"),
            ("ERR The user executing the script can't publish to the channel mentioned in the command", "&app:push:*"),
            (
                "ERR The user executing the script can't run this command or subcommand script: 8d, on @user_script:1.",
                "of the scripts",
            ),
            ("ERR ACL failure in script: User lockside has no permissions to run the 'spublish' command", "+spublish "),
            (
                "ERR ACL failure in script: User lockside has no permissions to access the 'lockside:push:all' channel",
                "&app:push:*",
            ),
            (
                "ERR The user executing the script can't access at least one of the keys mentioned in the command",
                "~{app:[0-9]}:*",
            ),
        ] {
            let advice = of(reason, &patterns());
            assert!(
                is_of_rights(reason) && advice.as_ref().is_some_and(|advice| advice.contains(change)),
                "{advice:?}"
            );
        }
    }

    #[test]
    fn the_advice_is_attached_once_and_found_again() {
        for reason in [
            "OOM command not allowed when used memory > 'maxmemory'.",
            "NOPERM No permissions to access a key",
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
            "ERR unknown command 'EVALSHA', with args beginning with: 'b1' '4'",
            "UNFIT this redis is too old for the scripts",
            "LOADING Redis is loading the dataset in memory",
            "ERR DB index is out of range",
        ] {
            let advice = of(reason, &patterns()).expect("an advice");
            assert!(!advice.contains(SEPARATOR), "{advice}");
            let text = attach(reason, &patterns());
            assert_eq!(attach(&text, &patterns()), text);
            assert_eq!(attached(&text), Some(advice.as_str()));
            assert_eq!(attached(reason), None);
        }
        let refused = "no connection: `redis:6379` does not accept this user; or so (WRONGPASS invalid password)";
        let text = attach(refused, &patterns());
        assert_eq!(attached(&text), Some("correct --redis-username or --redis-password-file"));
        let unknown = "ERR the sequence of shard 7 is used up: no token is left above it; or so";
        assert_eq!((attach(unknown, &patterns()), attached(unknown)), (unknown.to_owned(), None));
    }

    #[test]
    fn a_command_that_redis_does_not_know_is_named() {
        let advice = of("ERR unknown command 'EVALSHA', with args beginning with: 'b1' '4' '{x}'", &patterns());
        assert!(advice.is_some_and(|advice| advice.contains("give redis back evalsha:")));
    }
}
