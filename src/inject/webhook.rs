//! What `lockside webhook` answers: `POST /mutate` to the API server, `GET /healthz` to probes.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};

use super::Injector;
use crate::server::{Body, BodyError, Handler, Peer, Response, named, read_body_up_to};

/// Longest review, bytes: etcd keeps no object above 1.5 MiB, and a review may hold two.
const LONGEST_REVIEW: usize = 3 * 1024 * 1024;

/// Answers on the listener of the webhook. Cheap to clone.
#[derive(Clone)]
pub struct Webhook(Arc<Injector>);

impl Webhook {
    pub fn new(injector: Injector) -> Webhook {
        Webhook(Arc::new(injector))
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
        let body = match read_body_up_to(&parts.headers, body, LONGEST_REVIEW).await {
            Ok(body) => body,
            Err(error) => return unread(error),
        };
        match self.0.review(&body) {
            Ok(review) => {
                let mut response = Response::new(Body::whole(review.to_string()));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Err(problem) => text(StatusCode::BAD_REQUEST, &problem),
        }
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
