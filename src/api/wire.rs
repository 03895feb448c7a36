//! What all APIs share on the wire: query parameters, times, JSON answers.

use std::borrow::Cow;
use std::str::Utf8Error;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Serialize;

use super::failure::Failure;
pub use crate::json::rfc3339;
use crate::lock::Unconfirmed;
use crate::quota::Seat;
use crate::server::{Body, Response};

/// The owner who holds the lock now.
pub const HOLDER: HeaderName = HeaderName::from_static("lockside-holder");
/// Longest `reason`, bytes.
const MAX_REASON_BYTES: usize = 200;
/// Most answers are shorter, so that few of them have to grow.
const MOST_ANSWERS_BYTES: usize = 512;

/// The query parameter of this name, decoded. 400 if it comes twice, since either could be meant, or is not UTF-8.
pub fn parameter(query: &str, name: &str) -> Result<Option<String>, Failure> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    // Whatever is escaped in a field, it is longer than what it stands for.
    let is_escaped = |field: &str| field.len() > name.len() && decoded(field).is_ok_and(|field| field == name);
    let is_named = |field: &str| field == name || is_escaped(field);
    let mut values = pairs.filter(|(field, _)| is_named(field)).map(|(_, value)| value);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Failure::BadRequest(format!("{name}: expected once")));
    }
    let value = decoded(value).map_err(|_| Failure::BadRequest(format!("{name}: not UTF-8 when percent-decoded")))?;
    Ok(Some(value.into_owned()))
}

/// A part of a path, percent-decoded once; `name` is what it stands for.
pub fn segment<'a>(text: &'a str, name: &str) -> Result<Cow<'a, str>, Failure> {
    if !text.as_bytes().contains(&b'%') {
        return Ok(Cow::Borrowed(text));
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map_err(|_| Failure::BadRequest(format!("{name}: not UTF-8 when percent-decoded")))
}

/// A name or a value of a query.
pub fn decoded(text: &str) -> Result<Cow<'_, str>, Utf8Error> {
    if !text.bytes().any(|byte| matches!(byte, b'+' | b'%')) {
        return Ok(Cow::Borrowed(text));
    }
    if !text.contains('+') {
        return percent_decode_str(text).decode_utf8();
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().map(|text| Cow::Owned(text.into_owned()))
}

/// An int64 in the query.
pub fn number(query: &str, name: &str) -> Result<Option<i64>, Failure> {
    let Some(text) = parameter(query, name)? else { return Ok(None) };
    let number = text.parse().map_err(|_| Failure::BadRequest(format!("{name}: expected an int64")))?;
    Ok(Some(number))
}

/// `true` or `false` in the query; without it, false.
pub fn flag(query: &str, name: &str) -> Result<bool, Failure> {
    match parameter(query, name)?.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Failure::BadRequest(format!("{name}: expected true or false"))),
    }
}

/// Why a lock is force-released, for the log.
pub fn reason(query: &str) -> Result<Option<String>, Failure> {
    let reason = parameter(query, "reason")?;
    if reason.as_ref().is_some_and(|reason| reason.len() > MAX_REASON_BYTES || reason.contains(char::is_control)) {
        let expected = format!("reason: expected at most {MAX_REASON_BYTES} bytes without control characters");
        return Err(Failure::BadRequest(expected));
    }
    Ok(reason)
}

/// An owner's id as a header's value: UTF-8, percent-encoded.
pub fn spelled(id: &str) -> HeaderValue {
    const ESCAPED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let text = utf8_percent_encode(id, &ESCAPED).to_string();
    HeaderValue::try_from(text).expect("letters, digits, `-._~` and `%`")
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

/// A success without a body.
pub fn no_content() -> Response {
    let mut response = Response::new(Body::Whole(None));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// An answer that grants a lease, which is rolled back unless the answer is sent.
/// So is its place among the caller's locks given back.
pub fn confirming(response: Response, unconfirmed: Unconfirmed, seat: Option<Seat>) -> Response {
    confirming_all(response, [unconfirmed], seat)
}

/// [`confirming`], of several leases.
pub fn confirming_all(
    mut response: Response,
    unconfirmed: impl IntoIterator<Item = Unconfirmed> + Send + 'static,
    seats: impl IntoIterator<Item = Seat> + Send + 'static,
) -> Response {
    response.body_mut().on_sent(Box::new(move || {
        unconfirmed.into_iter().for_each(|unconfirmed| drop(unconfirmed.confirm()));
        seats.into_iter().for_each(Seat::settle);
    }));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_there_once_and_is_utf_8() {
        let of = |query: &str| parameter(query, "id").ok();
        for (query, value) in [
            ("id=1", "1"),
            ("a=b&id=%C3%A4+%2B&", "ä +"),
            ("%69d=1", "1"),
            ("id", ""),
            ("&id=&", ""),
            ("id=a=b", "a=b"),
        ] {
            assert_eq!(of(query), Some(Some(value.to_owned())), "{query}");
        }
        for query in ["", "&", "=id", "idd=1", "ID=1", "%FFid=1"] {
            assert_eq!(of(query), Some(None), "{query}");
        }
        for query in ["id=1&id=1", "id=1&a=b&%69d", "id=%FF", "id=%C3", "id=%ED%A0%80"] {
            assert_eq!(of(query), None, "{query}");
        }
    }
}
