//! `ttlMs`: what it may be, and what counts without it.

use serde_json::json;

use super::{Native, Who, assert_problem, expires_ms, left_ms, path, token_of};
use crate::harness::unique;

/// JSON texts that are no ttl where at most 5000 ms are allowed.
const BAD: [&str; 22] = [
    "0",
    "-1",
    "9",
    "5001",
    "1.5",
    "1000.0",
    "1e3",
    "1e999",
    "-0",
    "\"1000\"",
    "\"\"",
    "null",
    "true",
    "[]",
    "[1000]",
    "{}",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "99999999999999999999999999",
];

#[tokio::test]
async fn what_is_no_ttl_is_400_with_the_range_and_changes_nothing() {
    let native = Native::start(&["--max-ttl=5s", "--default-ttl=4s", "--admin-ttl=5s"]).await;
    let (free, held) = (unique("free"), unique("held"));
    let token = token_of(&native.granted_for(&Who::System, &held, 5000).await);
    let until = expires_ms(&held);
    for bad in BAD {
        let body = format!("{{\"ttlMs\":{bad}}}");
        for (method, path) in [("POST", path(&free)), ("PUT", format!("{}?token={token}", path(&held)))] {
            let answer = native.ask(&Who::System, method, &path).body(body.clone()).send().await;
            assert_problem(&answer, 400, "bad-request");
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(["ttlMs", "10", "5000"].iter().all(|word| detail.contains(word)), "{bad}: {detail}");
        }
    }
    assert!(native.is_free(&free).await);
    assert_eq!(expires_ms(&held), until);
}

#[tokio::test]
async fn ttls_reach_from_10_ms_to_the_cap() {
    let native = Native::start(&["--max-ttl=5s", "--default-ttl=4s", "--admin-ttl=5s"]).await;
    let key = unique("cap");
    let longest = native.granted_for(&Who::System, &key, 5000).await;
    assert_eq!(longest["ttlMs"], 5000);
    assert_eq!(native.renew(&Who::System, &key, token_of(&longest), &json!({"ttlMs": 5000})).await.status, 200);
    let shortest = native.acquire(&Who::System, &unique("floor"), &json!({"ttlMs": 10})).await;
    match shortest.status {
        201 => assert!(left_ms(&shortest.json()) < 10 - 3, "{}", shortest.text()),
        // A busy machine may well take so long.
        _ => assert_problem(&shortest, 503, "too-late"),
    }
}

#[tokio::test]
async fn without_a_ttl_the_default_counts() {
    let native = Native::start(&["--default-ttl=7s"]).await;
    let call = |key: &str| native.ask(&Who::System, "POST", &path(key));
    for answer in [
        call(&unique("default")).send().await,
        call(&unique("default")).body("{}").send().await,
        call(&unique("default")).json(&json!({"owner": "web-3"})).send().await,
    ] {
        assert_eq!((answer.status, &answer.json()["ttlMs"]), (201, &json!(7000)), "{}", answer.text());
        assert!((5000..7000).contains(&left_ms(&answer.json())));
    }
    let plain = Native::start(&[]).await;
    assert_eq!(plain.acquire(&Who::System, &unique("default"), &json!({})).await.json()["ttlMs"], 30_000);
}
