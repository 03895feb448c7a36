//! Answers that no handler gives: to a connection that is turned away, and to a head that is too long.

use std::io;
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::body::Body;
use super::listener::Stream;
use super::{Protocol, Response, http2};
use crate::headers::values;
use crate::request;

/// What a caller names its request by.
pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Adds the request's own id to an answer whose request no log line names.
pub fn named(headers: &HeaderMap, mut response: Response) -> Response {
    let ids = values(headers, &REQUEST_ID).map(HeaderValue::as_bytes);
    if let Some(id) = request::fit(ids).and_then(|id| HeaderValue::from_str(id).ok()) {
        response.headers_mut().insert(REQUEST_ID.clone(), id);
    }
    response
}

/// The answer to a head that hyper has read, and that is longer than it may be.
pub fn too_long() -> Response {
    let mut response = Response::new(Body::Whole(None));
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The answer to a first head that is too long to be read by hyper, with the id of its request, where that was sent. Of
/// a later head hyper says so itself, without an id: it has no hook there.
pub fn head_too_long<'a>(ids: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let id = request::fit(ids).map(|id| format!("{REQUEST_ID}: {id}\r\n")).unwrap_or_default();
    let status = "HTTP/1.1 431 Request Header Fields Too Large";
    format!("{status}\r\nConnection: close\r\nContent-Length: 0\r\n{id}\r\n").into_bytes()
}

pub const TURNED_AWAY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Answers one connection too many, and closes it.
pub async fn turn_away(mut stream: Stream, protocol: Protocol) {
    let answer = match protocol {
        Protocol::Http1 => TURNED_AWAY,
        Protocol::Http2 => http2::TURNED_AWAY,
    };
    refuse(&mut stream, answer).await;
}

/// Gives this answer, and no other, and closes.
pub async fn refuse(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &[u8]) {
    let told = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        // Reads the rest, because closing over unread bytes would reset the connection before the client sees the answer.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), told).await;
}
