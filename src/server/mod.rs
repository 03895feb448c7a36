//! HTTP plumbing: accept, limit, serve, drain. Knows hyper; knows no lock and no path.

mod address;
mod body;
mod fd_limit;
mod head;
mod listener;
mod peer;
mod timeouts;
mod unix;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use prometheus::{IntCounter, IntCounterVec, IntGauge};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, Sleep};

pub use address::{Address, SocketAccess};
pub use body::{Body, BodyError, Broken, MAX_BODY_BYTES, read as read_body, read_behind as read_body_behind};
pub use fd_limit::{Shares, raise_limit, share};
use head::{Gathered, Gathering};
pub use head::{Heads, Unfinished};
pub use listener::{Bound, Listener, bind, lacks_family};
use listener::{PeerCheck, Stream};
pub use peer::Peer;
use peer::{Shared, Transport};
use timeouts::{Activity, TimedStream, Timeout};

use crate::request;

/// A response as every handler makes it.
pub type Response = hyper::Response<Body>;

/// A connection's buffer, bytes, which hyper enlarges up to this; its default is 417 KB. So much of an answer waits in
/// it, too, and one part more.
const BUFFER_BYTES: usize = 16 * 1024;
/// Connections of one too many that are told so at once; further ones are closed without a word.
const TURNED_AWAY_AT_ONCE: usize = 64;
/// Pause after a failed accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a thread that has more than its share of the connections lets the others accept.
const GIVE_WAY: Duration = Duration::from_millis(1);
/// A failure to accept that lasts is told again after this.
const ACCEPT_REMINDER: Duration = Duration::from_secs(30);

/// What answers requests.
pub trait Handler: Clone + Send + Sync + 'static {
    fn handle(&self, request: Request<Incoming>, peer: &Peer) -> impl Future<Output = Response> + Send;
}

/// Open connections: what each is at, and what ends it.
pub type Crowd = Arc<Mutex<Vec<(Arc<Activity>, AbortHandle)>>>;

/// What a listener may cost.
#[derive(Clone)]
pub struct Limits {
    /// Over all threads.
    pub max_connections: usize,
    /// How many accept from the same socket.
    pub threads: usize,
    /// Longest time that a request may take before its answer begins.
    pub longest_request: Duration,
    pub heads: Heads,
    pub unfinished: Unfinished,
    /// Those that may have to give way, of all listeners that share `open`.
    pub crowd: Crowd,
    /// How long connections may take to end once the drain has begun.
    pub grace: Duration,
    pub open: IntGauge,
    pub refused: IntCounter,
    /// By why they were cut.
    pub cut: IntCounterVec,
    pub listener: &'static str,
}

/// Serves until `drain` is true, then lets each connection end the request that it is at, for at most the grace.
/// Returns whether all of them did.
pub async fn serve<H: Handler>(
    listener: Listener,
    handler: H,
    limits: Limits,
    mut drain: watch::Receiver<bool>,
) -> bool {
    let (mut connections, mut turned_away) = (JoinSet::new(), JoinSet::new());
    let max_connections = i64::try_from(limits.max_connections).unwrap_or(i64::MAX);
    let mut told = None;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(stream) if limits.open.get() < max_connections || limits.heads.give_way => {
                    if limits.open.get() >= max_connections {
                        make_room(&limits);
                    }
                    let open = Open::of(&limits.open);
                    let all = limits.open.get();
                    let (handler, drain) = (handler.clone(), drain.clone());
                    let activity = Activity::new(limits.heads.timeout, limits.longest_request);
                    let of_crowd = limits.heads.give_way.then(|| Arc::clone(&activity));
                    let Limits { heads, unfinished, cut: counted, listener: kind, .. } = limits.clone();
                    let task = connections.spawn(async move {
                        let _open = open;
                        let peer_check = stream.peer_check();
                        let cut = converse(stream, peer_check, handler, drain, heads, unfinished, activity).await;
                        if let Some(cut) = cut {
                            counted.with_label_values(&[kind, cut.label()]).inc();
                        }
                    });
                    if let Some(of_crowd) = of_crowd {
                        let mut crowd = limits.crowd.lock().expect("no holder of this lock panics");
                        crowd.retain(|(_, task)| !task.is_finished());
                        crowd.push((of_crowd, task));
                    }
                    // The kernel wakes all threads, and the first would take all of a burst.
                    if has_more_than_its_share(connections.len(), all, limits.threads) {
                        tokio::time::sleep(GIVE_WAY).await;
                    }
                }
                Ok(stream) => {
                    limits.refused.inc();
                    if turned_away.len() < TURNED_AWAY_AT_ONCE {
                        turned_away.spawn(turn_away(stream));
                    }
                }
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    if told.is_none_or(|told: Instant| told.elapsed() > ACCEPT_REMINDER) {
                        told = Some(Instant::now());
                        tracing::error!(%error, listener = limits.listener, "cannot accept connections");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            Some(_) = turned_away.join_next() => {}
            () = begun(&mut drain) => break,
        }
    }
    // The port is given back at once, so that a successor can take it.
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    tokio::time::timeout(limits.grace, ended).await.is_ok()
}

