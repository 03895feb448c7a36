//! `Idempotency-Key`: the name of an attempt, of one principal at one key.

use std::time::Duration;

use serde_json::json;

use super::{Native, Who, assert_done, assert_problem, expires_ms, left_ms, path, reader, token_of};
use crate::harness::{Sidecar, TestRedis, eventually, unique};

#[tokio::test]
async fn repeated_it_is_the_same_lease_and_not_renewed() {
    let native = Native::start(&[]).await;
    for (who, body) in
        [(reader("alice"), json!({"ttlMs": 60_000})), (Who::System, json!({"ttlMs": 60_000, "owner": "web-3"}))]
    {
        let (key, name) = (unique("repeated"), unique("name"));
        let first = native.attempt(&who, &key, &name, &body).await;
        assert_eq!(first.status, 201, "{}", first.text());
        let (lease, until) = (first.json(), expires_ms(&key));
        let mut longer = body.clone();
        longer["ttlMs"] = json!(90_000);
        for body in [&body, &longer, &body] {
            let again = native.attempt(&who, &key, &name, body).await;
            assert_eq!(again.status, 200, "{}", again.text());
            let mut again = again.json();
            // An answer that takes less time than the first one's promises a little more.
            assert!(left_ms(&again) <= left_ms(&lease) + 500, "{again} after {lease}");
            again["validForMs"] = lease["validForMs"].clone();
            assert_eq!(again, lease);
            assert_eq!(expires_ms(&key), until);
        }
        assert_done(&native.release(&who, &key, token_of(&lease)).await);
    }
}

#[tokio::test]
async fn it_may_be_repeated_at_another_sidecar() {
    let (native, elsewhere) = (Native::start(&[]).await, Native::start(&[]).await);
    for who in [reader("alice"), Who::System] {
        let (key, name) = (unique("elsewhere"), unique("name"));
        let body = json!({"owner": "web-3"});
        let first = native.attempt(&who, &key, &name, &body).await.json();
        let again = elsewhere.attempt(&who, &key, &name, &body).await;
        assert_eq!((again.status, &again.json()["token"]), (200, &first["token"]), "{}", again.text());
        assert_eq!(again.json()["validUntil"], first["validUntil"]);
    }
}

#[tokio::test]
async fn another_name_is_another_attempt_of_the_same_owner() {
    let native = Native::start(&[]).await;
    for who in [reader("alice"), Who::System] {
        let (key, body) = (unique("other"), json!({"owner": "web-3"}));
        native.attempt(&who, &key, "n-1", &body).await;
        for name in ["n-2", "n-", "n-11", "N-1"] {
            assert_problem(&native.attempt(&who, &key, name, &body).await, 409, "held");
        }
        assert_problem(&native.acquire(&who, &key, &body).await, 409, "held");
        assert_eq!(native.attempt(&who, &key, "n-1", &body).await.status, 200);
    }
}

#[tokio::test]
async fn one_name_of_two_principals_is_two_attempts() {
    let native = Native::start(&[]).await;
    let key = unique("principals");
    native.attempt(&reader("alice"), &key, "n-1", &json!({})).await;
    assert_problem(&native.attempt(&reader("bob"), &key, "n-1", &json!({})).await, 409, "held");
    let system = json!({"owner": "alice"});
    assert_problem(&native.attempt(&Who::System, &key, "n-1", &system).await, 409, "held");
}

#[tokio::test]
async fn one_name_at_two_keys_is_two_attempts() {
    let native = Native::start(&[]).await;
    let (a, b, name) = (unique("a"), unique("b"), unique("name"));
    let body = json!({"owner": "web-3"});
    let first = native.attempt(&Who::System, &a, &name, &body).await;
    let second = native.attempt(&Who::System, &b, &name, &body).await;
    assert_eq!((first.status, second.status), (201, 201));
    assert_ne!(first.json()["token"], second.json()["token"]);
}

#[tokio::test]
async fn after_its_end_it_is_an_ordinary_attempt() {
    let native = Native::start(&[]).await;
    let alice = reader("alice");
    let attempt = async |key: &str, ttl_ms: u64| native.attempt(&alice, key, "n-1", &json!({"ttlMs": ttl_ms})).await;
    let (released, forced, expired) = (unique("released"), unique("forced"), unique("expired"));
    let tokens = [
        token_of(&attempt(&released, 60_000).await.json()),
        token_of(&attempt(&forced, 60_000).await.json()),
        token_of(&attempt(&expired, 300).await.json()),
    ];
    assert_done(&native.release(&alice, &released, tokens[0]).await);
    assert_done(&native.force(&Who::System, &forced).await);
    eventually("the lease ends", Duration::from_secs(4), async || native.is_free(&expired).await).await;
    for (key, token) in [&released, &forced, &expired].into_iter().zip(tokens) {
        let again = attempt(key, 60_000).await;
        assert_eq!(again.status, 201, "{}", again.text());
        assert!(token_of(&again.json()) > token);
    }
    let taken = unique("taken");
    let token = token_of(&attempt(&taken, 60_000).await.json());
    assert_done(&native.release(&alice, &taken, token).await);
    native.granted(&reader("bob"), &taken).await;
    assert_problem(&attempt(&taken, 60_000).await, 409, "held");
}

#[tokio::test]
async fn an_attempt_without_a_name_is_never_repeated() {
    let native = Native::start(&[]).await;
    let (key, body) = (unique("nameless"), json!({"owner": "web-3"}));
    assert_eq!(native.acquire(&Who::System, &key, &body).await.status, 201);
    assert_problem(&native.acquire(&Who::System, &key, &body).await, 409, "held");
}

#[tokio::test]
async fn a_renewed_lease_is_told_with_what_is_left_of_it() {
    let native = Native::start(&[]).await;
    let key = unique("renewed");
    let body = json!({"ttlMs": 60_000, "owner": "web-3"});
    let lease = native.attempt(&Who::System, &key, "n-1", &body).await.json();
    native.renew(&Who::System, &key, token_of(&lease), &json!({"ttlMs": 5000})).await;
    let again = native.attempt(&Who::System, &key, "n-1", &body).await;
    assert_eq!((again.status, &again.json()["token"]), (200, &lease["token"]));
    assert!(left_ms(&again.json()) < 5000, "{}", again.text());
}

#[tokio::test]
async fn a_service_caller_who_names_an_attempt_names_its_owner() {
    let anonymous = Native(Sidecar::start(TestRedis::shared(), &[]).await);
    let native = Native::start(&[]).await;
    for (native, who) in [(&native, Who::System), (&anonymous, Who::Nobody)] {
        let key = unique("ownerless");
        for path in [path(&key), format!("{}/hold", path(&key))] {
            for body in [json!({}), json!({"waitMs": 1000, "ttlMs": 60_000})] {
                let call = native.ask(&who, "POST", &path).header("idempotency-key", "n-1").json(&body);
                let answer = call.send().await;
                assert_problem(&answer, 400, "bad-request");
                for word in ["Idempotency-Key", "`owner`"] {
                    assert!(answer.text().contains(word), "{word}: {}", answer.text());
                }
            }
        }
        assert_eq!(native.ask(&who, "GET", &path(&key)).send().await.json()["state"], "free");
        // Two of one name, and no name of their own: only one of them has it.
        for (owner, status) in [("web-3", 201), ("web-4", 409), ("web-3", 200)] {
            assert_eq!(native.attempt(&who, &key, "n-1", &json!({"owner": owner})).await.status, status, "{owner}");
        }
    }
    assert_eq!(native.attempt(&reader("alice"), &unique("user"), "n-1", &json!({})).await.status, 201);
}
