//! Bodies: read whole within limits, written whole or as a stream.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::CONTENT_LENGTH;
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
    #[error("the body took longer than {} s", BODY_TIMEOUT.as_secs())]
    Timeout,
    #[error("the body ended before it was whole")]
    Broken,
}

/// Reads a request's body whole.
pub async fn read(request: hyper::Request<Incoming>) -> Result<Bytes, BodyError> {
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(BodyError::TooLarge);
    }
    let body = Limited::new(request.into_body(), MAX_BODY_BYTES);
    match tokio::time::timeout(BODY_TIMEOUT, body.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(_)) => Err(BodyError::Broken),
        Err(_) => Err(BodyError::Timeout),
    }
}

/// A response's body.
pub enum Body {
    /// All of it.
    Whole(Option<Bytes>),
    /// All of it, a part at a time. [`Broken`] cuts the connection, so that no client takes a part for the whole.
    Parts(mpsc::Receiver<Result<Bytes, Broken>>),
    /// As it comes, for as long as the connection lasts.
    Stream(mpsc::Receiver<Result<Bytes, Broken>>),
}

/// A streamed body cannot go on.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the body cannot be completed")]
pub struct Broken;

impl Body {
    pub fn whole(bytes: impl Into<Bytes>) -> Body {
        Body::Whole(Some(bytes.into()))
    }

    /// Whether it has no end of its own.
    pub fn is_endless(&self) -> bool {
        matches!(self, Body::Stream(_))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Body::Whole(bytes) => {
                Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
            }
            Body::Parts(chunks) | Body::Stream(chunks) => {
                chunks.poll_recv(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Body::Parts(_) | Body::Stream(_) => SizeHint::default(),
        }
    }
}
