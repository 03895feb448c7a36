//! Rights that the ACL user lacks: what Redis says of it, told in the log, and which commands of the scripts it refuses.

use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::node::Node;
use super::{Call, Patterns, RedisFailure, Reply, Script, advice};
use crate::redis::operation::RedisOperation;

/// What is to be changed is told again after this long.
const REPEAT: Duration = Duration::from_secs(60);
/// For so long what a server was seen to refuse is not asked for again.
const FRESH: Duration = Duration::from_secs(1);

static RIGHTS: LazyLock<Script> = LazyLock::new(|| Script::new("rights", include_str!("rights.lua")));

/// What Redis refuses to this user.
pub(super) struct Rights {
    patterns: OnceLock<Patterns>,
    refused: Mutex<Option<Refused>>,
    missing: Mutex<Option<(Instant, Missing)>>,
}

struct Refused {
    text: String,
    last: Instant,
    told: Instant,
}

/// Commands of the scripts that cannot be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Missing {
    forbidden: Vec<String>,
    unknown: Vec<String>,
}

impl Rights {
    pub(super) fn new() -> Rights {
        Rights { patterns: OnceLock::new(), refused: Mutex::new(None), missing: Mutex::new(None) }
    }

    /// What the user must be allowed in this lock space.
    pub(super) fn know(&self, patterns: Patterns) {
        // Each thread says the same.
        let _ = self.patterns.set(patterns);
    }

    /// A refusal with what to change; where that is a right, it is told in the log, unless it just was.
    pub(super) fn advise(&self, text: &str) -> String {
        let unknown = Patterns { keys: "~{PREFIX:*}:*".to_owned(), channels: "&PREFIX:push:*".to_owned() };
        let text = advice::attach(text, self.patterns.get().unwrap_or(&unknown));
        if advice::is_of_rights(&text) {
            self.learn(&text);
        }
        text
    }

    fn learn(&self, text: &str) {
        let now = Instant::now();
        let mut refused = self.refused.lock().expect("no holder of this lock panics");
        let is_the_same = |known: &&Refused| advice::attached(&known.text) == advice::attached(text);
        let told = match refused.as_ref().filter(is_the_same) {
            Some(known) if known.told.elapsed() < REPEAT => known.told,
            _ => {
                tracing::error!("redis ACL: permission denied: {text}");
                now
            }
        };
        *refused = Some(Refused { text: text.to_owned(), last: now, told });
    }

    /// What Redis refused within the last minute, and what to change.
    pub(super) fn refused(&self) -> Option<String> {
        let refused = self.refused.lock().expect("no holder of this lock panics");
        let known = refused.as_ref().filter(|known| known.last.elapsed() < REPEAT)?;
        Some(format!("redis ACL: permission denied: {}", known.text))
    }
}

impl Node {
    /// Says of a script that was stopped which command it was, and whether it had done by then what it was asked for.
    /// Redis may have to be asked: this is no part of a request that succeeds.
    pub(super) async fn explained(
        self: &Arc<Node>,
        script: &Script,
        failure: RedisFailure,
        call: Call,
    ) -> RedisFailure {
        let (text, is_midway) = match failure {
            RedisFailure::Stopped(text) => (text, true),
            RedisFailure::Refused(text) if advice::stopped_a_script(&text) => (text, false),
            other => return other,
        };
        let named = Missing::named_in(&text);
        // It asks about a key that the script was given.
        let can_ask = !call.keys.is_empty();
        let (missing, text) = if can_ask && advice::is_of_commands(&text) {
            let mut missing = self.missing(call).await;
            if !named.forbidden.iter().all(|command| missing.forbidden.contains(command)) {
                missing = named;
            }
            let text = missing.sentence().unwrap_or(text);
            (missing, self.status.rights().advise(&text))
        } else {
            // Of a key or a channel.
            (named, text)
        };
        if is_midway && !missing.is_before_the_effect_of(script.name) {
            return RedisFailure::Stopped(text);
        }
        RedisFailure::Refused(text)
    }

    async fn missing(self: &Arc<Node>, call: Call) -> Missing {
        let known = self.status.rights().missing.lock().expect("no holder of this lock panics").clone();
        if let Some((_, missing)) = known.filter(|(at, _)| at.elapsed() < FRESH) {
            return missing;
        }
        let operation = RedisOperation::Script(RIGHTS.name);
        let operations = [operation];
        let ask = || self.evalsha(&operations, &RIGHTS, Call { keys: call.keys.clone(), ..Call::default() });
        let answer = match Box::pin(ask()).await {
            Err(failure) if failure.is_unknown_script() => match self.load(operation, &RIGHTS).await {
                Ok(()) => Box::pin(ask()).await,
                Err(failure) => Err(failure),
            },
            answer => answer,
        };
        let missing = answer.and_then(Missing::read).unwrap_or_default();
        *self.status.rights().missing.lock().expect("no holder of this lock panics") =
            Some((Instant::now(), missing.clone()));
        missing
    }
}

impl Missing {
    /// The command that Redis says it refused, if it does.
    fn named_in(text: &str) -> Missing {
        let command = text.split_once("run the '").and_then(|(_, rest)| rest.split('\'').next());
        Missing { forbidden: command.map(str::to_ascii_lowercase).into_iter().collect(), unknown: Vec::new() }
    }

