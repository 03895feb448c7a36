//! Starts logging: text for people or JSON for machines, on standard error, so that standard output stays the command's.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

use crate::config::LogConfig;

/// Our own events at the level asked for; the libraries' from warn up, since theirs at debug would show what is sent.
pub fn start(config: LogConfig) {
    let level = LevelFilter::from_level(config.level);
    let filter = Targets::new().with_target("lockside", level).with_default(level.min(LevelFilter::WARN));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if config.json {
        lines.json().flatten_event(true).boxed()
    } else {
        use std::io::IsTerminal;
        lines.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    // A second start in one process keeps the first.
    let _ = registry().with(lines.with_filter(filter)).try_init();
}
