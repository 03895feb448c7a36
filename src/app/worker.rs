//! One thread's share of the process, and what all threads share.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::join_all;

use crate::api::{self, Api, Context, DaprGrpc};
use crate::config::{Address, Config};
use crate::directory::Directory;
use crate::drain::Drain;
use crate::election::Elections;
use crate::hold::Holds;
use crate::lock::{KeySpace, Locks, Shared};
use crate::metrics::Metrics;
use crate::quota::Quotas;
use crate::readiness::Readiness;
use crate::redis::{InFlight, Redis};
use crate::server::{self, Bound, Crowd, Heads, Limits, Listener, Protocol, Shares, Unfinished};

/// Longest time for a request beside the time that it may wait in line: a net below the deadlines of its parts.
const REQUEST: Duration = Duration::from_secs(300);

/// What all threads share.
#[derive(Clone)]
pub struct Parts {
    pub config: Arc<Config>,
    pub metrics: Arc<Metrics>,
    pub shared: Arc<Shared>,
    pub holds: Arc<Holds>,
    pub elections: Arc<Elections>,
    /// `None` where no caller can have a limit.
    pub quotas: Option<Arc<Quotas>>,
    pub in_flight: Arc<InFlight>,
    pub drain: Drain,
    pub shares: Shares,
    /// Of heads that have come in part, over all API listeners.
    pub unfinished: Unfinished,
}

impl Parts {
    /// How long held locks are kept once the drain has begun: shorter than connections are, so that a hold's last line
    /// arrives.
    pub fn hold_grace(&self) -> Duration {
        self.config.process.shutdown_grace.mul_f64(0.9)
    }

    pub fn limits(&self, listener: &'static str, max_connections: usize, threads: usize) -> Limits {
        Limits {
            protocol: Protocol::Http1,
            tls: None,
            max_connections,
            threads,
            heads: if listener == "ops" { Heads::OPS } else { Heads::API },
            unfinished: if listener == "ops" { Unfinished::default() } else { Unfinished::clone(&self.unfinished) },
            crowd: Crowd::default(),
            longest_request: Duration::from_millis(self.config.locks.max_wait_ms) + REQUEST,
            grace: self.config.process.shutdown_grace,
            open: self.metrics.connections.with_label_values(&[listener]),
            refused: self.metrics.connections_refused.with_label_values(&[listener]),
            cut: self.metrics.connections_cut.clone(),
            listener,
        }
    }
}

/// One thread's share: a Redis connection, the engine over it, the API over that.
pub struct Worker {
    pub redis: Redis,
    pub locks: Locks,
    pub directory: Option<Directory>,
}

impl Worker {
    /// Must be called inside the runtime that the worker runs on.
    pub fn start(parts: &Parts) -> Worker {
        let Parts { config, metrics, shared, in_flight, .. } = parts;
        let redis = Redis::connect(&config.redis, Arc::clone(in_flight), Arc::clone(metrics));
        let space = KeySpace::of(&config.locks, &redis, config.redis.database.unwrap_or(0));
        let directory = config.auth.user_directory.then(|| Directory::new(redis.clone(), space.users()));
        let locks = Locks::new(redis.clone(), space, Arc::clone(shared));
        Worker { redis, locks, directory }
    }

    /// Serves each listener with an API of its own, since what a caller may do depends on where it stands.
    pub async fn serve(
        &self,
        listeners: Vec<(Bound, Protocol)>,
        parts: &Parts,
        readiness: &Arc<Readiness>,
    ) -> io::Result<bool> {
        let Parts { config, metrics, holds, elections, drain, .. } = parts;
        let limits = parts.limits("api", parts.shares.api, config.process.threads);
        let mut servers = Vec::new();
        for (bound, protocol) in listeners {
            let (locks, directory) = (self.locks.clone(), self.directory.clone());
            let held = (Arc::clone(holds), Arc::clone(elections));
            let address = bound.address()?;
            let settings = api::Settings {
                listen: &config.listen,
                locks: &config.locks,
                auth: &config.auth,
                anonymous: config.anonymous(&address),
                hold_grace: parts.hold_grace(),
            };
            let shared = (Arc::clone(metrics), Arc::clone(readiness), drain.clone());
            let cx = Context::new(&settings, &address, locks, held, (directory, parts.quotas.clone()), shared);
            let (cx, listener, drain) = (Arc::new(cx), Listener::new(bound)?, drain.clone());
            let tls = config.listen.tls.clone().filter(|_| matches!(address, Address::Tls(_)));
            let limits = Limits { protocol, tls, ..limits.clone() };
            servers.push(async move {
                match protocol {
                    Protocol::Http1 => server::serve(listener, Api(cx), limits, drain).await,
                    Protocol::Http2 => server::serve(listener, DaprGrpc(cx), limits, drain).await,
                }
            });
        }
        let all_ended = join_all(servers).await.into_iter().all(|ended| ended);
        let settled = self.locks.settled();
        Ok(all_ended & tokio::time::timeout(config.process.shutdown_grace, settled).await.is_ok())
    }
}

/// Starts the further threads, each a runtime of its own: nothing on the path of a request crosses threads. What each
/// returns: whether all its requests ended within the grace.
pub fn start_threads(
    parts: &Parts,
    readiness: &Arc<Readiness>,
    listeners: Vec<Vec<(Bound, Protocol)>>,
) -> io::Result<Vec<JoinHandle<bool>>> {
    let mut threads = Vec::new();
    for bound in listeners {
        let (parts, readiness) = (parts.clone(), Arc::clone(readiness));
        let (tell, told) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(format!("lockside-{}", threads.len() + 1));
        let ended = thread.spawn(move || {
            runtime.block_on(async move {
                let worker = Worker::start(&parts);
                readiness.include(worker.redis.health());
                let _ = tell.send(());
                worker.serve(bound, &parts, &readiness).await.unwrap_or_else(|error| {
                    tracing::error!(%error, "a thread cannot use its listeners");
                    false
                })
            })
        })?;
        told.recv().map_err(|_| io::Error::other("a thread ended before it served"))?;
        threads.push(ended);
    }
    Ok(threads)
}
