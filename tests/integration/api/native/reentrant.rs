//! `reentrant`: an owner who comes again gets the lease it has.

use serde_json::{Value, json};

use super::{Native, Who, assert_done, assert_problem, expires_ms, left_ms, path, reader, token_of};
use crate::harness::{Answer, unique};

/// A reentrant acquire of a user, or of the system owner `web-3`.
async fn enter(native: &Native, who: &Who, key: &str, ttl_ms: u64) -> Answer {
    native.acquire(who, key, &json!({"ttlMs": ttl_ms, "owner": "web-3", "reentrant": true})).await
}

#[tokio::test]
async fn the_same_owner_gets_the_same_lease_and_one_release_frees_it() {
    let native = Native::start(&[]).await;
    for who in [reader("alice"), Who::System] {
        let key = unique("again");
        let first = enter(&native, &who, &key, 60_000).await;
        assert_eq!(first.status, 201, "{}", first.text());
        let lease = first.json();
        for _ in 0..3 {
            let again = enter(&native, &who, &key, 60_000).await;
            assert_eq!((again.status, &again.json()["token"]), (200, &lease["token"]), "{}", again.text());
            assert_eq!(again.json()["owner"], lease["owner"]);
        }
        assert_done(&native.release(&who, &key, token_of(&lease)).await);
        assert!(native.is_free(&key).await, "there is no count");
    }
}

#[tokio::test]
async fn a_longer_ttl_lengthens_the_lease_and_a_shorter_one_leaves_it() {
    let native = Native::start(&[]).await;
    let key = unique("ttl");
    enter(&native, &Who::System, &key, 60_000).await;
    let until = expires_ms(&key);

    let shorter = enter(&native, &Who::System, &key, 5_000).await.json();
    assert_eq!((&shorter["ttlMs"], expires_ms(&key)), (&json!(60_000), until));
    assert!((40_000..60_000 - 602).contains(&left_ms(&shorter)), "{shorter}");

    let longer = enter(&native, &Who::System, &key, 90_000).await.json();
    assert_eq!(longer["ttlMs"], 90_000);
    assert!(expires_ms(&key) >= until + 29_000);
    assert!((70_000..90_000 - 902).contains(&left_ms(&longer)), "{longer}");

    native.renew(&Who::System, &key, token_of(&longer), &json!({"ttlMs": 1000})).await;
    let renewed = native.renew(&Who::System, &key, token_of(&longer), &json!({})).await.json();
    assert!(left_ms(&renewed) > 70_000, "the longer ttl is the lease's own now: {renewed}");
}

#[tokio::test]
async fn without_reentrant_an_owner_that_has_the_key_is_told_that_it_is_held() {
    let native = Native::start(&[]).await;
    for who in [reader("alice"), Who::System] {
        let key = unique("not reentrant").replace(' ', "-");
        let lease = native.acquire(&who, &key, &json!({"owner": "web-3"})).await.json();
        let until = expires_ms(&key);
        for body in [json!({"owner": "web-3"}), json!({"owner": "web-3", "reentrant": false})] {
            assert_problem(&native.acquire(&who, &key, &body).await, 409, "held");
        }
        assert_eq!(expires_ms(&key), until);
        let again = enter(&native, &who, &key, 60_000).await;
        assert_eq!((again.status, &again.json()["token"]), (200, &lease["token"]), "how it was taken does not matter");
    }
}

#[tokio::test]
async fn another_owner_is_told_that_it_is_held() {
    let native = Native::start(&[]).await;
    let key = unique("other");
    enter(&native, &Who::System, &key, 60_000).await;
    let other = json!({"owner": "web-4", "reentrant": true});
    assert_problem(&native.acquire(&Who::System, &key, &other).await, 409, "held");
    assert_problem(&enter(&native, &reader("web-3"), &key, 60_000).await, 409, "held");
    assert_problem(&enter(&native, &reader("alice"), &key, 60_000).await, 409, "held");
}

#[tokio::test]
async fn it_needs_a_user_or_an_owner_that_was_given() {
    let native = Native::start(&[]).await;
    let key = unique("nameless");
    let nameless = json!({"reentrant": true});
    assert_problem(&native.acquire(&Who::System, &key, &nameless).await, 400, "bad-request");
    assert_problem(&native.attempt(&Who::System, &key, "n-1", &nameless).await, 400, "bad-request");
    assert!(native.is_free(&key).await);
    assert_eq!(native.acquire(&reader("alice"), &key, &nameless).await.status, 201);
}

#[tokio::test]
async fn the_meta_of_the_first_stays() {
    let native = Native::start(&[]).await;
    let key = unique("meta");
    let body = |meta: Value| json!({"owner": "web-3", "reentrant": true, "meta": meta});
    native.acquire(&Who::System, &key, &body(json!("first"))).await;
    assert_eq!(native.acquire(&Who::System, &key, &body(json!("second"))).await.status, 200);
    assert_eq!(native.look(&key).await["holder"]["meta"], "first");
}

#[tokio::test]
async fn a_released_lease_is_not_entered_again() {
    let native = Native::start(&[]).await;
    let key = unique("released");
    let first = enter(&native, &Who::System, &key, 60_000).await.json();
    let path = format!("{}?token={}", path(&key), token_of(&first));
    assert_done(&native.ask(&Who::System, "DELETE", &path).send().await);
    let second = enter(&native, &Who::System, &key, 60_000).await;
    assert_eq!(second.status, 201);
    assert!(token_of(&second.json()) > token_of(&first));
}
