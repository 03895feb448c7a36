//! What `lockside webhook` answers: `POST /mutate` to the API server, `GET /healthz` to probes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Injector;
use crate::server::{Body, BodyError, Handler, Peer, Response, named, read_body_up_to};

/// Longest review, bytes: etcd keeps no object above 1.5 MiB, and a review may hold two.
const LONGEST_REVIEW: usize = 3 * 1024 * 1024;
/// Longest review of which there may be any number, bytes. Most pods have a tenth of it.
const LONGEST_SMALL: u64 = 64 * 1024;
/// Most reviews above that at once, so that their bodies fit into the memory limit of the chart.
const LARGE_AT_ONCE: usize = 4;
/// Longest wait of another large review: the API server waits 10 s for the answer.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Longest time for the body of a large review, which the API server sends at once: shorter than the wait, so that four
/// senders who do not send keep no other one out.
const LONGEST_LARGE_BODY: Duration = Duration::from_secs(3);

/// Answers on the listener of the webhook. Cheap to clone.
#[derive(Clone)]
pub struct Webhook {
    injector: Arc<Injector>,
    large: Arc<Semaphore>,
    /// Has one large review made at a time, on a thread beside that of the listener, which goes on reading.
    turn: Arc<Semaphore>,
}

impl Webhook {
    pub fn new(injector: Injector) -> Webhook {
        let of = |permits| Arc::new(Semaphore::new(permits));
        Webhook { injector: Arc::new(injector), large: of(LARGE_AT_ONCE), turn: of(1) }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response {
        let (path, method) = (request.uri().path(), request.method());
        match path {
            "/healthz" if matches!(*method, Method::GET | Method::HEAD) => text(StatusCode::OK, "ok"),
            "/healthz" => not_allowed("GET, HEAD"),
            "/mutate" if *method == Method::POST => self.mutate(request).await,
            "/mutate" => not_allowed("POST"),
            _ => text(StatusCode::NOT_FOUND, "not found; here are POST /mutate and GET /healthz"),
        }
    }

    async fn mutate(&self, request: Request<Incoming>) -> Response {
        let (parts, body) = request.into_parts();
        // One that is refused for its length waits for nothing.
        let is_large = body.size_hint().upper().is_none_or(|length| length > LONGEST_SMALL)
            && body.size_hint().lower() <= LONGEST_REVIEW as u64;
        let permit = match is_large {
            true => timeout(LONGEST_WAIT, Arc::clone(&self.large).acquire_owned()).await.map(Result::ok),
            false => Ok(None),
        };
        let Ok(permit) = permit else { return busy() };
        let reading = read_body_up_to(&parts.headers, body, LONGEST_REVIEW);
        let read = match permit {
            Some(_) => timeout(LONGEST_LARGE_BODY, reading).await,
            None => Ok(reading.await),
        };
        let body = match read {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => return unread(error),
            Err(_) => return too_slow(),
        };
        match self.review(body, permit).await {
            Ok(review) => {
                let mut response = Response::new(Body::whole(review.to_string()));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Err(problem) => text(StatusCode::BAD_REQUEST, &problem),
        }
    }
}

impl Webhook {
    /// The permit of a large review is held until the answer has been made, also if its sender has gone.
    async fn review(&self, body: Bytes, permit: Option<OwnedSemaphorePermit>) -> Result<Value, String> {
        let Some(permit) = permit else { return self.injector.review(body) };
        let turn = Arc::clone(&self.turn).acquire_owned().await.expect("it is never closed");
        let injector = Arc::clone(&self.injector);
        let made = spawn_blocking(move || {
            let made = injector.review(body);
            drop((permit, turn));
            made
        });
        made.await.expect("it is not aborted")
    }
}

impl Handler for Webhook {
    async fn handle(&self, request: Request<Incoming>, _peer: &Peer) -> Response {
        let headers = request.headers().clone();
        named(&headers, self.answer(request).await)
    }
}

fn unread(error: BodyError) -> Response {
    let status = match error {
        BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        BodyError::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        BodyError::Timeout => StatusCode::REQUEST_TIMEOUT,
        BodyError::Broken => StatusCode::BAD_REQUEST,
    };
    let problem = match error {
        BodyError::TooLarge => format!("the body is longer than {LONGEST_REVIEW} bytes"),
        error => error.to_string(),
    };
    text(status, &problem)
}

fn too_slow() -> Response {
    let most = LONGEST_LARGE_BODY.as_secs();
    let problem = format!("the body, of more than {LONGEST_SMALL} bytes, took longer than {most} s");
    text(StatusCode::REQUEST_TIMEOUT, &problem)
}

fn busy() -> Response {
    let problem = format!("{LARGE_AT_ONCE} reviews of more than {LONGEST_SMALL} bytes are in progress; retry later");
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, &problem);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn not_allowed(allow: &'static str) -> Response {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

fn text(status: StatusCode, line: &str) -> Response {
    let mut response = Response::new(Body::whole(format!("{line}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
