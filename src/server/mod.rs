//! HTTP plumbing: accept, limit, serve, drain. Knows hyper; knows no lock and no path.

mod address;
mod body;
mod connection;
mod encrypted;
mod fd_limit;
mod head;
mod http2;
mod listener;
mod peer;
mod refusal;
mod secure;
mod timed;
mod timeouts;
mod unix;

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use prometheus::{IntCounter, IntCounterVec, IntGauge};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

pub use address::{Address, SocketAccess};
pub use body::{
    Body, BodyError, Broken, MAX_BODY_BYTES, read as read_body, read_behind as read_body_behind,
    read_up_to as read_body_up_to,
};
use connection::{Rules, converse};
pub use fd_limit::{Shares, raise_limit, share};
pub use head::{Heads, Unfinished};
pub use listener::{Bound, Listener, bind, lacks_family};
pub use peer::Peer;
use refusal::turn_away;
pub use refusal::{REQUEST_ID, named};
use timeouts::{Activity, Timeout};

use crate::drain::Drain;
use crate::tls::ListenerTls;

/// A handler's response.
pub type Response = hyper::Response<Body>;

/// Connections over the limit that are answered at a time; further ones are closed without an answer.
const TURNED_AWAY_AT_ONCE: usize = 64;
/// Pause after a failed accept, whose likely cause is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection is safe from having to give way: enough for a client on a busy machine to send its head.
const HEAD_START: Duration = Duration::from_millis(50);
/// How long a thread with more than its share of the connections leaves accepting to the others.
const GIVE_WAY: Duration = Duration::from_millis(1);
/// Pause between two log lines of a lasting failure to accept.
const ACCEPT_REMINDER: Duration = Duration::from_secs(30);

/// What answers requests.
pub trait Handler: Clone + Send + Sync + 'static {
    fn handle(&self, request: Request<Incoming>, peer: &Peer) -> impl Future<Output = Response> + Send;
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    /// With prior knowledge, as gRPC does.
    Http2,
}

/// Open connections: the activity of each, and what ends it.
pub type Crowd = Arc<Mutex<Vec<(Arc<Activity>, AbortHandle)>>>;

/// The limits of a listener.
#[derive(Clone)]
pub struct Limits {
    pub protocol: Protocol,
    /// `None`: connections are plain.
    pub tls: Option<ListenerTls>,
    /// Over all threads.
    pub max_connections: usize,
    /// How many threads accept from the socket.
    pub threads: usize,
    /// Longest time that a request may take before its answer begins.
    pub longest_request: Duration,
    pub heads: Heads,
    pub unfinished: Unfinished,
    /// The connections that may have to give way, of all listeners that share `open`.
    pub crowd: Crowd,
    /// How long connections may take to end once the drain has begun.
    pub grace: Duration,
    pub open: IntGauge,
    pub refused: IntCounter,
    /// Counts the connections that were cut, by reason.
    pub cut: IntCounterVec,
    pub listener: &'static str,
}

/// Serves until the drain begins, then lets each connection end its request under way, for at most the grace. Returns
/// whether all of them did.
pub async fn serve<H: Handler>(listener: Listener, handler: H, limits: Limits, drain: Drain) -> bool {
    let mut draining = pin!(drain.begun());
    let (mut connections, mut turned_away) = (JoinSet::new(), JoinSet::new());
    let max_connections = i64::try_from(limits.max_connections).unwrap_or(i64::MAX);
    let mut told = None;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(stream) if limits.open.get() < max_connections || limits.heads.give_way => {
                    if limits.open.get() >= max_connections {
                        make_room(&limits, max_connections).await;
                    }
                    let open = Open::of(&limits.open);
                    let all = limits.open.get();
                    let (handler, drain) = (handler.clone(), drain.clone());
                    let activity = Activity::new(stream.remote(), limits.heads.timeout, limits.longest_request);
                    let of_crowd = limits.heads.give_way.then(|| Arc::clone(&activity));
                    let Limits { protocol, tls, heads, unfinished, cut: counted, listener: kind, .. } = limits.clone();
                    let rules = Rules { protocol, heads, unfinished, certificate: None };
                    let task = connections.spawn(async move {
                        let _open = open;
                        let peer_check = stream.peer_check();
                        let cut = match tls {
                            None => converse(stream, peer_check, handler, drain, rules, activity).await,
                            Some(tls) => Box::pin(secure::converse(stream, &tls, handler, drain, rules, activity)).await,
                        };
                        if let Some(cut) = cut {
                            counted.with_label_values(&[kind, cut.label()]).inc();
                        }
                    });
                    if let Some(of_crowd) = of_crowd {
                        let mut crowd = limits.crowd.lock().expect("no holder of this lock panics");
                        crowd.retain(|(_, task)| !task.is_finished());
                        crowd.push((of_crowd, task));
                    }
                    // The kernel wakes all threads, and the first to run would accept a whole burst.
                    if has_more_than_its_share(connections.len(), all, limits.threads) {
                        tokio::time::sleep(GIVE_WAY).await;
                    }
                }
                Ok(stream) => {
                    limits.refused.inc();
                    // A handshake would cost more than the request that is turned away.
                    if limits.tls.is_none() && turned_away.len() < TURNED_AWAY_AT_ONCE {
                        turned_away.spawn(turn_away(stream, limits.protocol));
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
            () = &mut draining => break,
        }
    }
    // The port is freed at once, so that a successor can bind it.
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

/// Closes the connection that has been without a whole head for longest; if all have one, the one with the oldest request.
/// Each has had its [`HEAD_START`] by then, so that a flood of connections closes none whose head is on its way.
async fn make_room(limits: &Limits, max_connections: i64) {
    loop {
        // The heads that have come meanwhile are read first.
        tokio::task::yield_now().await;
        let wait = {
            let mut crowd = limits.crowd.lock().expect("no holder of this lock panics");
            crowd.retain(|(_, task)| !task.is_finished());
            let standings = crowd.iter().enumerate().map(|(place, (activity, _))| (activity.standing(), place));
            let Some(((_, since), place)) = standings.min() else { return };
            let wait = HEAD_START.saturating_sub(since.elapsed());
            if wait.is_zero() {
                crowd.swap_remove(place).1.abort();
                limits.cut.with_label_values(&[limits.listener, Timeout::GaveWay.label()]).inc();
                return;
            }
            wait
        };
        tokio::time::sleep(wait).await;
        if limits.open.get() < max_connections {
            return;
        }
    }
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

#[cfg(test)]
mod tests;
