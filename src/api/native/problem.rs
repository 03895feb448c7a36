//! Errors as `application/problem+json` (RFC 9457): the shape of the native API, and of requests to no API.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;

use super::view::{HolderView, SharingView, state_of};
use crate::api::errors::Docs;
use crate::api::failure::{Failure, OfBundle, Queue, Row};
use crate::api::wire::json;
use crate::lock::{Hidden, Holder, Key, Lease, Sharing, Token};
use crate::request;
use crate::server::Response;

/// An error, as it is written.
#[derive(Serialize)]
pub struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: String,
    code: &'a str,
    outcome: &'a str,
    /// How the key is taken, where that is why.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(flatten)]
    sharing: SharingView,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<HolderView<'a>>,
    /// How many requests wait for the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiters: Option<u64>,
    /// The token that holds the key, where the request had another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Token>,
    /// Of which the caller has as many as it may, and how many that are.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<u64>,
    /// Of several keys the one that stands in the way, those whose leases are lost, and those of which is not known what
    /// became.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lost: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown: Vec<&'a str>,
    /// The request's id in the log.
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

impl<'a> Problem<'a> {
    /// A failure as a problem.
    pub fn of(failure: &'a Failure, docs: &Docs) -> Problem<'a> {
        let Row { code, status, english, .. } = failure.row();
        let (failure, of_bundle) = failure.parts();
        let queue = match failure {
            Failure::WaitTimeout(queue) => queue.as_deref(),
            _ => None,
        };
        let holder = match failure {
            Failure::Held(holder) => Some(holder),
            _ => queue.and_then(|queue| queue.holder.as_ref()),
        };
        let exceeded = match failure {
            Failure::QuotaExceeded(exceeded) => Some(exceeded),
            _ => None,
        };
        Problem {
            r#type: docs.type_of(code),
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: of_bundle.and_then(detail_of_keys).unwrap_or_else(|| detail(failure, english)),
            code,
            outcome: failure.outcome(),
            state: holder.map(state_of),
            sharing: sharing(failure, holder),
            holder: holder.map(HolderView::from),
            waiters: queue.map(|queue| queue.waiters).or_else(|| holder.and_then(waiters)),
            token: match failure {
                Failure::Fenced { token, .. } => *token,
                _ => None,
            },
            limit: exceeded.map(|exceeded| exceeded.limit.label()),
            max: exceeded.map(|exceeded| exceeded.max),
            key: of_bundle.and_then(|it| it.key.as_ref()).map(Key::as_str),
            lost: of_bundle.map(|it| names(&it.lost)).unwrap_or_default(),
            unknown: of_bundle.map(|it| names(&it.unknown)).unwrap_or_default(),
            request_id: request::id(),
        }
    }

    /// The answer with this problem.
    pub fn answer(&self, status: StatusCode) -> Response {
        let mut response = json(status, self);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

/// How leases share the key, where that is why.
fn sharing(failure: &Failure, holder: Option<&Holder>) -> SharingView {
    match failure {
        Failure::Fenced { is_shared: true, .. } => SharingView::OF_A_TOKEN,
        _ => holder.map(SharingView::from).unwrap_or_default(),
    }
}

/// How many wait for a key that leases share.
fn waiters(holder: &Holder) -> Option<u64> {
    match holder {
        Holder::Shared(sharing) => sharing.waiters,
        Holder::Lease(_) | Holder::Stranger(_) | Holder::Queue(_) | Holder::Hidden(_) => None,
    }
}

fn names(keys: &[Key]) -> Vec<&str> {
    keys.iter().map(Key::as_str).collect()
}

/// Which of several keys a failure is about, where its cause does not say so.
fn detail_of_keys(of_bundle: &OfBundle) -> Option<String> {
    let OfBundle { cause, key, lost, unknown } = of_bundle;
    let list = |keys| format!("`{}`", names(keys).join("`, `"));
    match cause {
        Failure::Held(_) if !lost.is_empty() => Some(format!("the lease of {} was lost during the wait", list(lost))),
        Failure::Held(Holder::Lease(_)) => None,
        Failure::Held(_) => key.as_ref().map(|key| format!("lock `{key}`: {}", detail(cause, ""))),
        Failure::Lost => Some(format!("the leases of these keys have expired or were released: {}", list(lost))),
        Failure::OutcomeUnknown(_) => Some(format!("the outcome is unknown for these keys: {}", list(unknown))),
        _ => None,
    }
}

fn detail(failure: &Failure, sentence: &str) -> String {
    match failure {
        // The reason is about the caller's own request, and so is no secret to the caller.
        Failure::BadRequest(reason) | Failure::NoSuchElection(reason) => reason.clone(),
        Failure::Forbidden(denial) => format!("Not allowed: {}.", denial.sentence()),
        Failure::QuotaExceeded(exceeded) => format!("{exceeded}; release some, or retry later"),
        Failure::MethodNotAllowed(allowed) => format!("The method is not allowed here; these are: {allowed}."),
        // The caller gets the advice, but not Redis's own text, which has internal names.
        Failure::RedisRefused { advice: Some(advice), .. } => {
            format!("Redis refused the command; nothing was changed: {advice}")
        }
        Failure::Held(Holder::Lease(lease)) => {
            let Lease { key, owner, valid_for_ms, is_resting, .. } = &**lease;
            if *is_resting {
                return format!("lock `{key}` was released by `{}` and rests for another {valid_for_ms} ms", owner.id);
            }
            format!("lock `{key}` is held by `{}` for another {valid_for_ms} ms", owner.id)
        }
        Failure::Held(Holder::Shared(sharing)) => {
            let Sharing { count, left_ms, .. } = &**sharing;
            let who = if *count == 1 { "a lease shares".to_owned() } else { format!("{count} leases share") };
            format!("{who} the lock; it may be free for this request in {left_ms} ms")
        }
        Failure::Held(Holder::Hidden(Hidden { expiry, is_resting, .. })) => {
            let how = if *is_resting { "was released and rests" } else { "is held by another owner" };
            format!("the lock {how} for another {} ms", expiry.valid_for_ms)
        }
        Failure::Held(Holder::Stranger(None)) => "the key is held by a program that is not lockside".to_owned(),
        Failure::Held(Holder::Stranger(Some(expiry))) => {
            format!("the key is held by a program that is not lockside for another {} ms", expiry.valid_for_ms)
        }
        Failure::Held(Holder::Queue(expiry)) => {
            let left_ms = expiry.valid_for_ms;
            format!("the queue for the key is being restored; it goes on with the next waiter in {left_ms} ms")
        }
        Failure::WaitTimeout(Some(queue)) => match &**queue {
            Queue { holder: Some(Holder::Lease(lease)), .. } => {
                let Lease { key, owner, valid_for_ms, .. } = &**lease;
                let owner = &owner.id;
                format!("timed out waiting for lock `{key}`; it is held by `{owner}` for another {valid_for_ms} ms")
            }
            _ => sentence.to_owned(),
        },
        _ => sentence.to_owned(),
    }
}
