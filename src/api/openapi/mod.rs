//! `GET /openapi.json`: the API as an OpenAPI 3.1 document. It stands in `openapi.json`, as a whole; only the limits and
//! the names of Dapr's lock stores are those of the process that serves it. Anybody may read it: nothing in it is secret.

use std::sync::OnceLock;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::json;

use crate::config::{DaprStore, LockConfig};
use crate::server::{Body, Response};

/// With the settings of a process that is started without flags.
const DOCUMENT: &str = include_str!("openapi.json");

/// The document of one process, made when it is first asked for.
#[derive(Default)]
pub struct Document(OnceLock<Bytes>);

impl Document {
    pub fn answer(&self, limits: &LockConfig, stores: &[DaprStore]) -> Response {
        let document = self.0.get_or_init(|| Bytes::from(with_settings(limits, stores)));
        let mut response = Response::new(Body::whole(document.clone()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// The document with these settings instead of those that stand in it.
fn with_settings(limits: &LockConfig, stores: &[DaprStore]) -> String {
    let names = stores.iter().map(|store| store.name.as_str()).collect::<Vec<_>>();
    let settings = [
        ("\"maximum\": 86400000\n", format!("\"maximum\": {}\n", limits.max_ttl_ms)),
        ("\"maximum\": 600000\n", format!("\"maximum\": {}\n", limits.max_wait_ms)),
        ("\"maximum\": 86400\n", format!("\"maximum\": {}\n", limits.max_ttl_ms / 1000)),
        ("\"default\": 30000}", format!("\"default\": {}}}", limits.default_ttl.as_ms())),
        ("\"enum\": [\"lockstore\"]", format!("\"enum\": {}", json!(names))),
        ("\"example\": \"lockstore\"", format!("\"example\": {}", json!(names.first().unwrap_or(&"lockstore")))),
    ];
    let found = settings.iter().flat_map(|(stands, now)| DOCUMENT.match_indices(stands).map(move |it| (it, now)));
    let mut found = found.collect::<Vec<_>>();
    // In one pass: what one of them becomes may be what another one was.
    found.sort_unstable();
    let (mut text, mut rest) = (String::with_capacity(DOCUMENT.len() + 256), 0);
    for ((at, stands), now) in found {
        text.push_str(&DOCUMENT[rest..at]);
        text.push_str(now);
        rest = at + stands.len();
    }
    text + &DOCUMENT[rest..]
}

#[cfg(test)]
mod tests;
