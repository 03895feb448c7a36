//! The HTTP surface: from a request to one call of the engine, and back. Knows every API; knows no Redis key.

mod admin;
mod answer;
mod audit;
mod body;
mod caller;
mod context;
mod cors;
mod cursor;
mod dapr;
mod errors;
mod etag;
mod failure;
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/api.rs"]
pub mod fuzz;
mod hosts;
mod html;
mod known;
mod language;
mod leases;
mod native;
mod openapi;
mod origin;
mod owner_names;
mod page;
mod pagination;
mod quotas;
mod rights;
mod route;
mod settings;
mod wire;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, ETAG, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{HeaderMap, Method, Request};

use crate::headers::values;
use crate::log::Suppressed;
use crate::policy::Verb;
use crate::request;
use crate::server::{Handler, Peer, REQUEST_ID, Response};
use audit::Refusal;
pub use context::Context;
pub use dapr::DaprGrpc;
use failure::Failure;
use language::Language;
use route::{DaprCall, Dialect, Operation, Route};
pub use settings::{DaprStore, ListenConfig, Settings};

/// Every API, as it is served on one listener. Cheap to clone.
#[derive(Clone)]
pub struct Api(pub Arc<Context>);

impl Handler for Api {
    async fn handle(&self, request: Request<Incoming>, peer: &Peer) -> Response {
        let begun = Instant::now();
        request_of(request.headers()).coming_from(peer.remote()).serve(answer(&self.0, request, peer, begun)).await
    }
}

/// The trace that a request belongs to.
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

fn request_of(headers: &HeaderMap) -> request::Request {
    let all = |name| values(headers, name).map(HeaderValue::as_bytes);
    request::Request::of(all(&REQUEST_ID), all(&TRACEPARENT))
}

/// Answers a request, and tells of it.
async fn answer(cx: &Context, request: Request<Incoming>, peer: &Peer, begun: Instant) -> Response {
    let (parts, body) = request.into_parts();
    let (dialect, route) = route::resolve(&parts.method, parts.uri.path());
    let language = if dialect == Dialect::Leases { Language::of(&parts.headers) } else { Language::English };
    let operation = match &route {
        Route::Found(Operation::Show(_)) if waits(parts.uri.query()) => "wait",
        Route::Found(operation) => operation.label(),
        Route::WrongMethod(_) | Route::SlashInKey | Route::Nowhere => "none",
    };
    let verb = match &route {
        Route::Found(operation) => cx.locks.audit().and_then(|_| audit::verb(operation, parts.uri.query())),
        Route::WrongMethod(_) | Route::SlashInKey | Route::Nowhere => None,
    };
    let (method, origin) = (parts.method.clone(), cx.gate.allowed_origin(&parts.headers).cloned());
    let answered = match cx.gate.admit(&parts).map(|()| cx.gate.preflight(&parts)) {
        Err(failure) => Err(failure),
        Ok(Some(preflight)) => preflight,
        Ok(None) => run(cx, route, dialect, Request::from_parts(parts, body), language, peer).await,
    };
    let failed = answered.as_ref().err().map(Failed::of);
    let mut response = answered.unwrap_or_else(|failure| answer::to(failure, dialect, language, &cx.docs));
    let (dialect, status) = (dialect.label(), response.status());
    let is_fault = status.is_server_error();
    Served { method: &method, dialect, operation, status: status.as_u16(), is_fault, begun, verb }.told(cx, failed);
    cors::admit(origin, cx.gate.has_allowed_origins(), response.headers_mut());
    complete(response.headers_mut());
    response
}

/// Whether a request for a lock waits for its next change: how long that takes says nothing of how long a look takes.
fn waits(query: Option<&str>) -> bool {
    query.is_some_and(|query| wire::parameter(query, "waitMs").is_ok_and(|wait| wait.is_some()))
}

/// A request that was served, for the metrics and the log.
struct Served<'a> {
    method: &'a Method,
    dialect: &'static str,
    operation: &'static str,
    /// In the protocol that was spoken.
    status: u16,
    /// Whether it failed, and not by what was sent.
    is_fault: bool,
    begun: Instant,
    /// What it asked for, where the audit trail is to know it.
    verb: Option<Verb>,
}

/// Why it was not answered as asked.
struct Failed {
    code: &'static str,
    outcome: &'static str,
    reason: String,
    is_draining: bool,
    refusal: Option<Refusal>,
}

impl Failed {
    fn of(failure: &Failure) -> Failed {
        Failed {
            code: failure.code(),
            outcome: failure.outcome(),
            reason: failure.reason().to_owned(),
            is_draining: matches!(failure, Failure::Draining),
            refusal: failure.refusal(),
        }
    }
}

