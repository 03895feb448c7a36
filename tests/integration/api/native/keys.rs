//! Keys in the path: percent-decoded once, and checked.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::{Native, Who, assert_done, assert_problem, expires_ms, path, token_of};
use crate::harness::unique;

fn encoded(key: &str) -> String {
    utf8_percent_encode(key, NON_ALPHANUMERIC).to_string()
}

#[tokio::test]
async fn a_key_is_percent_decoded_once_in_every_route() {
    let native = Native::start(&[]).await;
    for (spelled, meant) in [
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("%25", "%"),
        ("a%3Ab", "a:b"),
        ("a:b", "a:b"),
        ("%252F", "%2F"),
        ("a+b", "a+b"),
        ("a%20b", "a b"),
        ("%C3%A9%E2%82%AC%F0%9F%94%92", "é€🔒"),
        ("x%2Ffence", "x/fence"),
        ("%7Bx%7D", "{x}"),
        ("%3Ftoken=1%23", "?token=1#"),
        ("100%", "100%"),
        ("%zz", "%zz"),
        ("..", ".."),
        ("%61%62c", "abc"),
    ] {
        let unique = unique("key");
        let (spelled, meant) = (format!("{unique}-{spelled}"), format!("{unique}-{meant}"));
        let lease = native.granted(&Who::System, &spelled).await;
        assert_eq!(lease["key"], json!(meant), "{spelled}");
        assert!(expires_ms(&meant) > 0, "{spelled}");
        for spelled in [spelled, encoded(&meant)] {
            assert_eq!(native.look(&spelled).await["key"], json!(meant), "{spelled}");
            assert_problem(&native.acquire(&Who::System, &spelled, &json!({})).await, 409, "held");
            assert_eq!(native.fence(&Who::System, &spelled, token_of(&lease)).await.json()["key"], json!(meant));
            assert_eq!(native.renew(&Who::System, &spelled, token_of(&lease), &json!({})).await.status, 200);
        }
        let canonical = encoded(&meant);
        assert_eq!(native.list(&format!("prefix={canonical}")).await.json()["locks"][0]["key"], json!(meant));
        assert_done(&native.release(&Who::System, &canonical, token_of(&lease)).await);
    }
}

#[tokio::test]
async fn what_is_no_key_is_400_in_every_route() {
    let native = Native::start(&[]).await;
    let too_long = "x".repeat(513);
    let too_long_in_bytes = format!("{}x", "%C3%A9".repeat(256));
    let bad = ["", "%00", "a%0Ab", "%7F", "%C2%85", "%09", "%FF", "a%C3", "%ED%A0%80", &too_long, &too_long_in_bytes];
    for key in bad {
        for (method, path) in [
            ("POST", path(key)),
            ("GET", path(key)),
            ("PUT", format!("{}?token=7", path(key))),
            ("DELETE", format!("{}?token=7", path(key))),
            ("DELETE", format!("{}?force=true", path(key))),
            ("GET", format!("{}/fence?token=7", path(key))),
        ] {
            let answer = native.ask(&Who::System, method, &path).send().await;
            assert_problem(&answer, 400, "bad-request");
            assert!(answer.json()["detail"].as_str().unwrap().contains("key"), "{}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_key_may_have_512_bytes() {
    let native = Native::start(&[]).await;
    let unique = unique("long");
    let rest = 512 - unique.len();
    for key in ["x".repeat(rest), format!("{}{}", "%C3%A9".repeat(rest / 2), "x".repeat(rest % 2))] {
        let lease = native.granted(&Who::System, &format!("{unique}{key}")).await;
        assert_eq!(lease["key"].as_str().unwrap().len(), 512);
    }
}
