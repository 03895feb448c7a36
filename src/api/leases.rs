//! The leases dialect: locks with a token that their holder keeps alive, and a list of all of them.

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LANGUAGE, CONTENT_TYPE, HeaderValue, LINK, VARY};
use hyper::{Request, StatusCode};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::Context;
use super::body::object;
use super::failure::Failure;
use super::language::Language;
use crate::auth::Principal;
use crate::lock::{Acquired, Attempt, Changed, Key, Lease, Listing, Own, Owner, OwnerKind, Token, Ttl};
use crate::server::{Body, Broken, Response, read_body};

/// Leases in one chunk of a streamed list.
const CHUNK: usize = 256;
/// Longest page that may be asked for.
const MAX_LIMIT: usize = 10_000;

/// `GET /cmn/leasable-locks`: every active lock of every dialect, oldest grant first; streamed, or a page of it.
pub async fn list(cx: &Context, request: Request<Incoming>) -> Result<Response, Failure> {
    caller(cx, &request).await?;
    let page = Page::of(request.uri().query().unwrap_or_default())?;
    let mut listing = cx.locks.list(page.prefix.clone(), page.cursor)?;
    match page.limit {
        Some(limit) => {
            // One more than asked for tells whether there is a next page.
            let mut leases = listing.next(limit + 1).await?;
            let more = leases.len() > limit;
            leases.truncate(limit);
            let mut response = json(StatusCode::OK, &leases.iter().map(LeaseDto::from).collect::<Vec<_>>());
            if let Some(last) = leases.last().filter(|_| more) {
                let next = format!("<{}?{}>; rel=\"next\"", request.uri().path(), page.after(last.token));
                let next = HeaderValue::try_from(next).expect("a path and an encoded query fit a header");
                response.headers_mut().insert(LINK, next);
            }
            Ok(response)
        }
        None => {
            // Before the head is sent a failure can still be answered as one.
            let first = listing.next(CHUNK).await?;
            let (chunks, body) = mpsc::channel(1);
            tokio::spawn(stream(listing, first, chunks));
            let mut response = Response::new(Body::Stream(body));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok(response)
        }
    }
}

/// `POST /cmn/leasable-locks`: acquires a key, or renews it for the user who has it.
pub async fn create(cx: &Context, request: Request<Incoming>) -> Result<Response, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Create {
        key: String,
        lease_period: i64,
    }
    let caller = caller(cx, &request).await?;
    let body = read_body(request).await?;
    let create: Create = object(&body)?;
    let key = Key::parse(&create.key).map_err(|error| Failure::BadRequest(error.to_string()))?;
    let ttl = ttl(cx, create.lease_period)?;
    let attempt = match caller {
        Caller::User { owner, .. } => Attempt { owner, ttl, own: Own::Renew },
        Caller::System => Attempt { owner: system(cx.locks.owner_name()), ttl, own: Own::Refuse },
    };
    match cx.locks.acquire(key, attempt).await? {
        Acquired::Granted(lease) => Ok(json(StatusCode::CREATED, &LeaseDto::from(&lease))),
        Acquired::Renewed(lease) => Ok(json(StatusCode::OK, &LeaseDto::from(&lease))),
        Acquired::Held(_) => Err(Failure::Held),
    }
}

/// `PUT /cmn/leasable-locks/{token}?leasePeriod=SECONDS`: valid from now for that long.
pub async fn renew(cx: &Context, request: Request<Incoming>, token: &str) -> Result<Response, Failure> {
    let caller = caller(cx, &request).await?;
    let token = token_in(token)?;
    let query = request.uri().query().unwrap_or_default();
    let ttl = ttl(cx, number(query, "leasePeriod")?.ok_or_else(|| missing("leasePeriod"))?)?;
    let token = token.ok_or(Failure::NoSuchLease)?;
    match cx.locks.renew(token, caller.owner(), ttl).await? {
        Changed::Done(lease) => Ok(json(StatusCode::OK, &LeaseDto::from(&lease))),
        Changed::Lost => Err(Failure::NoSuchLease),
        Changed::NotYours => Err(Failure::NotYours),
    }
}