    fn read(reply: Reply) -> Result<Missing, RedisFailure> {
        let mut missing = Missing::default();
        for row in reply.into_rows()? {
            let words: Result<Vec<_>, _> = row.into_rows()?.into_iter().map(Reply::into_text).collect();
            if let [word, command] = words?.as_slice() {
                let command = String::from_utf8_lossy(command).into_owned();
                if word == "unknown" { missing.unknown.push(command) } else { missing.forbidden.push(command) }
            }
        }
        if missing == Missing::default() {
            // The only command that the script cannot ask about.
            missing.forbidden.push("spublish".to_owned());
        }
        Ok(missing)
    }

    /// What Redis would have said if it named them.
    fn sentence(&self) -> Option<String> {
        let quoted =
            |commands: &[String]| commands.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(" ");
        match (self.forbidden.as_slice(), self.unknown.as_slice()) {
            ([], []) => None,
            ([], unknown) => Some(format!("ERR unknown command {} in a script", quoted(unknown))),
            (forbidden, _) => {
                Some(format!("NOPERM this user has no permissions to run the {} in a script", quoted(forbidden)))
            }
        }
    }

    /// Whether a script of this name that was stopped at one of these commands cannot have done yet what it is for: it runs
    /// one of them before that in any case, or each of them only before that.
    fn is_before_the_effect_of(&self, script: &str) -> bool {
        let (in_any_case, only): (&[&str], &[&str]) = match script {
            // A grant is the last thing that it does. A renewal begins with PEXPIREAT.
            "acquire" => (
                &["time", "exists", "pexpireat"],
                &[
                    "get",
                    "getrange",
                    "strlen",
                    "pexpiretime",
                    "zadd",
                    "zrem",
                    "zremrangebyrank",
                    "zrange",
                    "zrangebyscore",
                    "pubsub|shardnumsub",
                ],
            ),
            "renew" => (&["time", "pexpireat"], &["get", "getrange", "strlen"]),
            "release" | "force" | "undo" => (&["zrem", "del"], &["get", "getrange", "strlen", "pexpiretime"]),
            "queue_join" => (&["time", "zadd"], &["get", "getrange", "strlen"]),
            // They change nothing that a caller is told of.
            "read" | "sweep" | "census" | "queue_advance" | "queue_decline" => return true,
            _ => return false,
        };
        let mut stops = self.forbidden.iter().chain(&self.unknown).map(String::as_str).peekable();
        stops.peek().is_some()
            && (stops.clone().any(|command| in_any_case.contains(&command))
                || stops.all(|command| only.contains(&command)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_of_the_scripts_is_asked_about() {
        let asked = include_str!("rights.lua");
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/lua");
        let mut commands = BTreeSet::new();
        for file in std::fs::read_dir(folder).expect("the scripts") {
            let text = std::fs::read_to_string(file.expect("a file").path()).expect("a text");
            for begin in ["redis.call('", "redis.pcall('"] {
                commands.extend(text.split(begin).skip(1).filter_map(|rest| Some(rest.split('\'').next()?.to_owned())));
            }
        }
        assert!(commands.remove("SPUBLISH"), "which needs a channel");
        for command in commands {
            assert!(asked.contains(&format!("{{'{command}'")), "rights.lua does not ask about {command}");
        }
    }

    #[test]
    fn a_script_that_was_stopped_before_its_effect_is_told_from_one_that_was_stopped_behind_it() {
        let without = |commands: &[&str]| Missing {
            forbidden: commands.iter().map(|command| (*command).to_owned()).collect(),
            unknown: Vec::new(),
        };
        for command in ["zadd", "get", "exists"] {
            assert!(without(&[command]).is_before_the_effect_of("acquire"), "{command}");
        }
        assert!(without(&["set", "pexpireat", "del"]).is_before_the_effect_of("acquire"));
        assert!(!without(&["set"]).is_before_the_effect_of("acquire"), "it may have lengthened its owner's lease");
        assert!(!without(&["zadd"]).is_before_the_effect_of("release"), "what it hands over is released");
        assert!(without(&["del", "spublish"]).is_before_the_effect_of("release"));
        assert!(!without(&["spublish"]).is_before_the_effect_of("acquire"));
        assert!(!without(&["set"]).is_before_the_effect_of("renew"), "it has lengthened the lease by then");
        assert!(!Missing::default().is_before_the_effect_of("acquire"), "nothing is known");
    }

    #[test]
    fn what_is_missing_is_said_as_redis_would_say_it() {
        let missing =
            Missing { forbidden: vec!["zadd".to_owned(), "pubsub|shardnumsub".to_owned()], ..Missing::default() };
        let said = missing.sentence().expect("a sentence");
        let advice = advice::of(&said, &Patterns::default()).expect("an advice");
        assert!(advice.contains("the commands: +zadd +pubsub|shardnumsub ("), "{advice}");
        let unknown = Missing { unknown: vec!["pexpiretime".to_owned()], ..Missing::default() };
        assert!(unknown.sentence().is_some_and(|said| said == "ERR unknown command 'pexpiretime' in a script"));
    }
}
