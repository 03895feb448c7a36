//! Cross-origin requests of the pages in `--allowed-origins`: what a browser wants to be told before it sends one, and
//! before it shows the answer to the page (the Fetch standard's CORS protocol). Who is let in is decided by `origin.rs`.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};

use super::failure::{Denial, Failure};
use super::wire::no_content;
use crate::headers::values;
use crate::server::Response;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE");
/// The headers that a page may send: those that the APIs read.
const HEADERS: HeaderValue = HeaderValue::from_static(
    "Accept-Language, Authorization, Content-Type, Dapr-Api-Token, Idempotency-Key, If-None-Match, Traceparent, X-Request-Id",
);
/// The headers of an answer that a page may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "ETag, Link, Lockside-Holder, Lockside-Lock, Lockside-Reason, Lockside-Released-Count, Lockside-Released-Owner, \
     Lockside-Released-Token, Lockside-Token, Retry-After, X-Request-Id",
);
/// For how long a browser need not ask again, seconds: as long as Chromium takes at most.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
const PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// The origin of a request, where it is one of those that are allowed; `None` for any other, and without one.
pub fn origin<'a>(allowed: &[String], headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
    if allowed.is_empty() {
        return None;
    }
    let mut origins = values(headers, ORIGIN);
    let origin = origins.next().filter(|_| origins.next().is_none())?;
    allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then_some(origin)
}

/// The answer to a browser that asks whether a page may send a request; `None` for a request of any other kind.
pub fn preflight(allowed: &[String], parts: &Parts) -> Option<Result<Response, Failure>> {
    let is_preflight = parts.method == Method::OPTIONS
        && parts.headers.contains_key(ORIGIN)
        && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if !is_preflight {
        return None;
    }
    if origin(allowed, &parts.headers).is_none() {
        return Some(Err(Failure::Forbidden(Denial::Origin)));
    }
    let mut response = no_content();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    // A page of the internet that asks for an address of this machine or network.
    if parts.headers.get(PRIVATE_NETWORK).is_some_and(|wanted| wanted == "true") {
        headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    Some(Ok(response))
}

/// Lets the page at `origin`, if it is an allowed one, read an answer. `is_listed`: whether any origin is allowed, so that
/// caches must keep the answers to several apart.
pub fn admit(origin: Option<HeaderValue>, is_listed: bool, answer: &mut HeaderMap) {
    if let Some(origin) = origin {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    if is_listed {
        answer.append(VARY, HeaderValue::from_static("Origin"));
    }
}
