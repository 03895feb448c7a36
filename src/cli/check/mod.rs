//! `lockside check`: whether `serve` could work with these settings, before it is started or beside it. Each check says
//! what to change and where more is said; nothing is left in Redis.

mod listeners;
mod local;
mod reach;
mod redis;
mod report;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::serve::settings;
use super::{complain, exit, runtime, say};
use crate::config::{Config, Flags};
use crate::metrics::Metrics;
use redis::Seen;
use report::{Check, Name, Report, Status};

#[derive(Args, Debug)]
pub struct CheckFlags {
    /// One JSON object at the end: each check with its name, status (ok, warn, fail or skipped), detail, change and page
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    serve: Flags,
}

pub const HELP: &str = "\
Takes the flags and variables of serve. A line begins with ok, warn, FAIL or skipped and the name of the check; below it \
stands what to change. It leaves nothing in Redis, and can run before a sidecar starts or beside it. Exit code 0 without a \
FAIL, 1 with one, 64 for settings that serve refuses.

Example: lockside check --redis-url redis://redis:6379
Example: kubectl exec deployment/app -c lockside -- /lockside check --json";

pub fn run(flags: &CheckFlags) -> ExitCode {
    let trail = NewFile::at(flags.serve.audit.audit.as_deref());
    let settings = settings(&flags.serve);
    trail.remove();
    let config = match settings {
        Ok(config) => config,
        Err(mistakes) => {
            mistakes.iter().for_each(complain);
            return ExitCode::from(exit::USAGE);
        }
    };
    config.warnings.iter().for_each(complain);
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let checks = runtime.block_on(all(&config, flags.json));
    // A look-up of a name that still waits holds nothing up.
    runtime.shutdown_background();
    if flags.json {
        let docs_url = config.listen.docs_url.as_deref();
        let report = Report { checks: checks.iter().map(|check| check.row(docs_url)).collect() };
        say(serde_json::to_string(&report).expect("texts are JSON"));
    }
    let has_failed = checks.iter().any(|check| check.status == Status::Fail);
    if has_failed { ExitCode::from(exit::FAILURE) } else { ExitCode::SUCCESS }
}

/// The file of the audit trail where it is not there yet: the settings make it, to see whether that works.
struct NewFile<'a>(Option<&'a Path>);

impl NewFile<'_> {
    fn at(path: Option<&str>) -> NewFile<'_> {
        NewFile(path.map(Path::new).filter(|path| !path.exists()))
    }

    /// Removes it, unless a sidecar writes to it meanwhile. Of a symbolic link the target.
    fn remove(&self) {
        let made = self.0.and_then(|path| path.canonicalize().ok());
        if let Some(made) = made.filter(|made| made.metadata().is_ok_and(|file| file.is_file() && file.len() == 0)) {
            let _ = std::fs::remove_file(made);
        }
    }
}

/// All checks in their order, each told as soon as it has ended, unless they are wanted as JSON.
async fn all(config: &Config, is_json: bool) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    let mut tell = |check: Check| {
        if !is_json {
            say(check.lines(config.listen.docs_url.as_deref()));
        }
        checks.push(check);
    };
    let metrics = Arc::new(Metrics::new());
    let (reached, stopped) = reach::reach(&config.redis, &metrics).await;
    reached.into_iter().for_each(&mut tell);
    let seen = match stopped {
        Some(name) => Err(format!("`{}` failed", name.label())),
        None => Seen::look(config, &metrics).await,
    };
    let of_redis = |name| match &seen {
        Ok(seen) => seen.check(name),
        Err(why) if name == Name::Rights && stopped.is_none() => Seen::silence(why),
        Err(why) => Check::skipped(name, why),
    };
    for name in [Name::Rights, Name::Version, Name::Persistence, Name::Eviction] {
        tell(of_redis(name));
    }
    tell(local::policy(&config.auth));
    for name in [Name::Replicas, Name::Clock] {
        tell(of_redis(name));
    }
    tell(listeners::listeners(&config.listen));
    tell(local::proxies(&config.listen.api, |name| std::env::var(name).ok()));
    checks
}
