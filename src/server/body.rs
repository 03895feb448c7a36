//! Bodies: read whole within limits, written whole or as a stream.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::headers::values;
use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue};
use tokio::sync::mpsc;

/// Longest request body, bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
/// Longest time that a client may take over its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a request's body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is longer than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    #[error("the body has a Content-Encoding")]
    Encoded,
    #[error("the body took longer than {} s", BODY_TIMEOUT.as_secs())]
    Timeout,
    #[error("the body ended before it was whole")]
    Broken,
}

/// Reads a request's body whole.
pub async fn read(request: hyper::Request<Incoming>) -> Result<Bytes, BodyError> {
    let (parts, body) = request.into_parts();
    read_behind(&parts.headers, body).await
}

/// Reads a body whole, for a caller who keeps the headers before it.
pub async fn read_behind(headers: &HeaderMap, body: Incoming) -> Result<Bytes, BodyError> {
    read_up_to(headers, body, MAX_BODY_BYTES).await
}

/// Reads a body whole, for a handler with a limit of its own.
pub async fn read_up_to(headers: &HeaderMap, body: Incoming, longest: usize) -> Result<Bytes, BodyError> {
    let is_plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"identity");
    if !values(headers, CONTENT_ENCODING).all(is_plain) {
        return Err(BodyError::Encoded);
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > longest as u64) {
        return Err(BodyError::TooLarge);
    }
    let mut body = pin!(Limited::new(body, longest).collect());
    // Most bodies come together with their head, and need no timer.
    let collected = match body.as_mut().now_or_never() {
        Some(collected) => Ok(collected),
        None => tokio::time::timeout(BODY_TIMEOUT, body).await,
    };
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(_)) => Err(BodyError::Broken),
        Err(_) => Err(BodyError::Timeout),
    }
}

/// Called when the kernel has taken the last byte of an answer; whether the client reads it cannot be known. Dropped
/// without a call if the answer was not sent whole.
pub type OnSent = Box<dyn FnOnce() + Send>;

/// A part of a body, and the call that is due when it has been sent.
pub struct Chunk {
    bytes: Bytes,
    on_sent: Option<OnSent>,
    /// Dropped when the part has been sent, or will not be.
    kept: Option<Box<dyn Send>>,
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Chunk {
        Chunk { bytes, on_sent: None, kept: None }
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    /// hyper calls this once the kernel has taken the bytes, because our streams write vectored, without a copy.
    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if self.bytes.is_empty() {
            if let Some(on_sent) = self.on_sent.take() {
                on_sent();
            }
            self.kept = None;
        }
    }
}

/// A response's body.
pub enum Body {
    /// The whole body.
    Whole(Option<Chunk>),
    /// The whole body, and trailers behind it.
    Trailed(Option<Chunk>, Option<Box<HeaderMap>>),
    /// The whole body, a part at a time. [`Broken`] cuts the connection, so that no client takes a part for the whole.
    Parts(mpsc::Receiver<Result<Bytes, Broken>>),
    /// Lines without an end, for as long as the connection lasts.
    Stream(mpsc::Receiver<Result<Bytes, Broken>>),
}

/// A streamed body cannot go on.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the body cannot be completed")]
pub struct Broken;

impl Body {
    pub fn whole(bytes: impl Into<Bytes>) -> Body {
        Body::Whole(Some(Chunk::from(bytes.into())))
    }

    pub fn trailed(bytes: Bytes, trailers: HeaderMap) -> Body {
        Body::Trailed(Some(Chunk::from(bytes)), Some(Box::new(trailers)))
    }

    /// The one part of a whole body that is not empty.
    fn chunk(&mut self) -> Option<&mut Chunk> {
        match self {
            Body::Whole(chunk) | Body::Trailed(chunk, _) => chunk.as_mut(),
            Body::Parts(_) | Body::Stream(_) => None,
        }
    }

    /// Has `call` called once this body, which must be whole and not empty, has been sent.
    pub fn on_sent(&mut self, call: OnSent) {
        if let Some(chunk) = self.chunk() {
            chunk.on_sent = Some(call);
        }
    }

    /// Has the call that is due once this body has been sent changed to another.
    pub fn defer(&mut self, deferred: impl FnOnce(OnSent) -> OnSent) {
        if let Some(chunk) = self.chunk() {
            chunk.on_sent = chunk.on_sent.take().map(deferred);
        }
    }

    /// Keeps a guard until this body, which must be whole and not empty, has been sent, or will not be.
    pub fn keep(&mut self, kept: Box<dyn Send>) {
        if let Some(chunk) = self.chunk() {
            chunk.kept = Some(kept);
        }
    }

    /// Whether a call is due once it has been sent.
    pub fn is_awaited(&self) -> bool {
        matches!(
            self,
            Body::Whole(Some(Chunk { on_sent: Some(_), .. })) | Body::Trailed(Some(Chunk { on_sent: Some(_), .. }), _)
        )
    }

    /// Whether it ends only with its connection.
    pub fn is_endless(&self) -> bool {
        matches!(self, Body::Stream(_))
    }
}

impl HttpBody for Body {
    type Data = Chunk;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Chunk>, Broken>>> {
        match self.get_mut() {
            Body::Whole(chunk) => {
                Poll::Ready(chunk.take().filter(Chunk::has_remaining).map(|chunk| Ok(Frame::data(chunk))))
            }
            Body::Trailed(chunk, trailers) => {
                let data = chunk.take().filter(Chunk::has_remaining).map(Frame::data);
                Poll::Ready(data.or_else(|| trailers.take().map(|trailers| Frame::trailers(*trailers))).map(Ok))
            }
            Body::Parts(chunks) | Body::Stream(chunks) => {
                chunks.poll_recv(cx).map(|chunk| chunk.map(|bytes| bytes.map(|bytes| Frame::data(bytes.into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(None) | Body::Trailed(None, None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(chunk) => SizeHint::with_exact(chunk.as_ref().map_or(0, |chunk| chunk.remaining() as u64)),
            Body::Trailed(..) | Body::Parts(_) | Body::Stream(_) => SizeHint::default(),
        }
    }
}
