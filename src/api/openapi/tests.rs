//! The document beside the code: every route and every failure is there, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;

use http_body_util::BodyExt;
use hyper::Method;
use serde_json::Value;

use super::*;
use crate::api::answer;
use crate::api::errors::Docs;
use crate::api::failure::{Denial, Failure, Queue};
use crate::api::fuzz::limits;
use crate::api::language::Language;
use crate::api::route::{DaprCall, Dialect, Route, resolve};
use crate::auth::CookieName;
use crate::lock::{Expiry, Holder, Key, Lease, Mode, Owner, Sharing, Terms, Token, Ttl};
use crate::policy::Verb;
use crate::quota::{Exceeded, Limit};

const ROUTES: &str = include_str!("../route.rs");
const FAILURES: &str = include_str!("../failure.rs");
const METHODS: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"];

pub(super) fn document() -> Value {
    serde_json::from_str(DOCUMENT).expect("JSON")
}

pub(super) fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().expect("an object").iter().map(|(name, value)| (name.as_str(), value))
}

/// The paths of the ops listener.
const OPS: [&str; 4] = ["/metrics", "/healthz", "/readyz", "/leader/{name}"];

/// The paths of the API listener, each with what is at it.
pub(super) fn paths(document: &Value) -> BTreeMap<&str, &Value> {
    members(&document["paths"]).filter(|(path, _)| !OPS.contains(path)).collect()
}

#[test]
fn the_operations_of_the_ops_listener_are_tagged_so_and_no_other() {
    let (document, mut count) = (document(), 0);
    for (path, item) in members(&document["paths"]) {
        for (method, operation) in members(item).filter(|(_, it)| it.get("responses").is_some()) {
            let tags = operation["tags"].as_array().expect("tags");
            assert_eq!(tags.contains(&json!("Ops")), OPS.contains(&path), "{method} {path}");
            assert_eq!(tags.len(), 1, "{method} {path}");
            count += usize::from(OPS.contains(&path));
        }
    }
    assert_eq!(count, OPS.len(), "each has one");
}

#[test]
fn the_version_the_limits_and_the_stores_are_those_of_the_process() {
    assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
    let ttl = |ms| Ttl::from_ms(ms, 86_400_000).expect("within the range");
    let mut limits = limits();
    let store = |name: &str| DaprStore { name: name.to_owned(), prefix: "p".to_owned() };
    let words = Words { cookie_name: CookieName::default(), manage_locks: "manage-locks".into() };
    assert_eq!(with_settings(&limits, &[store("lockstore")], &words), DOCUMENT, "without flags");

    let without_stores: Value = serde_json::from_str(&with_settings(&limits, &[], &words)).expect("JSON");
    let name = &without_stores["components"]["parameters"]["Store"]["schema"];
    assert_eq!(name, &json!({"type": "string", "minLength": 1}), "no empty enumeration");

    // What one of them is without flags, another one may be with them.
    for (default_ttl_ms, max_ttl_ms, max_wait_ms) in [(4000, 5999, 7000), (86_400, 600_000, 86_400_000)] {
        let max_hold_ms = Some(max_ttl_ms + 1);
        limits = LockConfig { default_ttl: ttl(default_ttl_ms), max_ttl_ms, max_wait_ms, max_hold_ms, ..limits };
        let served = with_settings(&limits, &[store("a"), store("\"")], &words);
        let served: Value = serde_json::from_str(&served).expect("JSON");
        let stores = &served["components"]["parameters"]["Store"];
        assert_eq!((&stores["schema"]["enum"], &stores["example"]), (&json!(["a", "\""]), &json!("a")));
        let schema = |path: &str| served.pointer(&format!("/components/schemas/{path}")).cloned();
        for (path, limit) in [
            ("TtlMs/maximum", max_ttl_ms),
            ("DelayMs/maximum", max_ttl_ms),
            ("MinHoldMs/maximum", max_ttl_ms),
            ("MaxHoldMs/maximum", max_ttl_ms + 1),
            ("WaitMs/maximum", max_wait_ms),
            ("LeasePeriod/maximum", max_ttl_ms / 1000),
        ] {
            assert_eq!(schema(path), Some(json!(limit)), "{path}");
        }
        for body in ["AcquireBody", "HoldBody"] {
            let described = schema(&format!("{body}/properties/ttlMs/description")).expect("a description").to_string();
            assert!(described.contains(&format!(" {default_ttl_ms} (its --default-ttl) if omitted")), "{described}");
        }
    }
}

