//! `lockside webhook`: an admission webhook that puts the sidecar into labelled pods as the API server creates them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::sync::watch;

use super::serve::{HangUp, Signals, heed_signals};
use super::{complain, exit, runtime};
use crate::config::{Address, SocketAccess};
use crate::drain::Drain;
use crate::inject::{Injector, Webhook, check_image};
use crate::log::{self, LogConfig};
use crate::metrics::Metrics;
use crate::secret;
use crate::server::{self, Crowd, Heads, Limits, Listener, Protocol, Unfinished};
use crate::tls::{Identity, ListenerTls};

#[derive(Args, Debug)]
pub struct WebhookFlags {
    /// Where to listen, over TLS: ip:port
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,

    /// File with the certificate, PEM, with the name of the Service; it is followed while the webhook runs
    #[arg(long, value_name = "FILE")]
    tls_cert_file: PathBuf,

    /// File with the key of the certificate, PEM
    #[arg(long, value_name = "FILE")]
    tls_key_file: PathBuf,

    /// Image of the sidecar, where the annotation `lockside/image` names no other [default: lockside with the version of
    /// this binary]
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,

    /// How the log is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// On one line of a terminal.
pub const USAGE: &str = "lockside webhook --listen ADDRESS --tls-cert-file F --tls-key-file F";

pub const HELP: &str = "\
Answers POST /mutate, admission reviews of admission.k8s.io/v1, with what `lockside inject` would change, and GET \
/healthz. A pod with an invalid label or annotation is refused. SIGTERM answers what has begun and exits 0. deploy/helm \
has a chart that runs it.

Example: lockside webhook --listen 0.0.0.0:8443 \\
           --tls-cert-file /run/tls/tls.crt --tls-key-file /run/tls/tls.key";

/// The API server has a connection or a few from each of its replicas.
const CONNECTIONS: usize = 1024;
/// Longest time for a request: the API server waits 30 s at most.
const REQUEST: Duration = Duration::from_secs(60);
/// How long requests may take to end once the drain has begun.
const GRACE: Duration = Duration::from_secs(20);

pub fn run(flags: &WebhookFlags) -> ExitCode {
    let (injector, tls, warnings) = match settings(flags) {
        Ok(settings) => settings,
        Err(mistakes) => {
            mistakes.iter().for_each(complain);
            return ExitCode::from(exit::USAGE);
        }
    };
    log::start(LogConfig { level: tracing::Level::INFO, json: flags.log_format == LogFormat::Json });
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let served = runtime().map(|runtime| runtime.block_on(serve(flags.listen, injector, tls)));
    match served {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(problem)) => {
            complain(problem);
            ExitCode::from(exit::FAILURE)
        }
        Err(code) => code,
    }
}

/// With them comes what is unwise about them.
fn settings(flags: &WebhookFlags) -> Result<(Injector, ListenerTls, Vec<String>), Vec<String>> {
    let mut mistakes = Vec::new();
    let image = flags.image.clone().filter(|image| !image.is_empty());
    if let Some(problem) = image.as_deref().and_then(|image| check_image(image).err()) {
        mistakes.push(format!("--image: {problem}"));
    }
    let (certificate, key) = (("--tls-cert-file", &*flags.tls_cert_file), ("--tls-key-file", &*flags.tls_key_file));
    match Identity::read(certificate, key) {
        Ok((identity, warnings)) if mistakes.is_empty() => {
            Ok((Injector { image }, ListenerTls::new(identity, None), warnings))
        }
        Ok(_) => Err(mistakes),
        Err((flag, problem)) => {
            mistakes.push(format!("{flag}: {problem}"));
            Err(mistakes)
        }
    }
}

async fn serve(listen: SocketAddr, injector: Injector, tls: ListenerTls) -> Result<(), String> {
    let address = Address::Tls(listen);
    let failed = |error: std::io::Error| {
        format!("cannot listen on `{listen}`: {error}; free it, or choose another address with --listen")
    };
    // Of a unix socket, which this is none.
    let access = SocketAccess { mode: 0o600, group: None };
    let mut bound = server::bind(&address, &[], access, 1).map_err(failed)?;
    let bound = bound.pop().expect("one for the one thread");
    let address = bound.address().map_err(failed)?;
    let listener = Listener::new(bound).map_err(failed)?;
    let (stop, drain) = Drain::channel();
    let (look, look_at_files) = watch::channel(());
    let signals = Signals::listen().map_err(|error| format!("cannot listen for signals: {error}"))?;
    tokio::spawn(heed_signals(signals, HangUp::LooksAtFiles, stop, look));
    let metrics = Arc::new(Metrics::new());
    tokio::spawn(secret::watch(tls.files().collect(), Arc::clone(&metrics), look_at_files));
    tracing::info!(webhook = %address, version = env!("CARGO_PKG_VERSION"), "listening");
    if server::serve(listener, Webhook::new(injector), limits(tls, &metrics), drain).await {
        tracing::info!("shutdown complete");
    } else {
        tracing::warn!("shutdown timed out with requests in progress");
    }
    Ok(())
}

fn limits(tls: ListenerTls, metrics: &Metrics) -> Limits {
    const NAME: &str = "webhook";
    Limits {
        protocol: Protocol::Http1,
        tls: Some(tls),
        max_connections: CONNECTIONS,
        threads: 1,
        heads: Heads::API,
        unfinished: Unfinished::default(),
        crowd: Crowd::default(),
        longest_request: REQUEST,
        grace: GRACE,
        open: metrics.connections.with_label_values(&[NAME]),
        refused: metrics.connections_refused.with_label_values(&[NAME]),
        cut: metrics.connections_cut.clone(),
        listener: NAME,
    }
}
