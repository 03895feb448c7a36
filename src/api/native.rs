//! The native dialect: what app developers use from any language. JSON, and a truthful outcome in every error.

use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::{HeaderMap, Request, StatusCode};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::Context;
use super::body::object;
use super::failure::Failure;
use super::page::{self, Page};
use super::wire::{flag, json, number, registered, rfc3339};
use crate::auth::Principal;
use crate::config::LockConfig;
use crate::lock::{
    Acquired, Attempt, Changed, Delivery, Expiry, Forced, Holder, Key, Lease, Own, Owner, OwnerKind, State, Target,
    Token, Ttl, Wait, Which,
};
use crate::server::{Body, Response, read_body};

/// Longest owner, bytes.
const MAX_OWNER_BYTES: usize = 256;
/// Longest `meta`, bytes of its JSON text.
const MAX_META_BYTES: usize = 1024;
/// Longest Idempotency-Key, characters.
const MAX_NAME_CHARS: usize = 255;
/// Locks on a page of the list, unless fewer or more are asked for.
const DEFAULT_LIMIT: usize = 1000;

/// `POST /v1/locks/{key}`: acquires a key.
pub async fn acquire(cx: &Context, request: Request<Incoming>, key: String) -> Result<Response, Failure> {
    let caller = caller(cx, &request).await?;
    let key = key_in(&key)?;
    let name = idempotency_key(&request)?;
    let attempt = AcquireBody::read(request).await?.attempt(cx, caller, name)?;
    let Delivery { content, receipt } = cx.locks.acquire(key, attempt).await?;
    let granted = |status, lease| Ok(registered(json(status, &LeaseView::from(lease)), receipt));
    match content {
        Acquired::Granted(lease) => granted(StatusCode::CREATED, &lease),
        Acquired::Replayed(lease) | Acquired::Renewed(lease) => granted(StatusCode::OK, &lease),
        Acquired::Held(holder) => Err(Failure::Held(holder)),
    }
}

/// `PUT /v1/locks/{key}?token=N`: sets the remaining time of a lease.
pub async fn renew(cx: &Context, request: Request<Incoming>, key: String) -> Result<Response, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct RenewBody {
        #[serde(default, deserialize_with = "given")]
        ttl_ms: Option<Box<RawValue>>,
    }
    let caller = caller(cx, &request).await?;
    let key = key_in(&key)?;
    let token = token_in(&request)?.ok_or_else(|| Failure::BadRequest("token is missing".to_owned()))?;
    let body = read_body(request).await?;
    let body = if body.is_empty() { RenewBody { ttl_ms: None } } else { object(&body)? };
    let ttl = body.ttl_ms.map(|ttl| ttl_of(&cx.limits, &ttl)).transpose()?;
    let which = Which::Of(key, token.ok_or(Failure::Lost)?);
    match cx.locks.renew(which, caller.claimant(), ttl).await? {
        Changed::Done(lease) => Ok(json(StatusCode::OK, &LeaseView::from(&lease))),
        Changed::Lost(_) => Err(Failure::Lost),
        Changed::NotYours => Err(Failure::NotYours),
    }
}

/// `DELETE /v1/locks/{key}?token=N`: lets go. `?force=true`: takes the lock away from whoever has it.
pub async fn release(cx: &Context, request: Request<Incoming>, key: String) -> Result<Response, Failure> {
    let caller = caller(cx, &request).await?;
    let key = key_in(&key)?;
    let force = flag(request.uri().query().unwrap_or_default(), "force")?;
    match (token_in(&request)?, force) {
        (Some(token), false) => {
            let which = Which::Of(key, token.ok_or(Failure::Lost)?);
            match cx.locks.release(which, caller.claimant()).await? {
                Changed::Done(()) => Ok(empty()),
                Changed::Lost(_) => Err(Failure::Lost),
                Changed::NotYours => Err(Failure::NotYours),
            }
        }
        (None, true) => {
            if !caller.manages_locks {
                return Err(Failure::Forbidden("lacks the permission manage-locks"));
            }
            match cx.locks.force(Target::Key(key), caller.named()).await? {
                Forced::Taken | Forced::Free => Ok(empty()),
                Forced::Other => Err(Failure::Held(Holder::UNKNOWN)),
            }
        }
        _ => Err(Failure::BadRequest("expected either token=N or force=true".to_owned())),
    }
}

