//! Entity tags: whether the caller has what it asks for already.

use crate::headers::values;
use hyper::HeaderMap;
use hyper::header::{HeaderValue, IF_NONE_MATCH};

/// Whether `If-None-Match` names this tag, weakly (RFC 9110, 13.1.2).
pub fn is_known(asked: &HeaderMap, etag: &HeaderValue) -> bool {
    let named = values(asked, IF_NONE_MATCH).flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    named.map(<[u8]>::trim_ascii).any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes())
}
