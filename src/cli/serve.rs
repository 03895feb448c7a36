//! `lockside serve`: the sidecar itself.

use std::io;
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
    run_until_signal(config, HangUp::LooksAtFiles, |_| {})
}

/// What SIGHUP does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUp {
    /// The files of secrets are read again at once, as of a daemon.
    LooksAtFiles,
    /// As SIGTERM, since the terminal has gone.
    Ends,
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

/// Serves until SIGTERM or SIGINT; a second one ends the process at once. SIGUSR1 and SIGUSR2 do nothing.
pub fn run_until_signal(config: Config, hang_up: HangUp, when_bound: impl FnOnce(&ListenConfig)) -> ExitCode {
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
    let dapr_grpc = Some(all(&app.listen().dapr_grpc)).filter(|all| !all.is_empty());
    tracing::info!(%api, dapr_grpc, %ops, version, "listening");
    let ended = runtime.block_on(async {
        let (stop, drain) = Drain::channel();
        // Before anything is served: who was answered may send a signal.
        let (look, look_at_files) = watch::channel(());
        match Signals::listen() {
            Ok(signals) => drop(tokio::spawn(heed_signals(signals, hang_up, stop, look.clone()))),
            Err(error) => tracing::error!(%error, "cannot listen for signals"),
        }
        app.run(drain, look_at_files).await
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

pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub fn listen() -> io::Result<Signals> {
        // By default they end a process. One that is listened for does not, even when the listener has gone.
        for ignored in [SignalKind::user_defined1(), SignalKind::user_defined2()] {
            drop(signal(ignored)?);
        }
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

/// Begins the drain at the first signal that ends, and ends the process at the second.
pub async fn heed_signals(mut signals: Signals, hang_up: HangUp, stop: watch::Sender<bool>, look: watch::Sender<()>) {
    let mut has_begun = false;
    loop {
        let name = tokio::select! {
            _ = signals.terminate.recv() => "SIGTERM",
            _ = signals.interrupt.recv() => "SIGINT",
            _ = signals.hang_up.recv() => match hang_up {
                HangUp::Ends => "SIGHUP",
                HangUp::LooksAtFiles => {
                    tracing::info!(signal = "SIGHUP", "looking at the files of secrets and of the audit trail");
                    look.send_replace(());
                    continue;
                }
            },
        };
        if std::mem::replace(&mut has_begun, true) {
            tracing::warn!(signal = name, "second signal, exiting immediately");
            std::process::exit(1);
        }
        tracing::info!(signal = name, "draining");
        stop.send_replace(true);
    }
}
