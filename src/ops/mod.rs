//! The ops listener: `/metrics`, `/healthz`, `/readyz`, nothing else. It answers whoever can reach it, and says nothing
//! of keys and owners.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};

use crate::lock::{Counted, Locks};
use crate::metrics::Metrics;
use crate::redis::Health;
use crate::server::{Body, Handler, Peer, Response, named};
use crate::worth::{Finding, Worth};

/// What the ops listener speaks of. Cheap to clone.
#[derive(Clone)]
pub struct Ops(Arc<Context>);

struct Context {
    metrics: Arc<Metrics>,
    locks: Locks,
    /// One a thread.
    redis: Vec<Health>,
    worth: Arc<Worth>,
    draining: AtomicBool,
}

impl Ops {
    pub fn new(metrics: Arc<Metrics>, locks: Locks, redis: Vec<Health>, worth: Arc<Worth>) -> Ops {
        Ops(Arc::new(Context { metrics, locks, redis, worth, draining: AtomicBool::new(false) }))
    }

    /// From now on the process is not ready: it is being stopped.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Ready means: every thread's Redis connection answers, an acquire was done on it a moment ago, and the process is not
    /// being stopped.
    fn ready(&self) -> Result<(), String> {
        if self.0.draining.load(Ordering::Relaxed) {
            return Err("draining".to_owned());
        }
        self.grants().map_err(|reason| format!("redis: {reason}"))
    }

    /// `Ok` while locks can be granted.
    fn grants(&self) -> Result<(), String> {
        self.answers().and_then(|()| self.0.worth.obstacle().map_or(Ok(()), Err))
    }

    /// `Ok` while every thread's Redis connection answers.
    fn answers(&self) -> Result<(), String> {
        self.0.redis.iter().try_for_each(Health::ready)
    }

    async fn metrics(&self) -> String {
        let Context { metrics, locks, worth, .. } = &*self.0;
        let is_up = self.answers().is_ok();
        metrics.redis_up.with_label_values::<&str>(&[]).set(i64::from(self.grants().is_ok()));
        let held = &metrics.locks_held;
        // Counted only when somebody asks, and left out where Redis does not tell: without waiting for a part of it that is
        // known to be away.
        let counted = if is_up && worth.is_whole() { locks.census().await } else { None };
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
}

impl Handler for Ops {
    async fn handle(&self, request: Request<Incoming>, _peer: &Peer) -> Response {
        named(request.headers(), self.answer(&request).await)
    }
}

impl Ops {
    async fn answer(&self, request: &Request<Incoming>) -> Response {
        let path = request.uri().path();
        if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
            return text(StatusCode::NOT_FOUND, "not found; here are /metrics, /healthz and /readyz\n".to_owned());
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => {
                let warning = |Finding { warning, text, .. }: Finding| {
                    format!("warning: {0}: {text} (docs/operations/redis.md#{0})\n", warning.code())
                };
                let warnings: String = self.0.worth.findings().into_iter().flatten().map(warning).collect();
                match self.ready() {
                    Ok(()) => text(StatusCode::OK, format!("ready\nredis: {}\n{warnings}", self.0.worth.place())),
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

fn text(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
