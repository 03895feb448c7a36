//! The Dapr API: the HTTP form of Dapr's distributed lock, so that code written for Dapr runs against lockside unchanged.
//! The order of checks is Dapr's own; lockside's further checks come last.
//!
//! As with Dapr, any caller who knows a lock's owner may release it. Users are refused, because a user's lock is that
//! user's alone, and a Dapr owner is only a name.

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::body::object;
use super::context::Context;
use super::failure::{Denial, Failure};
use super::owner_names;
use super::route::DaprCall;
use super::settings::DaprStore;
use super::wire::{confirming, json, no_content, segment};
use crate::auth::Anonymous;
use crate::lock::{Acquired, Attempt, Changed, Key, LockConfig, Owner, Reentry, Ttl};
use crate::request::{self, Caller};
use crate::server::{Response, read_body};

/// Between the parts of a lock's name.
const SEPARATOR: &str = "||";

/// `POST /v1.0-alpha1/lock/{store}`: acquires a key. Its owner is refused, too: there is no renewal.
pub async fn try_lock(cx: &Context, request: Request<Incoming>, store: String) -> Result<Response, Failure> {
    #[derive(Serialize)]
    struct TryLockView {
        success: bool,
    }
    admit(cx, &request).await?;
    let body = read_body(request).await?;
    let terms = LockBody::of(&body)?.into_terms(&segment(&store, "store")?, &cx.dapr_stores, &cx.limits)?;
    let LockTerms { key, owner, ttl } = terms;
    let attempt = Attempt::plain(owner, ttl, Reentry::Refuse);
    let (content, unconfirmed) = cx.locks.acquire(key, attempt).await?;
    let success = !matches!(content, Acquired::Held(_));
    Ok(confirming(json(StatusCode::OK, &TryLockView { success }), unconfirmed))
}

/// `POST /v1.0-alpha1/unlock/{store}`: releases the owner's lease of the key. Status 3, an internal error, is never
/// returned: the answer is 500 then, as with Dapr.
pub async fn unlock(cx: &Context, request: Request<Incoming>, store: String) -> Result<Response, Failure> {
    #[derive(Serialize)]
    struct UnlockView {
        status: u8,
    }
    admit(cx, &request).await?;
    let body = read_body(request).await?;
    let (key, owner) = LockBody::of(&body)?.into_lock(&segment(&store, "store")?, &cx.dapr_stores)?;
    let status = match cx.holds.release_key(&cx.locks, key, owner).await? {
        Changed::Done(()) => 0,
        Changed::Lost(_) => 1,
        Changed::NotYours => 2,
    };
    Ok(json(StatusCode::OK, &UnlockView { status }))
}

/// `GET /v1.0/metadata`: the lock stores. Clients ask for it first, and take an empty body for a sidecar that is down.
pub async fn metadata(cx: &Context, request: Request<Incoming>) -> Result<Response, Failure> {
    #[derive(Serialize)]
    struct Component<'a> {
        name: &'a str,
        r#type: &'a str,
        version: &'a str,
        capabilities: [&'a str; 0],
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct MetadataView<'a> {
        id: &'a str,
        runtime_version: &'a str,
        components: Vec<Component<'a>>,
    }
    admit(cx, &request).await?;
    let component = |name| Component { name, r#type: "lock.lockside", version: "v1", capabilities: [] };
    let view = MetadataView {
        id: "lockside",
        runtime_version: env!("CARGO_PKG_VERSION"),
        components: cx.dapr_stores.iter().map(|store| component(&store.name)).collect(),
    };
    Ok(json(StatusCode::OK, &view))
}

/// `GET /v1.0/healthz` and `/v1.0/healthz/outbound`: the sidecar is up. Needs no credential, as with Dapr.
pub fn health() -> Response {
    no_content()
}

/// Admits service callers, as the native API does, and callers with Dapr's API token.
async fn admit(cx: &Context, request: &Request<Incoming>) -> Result<(), Failure> {
    if cx.authenticator.is_dapr_system(request.headers())? {
        request::asked_by(Caller::System);
        return Ok(());
    }
    if cx.caller(request, Anonymous::Lock).await?.owner.is_some() {
        return Err(Failure::Forbidden(Denial::User));
    }
    Ok(())
}

/// Body of a lock and of an unlock, as protobuf's JSON has it: either spelling of a name; a field that is `null` or missing
/// is empty or 0.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LockBody {
    #[serde(alias = "resource_id")]
    resource_id: Option<String>,
    #[serde(alias = "lock_owner")]
    lock_owner: Option<String>,
    #[serde(alias = "expiry_in_seconds", deserialize_with = "int32")]
    expiry_in_seconds: i32,
}

/// What a lock asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LockTerms {
    pub key: Key,
    pub owner: Owner,
    pub ttl: Ttl,
}

impl LockBody {
    pub(super) fn of(body: &[u8]) -> Result<LockBody, Failure> {
        if body.is_empty() { Ok(LockBody::default()) } else { object(body) }
    }