/// `GET /v1/locks/{key}`: who holds it.
pub async fn show(cx: &Context, request: Request<Incoming>, key: String) -> Result<Response, Failure> {
    #[derive(Serialize)]
    struct StateView<'a> {
        key: &'a str,
        state: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        holder: Option<HolderView<'a>>,
        waiters: u64,
    }
    caller(cx, &request).await?;
    let key = key_in(&key)?;
    let (state, waiters) = tokio::try_join!(cx.locks.look(key.clone()), cx.locks.waiters(&key))?;
    let view = match &state {
        State::Free => StateView { key: key.as_str(), state: "free", holder: None, waiters },
        State::Held(holder) => {
            StateView { key: key.as_str(), state: "held", holder: Some(HolderView::from(holder)), waiters }
        }
    };
    Ok(json(StatusCode::OK, &view))
}

/// `GET /v1/locks/{key}/fence?token=N`: whether the lease N holds the key now.
pub async fn fence(cx: &Context, request: Request<Incoming>, key: String) -> Result<Response, Failure> {
    #[derive(Serialize)]
    struct FenceView<'a> {
        key: &'a str,
        token: Token,
    }
    caller(cx, &request).await?;
    let key = key_in(&key)?;
    let token = token_in(&request)?.ok_or_else(|| Failure::BadRequest("token is missing".to_owned()))?;
    let holder = match cx.locks.look(key.clone()).await? {
        State::Held(Holder::Lease(lease)) => Some(lease.token),
        State::Held(Holder::Stranger(_)) | State::Free => None,
    };
    match token {
        Some(token) if holder == Some(token) => Ok(json(StatusCode::OK, &FenceView { key: key.as_str(), token })),
        _ => Err(Failure::Fenced(holder)),
    }
}

/// `GET /v1/locks`: a page of the locks of every dialect, oldest grant first.
pub async fn list(cx: &Context, request: Request<Incoming>) -> Result<Response, Failure> {
    #[derive(Serialize)]
    struct Entry<'a> {
        key: &'a str,
        #[serde(flatten)]
        holder: HolderView<'a>,
    }
    #[derive(Serialize)]
    struct PageView<'a> {
        locks: Vec<Entry<'a>>,
        next: Option<String>,
    }
    caller(cx, &request).await?;
    let page = Page::of(request.uri().query().unwrap_or_default())?;
    let mut listing = cx.locks.list(page.prefix, page.cursor)?;
    let (leases, next) = page::read(&mut listing, page.limit.unwrap_or(DEFAULT_LIMIT)).await?;
    let locks = leases.iter().map(|lease| Entry { key: lease.key.as_str(), holder: HolderView::from(lease) });
    Ok(json(StatusCode::OK, &PageView { locks: locks.collect(), next: next.map(|token| token.to_string()) }))
}

/// Body of an acquire. Numbers are checked by hand, so that the answer can name the range.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AcquireBody {
    #[serde(deserialize_with = "given")]
    ttl_ms: Option<Box<RawValue>>,
    #[serde(deserialize_with = "given")]
    wait_ms: Option<Box<RawValue>>,
    owner: Option<String>,
    reentrant: bool,
    meta: Option<Box<RawValue>>,
}

impl AcquireBody {
    pub async fn read(request: Request<Incoming>) -> Result<AcquireBody, Failure> {
        AcquireBody::of(&read_body(request).await?)
    }

    pub(super) fn of(body: &[u8]) -> Result<AcquireBody, Failure> {
        if body.is_empty() { Ok(AcquireBody::default()) } else { object(body) }
    }

    pub fn is_reentrant(&self) -> bool {
        self.reentrant
    }

    pub fn attempt(self, cx: &Context, caller: Caller, name: Option<String>) -> Result<Attempt, Failure> {
        self.terms(&cx.limits, caller.owner, name, || cx.locks.owner_name())
    }

