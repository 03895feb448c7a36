//! The metrics and health listener: `/metrics`, `/healthz`, `/readyz` and `/leader/NAME`, nothing else. It needs no credential, and says
//! nothing of keys and owners. What it says of Redis is in `readiness`.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};

use crate::drain::Drain;
use crate::election::Elections;
use crate::lock::{Counted, Locks};
use crate::metrics::Metrics;
use crate::readiness::{Finding, Readiness};
use crate::server::{Body, Handler, Peer, Response, named};

/// Answers on the metrics and health listener. Cheap to clone.
#[derive(Clone)]
pub struct Ops(Arc<Context>);

struct Context {
    metrics: Arc<Metrics>,
    locks: Locks,
    elections: Arc<Elections>,
    readiness: Arc<Readiness>,
    drain: Drain,
}

impl Ops {
    pub fn new(
        metrics: Arc<Metrics>,
        locks: Locks,
        elections: Arc<Elections>,
        readiness: Arc<Readiness>,
        drain: Drain,
    ) -> Ops {
        Ops(Arc::new(Context { metrics, locks, elections, readiness, drain }))
    }

    /// Ready means: every thread's Redis connection answers, a probe has acquired on it within the last seconds, and the
    /// process is not being stopped.
    fn ready(&self) -> Result<(), String> {
        if self.0.drain.has_begun() {
            return Err("draining".to_owned());
        }
        self.0.readiness.grants().map_err(|reason| format!("redis: {reason}"))
    }

    async fn metrics(&self) -> String {
        let Context { metrics, locks, elections, readiness, .. } = &*self.0;
        elections.gauge(metrics);
        let is_up = readiness.answers().is_ok();
        metrics.redis_up.with_label_values::<&str>(&[]).set(i64::from(readiness.grants().is_ok()));
        let held = &metrics.locks_held;
        // Counted for a scrape alone, and left out where Redis does not answer; not counted while a master is known to be
        // unavailable, since the scrape would wait for it.
        let counted = if is_up && readiness.is_whole() { locks.census().await } else { None };
        match counted {
            Some(Counted { locks, .. }) => {
                held.with_label_values::<&str>(&[]).set(i64::try_from(locks).unwrap_or(i64::MAX));
            }
            None => held.reset(),
        }
        let oldest = &metrics.oldest_lock;
        match counted.and_then(|counted| counted.oldest) {
            Some(token) => oldest.with_label_values::<&str>(&[]).set(token.granted_ms() as f64 / 1000.0),
            None => oldest.reset(),
        }
        metrics.text()
    }

    /// Whether this sidecar leads an election: as a readiness probe of the app it routes a Service to the leader.
    fn leader(&self, name: &str) -> Response {
        let elections = &self.0.elections;
        match elections.find(name).map(|election| election.leads()) {
            Some(true) => text(StatusCode::OK, "leader\n".to_owned()),
            Some(false) => text(StatusCode::SERVICE_UNAVAILABLE, "not the leader\n".to_owned()),
            None => {
                let names: Vec<&str> = elections.names().collect();
                let of = if names.is_empty() { "none: see --elect".to_owned() } else { names.join(", ") };
                text(
                    StatusCode::NOT_FOUND,
                    format!("this sidecar takes part in no such election; its elections: {of}\n"),
                )
            }
        }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response {
        let path = request.uri().path();
        let election = path.strip_prefix("/leader/");
        if election.is_none() && !matches!(path, "/metrics" | "/healthz" | "/readyz") {
            let here = "not found; here are /metrics, /healthz, /readyz and /leader/NAME\n";
            return text(StatusCode::NOT_FOUND, here.to_owned());
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        if let Some(name) = election {
            return self.leader(name);
        }
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => {
                let warning = |Finding { warning, text, .. }: Finding| {
                    format!("warning: {0}: {text} (docs/operations/redis.md#{0})\n", warning.code())
                };
                let warnings: String = self.0.readiness.findings().into_iter().flatten().map(warning).collect();
                match self.ready() {
                    Ok(()) => {
                        text(StatusCode::OK, format!("ready\nredis: {}\n{warnings}", self.0.readiness.endpoint()))
                    }
                    Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n{warnings}")),
                }
            }
            _ => {
                let mut response = text(StatusCode::OK, self.metrics().await);
                let version = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, version);
                response
            }
        }
    }
}

impl Handler for Ops {
    async fn handle(&self, request: Request<Incoming>, _peer: &Peer) -> Response {
        named(request.headers(), self.answer(&request).await)
    }
}

fn text(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
