//! `GET …/fence`: whether the lease of a token holds the key now.

use std::time::Duration;

use serde_json::json;

use super::{Native, Who, assert_done, assert_problem, path, reader, token_of};
use crate::harness::{Answer, eventually, unique};

/// The token that a refusal names.
#[track_caller]
fn fenced_by(answer: &Answer) -> Option<u64> {
    assert_problem(answer, 409, "lost");
    answer.json().get("token").map(|token| token.as_u64().expect("a token"))
}

#[tokio::test]
async fn a_token_passes_while_its_lease_holds_the_key_whoever_asks() {
    let native = Native::start(&[]).await;
    let key = unique("passes");
    let token = token_of(&native.granted(&reader("alice"), &key).await);
    for who in [reader("alice"), reader("bob"), Who::System] {
        let answer = native.fence(&who, &key, token).await;
        assert_eq!((answer.status, answer.json()), (200, json!({"key": key, "token": token})));
    }
    native.renew(&reader("alice"), &key, token, &json!({})).await;
    assert_eq!(native.fence(&Who::System, &key, token).await.status, 200, "renewed");
}

#[tokio::test]
async fn another_token_is_409_with_the_one_that_holds_the_key() {
    let native = Native::start(&[]).await;
    let (key, alice) = (unique("fenced"), reader("alice"));
    let first = token_of(&native.granted(&alice, &key).await);
    assert_done(&native.release(&alice, &key, first).await);
    assert_eq!(fenced_by(&native.fence(&alice, &key, first).await), None, "free");

    let second = token_of(&native.granted(&reader("bob"), &key).await);
    for stale in [first, first - 64, second + 64, 1] {
        assert_eq!(fenced_by(&native.fence(&alice, &key, stale).await), Some(second));
    }
    for impossible in [0, -1, i64::MIN, i64::MAX, 1 << 53] {
        assert_eq!(fenced_by(&native.fence(&alice, &key, impossible).await), Some(second), "{impossible}");
    }
    assert_done(&native.force(&Who::System, &key).await);
    assert_eq!(fenced_by(&native.fence(&alice, &key, second).await), None, "taken away");
}

#[tokio::test]
async fn an_expired_lease_passes_no_more() {
    let native = Native::start(&[]).await;
    let key = unique("expired");
    let token = token_of(&native.granted_for(&Who::System, &key, 300).await);
    eventually("the lease ends", Duration::from_secs(4), async || native.is_free(&key).await).await;
    assert_eq!(fenced_by(&native.fence(&Who::System, &key, token).await), None);
}

#[tokio::test]
async fn a_token_of_another_key_does_not_pass() {
    let native = Native::start(&[]).await;
    let (a, b) = (unique("a"), unique("b"));
    let token = token_of(&native.granted(&Who::System, &a).await);
    assert_eq!(fenced_by(&native.fence(&Who::System, &b, token).await), None);
}

#[tokio::test]
async fn what_is_no_integer_is_400() {
    let native = Native::start(&[]).await;
    let fence = format!("{}/fence", path(&unique("bad")));
    for query in ["", "?token=", "?token=x", "?token=1.5", "?token=9223372036854775808", "?token=1e3", "?tokens=1"] {
        let answer = native.ask(&Who::System, "GET", &format!("{fence}{query}")).send().await;
        assert_problem(&answer, 400, "bad-request");
    }
}
