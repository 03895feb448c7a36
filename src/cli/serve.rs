//! `lockside serve`: the sidecar itself.

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::{complain, exit, parse, runtime};
use crate::app::App;
use crate::config::{Address, Config, Environment, Flags, ListenConfig, Mistake};
use crate::drain::Drain;
use crate::log;

pub fn run(flags: &Flags) -> ExitCode {
    let config = match settings(flags) {
        Ok(config) => config,
        Err(mistakes) => {
            mistakes.iter().for_each(complain);
            return ExitCode::from(exit::USAGE);
        }
    };
    log::start(config.process.log);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    for note in &config.notes {
        tracing::info!("{note}");
    }
    run_until_signal(config, |_| {})
}

/// The settings of the flags and the environment, or everything that is wrong with them.
pub fn settings(flags: &Flags) -> Result<Config, Vec<Mistake>> {
    let Environment { mut mistakes, warnings } = Environment::look(&parse::variables());
    match Config::resolve(flags) {
        Ok(mut config) if mistakes.is_empty() => {
            config.warnings.extend(warnings);
            Ok(config)
        }
        Ok(_) => Err(mistakes),
        Err(others) => {
            mistakes.extend(others);
            Err(mistakes)
        }
    }
}

/// Serves until SIGTERM or SIGINT; a second one ends the process at once.
pub fn run_until_signal(config: Config, when_bound: impl FnOnce(&ListenConfig)) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let app = match App::bind(config) {
        Ok(app) => app,
        Err(error) => {
            complain(error);
            return ExitCode::from(exit::FAILURE);
        }
    };
    when_bound(app.listen());
    let (api, ops, version) = (all(&app.listen().api), all(&app.listen().ops), env!("CARGO_PKG_VERSION"));
    tracing::info!(%api, %ops, version, "listening");
    let ended = runtime.block_on(async {
        let (stop, drain) = Drain::channel();
        // Before anything is served: who was answered may send a signal.
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => drop(tokio::spawn(heed_signals(terminate, interrupt, stop))),
            _ => tracing::error!("cannot listen for signals"),
        }
        app.run(drain).await
    });
    match ended {
        Ok(true) => tracing::info!("shutdown complete"),
        Ok(false) => tracing::warn!("shutdown timed out with requests in progress"),
        Err(error) => {
            complain(format!("cannot serve: {error}"));
            return ExitCode::from(exit::FAILURE);
        }
    }
    ExitCode::SUCCESS
}

/// Addresses as the flags take them.
fn all(addresses: &[Address]) -> String {
    addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(",")
}

async fn heed_signals(mut terminate: Signal, mut interrupt: Signal, stop: watch::Sender<bool>) {
    for count in 1.. {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        if count > 1 {
            tracing::warn!(signal = name, "second signal, exiting immediately");
            std::process::exit(1);
        }
        tracing::info!(signal = name, "draining");
        stop.send_replace(true);
    }
}
