//! The admin API: editors lock what they edit. The cookie is the only identity, `{"data", "code"}` the only shape.

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::audit::held;
use super::body::object;
use super::context::Context;
use super::failure::Failure;
use super::quotas;
use super::wire::{confirming, number, parameter};
use crate::auth::{Credential, User};
use crate::json::string_or_integer;
use crate::lock::{Acquired, Attempt, Changed, Holder, Key, Lease, LeaseRef, Owner, Reentry, State, Token, Ttl};
use crate::policy::Verb;
use crate::quota::Quota;
use crate::request::{self, Caller, Sender};
use crate::server::{Body, Response, read_body};

/// Headers with a lease's token and with whether it was created or renewed, for which the bodies have no room.
const TOKEN: HeaderName = HeaderName::from_static("lockside-token");
const LOCK: HeaderName = HeaderName::from_static("lockside-lock");

/// `POST /admin/lock`: creates the lock, or renews it for the user who has it. `?token=N`: renews that lease only.
pub async fn lock(cx: &Context, request: Request<Incoming>) -> Result<Response, Failure> {
    let user = editor(cx, &request).await?;
    let token = number(request.uri().query().unwrap_or_default(), "token");
    let ((rights, quota), key) = (cx.standing_of(&user), target(request).await?.key()?);
    rights.need(Verb::Lock, &key)?;
    let ttl = quotas::shortened(quota.as_ref(), cx.limits.admin_ttl);
    if let Some(token) = token? {
        let renewed = renew(cx, key, Token::from_i64(token), (user.into(), quota), ttl).await;
        return renewed.map_err(|failure| rights.shown_failure(failure));
    }
    quota.as_ref().map_or(Ok(()), |quota| quota.spend_unless_renewing(&key))?;
    let attempt = Attempt::plain(user.into(), ttl, Reentry::Extend);
    let mut seat = quotas::reserve(quota.as_ref(), &key, &attempt)?;
    let (content, unconfirmed) = cx.locks.acquire(key, attempt).await?;
    let granted = |lease: &Lease, how| {
        seat.iter_mut().for_each(|seat| seat.granted(lease));
        Ok(confirming(locked(lease, how), unconfirmed, seat))
    };
    match content {
        Acquired::Granted(lease) => granted(&lease, "created"),
        Acquired::Replayed(lease) | Acquired::Renewed(lease) => granted(&lease, "renewed"),
        Acquired::Held(holder, _) => Err(Failure::Held(rights.shown(holder))),
    }
}

/// Renews the lease of a page that has been open since it was granted: if another user had the lock meanwhile, the page
/// must learn it.
async fn renew(
    cx: &Context,
    key: Key,
    token: Option<Token>,
    (user, quota): (Owner, Option<Quota>),
    ttl: Ttl,
) -> Result<Response, Failure> {
    if let Some(token) = token {
        let which = LeaseRef::KeyToken(key.clone(), token);
        if let Changed::Done(lease) = cx.locks.renew(which, user, Some(ttl)).await? {
            cx.renewed(&lease, quota.as_ref());
            return Ok(locked(&lease, "renewed"));
        }
    }
    let state = cx.locks.look(key).await?.state;
    held(cx.locks.audit(), Verb::Lock);
    match state {
        State::Held(holder) => Err(Failure::Held(holder)),
        State::Free => Err(Failure::Held(Holder::UNKNOWN)),
    }
}

/// `DELETE /admin/remove-lock`: removes the user's own lock.
pub async fn remove(cx: &Context, request: Request<Incoming>) -> Result<Response, Failure> {
    let user = editor(cx, &request).await?;
    let ((rights, quota), key) = (cx.standing_of(&user), target(request).await?.key()?);
    let may_lock = rights.may(Verb::Lock, &key);
    match cx.holds.release_key(&cx.locks, key.clone(), user.into()).await? {
        Changed::Done(()) => {
            quota.inspect(|quota| quota.released_key(&key));
            Ok(success())
        }
        // Whether another user has it, or none, is nothing that the caller may know.
        _ if !may_lock => Err(rights.denied(Verb::Lock)),
        Changed::NotYours => Err(Failure::NotYours),
        Changed::Lost(_) => Err(Failure::NoSuchLease),
    }
}

