//! The HTTP surface: from a request to one call of the engine, and back. Knows every dialect; knows no Redis key.

mod admin;
mod body;
mod caller;
mod dapr;
mod errors;
mod failure;
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/api.rs"]
pub mod fuzz;
mod hold;
mod holds;
mod known;
mod language;
mod leases;
mod lines;
mod native;
mod openapi;
pub mod ops;
mod origin;
mod owner_names;
mod pagination;
mod permit;
mod problem;
mod progress;
mod route;
mod settings;
mod wire;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Request};
use tokio::sync::watch;

use crate::auth::{Anonymous, Authenticator, Credential, Principal, User};
use crate::directory::Directory;
use crate::lock::LockConfig;
use crate::lock::{Locks, Owner, OwnerKind};
use crate::log::{LogThrottle, Suppressed};
use crate::metrics::Metrics;
use crate::request::{self, Caller};
use crate::server::Address;
use crate::server::{Handler, Peer, Response};
use errors::Docs;
use failure::Failure;
pub use holds::Holds;
use language::Language;
use openapi::Document;
use origin::Gate;
use owner_names::OwnerNames;
use route::{Dialect, Operation, Route};
pub use settings::{DaprStore, ListenConfig, Settings};

/// Everything that a handler may use. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Context>);

struct Context {
    locks: Locks,
    holds: Arc<Holds>,
    authenticator: Authenticator,
    directory: Option<Directory>,
    gate: Gate,
    /// What callers without a credential may do.
    anonymous: Anonymous,
    limits: LockConfig,
    owner_names: OwnerNames,
    /// The lock stores of the Dapr dialect.
    dapr_stores: Vec<DaprStore>,
    metrics: Arc<Metrics>,
    failures: LogThrottle,
    /// Turns true when the process is being stopped.
    draining: watch::Receiver<bool>,
    /// How long held locks are kept then.
    hold_grace: Duration,
    document: Document,
    docs: Docs,
}

impl Api {
    /// The API as it is served on `listener`.
    pub fn new(
        settings: &Settings<'_>,
        listener: &Address,
        locks: Locks,
        holds: Arc<Holds>,
        directory: Option<Directory>,
        metrics: Arc<Metrics>,
        draining: watch::Receiver<bool>,
    ) -> Api {
        Api(Arc::new(Context {
            locks,
            holds,
            authenticator: Authenticator::new(settings.auth),
            directory,
            gate: Gate::new(settings.listen, listener),
            anonymous: settings.anonymous,
            limits: settings.locks.clone(),
            owner_names: OwnerNames::new(&settings.locks.owner_prefix),
            dapr_stores: settings.listen.dapr_stores.clone(),
            metrics,
            failures: LogThrottle::new(),
            draining,
            hold_grace: settings.hold_grace,
            document: Document::default(),
            docs: Docs::at(settings.listen.docs_url.as_deref()),
        }))
    }
}

impl Handler for Api {
    async fn handle(&self, request: Request<Incoming>, peer: &Peer) -> Response {
        let begun = Instant::now();
        request_of(request.headers()).serve(self.0.answer(request, peer, begun)).await
    }
}

/// What the caller names the request by.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The trace that it belongs to.
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

fn request_of(headers: &HeaderMap) -> request::Request {
    let all = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    request::Request::of(all(&REQUEST_ID), all(&TRACEPARENT))
}

/// A handler at work.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response, Failure>> + Send + 'a>>;

impl Context {
    /// Answers a request, and writes of it what the log must say.
    async fn answer(&self, request: Request<Incoming>, peer: &Peer, begun: Instant) -> Response {
        let cx = self;
        let (parts, body) = request.into_parts();
        let (dialect, route) = route::resolve(&parts.method, parts.uri.path());
        let language = if dialect == Dialect::Leases { Language::of(&parts.headers) } else { Language::English };
        let operation = match &route {
            Route::Found(operation) => operation.label(),
            Route::WrongMethod(_) | Route::Nowhere => "none",
        };
        let method = parts.method.clone();
        let answered = match cx.gate.admit(&parts) {
            Ok(()) => cx.dispatch(route, Request::from_parts(parts, body), language, peer).await,
            Err(failure) => Err(failure),
        };
        let is_draining = matches!(answered, Err(Failure::Draining));
        let (mut response, code, outcome, reason) = match answered {
            Ok(response) => (response, "ok", None, String::new()),
            Err(failure) => {
                let (code, outcome, reason) = (failure.code(), failure.outcome(), failure.reason().to_owned());
                (failure.into_response(dialect, language, &cx.docs), code, Some(outcome), reason)
            }
        };
        let took = begun.elapsed();
        cx.metrics.request(dialect.label(), operation, code, took);
        let (status, dialect, duration_ms) = (response.status().as_u16(), dialect.label(), took.as_secs_f64() * 1e3);
        if response.status().is_server_error() {
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
        } else {
            let text = "request";
            tracing::debug!(%method, dialect, operation, status, code, outcome, reason, duration_ms, "{text}");
        }
        if let Some(id) = request::id_for_answer().and_then(|id| HeaderValue::try_from(id).ok()) {
            response.headers_mut().insert(REQUEST_ID.clone(), id);
        }
        response
    }

