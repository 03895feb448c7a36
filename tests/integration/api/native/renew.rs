//! `PUT`: a renewal sets the remaining time, and a lease that has ended is lost.

use std::time::Duration;

use serde_json::json;

use super::{Native, Who, assert_done, assert_problem, expires_ms, fields, left_ms, ms, path, reader, token_of};
use crate::harness::{TestRedis, eventually, unique};

/// Redis's clock, milliseconds since 1970.
fn redis_now_ms() -> i64 {
    let (seconds, micros): (i64, i64) = TestRedis::shared().ask("TIME", &[]);
    seconds * 1000 + micros / 1000
}

#[tokio::test]
async fn a_renewal_sets_the_remaining_time_and_never_adds() {
    let native = Native::start(&[]).await;
    let (key, alice) = (unique("renew"), reader("alice"));
    let lease = native.granted_for(&alice, &key, 60_000).await;
    for ttl_ms in [90_000, 5_000, 5_000, 90_000] {
        let before = redis_now_ms();
        let answer = native.renew(&alice, &key, token_of(&lease), &json!({"ttlMs": ttl_ms})).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        let renewed = answer.json();
        assert!((before + ttl_ms..=redis_now_ms() + ttl_ms).contains(&expires_ms(&key)), "{ttl_ms} from now");
        assert_eq!(fields(&renewed), ["key", "mode", "owner", "token", "ttlMs", "validForMs", "validUntil"]);
        assert_eq!(
            (&renewed["key"], &renewed["token"], &renewed["owner"]),
            (&lease["key"], &lease["token"], &lease["owner"])
        );
        assert_eq!(ms(&renewed["validUntil"]), expires_ms(&key));
        assert!(left_ms(&renewed) < (ttl_ms - ttl_ms / 100 - 2) as u64, "less the drift: {renewed}");
    }
}

#[tokio::test]
async fn without_a_ttl_the_leases_own_counts() {
    let native = Native::start(&["--default-ttl=7s"]).await;
    let key = unique("own");
    let lease = native.granted_for(&Who::System, &key, 60_000).await;
    let path = format!("{}?token={}", path(&key), token_of(&lease));
    for body in ["", "{}", " { } "] {
        native.renew(&Who::System, &key, token_of(&lease), &json!({"ttlMs": 5000})).await;
        let before = redis_now_ms();
        let answer = native.ask(&Who::System, "PUT", &path).body(body).send().await;
        assert_eq!((answer.status, &answer.json()["ttlMs"]), (200, &json!(60_000)), "{body}: {}", answer.text());
        assert!((before + 60_000..=redis_now_ms() + 60_000).contains(&expires_ms(&key)));
    }
}

#[tokio::test]
async fn a_lease_that_ended_is_lost_however_it_ended() {
    let native = Native::start(&[]).await;
    let alice = reader("alice");
    let (expired, released, forced, superseded) =
        (unique("expired"), unique("released"), unique("forced"), unique("superseded"));
    let mut tokens = Vec::new();
    for (key, ttl_ms) in [(&expired, 300), (&released, 60_000), (&forced, 60_000), (&superseded, 60_000)] {
        tokens.push(token_of(&native.granted_for(&alice, key, ttl_ms).await));
    }
    assert_eq!(native.renew(&alice, &expired, tokens[0], &json!({"ttlMs": 300})).await.status, 200, "while it lives");
    eventually("the lease ends", Duration::from_secs(4), async || native.is_free(&expired).await).await;
    assert_done(&native.release(&alice, &released, tokens[1]).await);
    assert_done(&native.force(&Who::System, &forced).await);
    assert_done(&native.release(&alice, &superseded, tokens[3]).await);
    let newer = token_of(&native.granted(&alice, &superseded).await);
    for (key, token) in [&expired, &released, &forced, &superseded].into_iter().zip(tokens) {
        for body in [json!({}), json!({"ttlMs": 1000})] {
            assert_problem(&native.renew(&alice, key, token, &body).await, 410, "lost");
        }
    }
    assert_eq!(native.fence(&alice, &superseded, newer).await.status, 200, "the newer lease is as it was");
    assert!(native.is_free(&expired).await, "not made anew");
}

#[tokio::test]
async fn a_renewal_needs_a_token_and_a_good_body() {
    let native = Native::start(&[]).await;
    let key = unique("bad");
    let lease = native.granted(&Who::System, &key).await;
    let until = expires_ms(&key);
    for query in ["", "?token=", "?token=x", "?token=1.5", "?token=9223372036854775808", "?Token=7"] {
        let answer = native.ask(&Who::System, "PUT", &format!("{}{query}", path(&key))).send().await;
        assert_problem(&answer, 400, "bad-request");
    }
    let with_token = format!("{}?token={}", path(&key), token_of(&lease));
    for body in ["{", "[]", "5", "null", "\"x\""] {
        let answer = native.ask(&Who::System, "PUT", &with_token).body(body).send().await;
        assert_problem(&answer, 400, "bad-request");
    }
    for impossible in [0, -1, i64::MAX, i64::MIN, 1 << 53] {
        assert_problem(&native.renew(&Who::System, &key, impossible, &json!({})).await, 410, "lost");
    }
    assert_eq!(expires_ms(&key), until);
}