impl Served<'_> {
    /// Counts the request, and writes of it what the log must say.
    fn told(self, cx: &Context, failed: Option<Failed>) {
        let Served { method, dialect, operation, status, is_fault, begun, verb } = self;
        if let (Some(audit), Some(Failed { refusal: Some(refusal), .. })) = (cx.locks.audit(), &failed) {
            audit::refused(audit, verb, *refusal);
        }
        let took = begun.elapsed();
        let (code, outcome, reason, is_draining) = match failed {
            Some(Failed { code, outcome, reason, is_draining, .. }) => (code, Some(outcome), reason, is_draining),
            None => ("ok", None, String::new(), false),
        };
        cx.metrics.request(dialect, operation, code, took);
        let duration_ms = took.as_secs_f64() * 1e3;
        if !is_fault {
            let text = "request";
            tracing::debug!(%method, dialect, operation, status, code, outcome, reason, duration_ms, "{text}");
            return;
        }
        match cx.failures.admit(Instant::now()) {
            // No fault: each sidecar is stopped at some time, as in every rolling restart.
            Some(Suppressed(withheld)) if is_draining => {
                let text = "request refused: the sidecar is shutting down";
                tracing::info!(%method, dialect, operation, status, code, outcome, reason, duration_ms, withheld, "{text}");
            }
            Some(Suppressed(withheld)) => {
                let text = "request failed";
                tracing::warn!(%method, dialect, operation, status, code, outcome, reason, duration_ms, withheld, "{text}");
            }
            None => {}
        }
    }
}

/// Adds what every answer has.
fn complete(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // No copy may tell who holds a lock. What seldom changes has an ETag, by which a copy is checked.
    let caching = if headers.contains_key(ETAG) { "no-cache" } else { "no-store" };
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static(caching));
    if let Some(id) = request::id_for_answer().and_then(|id| HeaderValue::try_from(id).ok()) {
        headers.insert(REQUEST_ID.clone(), id);
    }
}

/// A handler at work.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response, Failure>> + Send + 'a>>;

fn run<'a>(
    cx: &'a Context,
    route: Route,
    dialect: Dialect,
    request: Request<Incoming>,
    language: Language,
    peer: &'a Peer,
) -> Answer<'a> {
    let failure = match route {
        Route::Found(operation) => return operate(cx, operation, request, language, peer),
        Route::Nowhere => Failure::NoSuchRoute,
        Route::SlashInKey => Failure::SlashInKey,
        Route::WrongMethod(allow) => Failure::MethodNotAllowed(allow),
    };
    match dialect {
        Dialect::Dapr(call) if call != DaprCall::Health => Box::pin(dapr::refuse(cx, request, failure)),
        _ => Box::pin(std::future::ready(Err(failure))),
    }
}

/// Boxed, so that an idle connection does not keep room for the largest handler.
fn operate<'a>(
    cx: &'a Context,
    operation: Operation,
    request: Request<Incoming>,
    language: Language,
    peer: &'a Peer,
) -> Answer<'a> {
    match operation {
        Operation::AdminLock => Box::pin(admin::lock(cx, request)),
        Operation::AdminRemove => Box::pin(admin::remove(cx, request)),
        Operation::LeaseList => Box::pin(leases::list(cx, request)),
        Operation::LeaseCreate => Box::pin(leases::create(cx, request)),
        Operation::LeaseRenew(token) => Box::pin(leases::renew(cx, request, token)),
        Operation::LeaseRelease(token) => Box::pin(leases::release(cx, request, token, language)),
        Operation::LeaseRemove(token) => Box::pin(leases::remove(cx, request, token, language)),
        Operation::List => Box::pin(native::list(cx, request)),
        Operation::Acquire(key) => Box::pin(native::acquire(cx, request, key, peer)),
        Operation::Renew(key) => Box::pin(native::renew(cx, request, key)),
        Operation::Release(key) => Box::pin(native::release(cx, request, key)),
        Operation::Show(key) => Box::pin(native::show(cx, request, key, peer)),
        Operation::Queue(key) => Box::pin(native::queue(cx, request, key)),
        Operation::Status => Box::pin(native::status(cx, request)),
        Operation::Events(key) => Box::pin(native::events_of_key(cx, request, key, peer)),
        Operation::EventsAll => Box::pin(native::events_of_prefix(cx, request, peer)),
        Operation::Fence(key) => Box::pin(native::fence(cx, request, key)),
        Operation::Hold(key) => Box::pin(native::hold(cx, request, key, peer)),
        Operation::AcquireAll => Box::pin(native::acquire_all(cx, request, peer)),
        Operation::RenewAll => Box::pin(native::renew_all(cx, request)),
        Operation::ReleaseAll => Box::pin(native::release_all(cx, request)),
        Operation::HoldAll => Box::pin(native::hold_all(cx, request, peer)),
        Operation::Leader => Box::pin(native::leader(cx, request)),
        Operation::Election(name) => Box::pin(native::election(cx, request, name)),
        Operation::ElectionEvents(name) => Box::pin(native::election_events(cx, request, name, peer)),
        Operation::Resign(name) => Box::pin(native::resign(cx, request, name)),
        Operation::DaprTryLock(store) => Box::pin(dapr::try_lock(cx, request, store)),
        Operation::DaprUnlock(store) => Box::pin(dapr::unlock(cx, request, store)),
        Operation::DaprMetadata => Box::pin(dapr::metadata(cx, request)),
        Operation::DaprHealth => Box::pin(std::future::ready(Ok(dapr::health()))),
        Operation::Document => {
            Box::pin(async move { Ok(cx.document.answer(&cx.limits, &cx.dapr_stores, &cx.words, request.headers())) })
        }
        Operation::PageRedirect => Box::pin(std::future::ready(Ok(page::redirect()))),
        Operation::Page => Box::pin(page::page(cx, request)),
        Operation::PageFile(name) => Box::pin(async move { page::file(request.headers(), &name) }),
        Operation::Errors => Box::pin(async move { Ok(errors::page(request.headers())) }),
    }
}