    async fn dispatch(
        &self,
        route: Route,
        request: Request<Incoming>,
        language: Language,
        peer: &Peer,
    ) -> Result<Response, Failure> {
        match route {
            Route::Nowhere => Err(Failure::NoSuchRoute),
            Route::WrongMethod(allow) => Err(Failure::MethodNotAllowed(allow)),
            Route::Found(operation) => self.run(operation, request, language, peer).await,
        }
    }

    /// Boxed, so that an idle connection does not keep room for the largest of them.
    fn run<'a>(
        &'a self,
        operation: Operation,
        request: Request<Incoming>,
        language: Language,
        peer: &'a Peer,
    ) -> Answer<'a> {
        match operation {
            Operation::AdminLock => Box::pin(admin::lock(self, request)),
            Operation::AdminRemove => Box::pin(admin::remove(self, request)),
            Operation::LeaseList => Box::pin(leases::list(self, request)),
            Operation::LeaseCreate => Box::pin(leases::create(self, request)),
            Operation::LeaseRenew(token) => Box::pin(leases::renew(self, request, token)),
            Operation::LeaseRelease(token) => Box::pin(leases::release(self, request, token, language)),
            Operation::LeaseRemove(token) => Box::pin(leases::remove(self, request, token, language)),
            Operation::List => Box::pin(native::list(self, request)),
            Operation::Acquire(key) => Box::pin(native::acquire(self, request, key, peer)),
            Operation::Renew(key) => Box::pin(native::renew(self, request, key)),
            Operation::Release(key) => Box::pin(native::release(self, request, key)),
            Operation::Show(key) => Box::pin(native::show(self, request, key)),
            Operation::Fence(key) => Box::pin(native::fence(self, request, key)),
            Operation::Hold(key) => Box::pin(hold::hold(self, request, key, peer)),
            Operation::DaprTryLock(store) => Box::pin(dapr::try_lock(self, request, store)),
            Operation::DaprUnlock(store) => Box::pin(dapr::unlock(self, request, store)),
            Operation::DaprMetadata => Box::pin(dapr::metadata(self, request)),
            Operation::DaprHealth => Box::pin(std::future::ready(Ok(dapr::health()))),
            Operation::Document => {
                Box::pin(async move { Ok(self.document.answer(&self.limits, &self.dapr_stores, request.headers())) })
            }
            Operation::Errors => Box::pin(async move { Ok(errors::page(request.headers())) }),
        }
    }

    /// Who is asking, known to the user directory where there is one, and not by another site's page.
    async fn principal(&self, request: &Request<Incoming>) -> Result<Principal, Failure> {
        match self.authenticator.principal(request.headers())? {
            Principal::User(user) => {
                request::asked_by(Caller::User(user.id.as_str().into()));
                if user.credential == Credential::Cookie {
                    self.gate.admit_page(request.method(), request.headers())?;
                }
                self.known(user).await.map(Principal::User)
            }
            Principal::System => {
                request::asked_by(Caller::System);
                Ok(Principal::System)
            }
            Principal::Anonymous => Ok(Principal::Anonymous),
        }
    }

    async fn known(&self, user: User) -> Result<User, Failure> {
        let Some(directory) = &self.directory else { return Ok(user) };
        directory.find(user).await?.ok_or(Failure::NoSuchUser("not in the user directory, or not active"))
    }
}

impl From<User> for Owner {
    fn from(user: User) -> Owner {
        Owner { kind: OwnerKind::User, id: user.id, label: user.label, description: user.description }
    }
}
