//! Rights that the ACL user lacks: what Redis says of it, told in the log, and what it refuses of all that locks need, which
//! is asked beforehand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use super::effects::{self, Takes};
use super::node::Node;
use super::{Args, Call, Patterns, Purpose, RedisFailure, Reply, Script, Slot, advice};
use crate::redis::operation::RedisOperation;
use crate::redis::settings::{RedisConfig, RedisServer};

/// What is to be changed is told again after this long.
const REPEAT: Duration = Duration::from_secs(60);
/// For so long what a server was seen to refuse is not asked for again.
const FRESH: Duration = Duration::from_secs(1);

static RIGHTS: LazyLock<Script> = LazyLock::new(|| Script::new("rights", &[include_str!("rights.lua")]));

/// All that lockside's ACL user must be allowed.
pub struct Needs {
    pub patterns: Patterns,
    /// Whose commands it runs.
    pub scripts: Vec<&'static Script>,
    /// To read and to write; one of each kind that there is.
    pub keys: Vec<String>,
    /// A right that is missing, and that locks can do without.
    pub further: Vec<String>,
    /// To publish to and to listen on.
    pub channels: Vec<String>,
}

/// What Redis refuses to this user.
pub(super) struct Rights {
    needs: OnceLock<Needs>,
    refused: Mutex<Option<Refused>>,
    /// Whether `refused` applies.
    is_refused: AtomicBool,
    missing: Mutex<Option<(Instant, Missing)>>,
}

struct Refused {
    text: String,
    last: Instant,
    told: Instant,
    /// What for, where that is known.
    operation: Option<RedisOperation>,
}

/// What was asked for and refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    forbidden: Vec<String>,
    unknown: Vec<String>,
    keys: Vec<String>,
    channels: Vec<String>,
    further: Vec<String>,
}

/// What each master is known to refuse, by its place. Shared by all threads.
#[derive(Default)]
pub(super) struct Verdicts {
    /// Whether some operation was refused since they were last asked: others may be granted all the same.
    is_in_doubt: AtomicBool,
    are_any: AtomicBool,
    of: Mutex<BTreeMap<String, Missing>>,
}

impl Verdicts {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Missing>> {
        self.of.lock().expect("no holder of this lock panics")
    }

    /// A right was refused that is asked about.
    pub(super) fn doubt(&self) {
        self.is_in_doubt.store(true, Ordering::Relaxed);
    }

    fn take_in(&self, place: String, missing: &Missing) {
        self.is_in_doubt.store(false, Ordering::Relaxed);
        let mut of = self.lock();
        if missing.sentence().is_some() {
            of.insert(place, missing.clone());
        } else {
            of.remove(&place);
        }
        self.are_any.store(!of.is_empty(), Ordering::Relaxed);
    }

    fn of(&self, place: impl FnOnce() -> String) -> Option<Missing> {
        if !self.are_any.load(Ordering::Relaxed) {
            return None;
        }
        self.lock().get(&place()).cloned()
    }
}

impl Rights {
    pub(super) fn new() -> Rights {
        Rights {
            needs: OnceLock::new(),
            refused: Mutex::new(None),
            is_refused: AtomicBool::new(false),
            missing: Mutex::new(None),
        }
    }

    /// What the user must be allowed in this namespace.
    pub(super) fn know(&self, needs: Needs) {
        // Said once.
        let _ = self.needs.set(needs);
    }

