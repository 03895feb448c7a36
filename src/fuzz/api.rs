//! What holds of every path, body and query.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Method};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::admin::Target;
use super::body;
use super::cursor;
use super::dapr::messages::{TryLockRequest, UnlockRequest};
use super::dapr::{Asked, LockBody, frame};
use super::leases::{CreateBody, token_in};
use super::native::bundles;
use super::native::request::{AcquireBody, idempotency_key, key_in};
use super::pagination::{MAX_LIMIT, Page};
use super::route::{Operation, Route, resolve};
use super::wire::{flag, number, parameter, segment};
use crate::api::DaprStore;
use crate::fuzz::{parts, text};
use crate::lock::LockConfig;
use crate::lock::{Key, KeySpace, Owner, OwnerKind, Token, Ttl};

const MAX_TTL_MS: u64 = 86_400_000;
const MAX_WAIT_MS: u64 = 600_000;

/// As they are without flags, but for `max_waiters`.
pub(super) fn limits() -> LockConfig {
    let ttl = |ms| Ttl::from_ms(ms, MAX_TTL_MS).expect("within the range");
    LockConfig {
        key_prefix: "lockside".to_owned(),
        raw_keys: false,
        owner_prefix: "host".to_owned(),
        admin_ttl: ttl(300_000),
        default_ttl: ttl(30_000),
        max_ttl_ms: MAX_TTL_MS,
        max_wait_ms: MAX_WAIT_MS,
        max_hold_ms: None,
        max_waiters: 1,
        max_watchers: 256,
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// `method`, `path`: a path leads to one place; a key in it is within its bounds, comes back when it is encoded again,
/// and its names in Redis are its own and carry the hash tag of its shard.
pub fn path(data: &[u8]) {
    let [method, path] = parts(data);
    let (path, method) = (text(path), Method::from_bytes(method).unwrap_or(Method::POST));
    let (dialect, route) = resolve(&method, &path);
    let Route::Found(operation) = route else { return };
    assert!(!operation.label().is_empty() && !dialect.label().is_empty());
    match operation {
        Operation::Acquire(segment)
        | Operation::Renew(segment)
        | Operation::Release(segment)
        | Operation::Show(segment)
        | Operation::Events(segment)
        | Operation::Fence(segment)
        | Operation::Hold(segment) => {
            let Ok(key) = key_in(&segment) else { return };
            let same = key_in(&encoded(key.as_str()));
            assert_eq!(same.ok().as_ref(), Some(&key), "the path that is encoded by the book leads elsewhere");
            keyed(&key);
        }
        Operation::LeaseRenew(segment) | Operation::LeaseRelease(segment) | Operation::LeaseRemove(segment) => {
            let Ok(Some(token)) = token_in(&segment) else { return };
            assert_eq!(token_in(&token.to_string()).ok(), Some(Some(token)));
        }
        _ => {}
    }
}

fn keyed(key: &Key) {
    let name = key.as_str();
    assert!((1..=Key::MAX_BYTES).contains(&name.len()) && !name.chars().any(char::is_control), "{name:?}");
    let space = KeySpace::new("lockside");
    let tag = format!("{{lockside:{}}}", key.shard());
    for (kind, redis_key) in [("lock", space.lock(key)), ("queue", space.queue(key)), ("forced", space.forced(key))] {
        assert_eq!(redis_key, format!("{tag}:{kind}:{name}"));
        // As Redis Cluster reads it: what is between the first brace and the first that closes it.
        let slot = redis_key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
        assert_eq!(slot.map(|slot| format!("{{{slot}}}")), Some(tag.clone()));
    }
}

/// `body`, `query`: a target's key tells its route and its id, so that two targets are never one key; and a body, a
/// query and JSON that are written again mean the same.
pub fn admin(data: &[u8]) {
    let [body, query] = parts(data);
    let query = text(query);
    let Ok(target) = Target::read((!query.is_empty()).then_some(&query), body) else { return };
    let Ok(key) = target.key() else { return };
    keyed(&key);
    let (route, id) = key.as_str().split_once(':').expect("a colon between them");
    assert!(!id.contains(':'), "a second colon in {key}");
    assert_eq!((decoded(route), decoded(id)), (target.route.clone(), target.id.clone()));

    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("id", &target.id)
        .append_pair("route", &target.route)
        .finish();
    let object = json!({"id": target.id, "further": [], "route": target.route}).to_string();
    for again in [Target::read(Some(&form), b""), Target::read(None, object.as_bytes())] {
        assert_eq!(again.and_then(|target| target.key()).ok().as_ref(), Some(&key));
    }
}

/// The other way of the admin key's encoding.
fn decoded(part: &str) -> String {
    part.replace("%3A", ":").replace("%25", "%")
}

/// `body`, `token`, `query`: what is accepted is a key and a ttl within their bounds, and means the same when
/// it is spelled again.
pub fn leases(data: &[u8]) {
    let [body, token, query] = parts(data);
    if let Ok(create) = body::object::<CreateBody>(body)
        && let Ok((key, ttl)) = create.asked(&limits())
    {
        keyed(&key);
        assert!((1000..=MAX_TTL_MS).contains(&ttl.as_ms()) && ttl.as_ms() % 1000 == 0);
        let again = json!({"leasePeriod": ttl.as_ms() / 1000, "key": key.as_str()}).to_string();
        let again = body::object::<CreateBody>(again.as_bytes()).and_then(|create| create.asked(&limits()));
        assert_eq!(again.ok(), Some((key, ttl)));
    }
    if let Ok(Some(token)) = token_in(&text(token)) {
        assert!((1..1 << 53).contains(&token.get()));
        assert_eq!(token.sequence() * 64 + token.shard().index() as u64, token.get());
    }
    if let Ok(Some(seconds)) = number(&text(query), "leasePeriod") {
        assert_eq!(number(&format!("a=b&leasePeriod={seconds}"), "leasePeriod").ok(), Some(Some(seconds)));
    }
}

/// `body`, `Idempotency-Key`: what is accepted is within its bounds, `meta` is the caller's very bytes, and who is
/// asking is never a matter of the body.
pub fn native(data: &[u8]) {
    let [body, name] = parts(data);
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(name) {
        headers.insert("idempotency-key", value);
    }
    let name = idempotency_key(&headers).ok().flatten();
    assert!(name.as_ref().is_none_or(|name| (1..=255).contains(&name.len()) && name.is_ascii()));
    let begun = std::time::Instant::now();
    let read =
        |user| AcquireBody::of(body).and_then(|body| body.asked(&limits(), user, name.clone(), || "made".to_owned()));
    if let Ok(attempt) = read(None) {
        assert!((Ttl::MIN_MS..=MAX_TTL_MS).contains(&attempt.ttl.as_ms()));
        if let Some(wait) = &attempt.wait {
            let ms = wait.until.duration_since(begun);
            assert!(ms <= Duration::from_millis(MAX_WAIT_MS) + begun.elapsed(), "{ms:?}");
        }
        assert_eq!(attempt.owner.kind, OwnerKind::System);
        let owner = attempt.owner.id.as_str();
        assert!((1..=256).contains(&owner.len()) && !owner.chars().any(char::is_control), "{owner:?}");
        if let Some(meta) = &attempt.meta {
            assert!(meta.len() <= 1024 && serde_json::from_str::<serde::de::IgnoredAny>(meta).is_ok());
            assert!(body.windows(meta.len()).any(|part| part == meta.as_bytes()), "meta changed: {meta}");
        }
    }
    let alice =
        Owner { kind: OwnerKind::User, id: "alice".to_owned(), label: None, description: None, credential: None };
    if let Ok(attempt) = read(Some(alice.clone())) {
        assert_eq!(attempt.owner, alice);
    }
    if let Ok(bundle) = bundles::request::acquire(body) {
        let (order, keys) = (bundle.order, bundle.keys);
        assert!((1..=bundles::request::MOST_KEYS).contains(&keys.len()) && order.len() == keys.len());
        assert!(keys.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order, and none twice");
        assert!(keys.iter().all(|(key, _)| order.contains(key)));
    }
}

/// `body`, `store`: what is accepted is within its bounds, an unlock that reads the same body means the same lock, the
/// key tells its store and its resource, and all means the same when it is spelled again.
pub fn dapr(data: &[u8]) {
    let [body, store] = parts(data);
    let store = text(store);
    let Ok(store) = segment(&store, "store") else { return };
    let stores = [("one", "lock||app"), ("two", "lock")]
        .map(|(name, prefix)| DaprStore { name: name.to_owned(), prefix: prefix.to_owned() });
    let lock = |body: &[u8]| LockBody::asked(body).and_then(|asked| asked.into_terms(&store, &stores, &limits()));
    let unlock = |body: &[u8]| LockBody::asked(body).and_then(|asked| asked.into_lock(&store, &stores));
    let (locked, unlocked) = (lock(body).ok(), unlock(body).ok());
    if let Some(terms) = &locked {
        assert!((1000..=MAX_TTL_MS).contains(&terms.ttl.as_ms()) && terms.ttl.as_ms() % 1000 == 0);
        assert_eq!(unlocked, Some((terms.key.clone(), terms.owner.clone())));
    }
    let Some((key, owner)) = unlocked else { return };
    keyed(&key);
    assert_eq!(owner.kind, OwnerKind::System);
    assert!((1..=256).contains(&owner.id.len()) && !owner.id.chars().any(char::is_control), "{:?}", owner.id);
    let known = stores.iter().find(|known| known.name == store).expect("a store that is offered");
    let behind = |prefix: &str| key.as_str().strip_prefix(prefix)?.strip_prefix("||");
    let resource = behind(&known.prefix).expect("the store's prefix");
    assert!(!resource.is_empty() && !resource.contains("||"), "{key}");
    for other in stores.iter().filter(|other| other.name != store) {
        assert!(behind(&other.prefix).is_none_or(|resource| resource.is_empty() || resource.contains("||")), "{key}");
    }
    let seconds = locked.as_ref().map_or(0, |terms| terms.ttl.as_ms() / 1000).to_string();
    let again = json!({"lock_owner": owner.id, "expiry_in_seconds": seconds, "resource_id": resource}).to_string();
    assert_eq!((lock(again.as_bytes()).ok(), unlock(again.as_bytes()).ok()), (locked, Some((key, owner))));
}

/// A body of gRPC: what is read is the same when it is written again, an unlock that reads the same body means the same
/// lock, and what is accepted is within its bounds.
pub fn dapr_grpc(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    let Ok(request) = frame::read::<TryLockRequest>(body.clone()) else { return };
    assert_eq!(frame::read(frame::write(&request)), Ok(request.clone()));
    let TryLockRequest { store_name, resource_id: resource, lock_owner: owner, expiry_in_seconds } = request;
    let unlock: UnlockRequest = frame::read(body).expect("a lock's message has all fields of an unlock's");
    assert_eq!([&unlock.store_name, &unlock.resource_id, &unlock.lock_owner], [&store_name, &resource, &owner]);
    let stores = [DaprStore { name: store_name.clone(), prefix: "lock||app".to_owned() }];
    let asked = |expiry_in_seconds| Asked { resource: resource.clone(), owner: owner.clone(), expiry_in_seconds };
    let unlocked = asked(0).into_lock(&store_name, &stores).ok();
    if let Ok(terms) = asked(expiry_in_seconds).into_terms(&store_name, &stores, &limits()) {
        assert_eq!(terms.ttl.as_ms(), u64::try_from(expiry_in_seconds).expect("above 0") * 1000);
        assert!(terms.ttl.as_ms() <= MAX_TTL_MS);
        assert_eq!(unlocked, Some((terms.key, terms.owner)));
    }
    let Some((key, owner_of_key)) = unlocked else { return };
    keyed(&key);
    assert_eq!((owner_of_key.kind, owner_of_key.id.as_str()), (OwnerKind::System, owner.as_str()));
    assert_eq!(key.as_str(), format!("lock||app||{resource}"));
}

/// A query: numbers and flags are what they say, a page is within its bounds, and the query of the page behind it
/// means the same page from there on.
pub fn query(data: &[u8]) {
    let query = text(data);
    for name in ["token", "limit", "cursor", "leasePeriod"] {
        match (number(&query, name), parameter(&query, name)) {
            (Ok(number), Ok(value)) => assert_eq!(number, value.and_then(|value| value.parse().ok()), "{name}"),
            (Err(_), Ok(value)) => assert!(value.is_some_and(|value| value.parse::<i64>().is_err()), "{name}"),
            (number, Err(_)) => assert!(number.is_err(), "{name}"),
        }
        // Written again by another library, it is the same.
        if let Ok(Some(value)) = parameter(&query, name) {
            let anew = form_urlencoded::Serializer::new(String::new()).append_pair(name, &value).finish();
            assert_eq!(parameter(&anew, name).ok(), Some(Some(value)), "{name}");
        }
    }
    if let Ok(force) = flag(&query, "force") {
        assert_eq!(force, parameter(&query, "force").ok().flatten().as_deref() == Some("true"));
    }
    let Ok(page) = Page::of(&query) else { return };
    assert!(page.limit.is_none_or(|limit| (1..=MAX_LIMIT).contains(&limit)));
    let last = page.cursor.unwrap_or(Token::new(64).expect("a token"));
    let link = page.after(&cursor::open(last));
    assert!(HeaderValue::try_from(format!("</cmn/leasable-locks?{link}>; rel=\"next\"")).is_ok(), "{link}");
    let next = Page::of(&link).expect("a page's own query");
    assert_eq!((next.prefix, next.limit, next.cursor), (page.prefix, page.limit, Some(last)));
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Every text of 1 to 3 of these: all that the encoding writes and replaces, and two that it leaves alone.
    const ALPHABET: [&str; 7] = [":", "%", "2", "5", "3", "A", "ü"];

    #[test]
    fn two_targets_of_the_admin_dialect_are_never_one_key() {
        let mut texts = vec![String::new()];
        for length in 0..3 {
            let longer: Vec<String> = texts
                .iter()
                .filter(|text| text.chars().count() == length)
                .flat_map(|text| ALPHABET.map(|letter| format!("{text}{letter}")))
                .collect();
            texts.extend(longer);
        }
        let texts = &texts[1..];
        assert_eq!(texts.len(), 7 + 49 + 343);
        let mut keys = HashSet::new();
        for route in texts {
            for id in texts {
                let target = Target { route: route.clone(), id: id.clone() };
                let key = target.key().expect("a key");
                assert!(keys.insert(key), "({route}, {id}) has another's key");
            }
        }
        assert_eq!(keys.len(), texts.len() * texts.len());
    }
}
