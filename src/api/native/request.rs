//! The parts of a request to the native API: its body, key, token, and the name of its attempt. Each is checked here, and
//! trusted from here on.

use std::time::{Duration, Instant};

use hyper::body::{Body, Incoming};
use hyper::header::HeaderName;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::meta;
use crate::api::body;
use crate::api::caller::Caller;
use crate::api::context::Context;
use crate::api::failure::Failure;
use crate::api::known;
use crate::api::owner_names;
use crate::api::quotas;
use crate::api::rights::Rights;
use crate::api::wire::{self, number};
use crate::headers::values;
use crate::lock::LockConfig;
use crate::lock::{Attempt, Key, Mode, Owner, Reentry, Terms, Token, Ttl, Wait};
use crate::quota::Quota;
use crate::request;
use crate::server::{read_body, read_body_behind};

/// Longest Idempotency-Key, characters.
const MAX_NAME_CHARS: usize = 255;
static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Declares a body with the fields of an acquire and further ones. Numbers are checked by hand, so that the answer can name
/// the range.
macro_rules! body {
    ($name:ident { $($further:tt)* }) => {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default, deny_unknown_fields)]
        pub struct $name {
            #[serde(deserialize_with = "given")]
            ttl_ms: Option<Box<RawValue>>,
            #[serde(deserialize_with = "given")]
            mode: Option<String>,
            #[serde(deserialize_with = "given")]
            limit: Option<Box<RawValue>>,
            #[serde(deserialize_with = "given")]
            wait_ms: Option<Box<RawValue>>,
            #[serde(deserialize_with = "given")]
            owner: Option<String>,
            reentrant: bool,
            meta: Option<Box<RawValue>>,
            #[serde(deserialize_with = "given")]
            delay_ms: Option<Box<RawValue>>,
            #[serde(deserialize_with = "given")]
            min_hold_ms: Option<Box<RawValue>>,
            #[serde(deserialize_with = "given")]
            max_hold_ms: Option<Box<RawValue>>,
            $($further)*
        }
    };
}

body!(AcquireBody {});
body!(HoldBody {
    #[serde(deserialize_with = "given")]
    progress: Option<bool>,
});

impl AcquireBody {
    /// The body of an acquire, which takes nothing in its query.
    pub async fn read(head: &Parts, body: Incoming) -> Result<AcquireBody, Failure> {
        known::parameters(head.uri.query(), &[], known::fields_of::<AcquireBody>)?;
        AcquireBody::of(&read_body_behind(&head.headers, body).await?)
    }

    /// The body of a hold, which takes nothing in its query, and whether it asks for progress.
    pub async fn read_hold(request: Request<Incoming>) -> Result<(AcquireBody, bool), Failure> {
        known::parameters(request.uri().query(), &[], known::fields_of::<HoldBody>)?;
        let body = read_body(request).await?;
        let body = if body.is_empty() { HoldBody::default() } else { body::strict(&body, &[])? };
        let HoldBody { ttl_ms, mode, limit, wait_ms, owner, reentrant, meta, .. } = body;
        let HoldBody { delay_ms, min_hold_ms, max_hold_ms, progress, .. } = body;
        let body =
            AcquireBody { ttl_ms, mode, limit, wait_ms, owner, reentrant, meta, delay_ms, min_hold_ms, max_hold_ms };
        Ok((body, progress.unwrap_or(false)))
    }

    pub fn of(body: &[u8]) -> Result<AcquireBody, Failure> {
        if body.is_empty() { Ok(AcquireBody::default()) } else { body::strict(body, &[]) }
    }

    /// What several keys have in common.
    pub fn of_several(
        (ttl_ms, wait_ms): (Option<Box<RawValue>>, Option<Box<RawValue>>),
        owner: Option<String>,
        meta: Option<Box<RawValue>>,
    ) -> AcquireBody {
        AcquireBody { ttl_ms, wait_ms, owner, meta, ..AcquireBody::default() }
    }

    pub fn is_reentrant(&self) -> bool {
        self.reentrant
    }

