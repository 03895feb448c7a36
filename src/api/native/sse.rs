//! Server-sent events: the answer that streams them, how a state and a change are spelled, and how they are sent no faster
//! than they are read.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Serialize;
use tokio::sync::mpsc;

use super::sight::{Seen, Sight};
use super::view::{HolderView, StateView, state_of, state_of_lease};
use crate::lock::{Change, Holder, Look, State, Token, Under, What};
use crate::server::{Body, Broken, Response};

/// Between two signs of life of a stream that has nothing to tell, so that no proxy takes it for dead.
pub const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// What readers ignore, and proxies take for a sign of life.
pub const COMMENT: &[u8] = b":\n\n";
/// Chunks that may wait for a slow reader.
const CHUNKS: usize = 2;
/// Bytes of a chunk, but for the event that goes beyond.
const CHUNK_BYTES: usize = 16 * 1024;
/// By which nginx passes on each event at once.
static ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The reader has closed the connection.
pub struct Closed;

/// The end of the stream at which chunks of events are written.
pub type Chunks = mpsc::Sender<Result<Bytes, Broken>>;

/// The end of the stream at which the states and changes of locks are written.
pub struct Sender {
    chunks: Chunks,
    chunk: Vec<u8>,
    sight: Sight,
}

/// The answer without its body.
fn head(body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert(ACCEL_BUFFERING.clone(), HeaderValue::from_static("no"));
    response
}

/// A stream of which so many chunks may wait for a slow reader, and the answer that has it as its body.
pub fn open(waiting: usize) -> (Chunks, Response) {
    let (chunks, body) = mpsc::channel(waiting);
    (chunks, head(Body::Stream(body)))
}

/// What a HEAD is answered.
pub fn head_alone() -> Response {
    head(Body::Whole(None))
}

impl Sender {
    /// A stream, and the answer that has it as its body.
    pub fn open(sight: Sight) -> (Sender, Response) {
        let (chunks, response) = open(CHUNKS);
        (Sender { chunks, chunk: Vec::new(), sight }, response)
    }

    /// Whether its reader may see anything yet.
    pub fn has_sight(&self) -> bool {
        self.sight.is_left()
    }

    /// Resolves when the reader has closed the connection.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let chunks = self.chunks.clone();
        async move { chunks.closed().await }
    }

    /// How long a reader waits before it connects again.
    pub fn retry(&mut self, ms: u64) {
        self.chunk.extend_from_slice(format!("retry: {ms}\n\n").as_bytes());
    }

    /// A sign of life.
    pub fn comment(&mut self) {
        self.chunk.extend_from_slice(COMMENT);
    }

    pub async fn states(&mut self, looks: &[std::sync::Arc<Look>]) -> Result<(), Closed> {
        #[derive(Serialize)]
        struct Shown<'a> {
            #[serde(flatten)]
            state: StateView<'a>,
            token: u64,
        }
        self.sight.begin();
        for look in looks {
            let Some(state) = self.sight.state(&look.key, look.state_at(Instant::now())) else { continue };
            let token = number(Under::of(&state).token());
            self.event("state", &Shown { state: StateView::of(&look.key, &state, look.waiters), token });
            if self.chunk.len() >= CHUNK_BYTES {
                self.send().await?;
            }
        }
        self.bare("synced");
        self.send().await
    }

    pub fn gap(&mut self) {
        self.bare("gap");
    }

    pub fn change(&mut self, change: &Change) {
        #[derive(Serialize)]
        struct Changed<'a> {
            key: &'a str,
            token: u64,
            /// How the key is taken yet, where it was released.
            #[serde(skip_serializing_if = "Option::is_none")]
            state: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            holder: Option<HolderView<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            waiters: Option<u64>,
        }
        let Change { what, look, .. } = change;
        let Some(Seen { token, state: found }) = self.sight.change(change, look.state_at(Instant::now())) else {
            return;
        };
        let holder = match &found {
            State::Held(holder) => Some(holder),
            State::Free => None,
        };
        let lease = holder.and_then(|holder| holder.leases().iter().find(|lease| Some(lease.token) == token));
        // Of those that share a key the others may hold it.
        let state = match holder {
            Some(Holder::Shared(_)) => lease.map(state_of_lease),
            holder => holder.map(state_of),
        };
        let rests = *what == What::Released && state == Some("resting");
        let changed = Changed {
            key: look.key.as_str(),
            token: number(token),
            state: state.filter(|_| rests),
            holder: holder
                .filter(|_| rests || *what == What::Granted)
                .map(|holder| lease.map_or_else(|| HolderView::from(holder), HolderView::from)),
            waiters: matches!(what, What::Granted | What::Waiting).then_some(look.waiters),
        };
        let name = match what {
            What::Granted => "granted",
            What::Released => "released",
            What::Expired => "expired",
            What::Forced => "forced",
            What::Waiting => "waiting",
            // Its holder could not be told.
            What::GrantedUnseen => return,
        };
        self.event(name, &changed);
    }

    /// Sends what was written, no sooner than the reader takes it.
    pub async fn send(&mut self) -> Result<(), Closed> {
        let chunk = std::mem::take(&mut self.chunk);
        if chunk.is_empty() {
            return Ok(());
        }
        self.chunks.send(Ok(chunk.into())).await.map_err(|_| Closed)
    }

    fn bare(&mut self, name: &str) {
        #[derive(Serialize)]
        struct Nothing {}
        self.event(name, &Nothing {});
    }

    fn event(&mut self, name: &str, data: &impl Serialize) {
        let mut json = serde_json::to_vec(data).expect("an event is always JSON");
        // `meta` comes byte for byte, and JSON has line breaks only between its parts.
        json.retain(|byte| !matches!(byte, b'\n' | b'\r'));
        for part in [b"event: ", name.as_bytes(), b"\ndata: ", &json, b"\n\n"] {
            self.chunk.extend_from_slice(part);
        }
    }
}

fn number(token: Option<Token>) -> u64 {
    token.map_or(0, Token::get)
}
