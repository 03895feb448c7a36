//! The only wiring: config → redis → locks → api → server. Owns the order of start and of shutdown.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::api::{Api, Holds, ops::Ops};
use crate::config::{Address, Config, ListenConfig};
use crate::directory::Directory;
use crate::lock::{KeySpace, Locks, Shared};
use crate::metrics::Metrics;
use crate::redis::{Health, InFlight, Redis};
use crate::rotation;
use crate::server::{self, Bound, Limits, Listener, Shares};
use crate::worth::Worth;

/// A process with its sockets bound, ready to run.
pub struct App {
    config: Config,
    api: Vec<Bound>,
    ops: Bound,
}

/// A listener that could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}`: {error}; is another lockside there? choose another address with {flag}")]
pub struct BindError {
    address: Address,
    flag: &'static str,
    error: io::Error,
}

impl App {
    /// Binds both listeners. From then on the configuration has the addresses that they really have.
    pub fn bind(mut config: Config) -> Result<App, BindError> {
        let bind = |address: &mut Address, flag, count| {
            let bound = server::bind(address, count).and_then(|bound| {
                *address = bound[0].address()?;
                Ok(bound)
            });
            bound.map_err(|error| BindError { address: address.clone(), flag, error })
        };
        let api = bind(&mut config.listen.api, "--listen", config.process.threads)?;
        let ops = bind(&mut config.listen.ops, "--ops-listen", 1)?.pop().expect("one listener was asked for");
        Ok(App { config, api, ops })
    }

    /// Where it listens.
    pub fn listen(&self) -> &ListenConfig {
        &self.config.listen
    }

    /// Serves until `stop` is true, then drains: not ready any more, no new connections, each request under way ends,
    /// what nobody was told of is taken back; the ops listener goes last. Returns whether all ended within the grace.
    pub async fn run(self, stop: watch::Receiver<bool>) -> io::Result<bool> {
        let App { config, mut api, ops } = self;
        let config = Arc::new(config);
        let metrics = Arc::new(Metrics::new());
        let parts = Parts {
            config: Arc::clone(&config),
            shared: Arc::new(Shared::new(config.locks.max_waiters, stop.clone(), Arc::clone(&metrics))),
            metrics,
            holds: Arc::new(Holds::default()),
            in_flight: InFlight::new(config.redis.max_in_flight),
            stop: stop.clone(),
            shares: connections(&config),
        };
        parts.metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);

        let mine = api.pop().expect("at least one thread");
        let others = start_threads(&parts, api)?;
        let worker = Worker::start(&parts);
        tokio::spawn(worker.locks.sweep());
        tokio::spawn(rotation::follow(config.files(), Arc::clone(&parts.metrics)));

        let worth = Arc::new(Worth::new(worker.redis.clone(), Arc::clone(&parts.metrics)));
        tokio::spawn(Arc::clone(&worth).watch(worker.locks.clone(), config.locks.max_ttl_ms));

        let others_redis = others.iter().map(|thread| thread.redis.clone());
        let redis = others_redis.chain([worker.redis.health()]).collect();
        let ops_handler = Ops::new(Arc::clone(&parts.metrics), worker.locks.clone(), redis, worth);
        let (end_ops, ops_ends) = watch::channel(false);
        let ops_server = tokio::spawn(server::serve(
            Listener::new(ops)?,
            ops_handler.clone(),
            parts.limits("ops", parts.shares.ops),
            ops_ends,
        ));
        let mut stopping = stop;
        let watcher = ops_handler.clone();
        tokio::spawn(async move {
            if stopping.wait_for(|stop| *stop).await.is_ok() {
                watcher.drain();
            }
        });

        let mut all_ended = worker.serve(Listener::new(mine)?, &parts).await;
        for thread in others {
            all_ended &= tokio::task::spawn_blocking(move || thread.ended.join())
                .await
                .ok()
                .and_then(Result::ok)
                .unwrap_or(false);
        }
        end_ops.send_replace(true);
        let _ = tokio::time::timeout(Duration::from_secs(1), ops_server).await;
        Ok(all_ended)
    }
}