/// Counts a connection for as long as it is open.
struct Open(IntGauge);

impl Open {
    fn of(gauge: &IntGauge) -> Open {
        gauge.inc();
        Open(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Closes the connection that is the longest without a whole head; where all have one, the longest at what it is at.
fn make_room(limits: &Limits) {
    let mut crowd = limits.crowd.lock().expect("no holder of this lock panics");
    crowd.retain(|(_, task)| !task.is_finished());
    let first = crowd.iter().enumerate().min_by_key(|(_, (activity, _))| activity.standing()).map(|(place, _)| place);
    if let Some(place) = first {
        crowd.swap_remove(place).1.abort();
        limits.cut.with_label_values(&[limits.listener, Timeout::GaveWay.label()]).inc();
    }
}

/// Serves one connection to its end; why it was cut, if it was.
async fn converse<S, H>(
    stream: S,
    peer_check: PeerCheck,
    handler: H,
    mut drain: watch::Receiver<bool>,
    heads: Heads,
    unfinished: Unfinished,
    activity: Arc<Activity>,
) -> Option<Timeout>
where
    S: Transport,
    H: Handler,
{
    let shared = Shared::new(stream);
    let mut stream = Gathering::new(TimedStream::new(shared.clone(), Arc::clone(&activity)), unfinished);
    let mut timer = pin!(tokio::time::sleep(heads.timeout));
    let gathered = {
        let mut draining = pin!(begun(&mut drain));
        poll_fn(|cx| {
            if draining.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(Ok(Gathered::Closed)));
            }
            match stream.poll_head(heads.longest, cx) {
                Poll::Ready(gathered) => Poll::Ready(Ok(gathered)),
                Poll::Pending => activity.poll_end(timer.as_mut(), cx).map(Err),
            }
        })
        .await
    };
    let ended = match gathered {
        // What is kept for requests comes into being with the first.
        Ok(Ok(Gathered::Whole)) => {
            let connection = Connection { shared, stream, peer_check, activity };
            Box::pin(serve_requests(connection, handler, drain, heads, timer)).await
        }
        Ok(Ok(Gathered::TooLong)) => {
            refuse(&mut stream, TOO_LONG).await;
            Ok(Ok(()))
        }
        Ok(Ok(Gathered::NoRoom)) => {
            refuse(&mut stream, TURNED_AWAY).await;
            Ok(Ok(()))
        }
        Ok(Ok(Gathered::Closed)) => Ok(Ok(())),
        Ok(Err(error)) => Ok(Err(error.to_string())),
        Err(cut) => Err(cut),
    };
    match ended {
        Ok(Ok(())) => None,
        Ok(Err(error)) => {
            tracing::debug!(error, "connection ended early");
            None
        }
        Err(cut) => {
            tracing::debug!(why = cut.label(), "connection closed: client too slow");
            Some(cut)
        }
    }
}

/// A connection whose first head is there.
struct Connection<S> {
    shared: Shared<S>,
    /// The same, as hyper has it.
    stream: Gathering<TimedStream<Shared<S>>>,
    peer_check: PeerCheck,
    activity: Arc<Activity>,
}

/// Serves all its requests.
async fn serve_requests<S, H>(
    connection: Connection<S>,
    handler: H,
    mut drain: watch::Receiver<bool>,
    heads: Heads,
    mut timer: Pin<&mut Sleep>,
) -> Result<Result<(), String>, Timeout>
where
    S: Transport,
    H: Handler,
{
    let Connection { shared, stream, peer_check, activity } = connection;
    let beats = Arc::clone(&activity);
    let service = service_fn(move |request: Request<Incoming>| {
        let (handler, peer, peer_check) = (handler.clone(), Peer::new(Arc::clone(&beats)), peer_check.clone());
        beats.request(!request.body().is_end_stream());
        async move {
            let response = if head::length(&request) > heads.longest {
                named(request.headers(), head_too_long())
            } else {
                handler.handle(request, &peer).await
            };
            if response.status().is_success() {
                peer.is_served();
            }
            if response.body().is_awaited() {
                peer_check.set();
            }
            Ok::<_, std::convert::Infallible>(response.map(|body| peer.answer(body)))
        }
    });
    let connection = http1::Builder::new()
        // Ours to time: hyper's makes a timer for each head, and takes the time between two requests for the second.
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let (mut connection, mut draining) = (pin!(connection), pin!(begun(&mut drain)));
    let (mut is_draining, mut is_idle, mut is_last, mut bound) = (false, false, false, None);
    let ended = poll_fn(|cx| {
        activity.turn();
        if !is_draining && draining.as_mut().poll(cx).is_ready() {
            is_draining = true;
            is_idle = activity.is_between_requests();
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(Ok(ended));
        }
        if let Some(limit) = activity.watched() {
            if bound.replace(limit) != Some(limit) {
                shared.bound_silence(limit);
            }
            if shared.poll_hang_up(cx).is_ready() {
                return Poll::Ready(Ok(Ok(())));
            }
            if !is_last && shared.is_flooded() {
                is_last = true;
                connection.as_mut().graceful_shutdown();
            }
        }
        activity.poll_end(timer.as_mut(), cx).map(Err)
    });
    let ended = ended.await;
    if ended.is_ok() && !is_idle && activity.may_be_sending() && !shared.has_ended() {
        shared.linger().await;
    }
    ended.map(|ended| ended.map_err(|error| error.to_string()))
}

/// What a caller names its request by.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An answer with the name that its request came with, for what no handler serves that writes of it in the log.
pub fn named(headers: &HeaderMap, mut response: Response) -> Response {
    let ids = headers.get_all(&REQUEST_ID).iter().map(HeaderValue::as_bytes);
    if let Some(id) = request::fit(ids).and_then(|id| HeaderValue::from_str(id).ok()) {
        response.headers_mut().insert(REQUEST_ID.clone(), id);
    }
    response
}

/// The answer to a head that is longer than it may be; hyper gives the same where it has no room for it.
fn head_too_long() -> Response {
    let mut response = Response::new(Body::Whole(None));
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Whether one of `threads` that accept from one socket has more connections than the others, by more than one.
fn has_more_than_its_share(own: usize, all: i64, threads: usize) -> bool {
    threads > 1 && own * threads > usize::try_from(all).unwrap_or_default() + threads
}

/// Whether a client gave up before its connection was accepted.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Waits until the drain begins; a process that cannot say so any more is being stopped too.
async fn begun(drain: &mut watch::Receiver<bool>) {
    let _ = drain.wait_for(|draining| *draining).await;
}

/// One connection too many: it is told so, and closed.
async fn turn_away(mut stream: Stream) {
    refuse(&mut stream, TURNED_AWAY).await;
}

const TURNED_AWAY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const TOO_LONG: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Gives this answer, and no other, and closes.
async fn refuse(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &[u8]) {
    let told = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        // What it sent is read, else closing would reset the connection before the answer is seen.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), told).await;
}

#[cfg(test)]
mod tests;
