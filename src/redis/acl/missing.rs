//! What a server says that it refuses of all that locks need, and what that means for a script.

use std::collections::BTreeSet;

use super::{effects, steps};
use crate::redis::{RedisFailure, Reply, Script};

/// What was asked for and refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) forbidden: Vec<String>,
    unknown: Vec<String>,
    keys: Vec<String>,
    channels: Vec<String>,
    further: Vec<String>,
}

impl Missing {
    /// The command that Redis says it refused, if it does.
    pub(super) fn named_in(text: &str) -> Missing {
        let command = text.split_once("run the '").and_then(|(_, rest)| rest.split('\'').next());
        Missing { forbidden: command.map(str::to_ascii_lowercase).into_iter().collect(), ..Missing::default() }
    }

    pub(super) fn read(reply: Reply) -> Result<Missing, RedisFailure> {
        let mut missing = Missing::default();
        for row in reply.into_rows()? {
            let words: Result<Vec<_>, _> = row.into_rows()?.into_iter().map(Reply::into_text).collect();
            if let [word, what] = words?.as_slice() {
                let list = match &**word {
                    b"unknown" => &mut missing.unknown,
                    b"key" => &mut missing.keys,
                    b"further" => &mut missing.further,
                    b"channel" => &mut missing.channels,
                    _ => &mut missing.forbidden,
                };
                list.push(String::from_utf8_lossy(what).into_owned());
            }
        }
        Ok(missing)
    }

    /// What Redis would have said if it named all that locks need.
    pub(super) fn sentence(&self) -> Option<String> {
        let quoted =
            |commands: &[String]| commands.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(" ");
        let mut refused = Vec::new();
        if !self.forbidden.is_empty() {
            refused.push(format!("run the {}", quoted(&self.forbidden)));
        }
        refused.extend(accessed("key", &self.keys));
        refused.extend(accessed("channel", &self.channels));
        if !refused.is_empty() {
            return Some(format!("NOPERM this user has no permissions to {}", refused.join(", nor to ")));
        }
        (!self.unknown.is_empty()).then(|| format!("ERR unknown command {} in a script", quoted(&self.unknown)))
    }

    /// What is said of a missing right that locks can do without.
    pub(super) fn further(&self) -> Option<String> {
        accessed("key", &self.further).map(|refused| format!("NOPERM this user has no permissions to {refused}"))
    }

    /// Whether a script has any of these commands.
    pub(super) fn is_of(&self, script: &Script) -> bool {
        let stops = self.stops();
        steps::commands(&script.text).iter().any(|command| stops.contains(command.name.as_str()))
    }

    /// Whether this script, stopped at one of these commands, cannot have done yet what it is for.
    pub(super) fn is_before_the_effect_of(&self, script: &Script) -> bool {
        let stops = self.stops();
        // No caller is told how they end.
        let is_by_ourselves = matches!(script.name, "queue_advance" | "queue_decline");
        is_by_ourselves || (!stops.is_empty() && effects::none_before(script.name, &script.text, &stops))
    }

    /// The commands at which a script is stopped.
    fn stops(&self) -> BTreeSet<&str> {
        let publishing = (!self.channels.is_empty()).then_some("spublish");
        self.forbidden.iter().chain(&self.unknown).map(String::as_str).chain(publishing).collect()
    }
}

