//! Everything that a handler may use, and who is asking.

use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::http::Extensions;

use super::errors::Docs;
use super::failure::{Denial, Failure};
use super::openapi::{Document, Words};
use super::origin::Gate;
use super::owner_names::OwnerNames;
use super::rights::Enforcement;
use super::settings::{DaprStore, Settings};
use crate::auth::{Anonymous, Authenticator, Credential, DEFAULT_TOKEN, Principal, ServiceCredential, Shown, User};
use crate::directory::Directory;
use crate::drain::Drain;
use crate::election::Elections;
use crate::hold::{Holds, Keeper};
use crate::lock::{Lease, LockConfig, Locks, Owner, OwnerKind, Token};
use crate::log::LogThrottle;
use crate::metrics::Metrics;
use crate::quota::{Quota, Quotas};
use crate::readiness::Readiness;
use crate::request::{self, Caller, Sender};
use crate::server::Address;
use crate::tls::CallerCertificate;

/// What one listener's handlers share.
pub struct Context {
    pub locks: Locks,
    pub holds: Arc<Holds>,
    pub authenticator: Authenticator,
    /// `None` without a policy.
    pub enforcement: Option<Arc<Enforcement>>,
    /// `None` where no caller can have a limit.
    pub quotas: Option<Arc<Quotas>>,
    pub directory: Option<Directory>,
    pub gate: Gate,
    /// What callers without a credential may do.
    pub anonymous: Anonymous,
    pub limits: LockConfig,
    pub owner_names: OwnerNames,
    pub dapr_stores: Vec<DaprStore>,
    pub metrics: Arc<Metrics>,
    /// Bounds the log lines of requests that fail.
    pub(super) failures: LogThrottle,
    pub elections: Arc<Elections>,
    /// Whether only processes of this machine reach the listener.
    pub is_local: bool,
    pub readiness: Arc<Readiness>,
    pub drain: Drain,
    /// How long held locks are kept once the drain has begun.
    pub hold_grace: Duration,
    pub document: Document,
    pub docs: Docs,
    /// The cookie that carries a user's JWT, and the permission to manage locks.
    pub words: Words,
}

impl Context {
    /// What handlers need to serve `listener`.
    pub fn new(
        settings: &Settings<'_>,
        listener: &Address,
        locks: Locks,
        (holds, elections): (Arc<Holds>, Arc<Elections>),
        (directory, quotas): (Option<Directory>, Option<Arc<Quotas>>),
        (metrics, readiness, drain): (Arc<Metrics>, Arc<Readiness>, Drain),
    ) -> Context {
        let enforcement = settings
            .auth
            .policy
            .clone()
            .map(|policy| Arc::new(Enforcement::new(policy, Arc::clone(&metrics), locks.audit().cloned())));
        Context {
            locks,
            holds,
            authenticator: Authenticator::new(settings.auth),
            enforcement,
            quotas,
            directory,
            gate: Gate::new(settings.listen, listener),
            anonymous: settings.anonymous,
            limits: settings.locks.clone(),
            owner_names: OwnerNames::new(&settings.locks.owner_prefix),
            dapr_stores: settings.listen.dapr_stores.clone(),
            metrics,
            failures: LogThrottle::new(),
            elections,
            is_local: listener.is_local(),
            readiness,
            drain,
            hold_grace: settings.hold_grace,
            document: Document::default(),
            docs: Docs::at(settings.listen.docs_url.as_deref()),
            words: Words {
                cookie_name: settings.auth.cookie_name.clone(),
                manage_locks: Arc::clone(settings.auth.permissions.manage_locks()),
            },
        }
    }

    /// The caller may not manage locks.
    pub fn lacks_permission(&self) -> Denial {
        Denial::permission(&self.words.manage_locks)
    }

    /// A lease was renewed by the caller with this quota.
    pub fn renewed(&self, lease: &Lease, by: Option<&Quota>) {
        if let Some(quotas) = &self.quotas {
            quotas.renewed(lease, by);
        }
    }

    /// A lease was released, behind which its key stays taken for so long.
    pub fn released(&self, token: Token, rest_ms: Option<u64>) {
        if let Some(quotas) = &self.quotas {
            quotas.released(token, rest_ms.map(Duration::from_millis));
        }
    }

    /// There is no such lease any more.
    pub fn ended(&self, token: Token) {
        if let Some(quotas) = &self.quotas {
            quotas.ended(token);
        }
    }

    /// Keeps locks for clients.
    pub fn keeper(&self) -> Keeper {
        let (locks, holds, drain) = (self.locks.clone(), Arc::clone(&self.holds), self.drain.clone());
        Keeper { locks, holds, drain, grace: self.hold_grace }
    }

    /// What a request shows of its caller, kept so that it can be verified again.
    pub fn shown(&self, request: &Request<Incoming>) -> Shown {
        self.authenticator.shown(request.headers(), certificate_of(request.extensions()))
    }

    /// Whether a credential was shown that is no good.
    pub fn principal_is_refused(&self, request: &Request<Incoming>) -> bool {
        self.authenticator.principal_now(request.headers(), certificate_of(request.extensions())).is_err()
    }

    /// Who is asking: a user only if the user directory, where there is one, has it, and if the cookie that names it was
    /// not sent by a cross-origin page.
    pub async fn principal(&self, request: &Request<Incoming>) -> Result<Principal, Failure> {
        match self.authenticator.principal(request.headers(), certificate_of(request.extensions())).await? {
            Principal::User(user) => {
                let sender = match user.credential {
                    Credential::Header => Sender::Header,
                    Credential::Cookie => Sender::Cookie,
                };
                request::asked_by(Caller::User(user.id.as_str().into(), sender));
                if user.credential == Credential::Cookie {
                    self.gate.admit_page(request.method(), request.headers())?;
                }
                self.known(user).await.map(Principal::User)
            }
            Principal::System(credential) => {
                asked_by_service(&credential);
                if let ServiceCredential::Certificate(_) = credential {
                    // The connection's, not the request's: a proxy's requests all have it, and so have those that a page
                    // makes a browser send.
                    self.gate.admit_direct(request.method(), request.headers())?;
                    self.gate.admit_page(request.method(), request.headers())?;
                }
                Ok(Principal::System(credential))
            }
            Principal::Anonymous => {
                request::asked_by(Caller::Anonymous);
                Ok(Principal::Anonymous)
            }
        }
    }

    /// The user, as the user directory has it; without a directory, as the token has it.
    pub async fn known(&self, user: User) -> Result<User, Failure> {
        let Some(directory) = &self.directory else { return Ok(user) };
        directory.find(user).await?.ok_or(Failure::NoSuchUser("not in the user directory, or not active"))
    }
}

/// Notes that a service caller with this credential asks.
pub fn asked_by_service(credential: &ServiceCredential) {
    request::asked_by(match credential {
        ServiceCredential::Token(name) if **name == *DEFAULT_TOKEN => Caller::System,
        ServiceCredential::Token(name) => Caller::Token((**name).into()),
        ServiceCredential::Certificate(name) => Caller::Certificate((**name).into()),
    });
}

/// The client certificate of a request's connection.
pub fn certificate_of(extensions: &Extensions) -> Option<&CallerCertificate> {
    extensions.get()
}

impl From<User> for Owner {
    fn from(user: User) -> Owner {
        Owner { kind: OwnerKind::User, id: user.id, label: user.label, description: user.description, credential: None }
    }
}