#[test]
fn every_path_is_documented_and_no_other() {
    let patterns = ROUTES.lines().filter_map(|line| Some(line.trim().split_once(" => ")?.0));
    let templates = patterns.flat_map(|line| line.split(" | ")).filter_map(|pattern| {
        let segments = pattern.strip_prefix('[')?.strip_suffix(']')?.split(", ");
        let segment = |segment: &str| match segment.strip_prefix('"') {
            Some(text) => format!("/{}", text.trim_end_matches('"')),
            None => format!("/{{{segment}}}"),
        };
        Some(segments.map(segment).collect::<String>())
    });
    // The page is for people, and no API.
    let templates = templates.filter(|path| path != "/ui" && !path.starts_with("/ui/"));
    let (routed, document) = (templates.collect::<BTreeSet<_>>(), document());
    assert_eq!(routed, paths(&document).keys().map(|path| (*path).to_owned()).collect());
}

#[test]
fn every_method_of_every_path_is_documented_and_no_other() {
    let document = document();
    let mut operations = BTreeSet::new();
    for (template, item) in paths(&document) {
        let path = template.replace("{token}", "7").replace("{key}", "k").replace("{store}", "s");
        let documented = METHODS.iter().filter(|method| item.get(method.to_lowercase()).is_some());
        let documented = documented.copied().collect::<BTreeSet<_>>();
        for name in METHODS {
            let method = Method::from_bytes(name.as_bytes()).expect("a method");
            match resolve(&method, &path).1 {
                // As every GET.
                Route::Found(_) if name == "HEAD" => assert!(documented.contains("GET"), "{path}"),
                Route::Found(_) => {
                    assert!(documented.contains(name), "{name} {path}");
                    let id = item[name.to_lowercase()]["operationId"].as_str().expect("an operation id");
                    assert!(operations.insert(id), "{id} stands there twice");
                }
                Route::WrongMethod(allow) => {
                    let allowed = allow.split(", ").filter(|allowed| *allowed != "HEAD");
                    assert_eq!(allowed.collect::<BTreeSet<_>>(), documented, "{path}")
                }
                Route::Nowhere | Route::SlashInKey => panic!("{path} leads nowhere"),
            }
        }
        let works = resolve(&Method::TRACE, &format!("/api{path}")).1 != Route::Nowhere;
        let (_, operation) = members(item).next().expect("an operation");
        let mut tags = document["tags"].as_array().expect("tags").iter();
        let tag = tags.find(|tag| tag["name"] == operation["tags"][0]).expect("a tag");
        let says = tag["description"].as_str().is_some_and(|text| text.contains("Also served below `/api`"));
        assert_eq!(works, says, "/api{path}");
    }
    assert!(operations.len() >= 15, "{operations:?}");
}

#[test]
fn every_answer_may_have_the_id_of_its_request() {
    let document = document();
    let operations = paths(&document).into_values().flat_map(members).filter(|(_, it)| it.get("responses").is_some());
    let responses = operations.flat_map(|(_, operation)| members(&operation["responses"]));
    let own = responses.filter(|(_, response)| response.get("$ref").is_none());
    for (name, response) in own.chain(members(&document["components"]["responses"])) {
        let header = &response["headers"]["X-Request-Id"]["$ref"];
        assert_eq!(header, "#/components/headers/RequestId", "{name}: {response}");
    }
}

/// The token of the examples.
const TOKEN: u64 = 244_358_750_068_573;

