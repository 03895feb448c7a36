//! Every route of the API, and what each caller is answered there: a new route fails until it stands in the table.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{As, Guarded, path};
use crate::harness::{eventually, unique};

/// What lets a caller through: any of these verbs on the key.
const LOCK: &[&str] = &["lock"];
const READ: &[&str] = &["read"];
const FORCE: &[&str] = &["force-release"];
const SIGHT: &[&str] = &["lock", "read"];

/// What an operation asks for.
enum Rule {
    /// Needs one of the verbs; answered so with it, and so without.
    Needs(&'static [&'static str], u16, u16),
    /// Shows the lock to those with `read`, and is refused to none.
    Filtered,
    /// Says nothing of any lock, and needs no verb.
    Open(u16),
}

/// Each operation, by its id in openapi.json.
const TABLE: [(&str, Rule); 34] = [
    ("adminLock", Rule::Needs(LOCK, 200, 403)),
    ("adminRemoveLock", Rule::Needs(LOCK, 403, 403)),
    ("getAllActiveLocks", Rule::Filtered),
    ("createLeasableLock", Rule::Needs(LOCK, 201, 403)),
    ("refreshLeasableLock_3", Rule::Needs(LOCK, 200, 404)),
    ("removeLock", Rule::Needs(LOCK, 200, 404)),
    ("customRemoveLock", Rule::Needs(FORCE, 200, 404)),
    ("listLocks", Rule::Filtered),
    ("acquireLock", Rule::Needs(LOCK, 201, 403)),
    ("renewLock", Rule::Needs(LOCK, 200, 403)),
    ("releaseLock", Rule::Needs(LOCK, 204, 403)),
    ("showLock", Rule::Needs(SIGHT, 200, 403)),
    ("watchLock", Rule::Needs(SIGHT, 200, 403)),
    ("showQueue", Rule::Needs(READ, 200, 403)),
    ("fenceLock", Rule::Needs(READ, 200, 403)),
    ("holdLock", Rule::Needs(LOCK, 200, 403)),
    ("acquireBundle", Rule::Needs(LOCK, 201, 403)),
    ("renewBundle", Rule::Needs(LOCK, 200, 403)),
    ("releaseBundle", Rule::Needs(LOCK, 204, 403)),
    ("releaseBundleByPost", Rule::Needs(LOCK, 204, 403)),
    ("holdBundle", Rule::Needs(LOCK, 200, 403)),
    ("showElection", Rule::Needs(SIGHT, 200, 403)),
    ("resign", Rule::Needs(LOCK, 204, 403)),
    ("streamElection", Rule::Needs(SIGHT, 200, 403)),
    ("showOnlyElection", Rule::Needs(SIGHT, 200, 403)),
    ("readStatus", Rule::Needs(SIGHT, 200, 403)),
    ("watchLocks", Rule::Filtered),
    ("tryLock", Rule::Needs(LOCK, 200, 403)),
    ("unlock", Rule::Needs(LOCK, 200, 403)),
    ("getDaprMetadata", Rule::Open(200)),
    ("getDaprHealth", Rule::Open(204)),
    ("getDaprOutboundHealth", Rule::Open(204)),
    ("getOpenApi", Rule::Open(200)),
    ("getErrors", Rule::Open(200)),
];

/// The paths of the ops listener, which asks for no verb.
const OPS: [&str; 4] = ["/metrics", "/healthz", "/readyz", "/leader/{name}"];

/// Each caller, and its verbs.
const CALLERS: [(&str, &[&str]); 5] =
    [("all", &["lock", "read", "force-release"]), ("locker", LOCK), ("reader", READ), ("forcer", FORCE), ("none", &[])];

const POLICY: &str = "\
token:keeper lock,read *
token:all    lock,read,force-release *
user:all     lock,read,force-release *
token:locker lock *
user:locker  lock *
token:reader read *
user:reader  read *
token:forcer force-release *
user:forcer  force-release *
";

/// The method and path of each operation of the API listener, by its id: all but those at the paths of the ops listener,
/// whatever their tags are.
pub fn operations(document: &Value) -> Vec<(String, String, String)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        if OPS.contains(&path.as_str()) {
            continue;
        }
        for (method, operation) in item.as_object().unwrap() {
            if let Some(responses) = operation.get("responses") {
                let id = operation["operationId"].as_str();
                let id = id.unwrap_or_else(|| panic!("{method} {path} has no operationId: {responses}"));
                operations.push((id.to_owned(), method.to_uppercase(), path.clone()));
            }
        }
    }
    operations
}

