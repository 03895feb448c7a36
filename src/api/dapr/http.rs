//! The HTTP form of the Dapr API.

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{Asked, ID, STORE_TYPE, STORE_VERSION, acquire, admit, release};
use crate::api::body::object;
use crate::api::context::Context;
use crate::api::failure::Failure;
use crate::api::route::DaprCall;
use crate::api::wire::{confirming, json, no_content, segment};
use crate::server::{Response, read_body};

/// `POST /v1.0-alpha1/lock/{store}`: acquires a key.
pub async fn try_lock(cx: &Context, request: Request<Incoming>, store: String) -> Result<Response, Failure> {
    #[derive(Serialize)]
    struct TryLockView {
        success: bool,
    }
    let caller = admit(cx, &request).await?;
    caller.spend()?;
    let body = read_body(request).await?;
    let terms = LockBody::asked(&body)?.into_terms(&segment(&store, "store")?, &cx.dapr_stores, &cx.limits)?;
    let (success, (unconfirmed, seat)) = acquire(cx, &caller, terms).await?;
    Ok(confirming(json(StatusCode::OK, &TryLockView { success }), unconfirmed, seat))
}

/// `POST /v1.0-alpha1/unlock/{store}`: releases the owner's lease of the key.
pub async fn unlock(cx: &Context, request: Request<Incoming>, store: String) -> Result<Response, Failure> {
    #[derive(Serialize)]
    struct UnlockView {
        status: u8,
    }
    let caller = admit(cx, &request).await?;
    let body = read_body(request).await?;
    let (key, owner) = LockBody::asked(&body)?.into_lock(&segment(&store, "store")?, &cx.dapr_stores)?;
    let status = release(cx, &caller, key, owner).await? as u8;
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
    admit(cx, &request).await?.spend()?;
    let component = |name| Component { name, r#type: STORE_TYPE, version: STORE_VERSION, capabilities: [] };
    let view = MetadataView {
        id: ID,
        runtime_version: env!("CARGO_PKG_VERSION"),
        components: cx.dapr_stores.iter().map(|store| component(&store.name)).collect(),
    };
    Ok(json(StatusCode::OK, &view))
}

/// `GET /v1.0/healthz` and `/v1.0/healthz/outbound`: the sidecar is up. Needs no credential, as with Dapr.
pub fn health() -> Response {
    no_content()
}

/// Refuses what leads nowhere: as with Dapr, only to callers with a credential, where there is an API token.
pub async fn refuse(cx: &Context, request: Request<Incoming>, failure: Failure) -> Result<Response, Failure> {
    match admit(cx, &request).await {
        Err(unknown @ (Failure::Unauthorized(_) | Failure::CertificateRefused(_) | Failure::Proxied))
            if cx.authenticator.has_api_token() =>
        {
            Err(unknown)
        }
        _ => Err(failure),
    }
}

/// Body of a lock and of an unlock, as protobuf's JSON has it: either spelling of a name; a field that is `null` or missing
/// is empty or 0.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::api) struct LockBody {
    #[serde(alias = "resource_id")]
    resource_id: Option<String>,
    #[serde(alias = "lock_owner")]
    lock_owner: Option<String>,
    #[serde(alias = "expiry_in_seconds", deserialize_with = "int32")]
    expiry_in_seconds: i32,
}

impl LockBody {
    pub(in crate::api) fn asked(body: &[u8]) -> Result<Asked, Failure> {
        let body: LockBody = if body.is_empty() { LockBody::default() } else { object(body)? };
        let LockBody { resource_id, lock_owner, expiry_in_seconds } = body;
        let (resource, owner) = (resource_id.unwrap_or_default(), lock_owner.unwrap_or_default());
        Ok(Asked { resource, owner, expiry_in_seconds })
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
        DaprCall::Probe | DaprCall::Health => "ERR_METADATA_GET",
    });
    json(status, &ErrorView { error_code, message })
}

#[cfg(test)]
mod tests {
    use super::super::LockTerms;
    use super::*;
    use crate::api::fuzz::limits;
    use crate::api::settings::DaprStore;
    use crate::lock::{LockConfig, Owner};

    fn terms(body: &str) -> Result<LockTerms, Failure> {
        LockBody::asked(body.as_bytes())?.into_terms(
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