/// `DELETE /cmn/leasable-locks/{token}`: the holder lets go.
pub async fn release(
    cx: &Context,
    request: Request<Incoming>,
    token: &str,
    language: Language,
) -> Result<Response, Failure> {
    let caller = caller(cx, &request).await?;
    let token = token_in(token)?.ok_or(Failure::NoSuchLease)?;
    match cx.locks.release(token, caller.owner()).await? {
        Changed::Done(()) => {
            let text = language.choose("The lock was released.", "Die Sperre wurde freigegeben.");
            Ok(message(StatusCode::OK, "released", text, language))
        }
        Changed::Lost => Err(Failure::NoSuchLease),
        Changed::NotYours => Err(Failure::NotYours),
    }
}

/// `DELETE /cmn/leasable-locks/custom/{token}`: takes the lock away from whoever holds it.
pub async fn remove(
    cx: &Context,
    request: Request<Incoming>,
    token: &str,
    language: Language,
) -> Result<Response, Failure> {
    let by = match caller(cx, &request).await? {
        Caller::User { manages_locks: false, .. } => {
            return Err(Failure::Forbidden("lacks the permission manage-locks"));
        }
        caller => caller.owner(),
    };
    let token = token_in(token)?.ok_or(Failure::NoSuchLease)?;
    match cx.locks.force(token, by).await? {
        Some(_) => {
            let text = language.choose("The lock was taken away.", "Die Sperre wurde aufgehoben.");
            Ok(message(StatusCode::OK, "removed", text, language))
        }
        None => Err(Failure::NoSuchLease),
    }
}

/// Who may use the dialect.
enum Caller {
    User { owner: Owner, manages_locks: bool },
    System,
}

impl Caller {
    /// The owner whose leases this caller may change.
    fn owner(self) -> Owner {
        match self {
            Caller::User { owner, .. } => owner,
            Caller::System => system(String::new()),
        }
    }
}

/// A user or a system caller; where nobody can show who they are, everybody is a system caller.
async fn caller(cx: &Context, request: &Request<Incoming>) -> Result<Caller, Failure> {
    match cx.principal(request).await? {
        Principal::User(user) => Ok(Caller::User {
            manages_locks: user.manages_locks,
            owner: Owner { kind: OwnerKind::User, id: user.id, label: user.label, description: user.description },
        }),
        Principal::System => Ok(Caller::System),
        Principal::Anonymous if !cx.authenticator.is_configured() => Ok(Caller::System),
        Principal::Anonymous => Err(Failure::Unauthorized("nobody said who is asking".to_owned())),
    }
}

fn system(name: String) -> Owner {
    Owner { kind: OwnerKind::System, id: name, label: None, description: None }
}

/// A page of the list, as the query asks for it.
struct Page {
    prefix: String,
    limit: Option<usize>,
    cursor: Option<Token>,
}

impl Page {
    fn of(query: &str) -> Result<Page, Failure> {
        let limit = match number(query, "limit")? {
            None => None,
            Some(limit) => {
                let limit = usize::try_from(limit).ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                Some(limit.ok_or_else(|| Failure::BadRequest(format!("limit: expected 1 to {MAX_LIMIT}")))?)
            }
        };
        let cursor = match number(query, "cursor")? {
            None => None,
            Some(cursor) => {
                let cursor = Token::from_i64(cursor);
                Some(cursor.ok_or_else(|| Failure::BadRequest("cursor: expected one of a Link header".to_owned()))?)
            }
        };
        Ok(Page { prefix: parameter(query, "prefix").unwrap_or_default(), limit, cursor })
    }

