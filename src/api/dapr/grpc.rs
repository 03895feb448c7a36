//! The gRPC form of the Dapr API: `TryLockAlpha1`, `UnlockAlpha1` and `GetMetadata` of the service
//! `dapr.proto.runtime.v1.Dapr`, one message each way.
//!
//! A deadline of the client (`grpc-timeout`) is the client's: when it passes, the client resets its stream, and the call
//! is undone as for any caller that has gone.

use std::time::Instant;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::frame::{self, FrameError};
use super::messages::{
    GetMetadataRequest, GetMetadataResponse, RegisteredComponent, TryLockRequest, TryLockResponse, UnlockRequest,
    UnlockResponse,
};
use super::{Asked, ID, STORE_TYPE, STORE_VERSION, acquire, admit, release};
use crate::api::answer::denial;
use crate::api::caller::Caller;
use crate::api::context::Context;
use crate::api::failure::{Failure, Grpc};
use crate::api::wire::confirming;
use crate::api::{Failed, Served, request_of};
use crate::policy::Verb;
use crate::request;
use crate::server::{Body, Handler, Peer, REQUEST_ID, Response, read_body};

/// The API as a metric label.
const DIALECT: &str = "dapr_grpc";
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
static GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
/// What a message must escape, by gRPC's specification: everything but printable ASCII, and its own escape.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// The Dapr API over gRPC, as it is served on one listener. Cheap to clone.
#[derive(Clone)]
pub struct DaprGrpc(pub std::sync::Arc<Context>);

impl Handler for DaprGrpc {
    async fn handle(&self, request: Request<Incoming>, peer: &Peer) -> Response {
        let begun = Instant::now();
        request_of(request.headers()).coming_from(peer.remote()).serve(answer(&self.0, request, begun)).await
    }
}

/// A method of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    TryLock,
    Unlock,
    Metadata,
    /// Dapr has it or not: it is not served here.
    Other,
}

impl Call {
    fn of(path: &str) -> Call {
        match path.strip_prefix("/dapr.proto.runtime.v1.Dapr/") {
            Some("TryLockAlpha1") => Call::TryLock,
            Some("UnlockAlpha1") => Call::Unlock,
            Some("GetMetadata") => Call::Metadata,
            _ => Call::Other,
        }
    }

    /// What it asks for.
    fn verb(self) -> Option<Verb> {
        match self {
            Call::TryLock | Call::Unlock => Some(Verb::Lock),
            Call::Metadata | Call::Other => None,
        }
    }

    /// As a metric label.
    fn label(self) -> &'static str {
        match self {
            Call::TryLock => "try_lock",
            Call::Unlock => "unlock",
            Call::Metadata => "metadata",
            Call::Other => "none",
        }
    }
}

/// Why a call is not answered as asked, and its status.
struct Refusal {
    failure: Failure,
    status: Grpc,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal { status: failure.row().grpc, failure }
    }
}

impl From<FrameError> for Refusal {
    fn from(error: FrameError) -> Refusal {
        let status = if error == FrameError::Compressed { Grpc::Unimplemented } else { Grpc::Internal };
        Refusal { failure: Failure::BadRequest(error.to_string()), status }
    }
}

async fn answer(cx: &Context, request: Request<Incoming>, begun: Instant) -> Response {
    let call = Call::of(request.uri().path());
    let answered = match no_call(&request) {
        Some((failure, response)) => Err((Refusal::from(failure), response)),
        None => Box::pin(run(cx, request, call)).await.map_err(|refusal| {
            let response = refused(&refusal, call);
            (refusal, response)
        }),
    };
    let (mut response, status, failed) = match answered {
        Ok(response) => (response, Grpc::Ok, None),
        Err((refusal, response)) => (response, refusal.status, Some(Failed::of(&refusal.failure))),
    };
    let is_fault = failed.is_some() && matches!(status, Grpc::Internal | Grpc::Unavailable);
    let (operation, status, verb) = (call.label(), status as u16, call.verb());
    Served { method: &Method::POST, dialect: DIALECT, operation, status, is_fault, begun, verb }.told(cx, failed);
    if let Some(id) = request::id_for_answer().and_then(|id| HeaderValue::try_from(id).ok()) {
        response.headers_mut().insert(REQUEST_ID.clone(), id);
    }
    response
}

