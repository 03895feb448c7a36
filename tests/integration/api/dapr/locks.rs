//! What a lock is that was taken through the dialect: one like every other.

use std::time::Duration;

use serde_json::{Value, json};

use super::{LOCK, UNLOCK, assert_says, sidecar, try_lock, unlock};
use crate::harness::{Sidecar, TestRedis, Who, editor, eventually, unique};

const YES: &str = r#"{"success":true}"#;
const NO: &str = r#"{"success":false}"#;

#[tokio::test]
async fn one_owner_has_it_and_nobody_else_not_even_that_owner_again() {
    let (sidecar, name) = (sidecar().await, unique("dapr"));
    assert_says(&try_lock(&sidecar, &name, "web-1", 60).send().await, YES);
    assert_says(&try_lock(&sidecar, &name, "web-2", 60).send().await, NO);
    assert_says(&try_lock(&sidecar, &name, "web-1", 60).send().await, NO);
    assert_says(&unlock(&sidecar, &name, "web-2").send().await, r#"{"status":2}"#);
    assert_says(&unlock(&sidecar, &name, "web-1").send().await, r#"{"status":0}"#);
    assert_says(&unlock(&sidecar, &name, "web-1").send().await, r#"{"status":1}"#);
    assert_says(&try_lock(&sidecar, &name, "web-2", 60).send().await, YES);
}

#[tokio::test]
async fn it_ends_by_itself_after_its_expiry() {
    let (sidecar, name) = (sidecar().await, unique("dapr"));
    assert_says(&try_lock(&sidecar, &name, "web-1", 1).send().await, YES);
    let held = sidecar.call("GET", &format!("/v1/locks/lockstore%7C%7C{name}")).send().await.json();
    let left = held["holder"]["validForMs"].as_u64().unwrap();
    assert!((1..=1000).contains(&left), "{held}");
    let took = eventually("it ends", Duration::from_secs(10), async || {
        try_lock(&sidecar, &name, "web-2", 60).send().await.text() == YES
    });
    println!("a lock of 1 s ended after {:?}", took.await);
    assert_says(&unlock(&sidecar, &name, "web-1").send().await, r#"{"status":2}"#);
}

#[tokio::test]
async fn every_spelling_that_protobuf_has_is_understood() {
    let sidecar = sidecar().await;
    for (key, owner, expiry, seconds) in [
        ("resourceId", "lockOwner", "expiryInSeconds", "60"),
        ("resource_id", "lock_owner", "expiry_in_seconds", "60"),
        ("resource_id", "lockOwner", "expiryInSeconds", "\"60\""),
        ("resourceId", "lockOwner", "expiry_in_seconds", "6e1"),
    ] {
        let name = unique("spelling");
        let body = format!("{{\"x\":[1],\"{key}\":\"{name}\",\"{owner}\":\"o\",\"{expiry}\":{seconds}}}");
        assert_says(&sidecar.call("POST", LOCK).body(body).send().await, YES);
        let held = sidecar.call("GET", &format!("/v1/locks/lockstore%7C%7C{name}")).send().await.json();
        assert_eq!((&held["holder"]["owner"], &held["holder"]["kind"]), (&json!("o"), &json!("system")));
        let body = format!("{{\"{key}\":\"{name}\",\"{owner}\":\"o\"}}");
        assert_says(&sidecar.call("POST", UNLOCK).body(body).send().await, r#"{"status":0}"#);
    }
}

#[tokio::test]
async fn stores_are_apart_and_percent_encoded_ones_are_found() {
    let sidecar = Sidecar::start(TestRedis::shared(), &["--dapr-stores", "one, zwei & drei"]).await;
    let body = json!({"resourceId": unique("stores"), "lockOwner": "o", "expiryInSeconds": 60});
    for store in ["one", "zwei%20%26%20drei"] {
        let call = |action: &str| sidecar.call("POST", &format!("/v1.0-alpha1/{action}/{store}")).json(&body);
        assert_says(&call("lock").send().await, YES);
        assert_says(&call("lock").send().await, NO);
    }
    let metadata = sidecar.call("GET", "/v1.0/metadata").send().await.json();
    let stores: Vec<&Value> = metadata["components"].as_array().unwrap().iter().map(|store| &store["name"]).collect();
    assert_eq!(stores, ["one", "zwei & drei"]);
}

#[tokio::test]
async fn it_is_in_both_lists_and_in_the_metrics() {
    let (sidecar, name) = (sidecar().await, unique("listed"));
    assert_says(&try_lock(&sidecar, &name, "web-1", 60).send().await, YES);
    assert_says(&try_lock(&sidecar, &name, "web-2", 60).send().await, NO);
    let key = format!("lockstore||{name}");
    let listed = sidecar.call("GET", &format!("/v1/locks?prefix=lockstore%7C%7C{name}")).send().await.json();
    let lock = &listed["locks"][0];
    assert_eq!((&lock["key"], &lock["owner"], &lock["kind"]), (&json!(key), &json!("web-1"), &json!("system")));
    let leases = sidecar.call("GET", &format!("/cmn/leasable-locks?prefix=lockstore%7C%7C{name}")).send().await.json();
    assert_eq!((&leases[0]["key"], &leases[0]["lockedBySystem"]), (&json!(key), &json!(true)));
    assert_says(&unlock(&sidecar, &name, "web-1").send().await, r#"{"status":0}"#);
    let metrics = sidecar.ops("/metrics").await;
    for (operation, count) in [("try_lock", 2), ("unlock", 1)] {
        let row =
            format!("lockside_requests_total{{dialect=\"dapr\",operation=\"{operation}\",outcome=\"ok\"}} {count}");
        assert!(metrics.text().lines().any(|line| line == row), "{row}");
    }
}

#[tokio::test]
async fn it_holds_against_every_other_dialect_and_they_against_it() {
    let sidecar = Sidecar::who_knows(&TestRedis::shared().url(), &[]).await;
    let (alice, system) = (editor("alice"), Who::System);
    let resource = unique("every");
    let (key, path) = (format!("lockstore||{resource}"), format!("/v1/locks/lockstore%7C%7C{resource}"));
    let body = json!({"resourceId": resource, "lockOwner": "web-1", "expiryInSeconds": 60});
    let dapr = |path: &str| sidecar.ask(&system, "POST", path).json(&body);

    assert_says(&dapr(LOCK).send().await, YES);
    let native = sidecar.ask(&system, "POST", &path).json(&json!({"owner": "web-2"})).send().await;
    assert_eq!((native.status, &native.json()["holder"]["owner"]), (409, &json!("web-1")));
    let lease = json!({"key": key, "leasePeriod": 60});
    assert_eq!(sidecar.ask(&alice, "POST", "/cmn/leasable-locks").json(&lease).send().await.status, 409);
    let again = sidecar.ask(&system, "POST", &path).json(&json!({"owner": "web-1", "reentrant": true})).send().await;
    assert_eq!(again.status, 200, "the same owner as a native one of that name: {}", again.text());
    assert_says(&dapr(UNLOCK).send().await, r#"{"status":0}"#);

    assert_eq!(sidecar.ask(&alice, "POST", "/cmn/leasable-locks").json(&lease).send().await.status, 201);
    assert_says(&dapr(LOCK).send().await, NO);
    assert_says(&dapr(UNLOCK).send().await, r#"{"status":2}"#);
}

#[tokio::test]
async fn the_admin_dialect_meets_it_at_a_resource_with_a_colon() {
    let sidecar = Sidecar::who_knows(&TestRedis::shared().url(), &[]).await;
    let id = unique("volume");
    let body = json!({"resourceId": format!("volume:{id}"), "lockOwner": "web-1", "expiryInSeconds": 60});
    let target = json!({"route": "lockstore||volume", "id": id});
    let dapr = |path: &str| sidecar.ask(&Who::System, "POST", path).json(&body);
    let admin = |method: &str, path: &str| sidecar.ask(&editor("alice"), method, path).json(&target);
    assert_says(&dapr(LOCK).send().await, YES);
    assert_eq!(admin("POST", "/admin/lock").send().await.status, 409);
    assert_eq!(admin("DELETE", "/admin/remove-lock").send().await.status, 403);
    assert_says(&dapr(UNLOCK).send().await, r#"{"status":0}"#);
    assert_eq!(admin("POST", "/admin/lock").send().await.status, 200);
    assert_says(&dapr(LOCK).send().await, NO);
}

#[tokio::test]
async fn a_user_of_the_owners_name_is_another_owner() {
    let sidecar = Sidecar::who_knows(&TestRedis::shared().url(), &[]).await;
    let name = unique("kinds");
    let lease = json!({"key": format!("lockstore||{name}"), "leasePeriod": 60});
    let created = sidecar.ask(&editor("alice"), "POST", "/cmn/leasable-locks").json(&lease).send().await;
    assert_eq!(created.status, 201);
    let body = json!({"resourceId": name, "lockOwner": "alice"});
    let unlocked = sidecar.ask(&Who::System, "POST", UNLOCK).json(&body).send().await;
    assert_says(&unlocked, r#"{"status":2}"#);
}

#[tokio::test]
async fn an_unlock_hands_over_to_the_first_in_line() {
    let (sidecar, name) = (sidecar().await, unique("line"));
    let path = format!("/v1/locks/lockstore%7C%7C{name}");
    assert_says(&try_lock(&sidecar, &name, "web-1", 60).send().await, YES);
    let waits = sidecar.call("POST", &path).json(&json!({"owner": "w", "waitMs": 20_000})).send();
    let frees = async {
        eventually("it waits", Duration::from_secs(10), async || {
            sidecar.call("GET", &path).send().await.json()["waiters"] == 1
        })
        .await;
        assert_says(&unlock(&sidecar, &name, "web-1").send().await, r#"{"status":0}"#);
    };
    let (granted, ()) = tokio::join!(waits, frees);
    assert_eq!(granted.status, 201, "{}", granted.text());
    assert_says(&try_lock(&sidecar, &name, "web-1", 60).send().await, NO);
}
