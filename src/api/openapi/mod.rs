//! `GET /openapi.json`: every API in one OpenAPI 3.1 document. Its text is `openapi.json`; only the limits, the names of
//! Dapr's lock stores, of the cookie and of the permission to manage locks are set to those of this process. Needs no credential: nothing in it is secret.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use serde_json::json;

use crate::api::etag::is_known;
use crate::api::settings::DaprStore;
use crate::auth::CookieName;
use crate::lock::LockConfig;
use crate::server::{Body, Response};

/// The document with the settings of a process that is started without flags.
const DOCUMENT: &str = include_str!("openapi.json");

/// Names that flags choose. None has a character that JSON escapes.
pub struct Words {
    /// Of the cookie that carries a user's JWT.
    pub cookie_name: CookieName,
    /// Of the permission to manage locks.
    pub manage_locks: Arc<str>,
}

/// The document of one process, made when it is first asked for.
#[derive(Default)]
pub struct Document(OnceLock<Made>);

struct Made {
    text: Bytes,
    /// Differs for every two texts.
    etag: HeaderValue,
}

impl Document {
    /// The document, or 304 if the client has it already.
    pub fn answer(&self, limits: &LockConfig, stores: &[DaprStore], words: &Words, asked: &HeaderMap) -> Response {
        let Made { text, etag } = self.0.get_or_init(|| {
            let text = Bytes::from(with_settings(limits, stores, words));
            let etag = format!("\"{:08x}-{:x}\"", crc32fast::hash(&text), text.len());
            Made { text, etag: HeaderValue::try_from(etag).expect("hexadecimal digits fit a header") }
        });
        let mut response = if is_known(asked, etag) {
            let mut response = Response::new(Body::Whole(None));
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            let mut response = Response::new(Body::whole(text.clone()));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        };
        response.headers_mut().insert(ETAG, etag.clone());
        response
    }
}

/// The document with these settings in place of the defaults.
fn with_settings(limits: &LockConfig, stores: &[DaprStore], words: &Words) -> String {
    let names = stores.iter().map(|store| store.name.as_str()).collect::<Vec<_>>();
    // Without a store no name is right, and openapi-python-client makes no client of an empty enumeration.
    let one_of = if names.is_empty() { "\"minLength\": 1".to_owned() } else { format!("\"enum\": {}", json!(names)) };
    let settings = [
        ("\"maximum\": 86400000\n", format!("\"maximum\": {}\n", limits.max_ttl_ms)),
        ("\"maximum\": 600000\n", format!("\"maximum\": {}\n", limits.max_wait_ms)),
        ("\"maximum\": 31536000000\n", format!("\"maximum\": {}\n", limits.longest_hold_ms())),
        ("\"maximum\": 86400\n", format!("\"maximum\": {}\n", limits.max_ttl_ms / 1000)),
        ("30000 (its --default-ttl)", format!("{} (its --default-ttl)", limits.default_ttl.as_ms())),
        ("\"enum\": [\"lockstore\"]", one_of),
        ("\"example\": \"lockstore\"", format!("\"example\": {}", json!(names.first().unwrap_or(&"lockstore")))),
        ("\"name\": \"refreshToken\"", format!("\"name\": \"{}\"", words.cookie_name)),
        ("cookie `refreshToken`", format!("cookie `{}`", words.cookie_name)),
        ("manage-locks", words.manage_locks.as_ref().to_owned()),
    ];
    let found = settings.iter().flat_map(|(stands, now)| DOCUMENT.match_indices(stands).map(move |it| (it, now)));
    let mut found = found.collect::<Vec<_>>();
    // In one pass, because the new text of one setting may be the default of another.
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
mod generator_tests;
#[cfg(test)]
mod tests;