/// The first of these, and how many more there are.
fn accessed(what: &str, names: &[String]) -> Option<String> {
    let first = names.first()?;
    let others = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
    Some(format!("access the {what} `{first}`{others}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::Patterns;
    use crate::redis::acl::advice;

    /// A script as the engine makes it.
    fn script(name: &'static str) -> Script {
        let read = |name: &str| std::fs::read_to_string(format!("{}/lua/{name}.lua", env!("CARGO_MANIFEST_DIR")));
        let texts =
            ["head", "lease", "shared", "grant", "queue", "attempt", name].map(|name| read(name).expect("a script"));
        Script::new(name, &texts.each_ref().map(String::as_str))
    }

    fn without(commands: &[&str]) -> Missing {
        Missing { forbidden: commands.iter().map(|command| (*command).to_owned()).collect(), ..Missing::default() }
    }

    #[test]
    fn a_script_that_was_stopped_before_its_effect_is_told_from_one_that_was_stopped_behind_it() {
        for (name, commands, is_before) in [
            ("acquire", &["zadd"][..], true),
            ("acquire", &["get"], true),
            ("acquire", &["exists"], true),
            ("acquire", &["time"], true),
            ("acquire", &["pubsub|shardnumsub"], true),
            ("acquire", &["set", "pexpireat", "del"], true),
            // It may have lengthened its owner's lease.
            ("acquire", &["set"], false),
            ("acquire", &["spublish"], false),
            // What it hands over is released.
            ("release", &["zadd"], false),
            ("release", &["zrange"], false),
            ("release", &["spublish"], false),
            // One that shared its key may be gone by then: only the last one needs no message.
            ("release", &["del", "spublish"], false),
            // It may have lengthened the lease that its owner shares the key by.
            ("share", &["zadd"], false),
            ("share", &["pexpireat"], true),
            ("release", &["zrem"], true),
            ("release", &["del"], true),
            ("force", &["zrem"], true),
            ("force", &["set"], false),
            // Those who wait behind a share that is gone by then are told for how long.
            ("undo", &["pexpiretime"], false),
            ("undo", &["getrange"], true),
            ("renew", &["pexpireat"], true),
            ("renew", &["time"], true),
            ("renew", &["getrange"], true),
            // It has lengthened the lease by then.
            ("renew", &["set"], false),
            ("queue_join", &["zadd"], true),
            ("queue_join", &["pexpire"], true),
            ("queue_join", &["zrange"], true),
            // The key may have been free, and the waiter the first.
            ("queue_join", &["pttl"], false),
            ("queue_join", &["zrem"], false),
            ("read", &["pttl"], true),
            ("sweep", &["zrem"], true),
        ] {
            assert_eq!(without(commands).is_before_the_effect_of(&script(name)), is_before, "{name} {commands:?}");
        }
        assert!(!Missing::default().is_before_the_effect_of(&script("acquire")), "nothing is known");
        let deaf = Missing { channels: vec!["push".to_owned()], ..Missing::default() };
        assert!(!deaf.is_before_the_effect_of(&script("acquire")), "as without spublish");
    }

    #[test]
    fn what_is_missing_is_said_as_redis_would_say_it() {
        let said = without(&["zadd", "pubsub|shardnumsub"]).sentence().expect("a sentence");
        let advice = advice::of(&said, &Patterns::default()).expect("an advice");
        assert!(advice.contains("the commands: +zadd +pubsub|shardnumsub ("), "{advice}");
        let unknown = Missing { unknown: vec!["pexpiretime".to_owned()], ..Missing::default() };
        assert!(unknown.sentence().is_some_and(|said| said == "ERR unknown command 'pexpiretime' in a script"));
        let further = Missing { further: vec!["a".to_owned()], ..Missing::default() };
        assert_eq!(further.sentence(), None, "locks can do without");

        let all = Missing {
            keys: vec!["{it's:10}:seq".to_owned(), "{it's:11}:seq".to_owned()],
            channels: vec!["it's:push:0:all".to_owned()],
            ..without(&["zadd"])
        };
        let said = all.sentence().expect("a sentence");
        assert!(said.contains("the key `{it's:10}:seq` and 1 more, nor to access the channel `it's:push"), "{said}");
        let patterns = Patterns { keys: "~KEYS".to_owned(), channels: "&CHANNELS".to_owned() };
        let advice = advice::of(&said, &patterns).expect("an advice");
        let change = "the command: +zadd, and the channels: &CHANNELS, and the keys: ~KEYS (";
        assert!(advice.contains(change), "{advice}");
    }
}
