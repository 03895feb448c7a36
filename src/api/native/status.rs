//! `GET /v1/status`: how many locks there are, and how the Redis they lie in is.

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::Serialize;

use super::request::no_body;
use crate::api::caller::Caller;
use crate::api::context::Context;
use crate::api::failure::Failure;
use crate::api::known;
use crate::api::wire::{json, rfc3339};
use crate::auth::Anonymous;
use crate::lock::Counted;
use crate::policy::Verb;
use crate::readiness::{Finding, Servers};
use crate::server::Response;

/// Numbers are `None` where Redis does not say, and for callers who may not read every lock.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub locks: Option<u64>,
    pub waiting: Option<u64>,
    /// When the oldest lock was granted; `None`, too, where there is none.
    pub oldest: Option<String>,
    pub redis: RedisView,
    pub key_prefix: String,
    pub warnings: Vec<WarningView>,
    may_force_release: bool,
}

#[derive(Serialize)]
pub struct RedisView {
    /// Whether locks can be granted, as `/readyz` says it.
    ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub address: String,
    topology: &'static str,
    pub role: Option<String>,
    pub version: Option<String>,
}

#[derive(Serialize)]
pub struct WarningView {
    pub code: &'static str,
    pub text: String,
}

impl From<Finding> for WarningView {
    fn from(Finding { warning, text, .. }: Finding) -> WarningView {
        WarningView { code: warning.code(), text }
    }
}

impl Status {
    /// As it is now, for this caller: the numbers are of all locks, and so are for callers who may read all.
    pub async fn of(cx: &Context, caller: &Caller) -> Status {
        let readiness = &cx.readiness;
        let may_count = caller.rights.may_everywhere(Verb::Read);
        let is_readable = may_count && readiness.answers().is_ok() && readiness.is_whole();
        let counted = if is_readable { cx.locks.census().await } else { None };
        let waiting = if counted.is_some() { cx.locks.waiting().await } else { None };
        let reason = readiness.grants().err();
        let Servers { role, version } = readiness.servers();
        let (address, topology) = (readiness.addresses(), readiness.topology());
        Status {
            locks: counted.map(|counted| counted.locks),
            waiting,
            oldest: counted.and_then(|Counted { oldest, .. }| oldest).map(|oldest| rfc3339(oldest.granted_ms())),
            redis: RedisView { ready: reason.is_none(), reason, address, topology, role, version },
            key_prefix: cx.locks.prefix().to_owned(),
            warnings: readiness.findings().into_iter().flatten().map(WarningView::from).collect(),
            may_force_release: caller.may_force_some(),
        }
    }
}

pub async fn status(cx: &Context, request: Request<Incoming>) -> Result<Response, Failure> {
    let caller = cx.caller(&request, Anonymous::Lock).await?;
    if !caller.has_sight() {
        return Err(caller.rights.denied(Verb::Read));
    }
    known::parameters(request.uri().query(), &[], known::no_fields)?;
    no_body(request, &[]).await?;
    Ok(json(StatusCode::OK, &Status::of(cx, &caller).await))
}
