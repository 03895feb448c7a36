//! What the dialects share on the wire: query parameters, times, JSON answers.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use jiff::Timestamp;
use serde::Serialize;

use super::failure::Failure;
use crate::lock::Receipt;
use crate::server::{self, Body, Response};

/// Most answers are shorter, so that few of them have to grow.
const MOST_ANSWERS_BYTES: usize = 512;

/// The first query parameter of this name, decoded.
pub fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(field, _)| field == name).map(|(_, value)| value.into_owned())
}

/// An int64 in the query.
pub fn number(query: &str, name: &str) -> Result<Option<i64>, Failure> {
    let Some(text) = parameter(query, name) else { return Ok(None) };
    let number = text.parse().map_err(|_| Failure::BadRequest(format!("{name}: expected an int64")))?;
    Ok(Some(number))
}

/// `true` or `false` in the query; without it, false.
pub fn flag(query: &str, name: &str) -> Result<bool, Failure> {
    match parameter(query, name).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Failure::BadRequest(format!("{name}: expected true or false"))),
    }
}

/// RFC 3339, UTC, with milliseconds.
pub fn rfc3339(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", time.unwrap_or(Timestamp::MAX))
}

/// A JSON answer.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let mut body = Vec::with_capacity(MOST_ANSWERS_BYTES);
    serde_json::to_writer(&mut body, value).expect("a wire type is always JSON");
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer that hands over a grant: unless it goes out, the grant is taken back.
pub fn registered(mut response: Response, receipt: Receipt) -> Response {
    response.body_mut().tell(Box::new(receipt));
    response
}

impl server::Receipt for Receipt {
    fn sent(self: Box<Self>) {
        self.sign();
    }
}