/// Longest time for a request beside the time that it may wait in line: a net below the deadlines of its parts.
const REQUEST: Duration = Duration::from_secs(300);

/// How many connections each listener may have: as many as were asked for, or as there are file descriptors.
fn connections(config: &Config) -> Shares {
    let (wanted, limit) = (config.listen.max_connections, server::raise_limit());
    let shares = server::share(limit, wanted, config.process.threads);
    if shares != (Shares { api: wanted, ops: wanted }) {
        let (limit, Shares { api, ops }) = (limit.unwrap_or(u64::MAX), shares);
        tracing::warn!(
            "--max-connections {wanted} needs more file descriptors than this process may have, {limit}: the API \
             listener takes {api} connections and the ops listener {ops}; raise the hard limit (ulimit -Hn) or set less"
        );
    }
    shares
}

/// What all threads share.
#[derive(Clone)]
struct Parts {
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    shared: Arc<Shared>,
    holds: Arc<Holds>,
    in_flight: Arc<InFlight>,
    stop: watch::Receiver<bool>,
    shares: Shares,
}

impl Parts {
    fn limits(&self, listener: &'static str, max_connections: usize) -> Limits {
        Limits {
            max_connections,
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
struct Worker {
    redis: Redis,
    locks: Locks,
    api: Api,
}

impl Worker {
    /// Must be called inside the runtime that the worker runs on.
    fn start(parts: &Parts) -> Worker {
        let Parts { config, metrics, shared, holds, in_flight, stop, .. } = parts;
        let redis = Redis::connect(&config.redis, Arc::clone(in_flight), Arc::clone(metrics));
        let (prefix, database) = (&config.locks.key_prefix, config.redis.database.unwrap_or(0));
        let space = if redis.is_cluster() {
            KeySpace::clustered(prefix)
        } else if config.locks.raw_keys {
            KeySpace::raw(prefix, database)
        } else {
            KeySpace::in_database(prefix, database)
        };
        redis.know(space.patterns());
        let directory = config.auth.user_directory.then(|| Directory::new(redis.clone(), space.users()));
        let locks = Locks::new(redis.clone(), space, Arc::clone(shared));
        let (holds, metrics) = (Arc::clone(holds), Arc::clone(metrics));
        let api = Api::new(config, locks.clone(), holds, directory, metrics, stop.clone());
        Worker { redis, locks, api }
    }

    async fn serve(&self, listener: Listener, parts: &Parts) -> bool {
        let all_ended =
            server::serve(listener, self.api.clone(), parts.limits("api", parts.shares.api), parts.stop.clone()).await;
        let settled = self.locks.settled();
        all_ended & tokio::time::timeout(parts.config.process.shutdown_grace, settled).await.is_ok()
    }
}

/// A thread that serves: its Redis connection, and whether all its requests ended within the grace.
struct Thread {
    redis: Health,
    ended: JoinHandle<bool>,
}

/// Starts the further threads, each a runtime of its own: nothing on the path of a request crosses threads.
fn start_threads(parts: &Parts, listeners: Vec<Bound>) -> io::Result<Vec<Thread>> {
    let mut threads = Vec::new();
    for bound in listeners {
        let parts = parts.clone();
        let (tell, told) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(format!("lockside-{}", threads.len() + 1));
        let ended = thread.spawn(move || {
            runtime.block_on(async move {
                let worker = Worker::start(&parts);
                let _ = tell.send(worker.redis.health());
                match Listener::new(bound) {
                    Ok(listener) => worker.serve(listener, &parts).await,
                    Err(error) => {
                        tracing::error!(%error, "a thread cannot use its listener");
                        false
                    }
                }
            })
        })?;
        let redis = told.recv().map_err(|_| io::Error::other("a thread ended before it served"))?;
        threads.push(Thread { redis, ended });
    }
    Ok(threads)
}
