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
    let Stand { max_ttl, max_wait, max_period, default_ttl, stores: names, store } = STAND;
    let text = DOCUMENT
        .replace(max_ttl, &format!("\"maximum\": {}\n", limits.max_ttl_ms))
        .replace(max_wait, &format!("\"maximum\": {}\n", limits.max_wait_ms))
        .replace(max_period, &format!("\"maximum\": {}\n", limits.max_ttl_ms / 1000))
        .replace(default_ttl, &format!("\"default\": {}}}", limits.default_ttl.as_ms()))
        .replace(names, &format!("\"enum\": {}}}", json!(stores.iter().map(|it| &it.name).collect::<Vec<_>>())));
    match stores.first() {
        Some(first) => text.replace(store, &format!("\"example\": {}\n", json!(first.name))),
        None => text,
    }
}

/// How the settings stand in the document.
struct Stand {
    max_ttl: &'static str,
    max_wait: &'static str,
    max_period: &'static str,
    default_ttl: &'static str,
    stores: &'static str,
    /// One of them, where a request would have it.
    store: &'static str,
}

const STAND: Stand = Stand {
    max_ttl: "\"maximum\": 86400000\n",
    max_wait: "\"maximum\": 600000\n",
    max_period: "\"maximum\": 86400\n",
    default_ttl: "\"default\": 30000}",
    stores: "\"enum\": [\"lockstore\"]}",
    store: "\"example\": \"lockstore\"\n",
};

#[cfg(test)]
mod tests;
