//! The lines that a hold streams while it waits, while it lasts, and when it ends.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use tokio::sync::mpsc;

use super::problem::Problem;
use super::view::{BundleView, HolderView, LeaseView};
use crate::server::{Body, Broken, Response};

/// Lines that may wait for a slow reader. Further ones are dropped; the reader still learns of the end, because the
/// connection closes.
const LINES: usize = 16;

/// A line.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Event<'a> {
    Waiting {
        /// Of several keys.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
        /// `None` before Redis has answered.
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        holder: Option<Box<HolderView<'a>>>,
    },
    Refused(Box<Problem<'a>>),
    Acquired(LeaseView<'a>),
    #[serde(rename = "acquired")]
    AcquiredAll(BundleView<'a>),
    Renewed {
        valid_for_ms: u64,
        valid_until: String,
    },
    Ping {
        valid_for_ms: u64,
    },
    Lost {
        reason: &'a str,
        /// Of several keys the one whose lease it was.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
    },
    Released {
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
    },
    Draining {
        grace_ms: u64,
    },
}

/// The end of the stream at which lines are written.
#[derive(Clone)]
pub struct Lines(mpsc::Sender<Result<Bytes, Broken>>);

impl Lines {
    /// A stream, and the answer that has it as its body.
    pub fn open() -> (Lines, Response) {
        let (lines, body) = mpsc::channel(LINES);
        let mut response = Response::new(Body::Stream(body));
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        (Lines(lines), response)
    }

    pub fn say(&self, event: &Event<'_>) {
        let mut line = serde_json::to_vec(event).expect("an event is always JSON");
        line.push(b'\n');
        let _ = self.0.try_send(Ok(Bytes::from(line)));
    }

    /// Ends when the client has closed the connection.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}
