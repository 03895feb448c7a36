//! `POST` and `GET` of a key: who gets it, what the answer says, and what it says to others.

use std::time::Duration;

use serde_json::json;

use super::{
    Native, Who, assert_done, assert_problem, editor, expires_ms, fields, left_ms, ms, path, reader, token_of,
};
use crate::harness::{eventually, unique};

#[tokio::test]
async fn a_lease_has_the_fields_of_the_contract_and_no_others() {
    let native = Native::start(&[]).await;
    for (who, body, owner) in [
        (reader("alice"), json!({"ttlMs": 30_000}), "alice"),
        (Who::System, json!({"ttlMs": 30_000, "owner": "web-3"}), "web-3"),
    ] {
        let key = unique("lease");
        let answer = native.acquire(&who, &key, &body).await;
        assert_eq!((answer.status, answer.header("content-type")), (201, Some("application/json")));
        let lease = answer.json();
        assert_eq!(fields(&lease), ["key", "mode", "owner", "token", "ttlMs", "validForMs", "validUntil"]);
        assert_eq!((&lease["key"], &lease["owner"], &lease["ttlMs"]), (&json!(key), &json!(owner), &json!(30_000)));
        assert!((1..1 << 53).contains(&token_of(&lease)), "{lease}");
        assert_eq!(ms(&lease["validUntil"]), expires_ms(&key), "Redis's own expiry");
        assert!((20_000..=30_000 - 302 - 1).contains(&left_ms(&lease)), "less the drift: {lease}");
    }
}

#[tokio::test]
async fn an_owner_that_is_not_named_is_named_for_the_request() {
    let native = Native::start(&[]).await;
    let names: Vec<String> = [
        native.granted(&Who::System, &unique("nameless")).await,
        native.granted(&Who::System, &unique("nameless")).await,
    ]
    .iter()
    .map(|lease| lease["owner"].as_str().unwrap().to_owned())
    .collect();
    assert!(!names[0].is_empty() && names[0] != names[1], "{names:?}");
}

#[tokio::test]
async fn a_held_key_is_409_with_its_holder_and_when_to_come_again() {
    let native = Native::start(&[]).await;
    for (holder, kind, owner, ttl_ms) in
        [(reader("alice"), "user", "alice", 4500), (Who::System, "system", "web-3", 700)]
    {
        let key = unique("held");
        let body = json!({"ttlMs": ttl_ms, "owner": "web-3", "meta": {"job": 7}});
        let lease = native.acquire(&holder, &key, &body).await.json();
        for other in [reader("bob"), Who::System, holder] {
            let answer = native.acquire(&other, &key, &json!({"owner": "web-4"})).await;
            assert_problem(&answer, 409, "held");
            let held = &answer.json()["holder"];
            assert_eq!(
                fields(held),
                ["kind", "meta", "mode", "owner", "since", "token", "ttlMs", "validForMs", "validUntil"]
            );
            assert_eq!(
                (&held["kind"], &held["owner"], &held["meta"]),
                (&json!(kind), &json!(owner), &json!({"job": 7}))
            );
            assert_eq!((&held["token"], &held["validUntil"]), (&lease["token"], &lease["validUntil"]));
            assert_eq!(ms(&held["validUntil"]) - ms(&held["since"]), ttl_ms);
            assert!(left_ms(held) <= ttl_ms as u64, "{held}");
            let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert_eq!(seconds, left_ms(held).div_ceil(1000).max(1), "whole seconds, rounded up, at least 1");
            assert!(answer.json()["detail"].as_str().unwrap().contains(owner));
        }
    }
}

#[tokio::test]
async fn get_says_free_or_who_holds_it() {
    let native = Native::start(&[]).await;
    let key = unique("look");
    let free = native.look(&key).await;
    assert_eq!((&free["key"], &free["state"], free.get("holder")), (&json!(key), &json!("free"), None));

    let lease = native.acquire(&reader("alice"), &key, &json!({"ttlMs": 30_000, "meta": [1]})).await.json();
    let held = native.look(&key).await;
    assert_eq!((&held["key"], &held["state"]), (&json!(key), &json!("held")));
    let holder = &held["holder"];
    assert_eq!(
        fields(holder),
        ["kind", "meta", "mode", "owner", "since", "token", "ttlMs", "validForMs", "validUntil"]
    );
    assert_eq!((&holder["owner"], &holder["kind"], &holder["meta"]), (&json!("alice"), &json!("user"), &json!([1])));
    assert_eq!((&holder["token"], &holder["validUntil"]), (&lease["token"], &lease["validUntil"]));
    assert_eq!(ms(&holder["since"]), ms(&holder["validUntil"]) - 30_000);
    assert!((20_000..=30_000).contains(&left_ms(holder)));

    assert_done(&native.release(&reader("alice"), &key, token_of(&lease)).await);
    assert!(native.is_free(&key).await);
}

#[tokio::test]
async fn a_lease_without_meta_has_a_meta_of_null() {
    let native = Native::start(&[]).await;
    let key = unique("plain");
    native.granted(&Who::System, &key).await;
    assert!(native.look(&key).await["holder"]["meta"].is_null());
}

#[tokio::test]
async fn what_expired_is_free_and_granted_with_a_higher_token() {
    let native = Native::start(&[]).await;
    let key = unique("short");
    let first = native.granted_for(&reader("alice"), &key, 300).await;
    assert_problem(&native.acquire(&reader("bob"), &key, &json!({})).await, 409, "held");
    eventually("the lease ends", Duration::from_secs(4), async || native.is_free(&key).await).await;
    let second = native.granted(&reader("bob"), &key).await;
    assert!(token_of(&second) > token_of(&first), "{second} after {first}");
}

#[tokio::test]
async fn every_dialect_sees_one_key_space() {
    let native = Native::start(&[]).await;
    let (alice, id) = (editor("alice"), unique("one"));
    let volume = json!({"route": "volume", "id": id});
    assert_eq!(native.ask(&alice, "POST", "/admin/lock").json(&volume).send().await.status, 200);
    let key = format!("volume:{id}");
    assert_eq!(native.look(&key).await["holder"]["owner"], "alice");
    assert_problem(&native.acquire(&Who::System, &key, &json!({})).await, 409, "held");
    let token = token_of(&native.look(&key).await["holder"]);
    assert_done(&native.release(&alice, &key, token).await);
    native.granted(&reader("bob"), &key).await;
    assert_eq!(native.ask(&alice, "POST", "/admin/lock").json(&volume).send().await.status, 409);
}

#[tokio::test]
async fn other_methods_and_paths_are_problems_too() {
    let native = Native::start(&[]).await;
    let key = unique("routes");
    for (method, path, allow) in [
        ("PATCH", path(&key), "GET, HEAD, POST, PUT, DELETE"),
        ("POST", "/v1/locks".to_owned(), "GET, HEAD"),
        ("DELETE", format!("{}/fence", path(&key)), "GET, HEAD"),
    ] {
        let answer = native.ask(&Who::System, method, &path).send().await;
        assert_problem(&answer, 405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
    for path in ["/v1", "/v1/lock/a", "/v1/locks/a/b", "/api/v1/locks", "/v2/locks"] {
        assert_problem(&native.ask(&Who::System, "GET", path).send().await, 404, "not-found");
    }
}