    /// What is asked for, by `user` or by a system owner, whose name `make_name` makes where none is given.
    pub(super) fn terms(
        self,
        limits: &LockConfig,
        user: Option<Owner>,
        name: Option<String>,
        make_name: impl FnOnce() -> String,
    ) -> Result<Attempt, Failure> {
        let ttl = match &self.ttl_ms {
            Some(ttl) => ttl_of(limits, ttl)?,
            None => limits.default_ttl,
        };
        let wait = self.wait_ms.map(|wait| wait_of(limits, &wait)).transpose()?.flatten();
        if let Some(owner) = &self.owner {
            check_owner("owner", owner)?;
        }
        let meta = self.meta.map(|meta| meta.get().to_owned());
        if meta.as_ref().is_some_and(|meta| meta.len() > MAX_META_BYTES) {
            return Err(Failure::BadRequest(format!("meta: expected at most {MAX_META_BYTES} bytes of JSON")));
        }
        let owner = match (user, self.owner) {
            (Some(user), _) => user,
            (None, Some(given)) => Owner::system(given),
            (None, None) if self.reentrant => {
                return Err(Failure::BadRequest("reentrant: needs an `owner`, else nobody can come again".to_owned()));
            }
            // A name made for the request; a repetition of it must come by the same name.
            (None, None) => Owner::system(match &name {
                Some(name) => format!("request-{:08x}", crc32fast::hash(name.as_bytes())),
                None => make_name(),
            }),
        };
        let own = if self.reentrant { Own::Extend } else { Own::Refuse };
        Ok(Attempt { owner, ttl, own, meta, name, wait })
    }
}

/// Who is asking.
pub struct Caller {
    /// The user; `None` for a system caller.
    owner: Option<Owner>,
    manages_locks: bool,
}

impl Caller {
    /// The owner whose leases this caller may change.
    fn claimant(self) -> Owner {
        self.owner.unwrap_or_else(|| Owner::system(String::new()))
    }

    /// The caller by name, for the log.
    fn named(self) -> Owner {
        self.owner.unwrap_or_else(|| Owner::system("system".to_owned()))
    }
}

/// A user, a system caller, or, where the listener is this machine's and no API token is set, anybody as a system
/// caller: the pod is the trust boundary.
pub async fn caller(cx: &Context, request: &Request<Incoming>) -> Result<Caller, Failure> {
    match cx.principal(request).await? {
        Principal::User(user) => Ok(Caller { manages_locks: user.manages_locks, owner: Some(user.into()) }),
        Principal::System => Ok(Caller { owner: None, manages_locks: true }),
        Principal::Anonymous if cx.serves_anonymous => {
            cx.admit_anonymous(request)?;
            Ok(Caller { owner: None, manages_locks: true })
        }
        Principal::Anonymous => Err(Failure::Unauthorized("nobody said who is asking".to_owned())),
    }
}

/// The key in a path, percent-decoded once.
pub fn key_in(segment: &str) -> Result<Key, Failure> {
    let text = percent_decode_str(segment).decode_utf8();
    let text = text.map_err(|_| Failure::BadRequest("key: not UTF-8 when percent-decoded".to_owned()))?;
    Key::parse(&text).map_err(|error| Failure::BadRequest(error.to_string()))
}

/// The token in the query: `None` where there is none, `Some(None)` for an integer that no lease can have.
#[expect(clippy::option_option, reason = "missing and impossible are two answers")]
fn token_in(request: &Request<Incoming>) -> Result<Option<Option<Token>>, Failure> {
    Ok(number(request.uri().query().unwrap_or_default(), "token")?.map(Token::from_i64))
}

/// Refuses what is no name of a system owner; `field` is where it came in.
pub(super) fn check_owner(field: &str, owner: &str) -> Result<(), Failure> {
    if (1..=MAX_OWNER_BYTES).contains(&owner.len()) && !owner.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Failure::BadRequest(format!("{field}: expected 1 to {MAX_OWNER_BYTES} bytes without control characters")))
}