/// The user, checked in this order: 401 no valid cookie, 403 a cross-origin page or no permission, 404 no such user.
async fn editor(cx: &Context, request: &Request<Incoming>) -> Result<User, Failure> {
    let claims = cx.authenticator.cookie_claims(request.headers()).await?;
    if let Some(id) = &claims.subject {
        request::asked_by(Caller::User(id.as_str().into(), Sender::Cookie));
    }
    cx.gate.admit_page(request.method(), request.headers())?;
    if !claims.manages_locks {
        return Err(Failure::Forbidden(cx.lacks_permission()));
    }
    let id = claims.subject.ok_or(Failure::NoSuchUser("the token names no user in `sub`"))?;
    cx.known(User {
        id,
        label: claims.label,
        description: claims.description,
        manages_locks: claims.manages_locks,
        credential: Credential::Cookie,
        claims: claims.all,
    })
    .await
}

/// What is locked.
#[derive(Deserialize)]
pub(super) struct Target {
    #[serde(deserialize_with = "text")]
    pub(super) route: String,
    #[serde(deserialize_with = "text")]
    pub(super) id: String,
}

impl Target {
    /// Reads it from the body, or from the query where there is no body.
    pub(super) fn read(query: Option<&str>, body: &[u8]) -> Result<Target, Failure> {
        match query {
            Some(query) if body.is_empty() => {
                let field = |name: &str| {
                    parameter(query, name)?.ok_or_else(|| Failure::BadRequest(format!("`{name}` is missing")))
                };
                Ok(Target { route: field("route")?, id: field("id")? })
            }
            _ => object(body),
        }
    }

    /// `route` and `id` joined by `:`, each with `%` and `:` percent-encoded, so that two targets are never one key.
    pub(super) fn key(&self) -> Result<Key, Failure> {
        if self.route.is_empty() || self.id.is_empty() {
            return Err(Failure::BadRequest("route or id is empty".to_owned()));
        }
        let name = format!("{}:{}", encoded(&self.route), encoded(&self.id));
        let key = Key::parse(&name).map_err(|error| Failure::BadRequest(error.to_string()))?;
        request::asks_for(|| key.share());
        Ok(key)
    }
}

fn encoded(part: &str) -> String {
    part.replace('%', "%25").replace(':', "%3A")
}

/// Reads the target from the body, or from the query where there is no body: some clients and proxies drop a
/// DELETE's body.
async fn target(request: Request<Incoming>) -> Result<Target, Failure> {
    let query = match *request.method() {
        hyper::Method::DELETE => request.uri().query().map(str::to_owned),
        _ => None,
    };
    let body = read_body(request).await?;
    Target::read(query.as_deref(), &body)
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    string_or_integer(<&RawValue>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn locked(lease: &Lease, how: &'static str) -> Response {
    let mut response = success();
    response.headers_mut().insert(TOKEN, HeaderValue::from(lease.token.get()));
    response.headers_mut().insert(LOCK, HeaderValue::from_static(how));
    response
}

fn success() -> Response {
    answer(StatusCode::OK, "Success")
}

/// An answer in the only shape that there is.
pub fn answer(status: StatusCode, data: &str) -> Response {
    #[derive(Serialize)]
    struct Answer<'a> {
        data: &'a str,
        code: u16,
    }
    let body = serde_json::to_vec(&Answer { data, code: status.as_u16() }).expect("an answer is always JSON");
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(route: &str, id: &str) -> String {
        let target = Target { route: route.to_owned(), id: id.to_owned() };
        target.key().map(|key| key.to_string()).unwrap_or_default()
    }

    #[test]
    fn two_targets_are_never_one_key() {
        assert_eq!(key("volume", "1234"), "volume:1234");
        assert_eq!(key("a:b", "c"), "a%3Ab:c");
        assert_eq!(key("a", "b:c"), "a:b%3Ac");
        assert_eq!(key("a%3Ab", "c"), "a%253Ab:c");
        assert_eq!(key("Straße", "ß"), "Straße:ß");
    }

    #[test]
    fn targets_that_make_no_key_are_refused() {
        for (route, id) in [("", "1"), ("a", ""), ("a\n", "1"), ("a", &*"x".repeat(511)), (&*":".repeat(171), "1")] {
            assert_eq!(key(route, id), "", "{route} {id}");
        }
    }

    #[test]
    fn an_integer_names_a_target_and_no_other_number_does() {
        let id = |id: &str| object::<Target>(format!("{{\"route\":1,\"id\":{id}}}").as_bytes()).ok().map(|it| it.id);
        assert_eq!((id("-7").as_deref(), id("1.0")), (Some("-7"), None));
    }
}
