//! The page at `/ui/`: which locks are held, by whom, and who waits. It is filled with its first rows here, so that it can be
//! read without JavaScript; then its script shows each change as it happens, by the native API.

mod files;
mod frame;
mod texts;

use hyper::body::Incoming;
use hyper::header::{
    CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY, VARY,
};
use hyper::{HeaderMap, Request, StatusCode};

use super::context::Context;
use super::cursor;
use super::failure::Failure;
use super::language::Language;
use super::native::Status;
use super::pagination::{LOOKING, Page};
use super::rights::Rights;
use super::wire::{no_content, parameter};
use crate::auth::Anonymous;
use crate::lock::{ListFailure, Listed};
use crate::server::{Body, Response};
use frame::{Content, Frame};

/// Rows that the page comes with.
const ROWS: usize = 50;
/// Nothing but what is served beside the page, no inline script or style, and no text that becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// `GET /ui`: the page's links are relative, to a path that ends with a slash.
pub fn redirect() -> Response {
    let mut response = no_content();
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("ui/"));
    response
}

/// `GET /ui/{file}`.
pub fn file(asked: &HeaderMap, name: &str) -> Result<Response, Failure> {
    files::file(name, asked).map(guarded).ok_or(Failure::NoSuchRoute)
}

/// `GET /ui/?prefix=&cursor=&lang=`: the page, with rows for a caller who may list.
pub async fn page(cx: &Context, request: Request<Incoming>) -> Result<Response, Failure> {
    let query = request.uri().query().unwrap_or_default();
    let language = match parameter(query, "lang")?.as_deref() {
        Some("de") => Language::German,
        Some("en") => Language::English,
        _ => Language::of(request.headers()),
    };
    let asked = Page::of(query)?;
    let admitted = cx.caller(&request, Anonymous::Lock).await;
    let (content, status) = match admitted {
        Ok(caller) => {
            let content = match first(cx, &asked, &caller.rights).await {
                Ok((rows, next)) => Content::Rows(rows, next),
                Err(ListFailure::TooMany) => Content::Busy,
                Err(ListFailure::Redis(failure)) => Content::Unavailable(failure.into()),
            };
            (content, if caller.has_sight() { Some(Status::of(cx, &caller).await) } else { None })
        }
        Err(failure) => (refused(cx, &request, failure), None),
    };
    let frame = Frame { language, prefix: &asked.prefix, content: &content, status: status.as_ref() };
    let mut response = Response::new(Body::whole(frame.html()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    headers.insert(VARY, HeaderValue::from_static("Accept-Language, Authorization, Cookie"));
    Ok(guarded(response))
}

/// The first rows, and the cursor of the next page, where there is one.
async fn first(cx: &Context, asked: &Page, rights: &Rights) -> Result<(Vec<Listed>, Option<String>), ListFailure> {
    let mut listing = cx.locks.list(asked.prefix.clone(), asked.cursor, ROWS)?;
    let mut rows = listing.next_within(ROWS, LOOKING).await?;
    let is_last = listing.ends_here(LOOKING).await?;
    rows.retain(|listed| rights.see(&listed.lease));
    let next = listing.position().filter(|_| !is_last);
    let cursor = |next| if rights.are_ruled() { cursor::sealed(next) } else { cursor::open(next) };
    Ok((rows, next.map(cursor)))
}

/// What a caller sees who may not list.
fn refused(cx: &Context, request: &Request<Incoming>, failure: Failure) -> Content {
    match failure {
        Failure::Unauthorized(_) | Failure::CertificateRefused(_) | Failure::Proxied => {
            Content::SignedOut { is_refused: cx.principal_is_refused(request) }
        }
        Failure::Forbidden(_) | Failure::NoSuchUser(_) => Content::NotAllowed(failure),
        _ => Content::Unavailable(failure),
    }
}

/// With the headers that keep other pages out.
fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for name in ["cross-origin-opener-policy", "cross-origin-resource-policy"] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static("same-origin"));
    }
    response
}