/// The answer to what is no call of gRPC at all: a status of HTTP, as its specification has it.
fn no_call(request: &Request<Incoming>) -> Option<(Failure, Response)> {
    let mut response = Response::new(Body::Whole(None));
    if request.method() != Method::POST {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return Some((Failure::MethodNotAllowed("POST".to_owned()), response));
    }
    let kind = request.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if kind == b"application/grpc" || kind == b"application/grpc+proto" {
        return None;
    }
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Some((Failure::Encoded, response))
}

async fn run(cx: &Context, request: Request<Incoming>, call: Call) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    cx.gate.admit(&parts)?;
    let request = Request::from_parts(parts, body);
    let caller = admit(cx, &request).await?;
    if call != Call::Unlock {
        caller.spend()?;
    }
    if call == Call::Other {
        return Err(Failure::NoSuchRoute.into());
    }
    let body = read_body(request).await.map_err(Failure::from)?;
    match call {
        Call::TryLock => try_lock(cx, &caller, body).await,
        Call::Unlock => unlock(cx, &caller, body).await,
        Call::Metadata | Call::Other => metadata(cx, body),
    }
}

async fn try_lock(cx: &Context, caller: &Caller, body: Bytes) -> Result<Response, Refusal> {
    let TryLockRequest { store_name, resource_id, lock_owner, expiry_in_seconds } = frame::read(body)?;
    let asked = Asked { resource: resource_id, owner: lock_owner, expiry_in_seconds };
    let terms = asked.into_terms(&store_name, &cx.dapr_stores, &cx.limits)?;
    let (success, (unconfirmed, seat)) = acquire(cx, caller, terms).await?;
    Ok(confirming(answered(frame::write(&TryLockResponse { success })), unconfirmed, seat))
}

async fn unlock(cx: &Context, caller: &Caller, body: Bytes) -> Result<Response, Refusal> {
    let UnlockRequest { store_name, resource_id, lock_owner } = frame::read(body)?;
    let asked = Asked { resource: resource_id, owner: lock_owner, expiry_in_seconds: 0 };
    let (key, owner) = asked.into_lock(&store_name, &cx.dapr_stores)?;
    let status = release(cx, caller, key, owner).await? as i32;
    Ok(answered(frame::write(&UnlockResponse { status })))
}

/// The lock stores. Clients ask for it first.
fn metadata(cx: &Context, body: Bytes) -> Result<Response, Refusal> {
    let GetMetadataRequest {} = frame::read(body)?;
    let component = |name: &str| RegisteredComponent {
        name: name.to_owned(),
        r#type: STORE_TYPE.to_owned(),
        version: STORE_VERSION.to_owned(),
    };
    let response = GetMetadataResponse {
        id: ID.to_owned(),
        registered_components: cx.dapr_stores.iter().map(|store| component(&store.name)).collect(),
        runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok(answered(frame::write(&response)))
}

/// A message, and behind it that all went well.
fn answered(message: Bytes) -> Response {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS.clone(), HeaderValue::from(Grpc::Ok as u16));
    let mut response = Response::new(Body::trailed(message, trailers));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// A status alone.
fn refused(refusal: &Refusal, call: Call) -> Response {
    let Refusal { failure, status } = refusal;
    let mut response = Response::new(Body::Whole(None));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC);
    headers.insert(GRPC_STATUS.clone(), HeaderValue::from(*status as u16));
    let text = message(failure, *status, call);
    let text = utf8_percent_encode(&text, ESCAPED).to_string();
    headers.insert(GRPC_MESSAGE.clone(), HeaderValue::try_from(text).expect("printable ASCII"));
    if *status == Grpc::Unimplemented {
        headers.insert(GRPC_ACCEPT_ENCODING.clone(), HeaderValue::from_static("identity"));
    }
    denial(failure, headers);
    response
}

/// What a status says to people: in Dapr's words, where it has them.
fn message(failure: &Failure, status: Grpc, call: Call) -> String {
    let english = failure.row().english;
    let text = match failure {
        Failure::BadRequest(reason) | Failure::NoSuchStore(reason) => return reason.clone(),
        Failure::Unauthorized(_) => return "Unauthorized".to_owned(),
        Failure::NoSuchRoute => return "lockside serves TryLockAlpha1, UnlockAlpha1 and GetMetadata".to_owned(),
        Failure::RedisRefused { advice: Some(advice), .. } => format!("{english} ({advice})"),
        _ => english.to_owned(),
    };
    match call {
        Call::TryLock if status == Grpc::Internal => format!("failed to try acquiring lock: {text}"),
        Call::Unlock if status == Grpc::Internal => format!("failed to release lock: {text}"),
        _ => text,
    }
}