    /// The query of the page behind `last`.
    fn after(&self, last: Token) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !self.prefix.is_empty() {
            query.append_pair("prefix", &self.prefix);
        }
        if let Some(limit) = self.limit {
            query.append_pair("limit", &limit.to_string());
        }
        query.append_pair("cursor", &last.to_string());
        query.finish()
    }
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(field, _)| field == name).map(|(_, value)| value.into_owned())
}

fn number(query: &str, name: &str) -> Result<Option<i64>, Failure> {
    let Some(text) = parameter(query, name) else { return Ok(None) };
    let number = text.parse().map_err(|_| Failure::BadRequest(format!("{name}: expected an int64")))?;
    Ok(Some(number))
}

fn missing(name: &str) -> Failure {
    Failure::BadRequest(format!("{name} is missing"))
}

/// The token in a path: 400 for what is no int64, `None` for an int64 that no lease can have.
fn token_in(segment: &str) -> Result<Option<Token>, Failure> {
    let text = percent_decode_str(segment).decode_utf8_lossy();
    let number = text.parse().map_err(|_| Failure::BadRequest("token: expected an int64".to_owned()))?;
    Ok(Token::from_i64(number))
}

fn ttl(cx: &Context, seconds: i64) -> Result<Ttl, Failure> {
    let max_ms = cx.limits.max_ttl_ms;
    let ms = u64::try_from(seconds).ok().filter(|seconds| *seconds >= 1).and_then(|seconds| seconds.checked_mul(1000));
    ms.and_then(|ms| Ttl::from_ms(ms, max_ms))
        .ok_or_else(|| Failure::BadRequest(format!("leasePeriod: expected 1 to {} seconds", max_ms / 1000)))
}

/// LeasableLockDto.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaseDto<'a> {
    key: &'a str,
    token: Token,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserDto<'a>>,
    locked_by_system: bool,
    valid_until: String,
}

/// ApiObjectReference.
#[derive(Serialize)]
struct UserDto<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    active: bool,
}

impl<'a> From<&'a Lease> for LeaseDto<'a> {
    fn from(lease: &'a Lease) -> LeaseDto<'a> {
        let Owner { kind, id, label, description } = &lease.owner;
        let user = UserDto { id, label: label.as_deref(), description: description.as_deref(), active: true };
        LeaseDto {
            key: lease.key.as_str(),
            token: lease.token,
            user: (*kind == OwnerKind::User).then_some(user),
            locked_by_system: *kind == OwnerKind::System,
            valid_until: rfc3339(lease.valid_until_ms),
        }
    }
}

/// RFC 3339, UTC, with milliseconds.
fn rfc3339(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", time.unwrap_or(Timestamp::MAX))
}

/// Writes the whole list as one JSON array, a chunk at a time, at the pace of its reader.
async fn stream(mut listing: Listing, mut leases: Vec<Lease>, chunks: mpsc::Sender<Result<Bytes, Broken>>) {
    let mut chunk = vec![b'['];
    let mut is_first = true;
    while !leases.is_empty() {
        for lease in &leases {
            if !is_first {
                chunk.push(b',');
            }
            is_first = false;
            serde_json::to_writer(&mut chunk, &LeaseDto::from(lease)).expect("a lease is always JSON");
        }
        if chunks.send(Ok(Bytes::from(std::mem::take(&mut chunk)))).await.is_err() {
            return;
        }
        leases = match listing.next(CHUNK).await {
            Ok(leases) => leases,
            Err(failure) => {
                tracing::warn!(%failure, "a list was broken off");
                let _ = chunks.send(Err(Broken)).await;
                return;
            }
        };
    }
    chunk.push(b']');
    let _ = chunks.send(Ok(Bytes::from(chunk))).await;
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("a wire type is always JSON");
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// OperationMessage: the context is a code for machines, the value a sentence for people.
pub fn message(status: StatusCode, context: &str, text: &str, language: Language) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct OperationMessage<'a> {
        context: &'a str,
        message_value: &'a str,
    }
    let mut response = json(status, &OperationMessage { context, message_value: text });
    response.headers_mut().insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Language"));
    response
}