/// One of each failure, with what the examples have.
fn failures() -> Vec<Failure> {
    let ms = |time: &str| time.parse::<jiff::Timestamp>().expect("a time").as_millisecond() as u64;
    let lease = Lease {
        mode: Mode::Exclusive,
        key: Key::parse("night-report").expect("a key"),
        token: Token::new(TOKEN).expect("a token"),
        owner: Owner::system("web-3".to_owned()),
        since_ms: ms("2026-11-22T12:00:00Z"),
        valid_until_ms: ms("2026-11-22T12:01:00Z"),
        ttl_ms: 60_000,
        valid_for_ms: 41_250,
        promised_until: None,
        terms: Terms::NONE,
        is_resting: false,
        meta: Some("{\"host\":\"web-3\"}".to_owned()),
    };
    let holder = || Holder::Lease(Box::new(lease.clone()));
    let shared = || {
        let leases = vec![Lease { mode: Mode::Shared { limit: Some(3) }, ..lease.clone() }];
        let left_ms = lease.valid_for_ms;
        let (newest, first_ms, others) = (None, None, std::sync::Arc::default());
        Holder::Shared(Box::new(Sharing { leases, count: 3, newest, first_ms, others, waiters: Some(1), left_ms }))
    };
    let log = || "for the log".to_owned();
    vec![
        Failure::BadRequest("ttlMs: expected an integer from 10 to 86400000".to_owned()),
        Failure::BadRequest("leasePeriod: expected 1 to 86400 seconds".to_owned()),
        Failure::BadRequest("ExpiryInSeconds is not positive in lock store lockstore".to_owned()),
        Failure::BadRequest("no Host header".to_owned()),
        Failure::NoSuchStore("lock store nope not found".to_owned()),
        Failure::NoStores,
        Failure::NoSuchElection("this sidecar takes part in no election `nope`; its elections: jobs".to_owned()),
        Failure::Unauthorized(log()),
        Failure::CertificateRefused(log()),
        Failure::KeysUnavailable(log()),
        Failure::Proxied,
        Failure::Forbidden(Denial::permission("manage-locks")),
        Failure::Forbidden(Denial::Policy(Verb::Lock)),
        Failure::Forbidden(Denial::Host),
        Failure::NoSuchUser("for the log"),
        Failure::NoSuchRoute,
        Failure::SlashInKey,
        Failure::NoSuchLease,
        Failure::NotYours,
        Failure::Lost,
        Failure::Fenced { token: Token::new(TOKEN + 64), is_shared: false },
        Failure::Fenced { token: Token::new(TOKEN + 64), is_shared: true },
        Failure::Fenced { token: None, is_shared: false },
        Failure::MethodNotAllowed("GET, HEAD, POST, PUT, DELETE".to_owned()),
        Failure::RequestTimeout,
        Failure::Encoded,
        Failure::TooLarge,
        Failure::Held(Holder::Stranger(Some(Expiry {
            valid_until_ms: lease.valid_until_ms,
            valid_for_ms: lease.valid_for_ms,
        }))),
        Failure::Held(Holder::UNKNOWN),
        Failure::Held(holder()),
        Failure::Held(shared()),
        Failure::WaitTimeout(None),
        Failure::WaitTimeout(Some(Box::new(Queue { holder: Some(holder()), waiters: 2 }))),
        Failure::TooManyWaiters(log()),
        Failure::TooManyRequests(log()),
        Failure::QuotaExceeded(Exceeded { limit: Limit::Locks, max: 100 }),
        Failure::Overloaded(log()),
        Failure::Draining,
        Failure::RedisUnavailable(log()),
        Failure::RedisRefused {
            reason: log(),
            advice: Some("its memory is full: raise maxmemory, or delete data that is not a lock".to_owned()),
        },
        Failure::TooLate(log()),
        Failure::RenewedTooLate(log()),
        Failure::OutcomeUnknown(log()),
    ]
}

/// Whether an API can fail so: only the native API waits and names a lease by its key; only the Dapr API has stores.
fn can_fail(dialect: Dialect, failure: &Failure) -> bool {
    let is_dapr = matches!(dialect, Dialect::Dapr(_));
    match failure {
        Failure::NoSuchLease | Failure::NotYours if is_dapr => false,
        Failure::NoSuchLease => dialect != Dialect::Native,
        Failure::Proxied => dialect != Dialect::Admin,
        Failure::NoSuchStore(_) | Failure::NoStores => is_dapr && dialect != Dialect::Dapr(DaprCall::Probe),
        Failure::NoSuchRoute => is_dapr || dialect == Dialect::Native,
        Failure::SlashInKey
        | Failure::NoSuchElection(_)
        | Failure::Lost
        | Failure::Fenced { .. }
        | Failure::WaitTimeout(_)
        | Failure::TooManyWaiters(_)
        | Failure::Draining => dialect == Dialect::Native,
        Failure::Held(_) | Failure::RenewedTooLate(_) => !is_dapr,
        Failure::TooManyRequests(_) => matches!(dialect, Dialect::Leases | Dialect::Native),
        // So is what ends one refused by no limit of its caller.
        Failure::QuotaExceeded(_) => dialect != Dialect::Dapr(DaprCall::Unlock),
        // What ends a lease is never turned away for load: it makes room.
        Failure::Overloaded(_) => dialect != Dialect::Dapr(DaprCall::Unlock),
        Failure::TooLate(_) => dialect != Dialect::Dapr(DaprCall::Unlock) && dialect != Dialect::Dapr(DaprCall::Probe),
        Failure::RequestTimeout | Failure::Encoded | Failure::TooLarge | Failure::OutcomeUnknown(_) => {
            dialect != Dialect::Dapr(DaprCall::Probe)
        }
        _ => true,
    }
}