/// Operations that are tried with a key that is free.
fn wants_free(id: &str) -> bool {
    matches!(
        id,
        "adminLock"
            | "createLeasableLock"
            | "acquireLock"
            | "holdLock"
            | "acquireBundle"
            | "holdBundle"
            | "tryLock"
            | "showQueue"
    )
}

pub fn body_of(id: &str, key: &str, token: &Value) -> Option<Value> {
    match id {
        "acquireBundle" | "holdBundle" => Some(json!({"keys": [{"key": key}]})),
        "renewBundle" | "releaseBundle" | "releaseBundleByPost" => {
            Some(json!({"leases": [{"key": key, "token": token}]}))
        }
        "adminLock" | "adminRemoveLock" => Some(json!({"route": "k", "id": key})),
        "createLeasableLock" => Some(json!({"key": key, "leasePeriod": 30})),
        "tryLock" => Some(json!({"resourceId": key, "lockOwner": "o", "expiryInSeconds": 30})),
        "unlock" => Some(json!({"resourceId": key, "lockOwner": "o"})),
        _ => None,
    }
}

/// No tag takes an operation out of the table.
#[tokio::test]
async fn an_operation_is_left_out_by_its_path_alone_and_only_where_the_api_listener_does_not_serve_it() {
    let operation = |tag: &str, id: &str| json!({"tags": [tag], "operationId": id, "responses": {}});
    let document = json!({"paths": {
        "/v1/locks": {"servers": [], "get": operation("Native", "list"), "post": operation("Ops", "new")},
        "/v1/new": {"get": operation("Ops", "other")},
        "/metrics": {"get": operation("Ops", "metrics")},
    }});
    let found = operations(&document).into_iter().map(|(id, method, path)| format!("{id}: {method} {path}"));
    let expected = ["list: GET /v1/locks", "new: POST /v1/locks", "other: GET /v1/new"];
    assert_eq!(found.collect::<BTreeSet<_>>(), expected.map(str::to_owned).into());
    let guarded = Guarded::start("token:all lock,read,force-release *\n", &["all"], &[]).await;
    for path in OPS {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let answer = guarded.ask(&As::Token("all"), method, &path.replace("{name}", "jobs")).send().await;
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn every_route_allows_those_with_its_verb_and_no_others() {
    let tokens = ["keeper", "all", "locker", "reader", "forcer", "none"];
    let elections = ["--elect", "jobs", "--elect-ttl", "1s"];
    let guarded = Guarded::start(POLICY, &tokens, &elections).await;
    let leads = async || guarded.sidecar.ops("/leader/jobs").await.status == 200;
    eventually("it leads", super::SOON, leads).await;
    let document = guarded.sidecar.call("GET", "/openapi.json").send().await.json();
    let operations = operations(&document);
    let known: BTreeSet<&str> = operations.iter().map(|(id, ..)| id.as_str()).collect();
    let table: BTreeSet<&str> = TABLE.iter().map(|(id, _)| *id).collect();
    assert_eq!(known, table, "each operation of openapi.json, and what it asks for");

    let keeper = As::Token("keeper");
    for (id, method, template) in &operations {
        let (_, rule) = TABLE.iter().find(|(known, _)| known == id).unwrap();
        for (name, verbs) in CALLERS {
            // The admin API knows users alone, and Dapr's service callers alone.
            let who = match template.starts_with("/admin/") {
                true => As::User(name, json!({"permissions": ["manage-locks"]})),
                false => As::Token(name),
            };
            let key = unique("route");
            let locked = match id.as_str() {
                "unlock" => format!("lockstore||{key}"),
                "adminRemoveLock" => format!("k:{key}"),
                _ => key.clone(),
            };
            let lease = match wants_free(id) {
                true => Value::Null,
                false => guarded.granted(&keeper, &locked, json!({"owner": "the-keeper"})).await,
            };
            let token = lease["token"].to_string();
            let path = template.replace("{key}", &key).replace("{token}", &token).replace("{store}", "lockstore");
            let path = path.replace("{name}", "jobs");
            let query = match id.as_str() {
                "renewLock" | "releaseLock" | "fenceLock" => format!("?token={token}"),
                "refreshLeasableLock_3" => "?leasePeriod=30".to_owned(),
                _ => String::new(),
            };
            let call = guarded.ask(&who, method, &format!("{path}{query}"));
            let call = match body_of(id, &key, &lease["token"]) {
                Some(body) => call.json(&body),
                None => call,
            };
            if matches!(id.as_str(), "resign" | "showElection" | "showOnlyElection" | "streamElection") {
                eventually("it leads", super::SOON, leads).await;
            }
            let what = format!("{id} by {name}");
            let is_stream =
                matches!(id.as_str(), "watchLock" | "watchLocks" | "streamElection" | "holdLock" | "holdBundle");
            match rule {
                Rule::Needs(needed, allowed, denied) => {
                    let may = needed.iter().any(|verb| verbs.contains(verb));
                    let expected = if may { *allowed } else { *denied };
                    if is_stream && may {
                        assert_eq!(call.open().await.status, expected, "{what}");
                        continue;
                    }
                    let answer = call.send().await;
                    assert_eq!(answer.status, expected, "{what}: {}", answer.text());
                    let is_said = answer.header("lockside-reason") == Some("missing-permission");
                    assert_eq!(is_said, !may && *denied == 403, "{what}: {:?}", answer.headers);
                    // Who renews has sent the token, and is told whose lease that is.
                    let is_renewal =
                        may && matches!(id.as_str(), "renewLock" | "renewBundle" | "refreshLeasableLock_3");
                    if !verbs.contains(&"read") && !is_renewal {
                        shows_nothing(&answer, &token, &what);
                    }
                }
                Rule::Filtered if is_stream => {
                    let mut events = call.open().await;
                    let mut is_shown = false;
                    while let Some((event, data)) = events.event().await {
                        is_shown |= event == "state" && data["key"] == *key;
                        if event == "synced" {
                            break;
                        }
                    }
                    assert_eq!(is_shown, verbs.contains(&"read"), "{what}");
                }
                Rule::Filtered => {
                    let answer = call.send().await;
                    assert_eq!(answer.status, 200, "{what}: {}", answer.text());
                    assert_eq!(answer.text().contains(&key), verbs.contains(&"read"), "{what}");
                    if !verbs.contains(&"read") {
                        shows_nothing(&answer, &token, &what);
                    }
                }
                Rule::Open(status) => assert_eq!(call.send().await.status, *status, "{what}"),
            }
            if !lease.is_null() {
                guarded.release(&keeper, &locked, &lease["token"]).await;
            }
        }
    }
}

/// Neither the token nor the owner of another's lease.
fn shows_nothing(answer: &crate::harness::Answer, token: &str, what: &str) {
    let body = answer.text();
    assert!(!body.contains("the-keeper"), "{what}: {body}");
    assert!(token == "null" || !body.contains(token), "{what}: {body}");
    for (name, value) in &answer.headers {
        let value = value.to_str().unwrap();
        assert!(!value.contains("the-keeper"), "{what}: {name}: {value}");
        assert!(token == "null" || !value.contains(token), "{what}: {name}: {value}");
    }
}

#[tokio::test]
async fn the_page_shows_what_the_list_shows() {
    let guarded = Guarded::start(POLICY, &["keeper", "all", "locker", "reader", "none"], &[]).await;
    let key = unique("page");
    guarded.granted(&As::Token("keeper"), &key, json!({"owner": "the-keeper"})).await;
    for (name, is_shown) in [("all", true), ("reader", true), ("locker", false), ("none", false)] {
        let page = guarded.ask(&As::Token(name), "GET", "/ui/").send().await;
        assert_eq!(page.status, 200);
        assert_eq!(page.text().contains(&key), is_shown, "{name}");
        assert_eq!(page.text().contains("the-keeper"), is_shown, "{name}");
    }
    let mine = guarded.granted(&As::Token("locker"), &unique("page"), json!({"owner": "my-own"})).await;
    let page = guarded.ask(&As::Token("locker"), "GET", "/ui/").send().await;
    assert!(page.text().contains("my-own") && !page.text().contains("the-keeper"), "{mine}");
    let status = |name: &'static str| {
        let call = guarded.ask(&As::Token(name), "GET", "/v1/status");
        async { call.send().await.json() }
    };
    let (all, locker) = (status("all").await, status("locker").await);
    assert!(all["locks"].is_u64() && all["mayForceRelease"] == true, "{all}");
    assert_eq!((&locker["locks"], &locker["waiting"], &locker["oldest"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!(locker["mayForceRelease"], false);
    assert_eq!(guarded.sidecar.call("GET", &path(&key)).send().await.status, 401, "not without a credential");
}