    /// The attempt that the body asks for, and what its caller may see.
    pub fn attempt(
        self,
        cx: &Context,
        caller: Caller,
        name: Option<String>,
    ) -> Result<(Attempt, Rights, Option<Quota>), Failure> {
        let Caller { owner, rights, quota, owner_prefix, .. } = caller;
        let has_ttl = self.ttl_ms.is_some();
        let make_name = || match &owner_prefix {
            Some(prefix) => cx.owner_names.next_of(prefix),
            None => cx.owner_names.next(),
        };
        let mut attempt = self.asked(&cx.limits, owner, name, make_name)?;
        attempt.owner.credential = rights.credential();
        attempt.ttl = match has_ttl {
            true => quotas::within(quota.as_ref(), "ttlMs", attempt.ttl)?,
            false => quotas::shortened(quota.as_ref(), attempt.ttl),
        };
        Ok((attempt, rights, quota))
    }

    /// The attempt that the body asks for: by `user`, or by a service caller's owner, whose name `make_name` makes if none
    /// is given.
    pub fn asked(
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
        let (mode, terms) = (mode_of(self.mode.as_deref(), self.limit.as_deref())?, self.terms(limits, ttl)?);
        let wait = self.wait_ms.map(|wait| wait_of(limits, &wait)).transpose()?.flatten();
        if let Some(owner) = &self.owner {
            owner_names::check("owner", owner)?;
        }
        let meta = self.meta.as_deref().map(meta::checked).transpose()?;
        let owner = match (user, self.owner) {
            (Some(user), _) => user,
            (None, Some(given)) => {
                request::speaks_for(&given);
                Owner::system(given)
            }
            (None, None) if self.reentrant => {
                return Err(Failure::BadRequest("reentrant: needs an `owner`".to_owned()));
            }
            // Two callers may choose one name for their attempts: only their owners tell them apart.
            (None, None) if name.is_some() => {
                return Err(Failure::BadRequest(
                    "Idempotency-Key: a service caller that names its attempt must name its `owner`, too".to_owned(),
                ));
            }
            (None, None) => Owner::system(make_name()),
        };
        let reentry = if self.reentrant { Reentry::Extend } else { Reentry::Refuse };
        Ok(Attempt { owner, mode, ttl, terms, reentry, meta, name, wait, is_hold: false })
    }

    fn terms(&self, limits: &LockConfig, ttl: Ttl) -> Result<Terms, Failure> {
        let longest_ms = limits.max_ttl_ms;
        let delay_ms = match &self.delay_ms {
            Some(delay) => {
                millis("delayMs", delay, 0, longest_ms - ttl.as_ms(), ", with the ttl no more than --max-ttl")?
            }
            None => 0,
        };
        let min_hold_ms = match &self.min_hold_ms {
            Some(min_hold) => millis("minHoldMs", min_hold, 0, longest_ms, "")?,
            None => 0,
        };
        let cap = |cap| millis("maxHoldMs", cap, LockConfig::SHORTEST_CAP_MS, limits.longest_hold_ms(), "");
        let max_hold_ms = self.max_hold_ms.as_deref().map(cap).transpose()?;
        // Who names both means both; a default follows the cap.
        if self.ttl_ms.is_some() && max_hold_ms.is_some_and(|max_ms| max_ms < ttl.as_ms()) {
            return Err(Failure::BadRequest("maxHoldMs: expected no less than ttlMs".to_owned()));
        }
        Ok(Terms { delay_ms, min_hold_ms, max_hold_ms })
    }
}

/// Refuses a body for an operation that takes none, unless it is empty, `{}` or `null`. `parameters` are those of its
/// query.
pub async fn no_body(request: Request<Incoming>, parameters: &[&str]) -> Result<(), Failure> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    if request.body().is_end_stream() {
        return Ok(());
    }
    let body = read_body(request).await?;
    match body.trim_ascii() {
        b"" | b"null" => Ok(()),
        body => body::strict::<Nothing>(body, parameters).map(|Nothing {}| ()),
    }
}

/// The key in a path, percent-decoded once.
pub fn key_in(segment: &str) -> Result<Key, Failure> {
    let key = Key::parse(&wire::segment(segment, "key")?).map_err(|error| Failure::BadRequest(error.to_string()))?;
    request::asks_for(|| key.share());
    Ok(key)
}

/// The token in the query: `None` without one, `Some(None)` for an integer that no lease can have.
#[expect(clippy::option_option, reason = "missing and impossible are two answers")]
pub fn token_in(request: &Request<Incoming>) -> Result<Option<Option<Token>>, Failure> {
    let token = number(request.uri().query().unwrap_or_default(), "token")?.map(Token::from_i64);
    token.flatten().inspect(|token| request::shows(token.get()));
    Ok(token)
}