    /// A refusal with what to change; where that is a right, it is told in the log, unless it just was.
    pub(super) fn advise(&self, text: &str) -> String {
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
    pub(super) fn refused(&self) -> Option<String> {
        self.current(|refused| format!("redis ACL: permission denied: {}", refused.text))
    }

    /// Whether that was of a script.
    pub(super) fn refuses_a_script(&self) -> bool {
        self.current(|refused| matches!(refused.operation, Some(RedisOperation::Script(_)))).unwrap_or(false)
    }

    fn current<T>(&self, of: impl FnOnce(&Refused) -> T) -> Option<T> {
        if !self.is_refused.load(Ordering::Relaxed) {
            return None;
        }
        self.lock().as_ref().filter(|known| known.last.elapsed() < REPEAT).map(of)
    }

    /// The last refusal was of this operation.
    pub(super) fn were_refused_to(&self, operation: RedisOperation) {
        if let Some(refused) = self.lock().as_mut() {
            refused.operation = Some(operation);
        }
    }

    /// Takes in that an operation was done: Redis allows it again.
    pub(super) fn succeeded(&self, operation: RedisOperation) {
        self.forget_if(|refused| refused.operation == Some(operation));
    }

    /// What was refused until now need not be refused any more. When it was told stays known.
    pub(super) fn forget(&self) {
        self.forget_if(|_| true);
    }

    fn forget_if(&self, is_over: impl FnOnce(&Refused) -> bool) {
        if self.is_refused.load(Ordering::Relaxed) && self.lock().as_ref().is_some_and(is_over) {
            self.is_refused.store(false, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Refused>> {
        self.refused.lock().expect("no holder of this lock panics")
    }
}

/// Whether the rights that are asked for beforehand cover what this operation needs.
fn is_asked_about(operation: RedisOperation) -> bool {
    !matches!(operation, RedisOperation::Directory | RedisOperation::Info | RedisOperation::Mark)
}

impl Node {
    /// Says of a script that was stopped which command it was, and whether it had done by then what it was asked for.
    /// Redis may have to be asked: this is no part of a request that succeeds.
    pub(super) async fn explained(
        self: &Arc<Node>,
        script: &Script,
        failure: RedisFailure,
        operation: RedisOperation,
    ) -> RedisFailure {
        let (text, is_midway) = match failure {
            RedisFailure::Stopped(text) => (text, true),
            RedisFailure::Refused(text) if advice::stopped_a_script(&text) => (text, false),
            other => return other,
        };
        let named = Missing::named_in(&text);
        let (missing, text) = if advice::is_of_commands(&text) {
            let mut missing = self.missing().await;
            if missing.sentence().is_none() || !named.forbidden.iter().all(|name| missing.forbidden.contains(name)) {
                missing = named;
            }
            let text = missing.sentence().unwrap_or(text);
            let text = self.status.rights().advise(&text);
            self.were_refused_to(operation);
            (missing, text)
        } else {
            // Of a key or a channel.
            (named, text)
        };
        if is_midway && !missing.is_before_the_effect_of(script) {
            return RedisFailure::Stopped(text);
        }
        RedisFailure::Refused(text)
    }

    /// Why a script need not be sent.
    pub(super) fn refused_beforehand(&self, script: &Script) -> Option<RedisFailure> {
        let of = || self.in_flight.verdicts.of(|| self.config.place());
        let missing = if script.is_all_or_nothing { of() } else { None }?;
        let text = missing.sentence().filter(|_| missing.is_of(script))?;
        let text = self.status.rights().advise(&text);
        self.status.rights().were_refused_to(RedisOperation::Script(script.name));
        Some(RedisFailure::Refused(text))
    }

    /// A right was refused to this operation.
    pub(super) fn were_refused_to(&self, operation: RedisOperation) {
        self.status.rights().were_refused_to(operation);
        if is_asked_about(operation) {
            self.in_flight.verdicts.doubt();
        }
    }

    /// Whether it may refuse what it allowed when it was asked, or is known to refuse something.
    pub(super) fn is_in_doubt(&self) -> bool {
        let verdicts = &self.in_flight.verdicts;
        verdicts.is_in_doubt.load(Ordering::Relaxed) || verdicts.of(|| self.config.place()).is_some()
    }

    /// See `Redis::check_rights`.
    pub(super) async fn check_rights(
        self: &Arc<Node>,
        script: &'static Script,
        slot: Slot,
    ) -> Result<Option<String>, RedisFailure> {
        let missing = Missing::read(self.run(script, slot, Purpose::Probe, || self.question()).await?)?;
        self.take_in(&missing);
        let rights = self.status.rights();
        match missing.sentence() {
            Some(text) => {
                let text = rights.advise(&text);
                rights.were_refused_to(RedisOperation::Probe);
                Err(RedisFailure::Refused(text))
            }
            None => Ok(missing.further().map(|text| advice::attach(&text, &self.patterns()))),
        }
    }

    fn take_in(&self, missing: &Missing) {
        self.in_flight.verdicts.take_in(self.config.place(), missing);
        if *missing == Missing::default() {
            self.status.rights().forget_if(|refused| refused.operation.is_none_or(is_asked_about));
        }
    }

    fn patterns(&self) -> Patterns {
        self.status.rights().needs.get().map(|needs| needs.patterns.clone()).unwrap_or_default()
    }

    /// What `rights.lua` is to ask about.
    fn question(&self) -> Call {
        let Some(needs) = self.status.rights().needs.get() else { return Call::default() };
        let (mut keyed, mut keyless) = (String::new(), String::new());
        let commands: BTreeSet<_> = needs.scripts.iter().flat_map(|script| effects::commands(&script.text)).collect();
        for command in &commands {
            match command.takes {
                Takes::Key => keyed.extend([&command.name, " "]),
                Takes::Nothing => keyless.extend([&command.name, " "]),
                Takes::Channel => {}
            }
        }
        keyless.push_str(&of_connections(&self.config).join(" "));
        let mut args = Args::of([keyed.as_str(), keyless.as_str()]);
        for list in [&needs.keys, &needs.further, &needs.channels] {
            args.push(&list.len().to_string());
            args.extend(list.iter().map(String::as_str));
        }
        Call { args, ..Call::default() }
    }

    async fn missing(self: &Arc<Node>) -> Missing {
        let known = self.status.rights().missing.lock().expect("no holder of this lock panics").clone();
        if let Some((_, missing)) = known.filter(|(at, _)| at.elapsed() < FRESH) {
            return missing;
        }
        let operation = RedisOperation::Script(RIGHTS.name);
        let operations = [operation];
        let ask = || self.evalsha(&operations, &RIGHTS, self.question());
        let answer = match Box::pin(ask()).await {
            Err(failure) if failure.is_unknown_script() => match self.load(operation, &RIGHTS).await {
                Ok(()) => Box::pin(ask()).await,
                Err(failure) => Err(failure),
            },
            answer => answer,
        };
        let answer = answer.and_then(Missing::read);
        if let Ok(missing) = &answer {
            self.take_in(missing);
        }
        let missing = answer.unwrap_or_default();
        *self.status.rights().missing.lock().expect("no holder of this lock panics") =
            Some((Instant::now(), missing.clone()));
        missing
    }
}

/// What is sent beside the scripts and what they need: to connect, to load them, and to count replicas.
fn of_connections(config: &RedisConfig) -> Vec<&'static str> {
    let mut commands = vec!["script|load", "client|setname", "client|id"];
    commands.extend(config.database.filter(|database| *database > 0).map(|_| "select"));
    commands.extend((config.min_replicas > 0).then_some("wait"));
    match config.server {
        RedisServer::Sentinel { .. } => commands.push("role"),
        RedisServer::Cluster { .. } | RedisServer::ClusterNode { .. } => {
            commands.extend(["role", "cluster|nodes", "cluster|info"]);
        }
        RedisServer::Tcp { .. } | RedisServer::Unix { .. } => {}
    }
    commands
}

impl Missing {
    /// The command that Redis says it refused, if it does.
    fn named_in(text: &str) -> Missing {
        let command = text.split_once("run the '").and_then(|(_, rest)| rest.split('\'').next());
        Missing { forbidden: command.map(str::to_ascii_lowercase).into_iter().collect(), ..Missing::default() }
    }

    fn read(reply: Reply) -> Result<Missing, RedisFailure> {
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
    fn sentence(&self) -> Option<String> {
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
    fn further(&self) -> Option<String> {
        accessed("key", &self.further).map(|refused| format!("NOPERM this user has no permissions to {refused}"))
    }

    /// Whether a script has any of these commands.
    fn is_of(&self, script: &Script) -> bool {
        let stops = self.stops();
        effects::commands(&script.text).iter().any(|command| stops.contains(command.name.as_str()))
    }

    /// Whether this script, stopped at one of these commands, cannot have done yet what it is for.
    fn is_before_the_effect_of(&self, script: &Script) -> bool {
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

    /// A script as the engine makes it.
    fn script(name: &'static str) -> Script {
        let read = |name: &str| std::fs::read_to_string(format!("{}/lua/{name}.lua", env!("CARGO_MANIFEST_DIR")));
        let texts = ["head", "lease", "queue", name].map(|name| read(name).expect("a script"));
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
            ("release", &["del", "spublish"], true),
            ("release", &["zrem"], true),
            ("release", &["del"], true),
            ("force", &["zrem"], true),
            ("force", &["set"], false),
            ("undo", &["pexpiretime"], true),
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
    fn the_commands_of_a_script_are_read_off_its_text() {
        let text = "local function one() return redis.call('TIME')[1] end -- redis.call('DEL', lock)\n\
                    if redis.pcall('GET', KEYS[1]) then redis.call('SPUBLISH', push .. 'all', one()) end\n\
                    return redis.call('PUBSUB', 'SHARDNUMSUB', push)";
        let commands = effects::commands(text);
        let named: Vec<_> = commands.iter().map(|command| (command.name.as_str(), command.takes)).collect();
        let expected = [
            ("get", Takes::Key),
            ("pubsub|shardnumsub", Takes::Nothing),
            ("spublish", Takes::Channel),
            ("time", Takes::Nothing),
        ];
        assert_eq!(named, expected);
        // Nothing is called but what can be read off.
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/lua")).expect("the scripts") {
            let path = file.expect("a file").path();
            let text = std::fs::read_to_string(&path).expect("a text");
            let calls = text.matches("redis.call(").count() + text.matches("redis.pcall(").count();
            let named = text.matches("redis.call('").count() + text.matches("redis.pcall('").count();
            assert_eq!(calls, named, "{path:?}");
            for name in text.split("redis.call('").skip(1).filter_map(|rest| rest.split('\'').next()) {
                let found = effects::commands(&text);
                let is_it = |found: &effects::Command| found.name.split('|').next() == Some(&name.to_ascii_lowercase());
                assert!(found.iter().any(is_it), "{path:?}: {name}");
            }
        }
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
