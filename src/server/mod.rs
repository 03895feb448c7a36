//! HTTP plumbing: accept, limit, serve, drain. Knows hyper; knows no lock and no path.

mod body;
mod listener;

use std::io;
use std::pin::pin;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{IntCounter, IntGauge};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use body::{Body, BodyError, Broken, MAX_BODY_BYTES, Receipt, read as read_body};
use listener::Stream;
pub use listener::{Bound, Listener, bind};

/// A response as every handler makes it.
pub type Response = hyper::Response<Body>;

/// Longest time that a client may take over a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection's buffer, bytes, and so the longest head: room for a large cookie. hyper's default is 417 KB.
const BUFFER_BYTES: usize = 32 * 1024;
/// Pause after a failed accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What answers requests.
pub trait Handler: Clone + Send + Sync + 'static {
    fn handle(&self, request: Request<Incoming>) -> impl Future<Output = Response> + Send;
}

/// What a listener may cost.
#[derive(Clone)]
pub struct Limits {
    pub max_connections: usize,
    /// How long connections may take to end once the drain has begun.
    pub grace: Duration,
    pub open: IntGauge,
    pub refused: IntCounter,
}

/// Serves until `drain` is true, then lets each connection end the request that it is at, for at most the grace.
/// Returns whether all of them did.
pub async fn serve<H: Handler>(
    listener: Listener,
    handler: H,
    limits: Limits,
    mut drain: watch::Receiver<bool>,
) -> bool {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(stream) if connections.len() < limits.max_connections => {
                    limits.open.inc();
                    let (handler, drain, open) = (handler.clone(), drain.clone(), limits.open.clone());
                    connections.spawn(async move {
                        converse(stream, handler, drain).await;
                        open.dec();
                    });
                }
                Ok(stream) => {
                    limits.refused.inc();
                    tokio::spawn(turn_away(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = begun(&mut drain) => break,
        }
    }
    // The port is given back at once, so that a successor can take it.
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    tokio::time::timeout(limits.grace, ended).await.is_ok()
}

async fn converse<H: Handler>(stream: Stream, handler: H, mut drain: watch::Receiver<bool>) {
    let wary = stream.wary();
    let service = service_fn(move |request| {
        let (handler, wary) = (handler.clone(), wary.clone());
        async move {
            let response = handler.handle(request).await;
            if response.body().is_registered() {
                wary.set();
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = begun(&mut drain) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Waits until the drain begins; a process that cannot say so any more is being stopped too.
async fn begun(drain: &mut watch::Receiver<bool>) {
    let _ = drain.wait_for(|draining| *draining).await;
}

/// One connection too many: it is told so, and closed.
async fn turn_away(mut stream: Stream) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let told = async {
        stream.write_all(ANSWER).await?;
        stream.shutdown().await?;
        // What it sent is read, else closing would reset the connection before the answer is seen.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), told).await;
}
