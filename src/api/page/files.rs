//! What the page loads: each file is in the binary, and a browser that has it is told so.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderValue};
use hyper::{HeaderMap, StatusCode};

use crate::api::etag::is_known;
use crate::server::{Body, Response};

/// A file below `/ui/`.
pub struct File {
    pub name: &'static str,
    kind: &'static str,
    pub bytes: &'static [u8],
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! file {
    ($name:literal, $kind:expr) => {
        File { name: $name, kind: $kind, bytes: include_bytes!(concat!("files/", $name)) }
    };
}

pub const FILES: &[File] = &[
    file!("ui.js", SCRIPT),
    file!("api.js", SCRIPT),
    file!("details.js", SCRIPT),
    file!("dialog.js", SCRIPT),
    file!("dom.js", SCRIPT),
    file!("locks.js", SCRIPT),
    file!("stream.js", SCRIPT),
    file!("table.js", SCRIPT),
    file!("text.js", SCRIPT),
    file!("ui.css", "text/css; charset=utf-8"),
    file!("icon.svg", "image/svg+xml"),
];

/// The file of this name, or 304; `None` where there is none.
pub fn file(name: &str, asked: &HeaderMap) -> Option<Response> {
    let file = FILES.iter().find(|file| file.name == name)?;
    let mut hasher = DefaultHasher::new();
    file.bytes.hash(&mut hasher);
    let tag = HeaderValue::try_from(format!("\"{:016x}\"", hasher.finish())).expect("hex and quotes");
    let mut response = if is_known(asked, &tag) {
        let mut response = Response::new(Body::Whole(None));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(Body::whole(Bytes::from_static(file.bytes)))
    };
    response.headers_mut().insert(ETAG, tag);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(file.kind));
    Some(response)
}
