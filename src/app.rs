//! The only wiring: config → redis → locks → api → server. Owns the order of start and of shutdown.

mod listeners;
#[cfg(test)]
mod tests;
mod worker;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::audit::Audit;
use crate::auth::KeySource;
use crate::config::{AuthConfig, Config, ListenConfig, ProcessConfig};
use crate::drain::Drain;
use crate::election::Elections;
use crate::hold::{Holds, Keeper};
use crate::lock::Shared;
use crate::metrics::Metrics;
use crate::ops::Ops;
use crate::quota::Quotas;
use crate::readiness::{self, Readiness};
use crate::redis::InFlight;
use crate::secret;
use crate::server::{self, Bound, Listener, Protocol, Shares, Unfinished};
use listeners::bind;
pub use listeners::{BindError, Tried, try_listeners};
use worker::{Parts, Worker, start_threads};

/// A process with its sockets bound, ready to run.
pub struct App {
    config: Config,
    /// An entry for each thread: its listeners, and what each speaks.
    api: Vec<Vec<(Bound, Protocol)>>,
    ops: Vec<Bound>,
}

impl App {
    /// Binds all listeners. From then on the configuration has the addresses that they really have.
    pub fn bind(mut config: Config) -> Result<App, BindError> {
        let (listen, threads) = (&mut config.listen, config.process.threads);
        let mut api: Vec<Vec<(Bound, Protocol)>> = (0..threads).map(|_| Vec::new()).collect();
        for (addresses, flag, protocol) in [
            (&mut listen.api, "--listen", Protocol::Http1),
            (&mut listen.dapr_grpc, "--dapr-grpc-listen", Protocol::Http2),
        ] {
            for bound in bind(addresses, flag, listen.sockets, threads, &[])? {
                api.iter_mut().zip(bound).for_each(|(thread, bound)| thread.push((bound, protocol)));
            }
        }
        let ops = bind(&mut listen.ops, "--ops-listen", listen.sockets, 1, &listen.ops_of_any_family)?;
        Ok(App { config, api, ops: ops.into_iter().flatten().collect() })
    }

    /// Where it listens.
    pub fn listen(&self) -> &ListenConfig {
        &self.config.listen
    }

    /// Serves until the drain begins. Then it is not ready, accepts no connections, lets each request under way end, and
    /// rolls back unconfirmed grants; the ops listener ends last. Returns whether all ended within the grace.
    /// `look_at_files` has the files of secrets and of the audit trail looked at at once, and not only at their next turn.
    pub async fn run(self, drain: Drain, mut look_at_files: watch::Receiver<()>) -> io::Result<bool> {
        let App { mut config, mut api, ops } = self;
        let metrics = Arc::new(Metrics::new());
        // Taken out of the settings, so that a file that was rotated is closed.
        let (audit, trail) = match config.audit.take() {
            Some(audit) => Audit::start(audit, &metrics).map(|(audit, trail)| (Some(audit), Some(trail)))?,
            None => (None, None),
        };
        let config = Arc::new(config);
        let parts = Parts {
            config: Arc::clone(&config),
            shared: Arc::new(Shared::new(&config.locks, drain.clone(), Arc::clone(&metrics), audit.clone())),
            elections: Arc::new(Elections::new(&config.elections, &metrics)),
            quotas: quotas(&config, &metrics),
            metrics,
            holds: Arc::new(Holds::default()),
            in_flight: InFlight::new(config.redis.max_in_flight),
            drain: drain.clone(),
            shares: connections(&config),
            unfinished: Unfinished::default(),
        };
        parts.metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);

        let mine = api.pop().expect("at least one thread");
        let worker = Worker::start(&parts);
        let keys = config.auth.jwt.as_ref().and_then(KeySource::set).cloned();
        let readiness = Arc::new(Readiness::new(worker.redis.clone(), keys.clone(), Arc::clone(&parts.metrics)));
        let others = start_threads(&parts, &readiness, api)?;
        tokio::spawn(worker.locks.sweep());
        let (locks, holds) = (worker.locks.clone(), Arc::clone(&parts.holds));
        parts.elections.start(&Keeper { locks, holds, drain: drain.clone(), grace: parts.hold_grace() });
        tokio::spawn(secret::watch(config.files(), Arc::clone(&parts.metrics), look_at_files.clone()));
        if let Some(keys) = keys {
            tokio::spawn(keys.follow(Arc::clone(&parts.metrics), look_at_files.clone()));
        }
        if let Some(audit) = audit {
            tokio::spawn(async move {
                while look_at_files.changed().await.is_ok() {
                    audit.look();
                }
            });
        }

        let (locks, directory) = (worker.locks.clone(), worker.directory.clone());
        tokio::spawn(readiness::watch(Arc::clone(&readiness), locks, directory, config.locks.max_ttl_ms));

        let (locks, elections) = (worker.locks.clone(), Arc::clone(&parts.elections));
        let ops_handler = Ops::new(Arc::clone(&parts.metrics), locks, elections, Arc::clone(&readiness), drain);
        let (end_ops, ops_ends) = Drain::channel();
        let limits = parts.limits("ops", parts.shares.ops, 1);
        let mut ops_servers = JoinSet::new();
        for bound in ops {
            let (listener, limits) = (Listener::new(bound)?, limits.clone());
            ops_servers.spawn(server::serve(listener, ops_handler.clone(), limits, ops_ends.clone()));
        }

        let mut all_ended = worker.serve(mine, &parts, &readiness).await?;
        for ended in others {
            all_ended &=
                tokio::task::spawn_blocking(move || ended.join()).await.ok().and_then(Result::ok).unwrap_or(false);
        }
        // Behind all that can write a line, and while its counter can still be read.
        if let Some(trail) = trail {
            let _ = tokio::task::spawn_blocking(move || trail.end(LAST_LINES)).await;
        }
        end_ops.send_replace(true);
        let _ = tokio::time::timeout(Duration::from_secs(1), ops_servers.join_all()).await;
        Ok(all_ended)
    }
}

/// How long the last lines of the audit trail may take.
const LAST_LINES: Duration = Duration::from_secs(5);

/// What callers may have at once, where a flag or a policy may limit it.
fn quotas(config: &Config, metrics: &Arc<Metrics>) -> Option<Arc<Quotas>> {
    let AuthConfig { limits, policy, .. } = &config.auth;
    let may_limit = policy.is_some() || !limits.is_none();
    may_limit.then(|| Arc::new(Quotas::new(*limits, policy.clone(), Arc::clone(metrics))))
}

/// How many connections the listeners of each kind may have: as many as were asked for, or as there are file
/// descriptors.
fn connections(config: &Config) -> Shares {
    let Config { listen, process: ProcessConfig { threads, .. }, .. } = config;
    let (wanted, limit) = (listen.max_connections, server::raise_limit());
    let shares = server::share(limit, wanted, *threads, threads * listen.serving().count() + listen.ops.len());
    if shares.api != wanted {
        let (limit, Shares { api, ops }) = (limit.unwrap_or(u64::MAX), shares);
        if listen.max_connections_is_set {
            tracing::warn!(
                "--max-connections {wanted} needs more file descriptors than this process may have, {limit}: the API \
                 listeners accept {api} connections and the metrics and health listeners {ops}; raise the hard limit (ulimit -Hn) or \
                 set less"
            );
        } else {
            tracing::info!(
                "the API listeners accept {api} connections and the metrics and health listeners {ops}: as many as the {limit} file \
                 descriptors of this process allow; raise the hard limit (ulimit -Hn) for more"
            );
        }
    }
    shares
}
