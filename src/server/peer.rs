//! The client at the other end of a connection: whether it is still connected, whatever bytes are still unread.
//!
//! hyper does not read beyond the request that it serves, and so does not learn of a close behind further bytes. Where a
//! lock depends on the connection, these bytes are read ahead: some are kept for the next request, and the close is seen.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::body::Body;
use super::timed::{Answer, Sending};
use super::timeouts::Activity;
use crate::request::Remote;

/// Bytes kept for the requests behind one that holds or waits. If more come, the connection ends after its answer.
const MOST_AHEAD: usize = 32 * 1024;
/// Bytes that are read at a time.
const CHUNK: usize = 4096;
/// A vanished client is noticed within the ttl of its lock, but not sooner nor later than this.
const SILENCE: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];
/// How long a client may take to finish sending, and to close, once its request has been answered early.
const LINGER: Duration = Duration::from_secs(5);

/// What a handler may do with its request's connection.
pub struct Peer(Arc<Activity>);

impl Peer {
    pub(super) fn new(activity: Arc<Activity>) -> Peer {
        Peer(activity)
    }

    /// Where the connection comes from.
    pub fn remote(&self) -> Remote {
        self.0.peer
    }

    /// Until the answer to this request has been sent, a close by the client ends the connection at once, whatever the
    /// client sent before it; and a machine that vanishes is noticed within `ttl`, for at least 5 s and at most 30 s.
    /// Must be called after the request's body has been read.
    pub fn watch(&self, ttl: Duration) {
        self.0.watch(ttl.clamp(SILENCE[0], SILENCE[1]));
    }

    /// The request was read whole and has succeeded: no byte of it is on its way.
    pub(super) fn is_served(&self) {
        self.0.is_served();
    }

    pub(super) fn answer(self, body: Body) -> Answer<Sending> {
        let sending = Sending::new(&body, self.0);
        Answer::new(body, sending)
    }
}

/// The stream that carries a connection.
pub trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Has the connection end once the peer has not answered for so long.
    fn bound_silence(&self, limit: Duration);

    /// Whether the next write is to be an error if the client has closed, and only what it has sent tells.
    fn reads_before_a_write(&self) -> bool;
}

/// A connection's stream, shared by hyper and by the watch for a close, both in one task.
pub struct Shared<S>(Arc<Mutex<Wire<S>>>);

struct Wire<S> {
    stream: S,
    /// Read before hyper asked for it.
    ahead: Vec<u8>,
    /// More came than is kept: what follows is discarded.
    is_flooded: bool,
    /// The client has closed.
    has_ended: bool,
}

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Shared<S> {
        Shared(Arc::clone(&self.0))
    }
}

impl<S> Shared<S> {
    pub fn new(stream: S) -> Shared<S> {
        Shared(Arc::new(Mutex::new(Wire { stream, ahead: Vec::new(), is_flooded: false, has_ended: false })))
    }

    fn wire(&self) -> MutexGuard<'_, Wire<S>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// Whether the client sent more behind its request than is kept: no further request can be read.
    pub fn is_flooded(&self) -> bool {
        self.wire().is_flooded
    }

    pub fn has_ended(&self) -> bool {
        self.wire().has_ended
    }
}

impl<S: Transport> Shared<S> {
    pub fn bound_silence(&self, limit: Duration) {
        self.wire().stream.bound_silence(limit);
    }

    /// Ready when the client has closed or reset the connection.
    pub fn poll_hang_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        let wire = &mut *self.wire();
        while let Ok(()) = ready!(wire.poll_ahead(cx)) {}
        Poll::Ready(())
    }

    /// Reads what the client still sends, until it closes: a socket that is closed over unread bytes is reset, and the
    /// client may lose the answer that it has not read yet.
    pub async fn linger(mut self) {
        let closed = async {
            // hyper has shut it down, unless it met an error.
            let _ = self.shutdown().await;
            std::future::poll_fn(|cx| self.poll_hang_up(cx)).await;
        };
        let _ = tokio::time::timeout(LINGER, closed).await;
    }
}

/// The client has closed.
struct Closed;

impl<S: Transport> Wire<S> {
    /// Reads on behind what hyper has asked for.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut chunk = [MaybeUninit::uninit(); CHUNK];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk)) {
            Ok(()) if !chunk.filled().is_empty() => {
                self.keep(chunk.filled());
                Poll::Ready(Ok(()))
            }
            _ => {
                self.has_ended = true;
                Poll::Ready(Err(Closed))
            }
        }
    }

    /// An error if the client has closed, where only what it has sent tells. No more is read than can be kept.
    fn look(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.stream.reads_before_a_write() && self.ahead.len() + CHUNK <= MOST_AHEAD {
            match self.poll_ahead(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(Closed)) => return Err(io::ErrorKind::BrokenPipe.into()),
                Poll::Pending => break,
            }
        }
        Ok(())
    }
}

impl<S> Wire<S> {
    fn keep(&mut self, bytes: &[u8]) {
        if self.is_flooded || self.ahead.len() + bytes.len() > MOST_AHEAD {
            self.is_flooded = true;
            self.ahead = Vec::new();
        } else {
            self.ahead.extend_from_slice(bytes);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Shared<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self.wire();
        if wire.is_flooded {
            // The connection ends after its answer; a client that closes before is seen by `poll_hang_up`.
            return Poll::Pending;
        }
        if !wire.ahead.is_empty() {
            let count = buf.remaining().min(wire.ahead.len());
            buf.put_slice(&wire.ahead[..count]);
            wire.ahead.drain(..count);
            return Poll::Ready(Ok(()));
        }
        let room = buf.remaining();
        let outcome = Pin::new(&mut wire.stream).poll_read(cx, buf);
        if outcome.is_ready() && buf.remaining() == room {
            wire.has_ended = true;
        }
        outcome
    }
}

impl<S: Transport> AsyncWrite for Shared<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wire = &mut *self.wire();
        wire.look(cx)?;
        Pin::new(&mut wire.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = &mut *self.wire();
        wire.look(cx)?;
        Pin::new(&mut wire.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire().stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire().stream).poll_shutdown(cx)
    }
}
