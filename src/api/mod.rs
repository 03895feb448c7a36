//! The HTTP surface: from a request to one call of the engine, and back. Knows every dialect; knows no Redis key.

mod admin;
mod body;
mod caller;
mod dapr;
mod failure;
mod gate;
mod hold;
mod known;
mod language;
mod leases;
mod native;
mod openapi;
pub mod ops;
mod owner_names;
mod page;
mod permit;
mod problem;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod route;
mod wire;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Incoming;
use tokio::sync::watch;

use crate::auth::{Authenticator, Credential, Principal, User};
use crate::config::{Anonymous, Config, DaprStore, LockConfig};
use crate::directory::Directory;
use crate::flood::{Flood, Room};
use crate::lock::{Locks, Owner, OwnerKind};
use crate::metrics::Metrics;
use crate::server::{Handler, Response};
use failure::Failure;
use gate::Gate;
use language::Language;
use openapi::Document;
use owner_names::OwnerNames;
use route::{Operation, Route};

/// Everything that a handler may use. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Context>);

struct Context {
    locks: Locks,
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
    failures: Flood,
    /// Turns true when the process is being stopped.
    draining: watch::Receiver<bool>,
    /// How long held locks are kept then: less than connections are, so that their last word arrives.
    hold_grace: Duration,
    document: Document,
}

impl Api {
    pub fn new(
        config: &Config,
        locks: Locks,
        directory: Option<Directory>,
        metrics: Arc<Metrics>,
        draining: watch::Receiver<bool>,
    ) -> Api {
        Api(Arc::new(Context {
            locks,
            authenticator: Authenticator::new(&config.auth),
            directory,
            gate: Gate::new(&config.listen),
            anonymous: config.anonymous(&config.listen.api),
            limits: config.locks.clone(),
            owner_names: OwnerNames::new(&config.locks.owner_prefix),
            dapr_stores: config.listen.dapr_stores.clone(),
            metrics,
            failures: Flood::new(),
            draining,
            hold_grace: config.process.shutdown_grace.mul_f64(0.9),
            document: Document::default(),
        }))
    }
}

impl Handler for Api {
    async fn handle(&self, request: Request<Incoming>) -> Response {
        let begun = Instant::now();
        let cx = &*self.0;
        let (parts, body) = request.into_parts();
        let language = Language::of(&parts.headers);
        let (dialect, route) = route::resolve(&parts.method, parts.uri.path());
        let operation = match &route {
            Route::Found(operation) => operation.label(),
            Route::WrongMethod(_) | Route::Nowhere => "none",
        };
        let method = parts.method.clone();
        let answered = match cx.gate.admit(&parts) {
            Ok(()) => cx.dispatch(route, Request::from_parts(parts, body), language).await,
            Err(failure) => Err(failure),
        };
        let (response, code, reason) = match answered {
            Ok(response) => (response, "ok", String::new()),
            Err(failure) => {
                let (code, reason) = (failure.code(), failure.reason().to_owned());
                (failure.into_response(dialect, language), code, reason)
            }
        };
        let took = begun.elapsed();
        cx.metrics.request(dialect.label(), operation, code, took);
        let (status, dialect, took_us) = (response.status().as_u16(), dialect.label(), took.as_micros() as u64);
        if response.status().is_server_error() {
            if let Some(Room { withheld }) = cx.failures.room(Instant::now()) {
                tracing::warn!(dialect, operation, status, code, reason, took_us, withheld, "a request failed");
            }
        } else {
            tracing::debug!(%method, dialect, operation, status, code, reason, took_us, "a request was answered");
        }
        response
    }
}

/// A handler at work.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response, Failure>> + Send + 'a>>;

impl Context {
    async fn dispatch(
        &self,
        route: Route,
        request: Request<Incoming>,
        language: Language,
    ) -> Result<Response, Failure> {
        match route {
            Route::Nowhere => Err(Failure::NoSuchRoute),
            Route::WrongMethod(allow) => Err(Failure::MethodNotAllowed(allow)),
            Route::Found(operation) => self.run(operation, request, language).await,
        }
    }

    /// Boxed, so that an idle connection does not keep room for the largest of them.
    fn run(&self, operation: Operation, request: Request<Incoming>, language: Language) -> Answer<'_> {
        match operation {
            Operation::AdminLock => Box::pin(admin::lock(self, request)),
            Operation::AdminRemove => Box::pin(admin::remove(self, request)),
            Operation::LeaseList => Box::pin(leases::list(self, request)),
            Operation::LeaseCreate => Box::pin(leases::create(self, request)),
            Operation::LeaseRenew(token) => Box::pin(leases::renew(self, request, token)),
            Operation::LeaseRelease(token) => Box::pin(leases::release(self, request, token, language)),
            Operation::LeaseRemove(token) => Box::pin(leases::remove(self, request, token, language)),
            Operation::List => Box::pin(native::list(self, request)),
            Operation::Acquire(key) => Box::pin(native::acquire(self, request, key)),
            Operation::Renew(key) => Box::pin(native::renew(self, request, key)),
            Operation::Release(key) => Box::pin(native::release(self, request, key)),
            Operation::Show(key) => Box::pin(native::show(self, request, key)),
            Operation::Fence(key) => Box::pin(native::fence(self, request, key)),
            Operation::Hold(key) => Box::pin(hold::hold(self, request, key)),
            Operation::DaprTryLock(store) => Box::pin(dapr::try_lock(self, request, store)),
            Operation::DaprUnlock(store) => Box::pin(dapr::unlock(self, request, store)),
            Operation::DaprMetadata => Box::pin(dapr::metadata(self, request)),
            Operation::DaprHealth => Box::pin(std::future::ready(Ok(dapr::health()))),
            Operation::Document => Box::pin(async { Ok(self.document.answer(&self.limits, &self.dapr_stores)) }),
        }
    }

    /// Who is asking, known to the user directory where there is one, and not by another site's page.
    async fn principal(&self, request: &Request<Incoming>) -> Result<Principal, Failure> {
        match self.authenticator.principal(request.headers())? {
            Principal::User(user) => {
                if user.credential == Credential::Cookie {
                    self.gate.admit_page(request.method(), request.headers())?;
                }
                self.known(user).await.map(Principal::User)
            }
            other => Ok(other),
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