/// The name of the attempt, where it has one.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let bad = || {
        Failure::BadRequest(format!("Idempotency-Key: expected 1 to {MAX_NAME_CHARS} printable ASCII characters, once"))
    };
    let mut values = values(headers, &IDEMPOTENCY_KEY);
    let Some(value) = values.next() else { return Ok(None) };
    let name = value.to_str().map_err(|_| bad())?;
    let fits = (1..=MAX_NAME_CHARS).contains(&name.len()) && name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !fits || values.next().is_some() {
        return Err(bad());
    }
    Ok(Some(name.to_owned()))
}

/// Reads a field that is present, so that `null` is a mistake and not a default: JSON writes a NaN as `null`.
pub fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

/// A time in a body, within its range; `why` explains the range, where it does not explain itself.
fn millis(name: &str, json: &RawValue, min_ms: u64, max_ms: u64, why: &str) -> Result<u64, Failure> {
    let ms = json.get().parse().ok().filter(|ms| (min_ms..=max_ms).contains(ms));
    ms.ok_or_else(|| Failure::BadRequest(format!("{name}: expected an integer from {min_ms} to {max_ms}{why}")))
}

/// How long a released key is to stay taken, in the query: `None` without one, or for 0.
pub fn rest_in(limits: &LockConfig, query: &str) -> Result<Option<u64>, Failure> {
    let Some(text) = wire::parameter(query, "restMs")? else { return Ok(None) };
    let max_ms = limits.max_ttl_ms;
    let ms = text.parse().ok().filter(|ms| *ms <= max_ms);
    let ms = ms.ok_or_else(|| Failure::BadRequest(format!("restMs: expected an integer from 0 to {max_ms}")))?;
    Ok((ms > 0).then_some(ms))
}

/// How long to wait for a change, in the query; 0 is no wait.
pub fn wait_in(limits: &LockConfig, query: &str) -> Result<Option<Duration>, Failure> {
    let Some(text) = wire::parameter(query, "waitMs")? else { return Ok(None) };
    let max_ms = limits.max_wait_ms;
    let ms = text.parse().ok().filter(|ms| *ms <= max_ms);
    let ms = ms.ok_or_else(|| Failure::BadRequest(format!("waitMs: expected an integer from 0 to {max_ms}")))?;
    Ok(Some(Duration::from_millis(ms)))
}

pub fn ttl_of(limits: &LockConfig, json: &RawValue) -> Result<Ttl, Failure> {
    let max_ms = limits.max_ttl_ms;
    let ttl = json.get().parse().ok().and_then(|ms| Ttl::from_ms(ms, max_ms));
    ttl.ok_or_else(|| Failure::BadRequest(format!("ttlMs: expected an integer from {} to {max_ms}", Ttl::MIN_MS)))
}

/// How a key is asked for.
pub fn mode_of(mode: Option<&str>, limit: Option<&RawValue>) -> Result<Mode, Failure> {
    let limit = limit.map(limit_of).transpose()?;
    match (mode, limit) {
        (None | Some("exclusive"), None) => Ok(Mode::Exclusive),
        (None | Some("shared"), limit) => Ok(Mode::Shared { limit }),
        (Some("exclusive"), Some(_)) => Err(Failure::BadRequest("limit: goes with mode `shared`".to_owned())),
        (Some(_), _) => Err(Failure::BadRequest("mode: expected `exclusive` or `shared`".to_owned())),
    }
}

/// How many leases may share a key.
fn limit_of(json: &RawValue) -> Result<u16, Failure> {
    let limit = json.get().parse().ok().filter(|limit| (1..=Mode::MOST).contains(limit));
    limit.ok_or_else(|| Failure::BadRequest(format!("limit: expected an integer from 1 to {}", Mode::MOST)))
}

/// `None` for 0: no wait.
fn wait_of(limits: &LockConfig, json: &RawValue) -> Result<Option<Wait>, Failure> {
    let ms = millis("waitMs", json, 0, limits.max_wait_ms, "")?;
    Ok((ms > 0).then(|| Wait { until: Instant::now() + Duration::from_millis(ms), progress: None, succession: None }))
}
