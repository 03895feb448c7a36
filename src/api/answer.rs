//! Renders a failure in the shape of the API that was called. Stands above the APIs: it knows the shape of each, and no
//! API knows it.

use hyper::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{HeaderMap, StatusCode};

use super::errors::Docs;
use super::failure::Failure;
use super::language::Language;
use super::native::Problem;
use super::route::Dialect;
use super::wire::{HOLDER, spelled};
use super::{admin, dapr, leases};
use crate::lock::Holder;
use crate::quota::Exceeded;
use crate::server::Response;

/// Why a request is not allowed, for machines.
const REASON: HeaderName = HeaderName::from_static("lockside-reason");

/// Of which the caller has as many as it may.
const LIMIT: HeaderName = HeaderName::from_static("lockside-limit");

/// The answer to a request that failed.
pub fn to(failure: Failure, dialect: Dialect, language: Language, docs: &Docs) -> Response {
    let row = failure.row();
    let mut response = match dialect {
        Dialect::Admin => admin::answer(row.admin.0, row.admin.1),
        Dialect::Leases => {
            let text = language.choose(row.english, row.german);
            let text = match &failure {
                Failure::BadRequest(why) | Failure::RedisRefused { advice: Some(why), .. } => format!("{text} ({why})"),
                _ => text.to_owned(),
            };
            leases::message(row.status, row.code, &text, language)
        }
        Dialect::Dapr(call) => {
            let text = match &failure {
                Failure::BadRequest(reason) | Failure::NoSuchStore(reason) => reason.clone(),
                Failure::RedisRefused { advice: Some(advice), .. } => format!("{} ({advice})", row.english),
                _ => row.english.to_owned(),
            };
            dapr::answer(row.dapr.0, row.dapr.1, call, &text)
        }
        Dialect::Native | Dialect::None => Problem::of(&failure, docs).answer(row.status),
    };
    denial(&failure, response.headers_mut());
    if let Some((name, value)) = header(&failure, dialect, response.status()) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Says why a request is not allowed, or which limit its caller is at, where that is why it failed.
pub fn denial(failure: &Failure, headers: &mut HeaderMap) {
    if let Some(reason) = failure.denied_for() {
        headers.insert(REASON, HeaderValue::from_static(reason));
    }
    if let Failure::QuotaExceeded(Exceeded { limit, .. }) = failure {
        headers.insert(LIMIT, HeaderValue::from_static(limit.label()));
    }
}

/// The header that says what to do next, where there is one.
fn header(failure: &Failure, dialect: Dialect, status: StatusCode) -> Option<(HeaderName, HeaderValue)> {
    let (failure, _) = failure.parts();
    match failure {
        Failure::MethodNotAllowed(allow) => Some((ALLOW, HeaderValue::try_from(allow).expect("names of methods"))),
        // RFC 9110, 15.5.2: a 401 names the scheme that would do.
        Failure::Unauthorized(_) | Failure::CertificateRefused(_) | Failure::Proxied | Failure::NoSuchUser(_)
            if status == StatusCode::UNAUTHORIZED =>
        {
            Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
        }
        Failure::TooManyWaiters(_)
        | Failure::TooManyRequests(_)
        | Failure::QuotaExceeded(_)
        | Failure::Overloaded(_)
        | Failure::KeysUnavailable(_)
        | Failure::Draining
        | Failure::RedisUnavailable(_)
        | Failure::RedisRefused { .. }
        | Failure::TooLate(_)
        | Failure::RenewedTooLate(_)
            if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) =>
        {
            Some((RETRY_AFTER, HeaderValue::from_static("1")))
        }
        Failure::Held(Holder::Lease(lease)) if dialect == Dialect::Admin => Some((HOLDER, spelled(&lease.owner.id))),
        Failure::Held(holder) if dialect == Dialect::Native => Some((RETRY_AFTER, when_it_ends(Some(holder)))),
        Failure::WaitTimeout(queue) if dialect == Dialect::Native => {
            Some((RETRY_AFTER, when_it_ends(queue.as_ref().and_then(|queue| queue.holder.as_ref()))))
        }
        _ => None,
    }
}

/// In how many seconds a lease ends, at least one.
fn when_it_ends(holder: Option<&Holder>) -> HeaderValue {
    let left_ms = holder.and_then(Holder::valid_for_ms).unwrap_or(0);
    HeaderValue::from(left_ms.div_ceil(1000).max(1))
}