pub fn idempotency_key(request: &Request<Incoming>) -> Result<Option<String>, Failure> {
    name_in(request.headers())
}

pub(super) fn name_in(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let bad = || {
        Failure::BadRequest(format!("Idempotency-Key: expected 1 to {MAX_NAME_CHARS} printable ASCII characters, once"))
    };
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let name = value.to_str().map_err(|_| bad())?;
    let fits = (1..=MAX_NAME_CHARS).contains(&name.len()) && name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !fits || values.next().is_some() {
        return Err(bad());
    }
    Ok(Some(name.to_owned()))
}

/// A field that is there, `null` too: a ttl that came out as NaN is written so, and is a mistake, not a default.
fn given<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(field).map(Some)
}

fn ttl_of(limits: &LockConfig, json: &RawValue) -> Result<Ttl, Failure> {
    let max_ms = limits.max_ttl_ms;
    let ttl = json.get().parse().ok().and_then(|ms| Ttl::from_ms(ms, max_ms));
    ttl.ok_or_else(|| Failure::BadRequest(format!("ttlMs: expected an integer from {} to {max_ms}", Ttl::MIN_MS)))
}

/// `None` for 0: no wait.
fn wait_of(limits: &LockConfig, json: &RawValue) -> Result<Option<Wait>, Failure> {
    let max_ms = limits.max_wait_ms;
    let ms = json.get().parse().ok().filter(|ms| *ms <= max_ms);
    let ms = ms.ok_or_else(|| Failure::BadRequest(format!("waitMs: expected an integer from 0 to {max_ms}")))?;
    Ok((ms > 0).then(|| Wait { until: Instant::now() + Duration::from_millis(ms) }))
}

/// A lease, for its owner.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseView<'a> {
    key: &'a str,
    token: Token,
    owner: &'a str,
    ttl_ms: u64,
    valid_for_ms: u64,
    valid_until: String,
}

impl<'a> From<&'a Lease> for LeaseView<'a> {
    fn from(lease: &'a Lease) -> LeaseView<'a> {
        LeaseView {
            key: lease.key.as_str(),
            token: lease.token,
            owner: &lease.owner.id,
            ttl_ms: lease.ttl_ms,
            valid_for_ms: lease.valid_for_ms,
            valid_until: rfc3339(lease.valid_until_ms),
        }
    }
}

/// Who holds a key, for everybody. Of a stranger nothing is known but when its key expires, if it does.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HolderView<'a> {
    owner: Option<&'a str>,
    #[serde(flatten)]
    known: Known<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Known<'a> {
    #[serde(rename_all = "camelCase")]
    Lease {
        kind: OwnerKind,
        token: Token,
        since: String,
        valid_for_ms: u64,
        valid_until: String,
        meta: Option<&'a RawValue>,
    },
    #[serde(rename_all = "camelCase")]
    Expiry {
        valid_for_ms: u64,
        valid_until: String,
    },
    Nothing {},
}

impl<'a> From<&'a Lease> for HolderView<'a> {
    fn from(lease: &'a Lease) -> HolderView<'a> {
        let known = Known::Lease {
            kind: lease.owner.kind,
            token: lease.token,
            since: rfc3339(lease.since_ms),
            valid_for_ms: lease.valid_for_ms,
            valid_until: rfc3339(lease.valid_until_ms),
            meta: lease.meta.as_deref().and_then(|meta| serde_json::from_str(meta).ok()),
        };
        HolderView { owner: Some(&lease.owner.id), known }
    }
}

impl<'a> From<&'a Holder> for HolderView<'a> {
    fn from(holder: &'a Holder) -> HolderView<'a> {
        let known = match holder {
            Holder::Lease(lease) => return HolderView::from(&**lease),
            Holder::Stranger(Some(Expiry { valid_until_ms, valid_for_ms })) => {
                Known::Expiry { valid_for_ms: *valid_for_ms, valid_until: rfc3339(*valid_until_ms) }
            }
            Holder::Stranger(None) => Known::Nothing {},
        };
        HolderView { owner: None, known }
    }
}

fn empty() -> Response {
    let mut response = Response::new(Body::Whole(None));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
