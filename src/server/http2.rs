//! HTTP/2 with prior knowledge, for gRPC: hyper between our stream below it and our handler above it, all requests of a
//! connection in the one task of the connection.
//!
//! Dropping a request, as when its client resets the stream, drops its handler or its unsent answer.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::Handler;
use super::body::OnSent;
use super::connection::Connection;
use super::peer::{Peer, Transport};
use super::timed::Answer;
use super::timeouts::{Activity, STALL, Timeout};
use crate::drain::Drain;

/// How every connection of HTTP/2 begins (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The answer to other bytes, which may be a request of HTTP/1.
pub const NO_HTTP2: &[u8] =
    b"HTTP/1.1 505 HTTP Version Not Supported\r\nConnection: close\r\nContent-Type: text/plain\r\n\
    Content-Length: 63\r\n\r\nThis listener speaks gRPC (HTTP/2 without TLS), and no HTTP/1.\n";
/// The answer to a connection too many: empty settings, and GOAWAY, ENHANCE_YOUR_CALM, with no stream processed, so that
/// the client may repeat its call.
pub const TURNED_AWAY: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b";

/// Requests under way on one connection.
const STREAMS: u32 = 128;
/// Bytes of one request's headers.
const HEADERS: u32 = 8 * 1024;
/// Bytes of a request's body that may come before they are read; it may be no longer than these.
const STREAM_WINDOW: u32 = 32 * 1024;
/// Bytes of all bodies of a connection's requests that may come before they are read.
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Bytes of an answer that wait in a stream.
const SEND_BUFFER: usize = 16 * 1024;
/// A client is asked for a sign of life after so long a silence, and may take as long again.
const PING: Duration = Duration::from_secs(20);

/// Serves all requests of a connection whose preface has come.
pub async fn serve<S, H>(
    connection: Connection<S>,
    handler: H,
    drain: Drain,
    mut timer: Pin<&mut Sleep>,
) -> Result<Result<(), String>, Timeout>
where
    S: Transport,
    H: Handler,
{
    let Connection { shared, stream, peer_check, activity, .. } = connection;
    activity.no_request();
    let longest = activity.longest_request() + STALL;
    let (streams, sent) = (Streams::default(), Sent::default());
    let requests = Requests { activity: Arc::clone(&activity), open: Arc::default() };
    let service = service_fn({
        let sent = sent.clone();
        move |mut request: Request<Incoming>| {
            let (handler, peer_check, sent, open) =
                (handler.clone(), peer_check.clone(), sent.clone(), requests.enter());
            name_host(&mut request);
            async move {
                let mut response = handler.handle(request, &Peer::new(Arc::clone(&open.0.activity))).await;
                if response.body().is_awaited() {
                    peer_check.set();
                    response.body_mut().defer(|call| Box::new(move || sent.due(call)));
                }
                Ok::<_, std::convert::Infallible>(response.map(|body| Answer::new(body, open)))
            }
        }
    });
    let stream = Flushed { stream, is_clean: Arc::clone(&sent.is_clean) };
    let connection = http2::Builder::new(streams.clone())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .serve_connection(TokioIo::new(stream), service);
    let (mut connection, mut draining) = (pin!(connection), pin!(drain.begun()));
    let mut under_way = FuturesUnordered::new();
    let (mut is_draining, mut is_last) = (false, false);
    let ended = poll_fn(|cx| {
        activity.turn();
        if !is_draining && draining.as_mut().poll(cx).is_ready() {
            is_draining = true;
            connection.as_mut().graceful_shutdown();
        }
        loop {
            while let Poll::Ready(Some(_)) = under_way.poll_next_unpin(cx) {}
            let ended = connection.as_mut().poll(cx);
            sent.tell();
            if let Poll::Ready(ended) = ended {
                return Poll::Ready(Ok(ended));
            }
            let begun = streams.take();
            if begun.is_empty() {
                break;
            }
            under_way.extend(begun.into_iter().map(|stream| tokio::time::timeout(longest, stream)));
        }
        match activity.poll_end(timer.as_mut(), cx) {
            // A client that is told to go loses no call that it is just sending.
            Poll::Ready(Timeout::Idle) if !is_last => {
                is_last = true;
                activity.no_request();
                connection.as_mut().graceful_shutdown();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            end => end.map(Err),
        }
    });
    let ended = ended.await;
    if ended.is_ok() && !shared.has_ended() {
        shared.linger().await;
    }
    ended.map(|ended| ended.map_err(|error| error.to_string()))
}

/// `:authority` is what HTTP/1 sends as `Host`; a client may send both, and then they must agree.
fn name_host(request: &mut Request<Incoming>) {
    let host = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = host
        && !request.headers().contains_key(HOST)
    {
        request.headers_mut().insert(HOST, host);
    }
}

/// The requests that hyper has begun: no task each, so that none outlives its connection.
#[derive(Clone, Default)]
struct Streams(Arc<Mutex<Vec<Stream>>>);

type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Streams {
    fn take(&self) -> Vec<Stream> {
        std::mem::take(&mut *self.0.lock().expect("no holder of this lock panics"))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.0.lock().expect("no holder of this lock panics").push(Box::pin(stream));
    }
}

/// The calls of answers that HTTP/2 has written into its buffer, due once the kernel has taken the whole buffer.
#[derive(Clone, Default)]
struct Sent {
    calls: Arc<Mutex<Vec<OnSent>>>,
    is_clean: Arc<AtomicBool>,
}

impl Sent {
    fn due(&self, call: OnSent) {
        self.calls.lock().expect("no holder of this lock panics").push(call);
    }

    /// To be called when the connection has been polled: then all that it may send now is in its buffer.
    fn tell(&self) {
        if self.is_clean.load(Ordering::Relaxed) {
            let calls = std::mem::take(&mut *self.calls.lock().expect("no holder of this lock panics"));
            calls.into_iter().for_each(|call| call());
        }
    }
}

/// A connection's stream, which knows whether the kernel has taken all that was written. HTTP/2 flushes it when its own
/// buffer is empty, and not before.
struct Flushed<S> {
    stream: S,
    is_clean: Arc<AtomicBool>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Flushed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Flushed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.is_clean.store(false, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_clean.store(false, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if let Poll::Ready(Ok(())) = flushed {
            self.is_clean.store(true, Ordering::Relaxed);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The requests of a connection.
#[derive(Clone)]
struct Requests {
    activity: Arc<Activity>,
    /// How many are under way.
    open: Arc<AtomicUsize>,
}

/// A request that is under way, from its head to the end of its answer.
struct Open(Requests);

impl Requests {
    fn enter(&self) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.activity.request(false);
        Open(self.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Open(Requests { activity, open }) = self;
        match open.fetch_sub(1, Ordering::Relaxed) {
            1 => activity.no_request(),
            // One of several has ended: the connection gets on.
            _ => activity.request(false),
        }
    }
}
