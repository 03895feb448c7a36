//! The bodies of requests for several keys.

use hyper::Request;
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::api::body;
use crate::api::context::Context;
use crate::api::failure::Failure;
use crate::api::known;
use crate::api::native::request::{AcquireBody, given, mode_of, ttl_of};
use crate::bundle::in_order;
use crate::lock::{Key, Mode, Token, Ttl};
use crate::request;
use crate::server::read_body;

/// Most keys of a request.
pub const MOST_KEYS: usize = 16;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyBody {
    key: String,
    #[serde(default, deserialize_with = "given")]
    mode: Option<String>,
    #[serde(default, deserialize_with = "given")]
    limit: Option<Box<RawValue>>,
}

/// Declares a body with the fields of an acquire and further ones.
macro_rules! body {
    ($name:ident { $($further:tt)* }) => {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct $name {
            keys: Vec<KeyBody>,
            #[serde(default, deserialize_with = "given")]
            ttl_ms: Option<Box<RawValue>>,
            #[serde(default, deserialize_with = "given")]
            wait_ms: Option<Box<RawValue>>,
            #[serde(default, deserialize_with = "given")]
            owner: Option<String>,
            #[serde(default)]
            meta: Option<Box<RawValue>>,
            $($further)*
        }
    };
}

body!(AcquireAllBody {});
body!(HoldAllBody {
    #[serde(default, deserialize_with = "given")]
    progress: Option<bool>,
});

/// What is asked for.
pub struct Asked {
    /// As the request has them.
    pub order: Vec<Key>,
    /// In the order in which they are acquired.
    pub keys: Vec<(Key, Mode)>,
    pub common: AcquireBody,
}

/// The body of an acquire.
pub fn acquire(body: &[u8]) -> Result<Asked, Failure> {
    let AcquireAllBody { keys, ttl_ms, wait_ms, owner, meta } = body::strict(body, &[])?;
    asked(keys, AcquireBody::of_several((ttl_ms, wait_ms), owner, meta))
}

/// The body of a hold, and whether it asks for progress.
pub fn hold(body: &[u8]) -> Result<(Asked, bool), Failure> {
    let HoldAllBody { keys, ttl_ms, wait_ms, owner, meta, progress } = body::strict(body, &[])?;
    let asked = asked(keys, AcquireBody::of_several((ttl_ms, wait_ms), owner, meta))?;
    Ok((asked, progress.unwrap_or(false)))
}

/// The body of a request for all of these, which takes nothing in its query.
pub async fn read_acquire(request: Request<Incoming>) -> Result<Asked, Failure> {
    known::parameters(request.uri().query(), &[], known::fields_of::<AcquireAllBody>)?;
    acquire(&read_body(request).await?)
}

pub async fn read_hold(request: Request<Incoming>) -> Result<(Asked, bool), Failure> {
    known::parameters(request.uri().query(), &[], known::fields_of::<HoldAllBody>)?;
    hold(&read_body(request).await?)
}

fn asked(bodies: Vec<KeyBody>, common: AcquireBody) -> Result<Asked, Failure> {
    of_some("keys", bodies.len())?;
    let mut keys = Vec::with_capacity(bodies.len());
    for (at, KeyBody { key, mode, limit }) in bodies.into_iter().enumerate() {
        let mode = mode_of(mode.as_deref(), limit.as_deref()).map_err(|failure| of_entry("keys", at, failure))?;
        keys.push((key_of("keys", at, &key)?, mode));
    }
    let order = keys.iter().map(|(key, _)| key.clone()).collect();
    in_order(&mut keys).map_err(|key| twice("keys", &key))?;
    request::asks_for(|| keys[0].0.share());
    Ok(Asked { order, keys, common })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LeaseBody {
    key: String,
    token: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReleaseAllBody {
    leases: Vec<LeaseBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RenewAllBody {
    leases: Vec<LeaseBody>,
    #[serde(default, deserialize_with = "given")]
    ttl_ms: Option<Box<RawValue>>,
}

/// Leases by their tokens; no token where no lease can have it.
pub type Named = Vec<(Key, Option<Token>)>;

pub async fn read_renew(cx: &Context, request: Request<Incoming>) -> Result<(Named, Option<Ttl>), Failure> {
    let RenewAllBody { leases, ttl_ms } = read(request).await?;
    Ok((named(leases)?, ttl_ms.map(|ttl| ttl_of(&cx.limits, &ttl)).transpose()?))
}

pub async fn read_release(request: Request<Incoming>) -> Result<Named, Failure> {
    let ReleaseAllBody { leases } = read(request).await?;
    named(leases)
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Failure> {
    known::parameters(request.uri().query(), &[], known::fields_of::<T>)?;
    body::strict(&read_body(request).await?, &[])
}

fn named(bodies: Vec<LeaseBody>) -> Result<Named, Failure> {
    of_some("leases", bodies.len())?;
    let mut leases = Named::with_capacity(bodies.len());
    for (at, LeaseBody { key, token }) in bodies.into_iter().enumerate() {
        let key = key_of("leases", at, &key)?;
        if leases.iter().any(|(other, _)| *other == key) {
            return Err(twice("leases", &key));
        }
        leases.push((key, Token::from_i64(token)));
    }
    request::asks_for(|| leases[0].0.share());
    Ok(leases)
}

fn of_some(field: &str, count: usize) -> Result<(), Failure> {
    let has_some = (1..=MOST_KEYS).contains(&count);
    has_some.then_some(()).ok_or_else(|| Failure::BadRequest(format!("{field}: expected 1 to {MOST_KEYS} entries")))
}

fn key_of(field: &str, at: usize, text: &str) -> Result<Key, Failure> {
    Key::parse(text).map_err(|error| Failure::BadRequest(format!("{field}[{at}].{error}")))
}

fn of_entry(field: &str, at: usize, failure: Failure) -> Failure {
    match failure {
        Failure::BadRequest(reason) => Failure::BadRequest(format!("{field}[{at}].{reason}")),
        failure => failure,
    }
}

fn twice(field: &str, key: &Key) -> Failure {
    Failure::BadRequest(format!("{field}: `{key}` is there twice"))
}