/// An error as it is documented.
#[derive(Clone, Debug, PartialEq)]
struct Documented {
    status: u16,
    content_type: String,
    headers: BTreeMap<String, bool>,
    example: Value,
}

/// Every example of an error that the operations of a tag have whose paths begin so, and `further` responses.
fn documented(document: &Value, tag: &str, paths: &str, further: &[&str]) -> Vec<Documented> {
    let resolve = |value: &Value| match value["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).expect("a good reference").clone(),
        None => value.clone(),
    };
    let mut responses = Vec::new();
    let items = members(&document["paths"]).filter(|(path, _)| path.starts_with(paths));
    for (method, operation) in items.flat_map(|(_, item)| members(item)) {
        if METHODS.contains(&&*method.to_uppercase()) && operation["tags"] == json!([tag]) {
            let errors = members(&operation["responses"]).filter(|(status, _)| *status >= "400");
            responses.extend(errors.map(|(status, response)| (status.to_owned(), resolve(response))));
        }
    }
    for name in further {
        let status = if name.ends_with("NotFound") { "404" } else { "405" };
        responses.push((status.to_owned(), document["components"]["responses"][name].clone()));
    }
    let mut all = Vec::new();
    for (status, response) in responses {
        let headers = response["headers"].as_object().into_iter().flatten();
        let headers = headers.map(|(name, header)| (name.to_lowercase(), resolve(header)["required"] == true));
        let headers = BTreeMap::from_iter(headers);
        for (content_type, media) in members(&response["content"]) {
            for (_, example) in members(&media["examples"]) {
                let documented = Documented {
                    status: status.parse().expect("a status"),
                    content_type: content_type.to_owned(),
                    headers: headers.clone(),
                    example: example["value"].clone(),
                };
                if !all.contains(&documented) {
                    all.push(documented);
                }
            }
        }
    }
    all
}

#[tokio::test]
async fn every_failure_is_documented_with_its_status_headers_and_body_and_no_other() {
    let kinds = failures().iter().map(discriminant).collect::<std::collections::HashSet<_>>().len();
    assert_eq!(kinds, FAILURES.matches("=> row(\"").count(), "one of each");
    let document = document();
    let dapr = &["DaprNotFound", "DaprMethodNotAllowed"][..];
    for (dialect, tag, paths, further) in [
        (Dialect::Admin, "Admin", "/", &["AdminMethodNotAllowed"][..]),
        (Dialect::Leases, "LeasableLock", "/", &["LeaseMethodNotAllowed"]),
        (Dialect::Native, "Native", "/", &["NotFound", "MethodNotAllowed"]),
        (Dialect::Dapr(DaprCall::TryLock), "Dapr", "/v1.0-alpha1/lock", dapr),
        (Dialect::Dapr(DaprCall::Unlock), "Dapr", "/v1.0-alpha1/unlock", dapr),
        (Dialect::Dapr(DaprCall::Probe), "Dapr", "/v1.0/", dapr),
    ] {
        let documented = documented(&document, tag, paths, further);
        let mut seen = vec![false; documented.len()];
        for failure in failures().into_iter().filter(|failure| can_fail(dialect, failure)) {
            for language in [Language::English, Language::German] {
                let (head, body) = answer::to(failure.clone(), dialect, language, &Docs::default()).into_parts();
                let body = body.collect().await.expect("a whole body").to_bytes();
                let body: Value = serde_json::from_slice(&body).expect("JSON");
                let answers = |it: &Documented| {
                    let names = head.headers.keys().map(|name| name.as_str()).filter(|name| *name != "content-type");
                    let names = names.collect::<BTreeSet<_>>();
                    head.status.as_u16() == it.status
                        && head.headers["content-type"] == *it.content_type
                        && names.iter().all(|name| it.headers.contains_key(*name))
                        && it.headers.iter().all(|(name, required)| !required || names.contains(&**name))
                        && body == it.example
                };
                let places = documented.iter().enumerate().filter(|(_, it)| answers(it));
                let places = places.map(|(place, _)| place).collect::<Vec<_>>();
                places.iter().for_each(|place| seen[*place] = true);
                // Of a sentence in German one example a status is enough, and one of what is wrong with a request.
                let is_more = language == Language::German || matches!(failure, Failure::BadRequest(_));
                assert!(is_more || !places.is_empty(), "{tag}: {head:?} {body} is not documented");
            }
        }
        for (it, seen) in documented.iter().zip(seen) {
            assert!(seen, "{tag}: nothing is answered so: {it:#?}");
        }
    }
}