    pub(super) fn into_terms(
        self,
        store: &str,
        stores: &[DaprStore],
        limits: &LockConfig,
    ) -> Result<LockTerms, Failure> {
        let seconds = u64::try_from(self.expiry_in_seconds).ok().filter(|seconds| *seconds > 0);
        let seconds = seconds
            .ok_or_else(|| Failure::BadRequest(format!("ExpiryInSeconds is not positive in lock store {store}")))?;
        let (key, owner) = self.into_lock(store, stores)?;
        let ttl = Ttl::from_ms(seconds * 1000, limits.max_ttl_ms);
        let ttl = ttl.ok_or_else(|| {
            Failure::BadRequest(format!("expiryInSeconds: expected 1 to {} seconds", limits.max_ttl_ms / 1000))
        })?;
        Ok(LockTerms { key, owner, ttl })
    }

    /// The key of a lock and its owner.
    pub(super) fn into_lock(self, store: &str, stores: &[DaprStore]) -> Result<(Key, Owner), Failure> {
        if stores.is_empty() {
            return Err(Failure::NoStores);
        }
        let given = |name: &str, value: Option<String>| {
            let value = value.filter(|text| !text.is_empty());
            value.ok_or_else(|| Failure::BadRequest(format!("{name} is empty in lock store {store}")))
        };
        let resource = given("ResourceId", self.resource_id)?;
        let owner = given("LockOwner", self.lock_owner)?;
        let Some(DaprStore { prefix, .. }) = stores.iter().find(|known| known.name == store) else {
            return Err(Failure::NoSuchStore(format!("lock store {store} not found")));
        };
        if resource.contains(SEPARATOR) {
            return Err(Failure::BadRequest(format!("resourceId: expected a text without `{SEPARATOR}`")));
        }
        owner_names::check("lockOwner", &owner)?;
        request::speaks_for(&owner);
        let key = Key::parse(&format!("{prefix}{SEPARATOR}{resource}"));
        let key = key.map_err(|error| Failure::BadRequest(error.to_string()))?;
        request::asks_for(|| key.share());
        Ok((key, Owner::system(owner)))
    }
}

/// An int32 as protobuf's JSON has it: a number, `"60"` too, without a fraction, or `null`.
fn int32<'de, D: Deserializer<'de>>(field: D) -> Result<i32, D::Error> {
    use serde::de::Error;

    let json = <&RawValue>::deserialize(field)?.get();
    let quoted: Option<String> =
        json.starts_with('"').then(|| serde_json::from_str(json)).transpose().map_err(Error::custom)?;
    let text = quoted.as_deref().unwrap_or(json);
    let number = match text {
        "null" if quoted.is_none() => Some(0.0),
        text if text.trim() != text => None,
        text => serde_json::from_str::<f64>(text).ok(),
    };
    let whole =
        number.filter(|number| number.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(number));
    // Exact, because it has no fraction and is within the range.
    whole.map(|number| number as i32).ok_or_else(|| Error::custom("expected an int32"))
}

/// The shape of Dapr's errors.
pub fn answer(status: StatusCode, code: Option<&str>, call: DaprCall, message: &str) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ErrorView<'a> {
        error_code: &'a str,
        message: &'a str,
    }
    let error_code = code.unwrap_or(match call {
        DaprCall::TryLock => "ERR_TRY_LOCK",
        DaprCall::Unlock => "ERR_UNLOCK",
        DaprCall::Probe => "ERR_METADATA_GET",
    });
    json(status, &ErrorView { error_code, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fuzz::limits;

    fn terms(body: &str) -> Result<LockTerms, Failure> {
        LockBody::of(body.as_bytes())?.into_terms(
            "a",
            &[DaprStore { name: "a".to_owned(), prefix: "p".to_owned() }],
            &LockConfig { max_ttl_ms: 60_000, ..limits() },
        )
    }

    #[test]
    fn a_number_is_an_int32_in_every_spelling_that_protobuf_has() {
        let seconds = |json: &str| {
            let body = format!("{{\"resourceId\":\"r\",\"lockOwner\":\"o\",\"expiryInSeconds\":{json}}}");
            terms(&body).ok().map(|terms| terms.ttl.as_ms())
        };
        for json in ["60", "\"60\"", "60.0", "6e1", "\"6e1\""] {
            assert_eq!(seconds(json), Some(60_000), "{json}");
        }
        for json in
            ["0", "-1", "null", "61", "1.5", "\"\"", "\"x\"", "\"null\"", "\" 60\"", "true", "[]", "2147483648", "1e99"]
        {
            assert_eq!(seconds(json), None, "{json}");
        }
    }

    #[test]
    fn both_spellings_of_a_name_are_one_field() {
        let body = "{\"resource_id\":\"r\",\"lock_owner\":\"o\",\"expiry_in_seconds\":1,\"storeName\":\"x\"}";
        let LockTerms { key, owner, ttl } = terms(body).expect("good terms");
        assert_eq!((key.as_str(), owner, ttl.as_ms()), ("p||r", Owner::system("o".to_owned()), 1000));
        let twice = "{\"resource_id\":\"r\",\"resourceId\":\"r\",\"lockOwner\":\"o\",\"expiryInSeconds\":1}";
        assert!(terms(twice).is_err());
    }
}
