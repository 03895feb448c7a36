//! Asks a server what it refuses of all that locks need: beforehand, by a probe, and where a script was stopped.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use super::advice;
use super::missing::Missing;
use super::steps::Takes;
use crate::redis::node::Node;
use crate::redis::operation::RedisOperation;
use crate::redis::settings::{RedisConfig, RedisServer};
use crate::redis::{Args, Call, Patterns, Purpose, RedisFailure, Script, Slot};

/// For so long what a server was seen to refuse is not asked for again.
const FRESH: Duration = Duration::from_secs(1);

static RIGHTS: LazyLock<Script> = LazyLock::new(|| Script::new("rights", &[include_str!("rights.lua")]));

/// Whether the rights that are asked for beforehand cover what this operation needs.
fn is_asked_about(operation: RedisOperation) -> bool {
    !matches!(operation, RedisOperation::Directory | RedisOperation::Info | RedisOperation::Mark)
}

impl Node {
    /// Says of a script that was stopped which command it was, and whether it had done by then what it was asked for.
    /// Redis may have to be asked: this is no part of a request that succeeds.
    pub(in crate::redis) async fn explained(
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
    pub(in crate::redis) fn refused_beforehand(&self, script: &Script) -> Option<RedisFailure> {
        let of = || self.in_flight.verdicts.of(|| self.config.place());
        let missing = if script.is_all_or_nothing { of() } else { None }?;
        let text = missing.sentence().filter(|_| missing.is_of(script))?;
        let text = self.status.rights().advise(&text);
        self.status.rights().were_refused_to(RedisOperation::Script(script.name));
        Some(RedisFailure::Refused(text))
    }

    /// A right was refused to this operation.
    pub(in crate::redis) fn were_refused_to(&self, operation: RedisOperation) {
        self.status.rights().were_refused_to(operation);
        if is_asked_about(operation) {
            self.in_flight.verdicts.doubt();
        }
    }

    /// Whether it may refuse what it allowed when it was asked, or is known to refuse something.
    pub(in crate::redis) fn is_in_doubt(&self) -> bool {
        let verdicts = &self.in_flight.verdicts;
        verdicts.are_in_doubt() || verdicts.of(|| self.config.place()).is_some()
    }

    /// See `Redis::check_rights`.
    pub(in crate::redis) async fn check_rights(
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
        let rights = self.status.rights();
        let Some(needs) = rights.needs.get() else { return Call::default() };
        let (mut keyed, mut keyless) = (String::new(), String::new());
        for command in rights.commands_of(needs) {
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
