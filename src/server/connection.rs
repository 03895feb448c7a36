//! One connection, from its first bytes to its last answer; the requests of HTTP/1: hyper between our stream below it and
//! our handler above it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::Sleep;

use super::head::{self, Gathered, Gathering, Heads, Unfinished};
use super::http2::{self, NO_HTTP2, PREFACE};
use super::listener::PeerCheck;
use super::peer::{Peer, Shared, Transport};
use super::refusal::{REQUEST_ID, TURNED_AWAY, head_too_long, named, refuse, too_long};
use super::timed::TimedStream;
use super::timeouts::{Activity, Timeout};
use super::{Handler, Protocol};
use crate::drain::Drain;
use crate::tls::CallerCertificate;

/// Longest buffer of a connection, bytes; hyper's default is 417 KB. So much of an answer waits in it, and one part more.
const BUFFER_BYTES: usize = 16 * 1024;

/// What a connection begins with.
pub struct Rules {
    pub protocol: Protocol,
    pub heads: Heads,
    pub unfinished: Unfinished,
    /// By which the client authenticated the connection.
    pub certificate: Option<CallerCertificate>,
}

/// Serves one connection to its end; why it was cut, if it was.
pub async fn converse<S, H>(
    stream: S,
    peer_check: PeerCheck,
    handler: H,
    drain: Drain,
    rules: Rules,
    activity: Arc<Activity>,
) -> Option<Timeout>
where
    S: Transport,
    H: Handler,
{
    let Rules { protocol, heads, unfinished, certificate } = rules;
    let shared = Shared::new(stream);
    let mut stream = Gathering::new(TimedStream::new(shared.clone(), Arc::clone(&activity)), unfinished);
    let mut timer = pin!(tokio::time::sleep(heads.timeout));
    let gathered = {
        let mut draining = pin!(drain.begun());
        poll_fn(|cx| {
            if draining.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(Ok(Gathered::Closed)));
            }
            let gathered = match protocol {
                Protocol::Http1 => stream.poll_head(heads.longest, cx),
                Protocol::Http2 => stream.poll_preface(PREFACE, cx),
            };
            match gathered {
                Poll::Ready(gathered) => Poll::Ready(Ok(gathered)),
                Poll::Pending => activity.poll_end(timer.as_mut(), cx).map(Err),
            }
        })
        .await
    };
    let ended = match gathered {
        // The state for requests is made with the first of them.
        Ok(Ok(Gathered::Whole)) => {
            let connection = Connection { shared, stream, peer_check, activity, certificate };
            match protocol {
                Protocol::Http1 => Box::pin(serve_requests(connection, handler, drain, heads, timer)).await,
                Protocol::Http2 => Box::pin(http2::serve(connection, handler, drain, timer)).await,
            }
        }
        Ok(Ok(Gathered::TooLong)) => {
            let answer = head_too_long(stream.values(&REQUEST_ID));
            refuse(&mut stream, &answer).await;
            Ok(Ok(()))
        }
        Ok(Ok(Gathered::NoRoom)) => {
            refuse(&mut stream, TURNED_AWAY).await;
            Ok(Ok(()))
        }
        Ok(Ok(Gathered::Foreign)) => {
            refuse(&mut stream, NO_HTTP2).await;
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

/// A connection that has begun.
pub struct Connection<S> {
    pub shared: Shared<S>,
    /// `shared` with what was read ahead and with timeouts, for hyper.
    pub stream: Gathering<TimedStream<Shared<S>>>,
    pub peer_check: PeerCheck,
    pub activity: Arc<Activity>,
    /// By which the client authenticated.
    pub certificate: Option<CallerCertificate>,
}

/// Serves all requests of a connection.
async fn serve_requests<S, H>(
    connection: Connection<S>,
    handler: H,
    drain: Drain,
    heads: Heads,
    mut timer: Pin<&mut Sleep>,
) -> Result<Result<(), String>, Timeout>
where
    S: Transport,
    H: Handler,
{
    let Connection { shared, stream, peer_check, activity, certificate } = connection;
    let beats = Arc::clone(&activity);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (handler, peer, peer_check) = (handler.clone(), Peer::new(Arc::clone(&beats)), peer_check.clone());
        beats.request(!request.body().is_end_stream());
        if let Some(certificate) = &certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        async move {
            let certificate = request.extensions().get::<CallerCertificate>().cloned();
            let mut response = if head::length(&request) > heads.longest {
                named(request.headers(), too_long())
            } else {
                handler.handle(request, &peer).await
            };
            if response.status().is_success() {
                peer.is_served();
            }
            // Another handshake may show a newer certificate.
            if response.status() == StatusCode::UNAUTHORIZED && certificate.is_some_and(|it| it.check().is_err()) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if response.body().is_awaited() {
                peer_check.set();
            }
            Ok::<_, std::convert::Infallible>(response.map(|body| peer.answer(body)))
        }
    });
    let connection = http1::Builder::new()
        // We time heads: hyper makes a timer for each, and counts the pause between two requests as part of the second.
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let (mut connection, mut draining) = (pin!(connection), pin!(drain.begun()));
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
