//! Bodies and headers of an acquire: what they may be.

use serde_json::json;

use super::{Native, Who, assert_problem, path, reader, without_id};
use crate::harness::{http, unique};

#[tokio::test]
async fn bodies_that_are_no_object_of_the_right_types_are_refused() {
    let native = Native::start(&[]).await;
    let key = unique("bad");
    for body in [
        "{",
        "null",
        "5",
        "\"text\"",
        "[]",
        "[30000]",
        "{\"ttlMs\":30000}x",
        "{\"ttlMs\":30000,\"ttlMs\":30000}",
        "{\"owner\":7}",
        "{\"owner\":[\"web-3\"]}",
        "{\"reentrant\":\"true\"}",
        "{\"reentrant\":1}",
        "{\"meta\":}",
        "{\"meta\":NaN}",
        "{\"meta\":'x'}",
    ] {
        let answer = native.ask(&Who::System, "POST", &path(&key)).body(body).send().await;
        assert_problem(&answer, 400, "bad-request");
    }
    let not_utf8 = native.ask(&Who::System, "POST", &path(&key)).body(&b"{\"owner\":\"\xff\"}"[..]).send().await;
    assert_problem(&not_utf8, 400, "bad-request");
    assert!(native.is_free(&key).await);
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let native = Native::start(&[]).await;
    let body = json!({"ttlMs": 20_000, "colour": "red", "token": 7, "key": "other", "kind": "user"});
    let answer = native.acquire(&Who::System, &unique("unknown"), &body).await;
    assert_eq!((answer.status, &answer.json()["ttlMs"]), (201, &json!(20_000)), "{}", answer.text());
}

#[tokio::test]
async fn a_body_of_16_kib_is_read_and_one_byte_more_is_too_large() {
    let native = Native::start(&[]).await;
    let padded = |length: usize| format!("{:<length$}", json!({"ttlMs": 20_000}).to_string());
    let post = || native.call("POST", &path(&unique("large"))[..]).bearer(super::API_TOKEN);
    assert_eq!(post().body(padded(16 * 1024)).send().await.status, 201);
    assert_problem(&post().body(padded(16 * 1024 + 1)).send().await, 413, "too-large");
}

#[tokio::test]
async fn an_owner_has_1_to_256_bytes_without_control_characters() {
    let native = Native::start(&[]).await;
    let (ascii, two_bytes) = ("x".repeat(256), "é".repeat(128));
    for owner in [ascii.as_str(), &two_bytes, "a b", "\"quoted\\\"", "web-3"] {
        let answer = native.acquire(&Who::System, &unique("owner"), &json!({"owner": owner})).await;
        assert_eq!((answer.status, &answer.json()["owner"]), (201, &json!(owner)), "{}", answer.text());
    }
    let (ascii, two_bytes) = ("x".repeat(257), "é".repeat(129));
    for owner in ["", &ascii, &two_bytes, "a\nb", "\u{0}", "\u{7f}", "\u{85}"] {
        let answer = native.acquire(&Who::System, &unique("owner"), &json!({"owner": owner})).await;
        assert_problem(&answer, 400, "bad-request");
        assert!(answer.json()["detail"].as_str().unwrap().contains("256"), "{}", answer.text());
    }
}

#[tokio::test]
async fn an_idempotency_key_has_1_to_255_printable_characters_and_comes_once() {
    let native = Native::start(&[]).await;
    let longest = "x".repeat(255);
    for name in [longest.as_str(), "a", "~!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}", "8f0c4a1e-0000", "a b"] {
        let answer = native.attempt(&Who::System, &unique("name"), name, &json!({})).await;
        assert_eq!(answer.status, 201, "{name}: {}", answer.text());
    }
    let too_long = "x".repeat(256);
    for name in ["", " ", &too_long, "a\tb"] {
        let answer = native.attempt(&Who::System, &unique("name"), name, &json!({})).await;
        assert_problem(&answer, 400, "bad-request");
        assert!(answer.json()["detail"].as_str().unwrap().contains("Idempotency-Key"), "{}", answer.text());
    }
    let twice = native.ask(&Who::System, "POST", &path(&unique("name")));
    let twice = twice.header("idempotency-key", "a").header("idempotency-key", "a").send().await;
    assert_problem(&twice, 400, "bad-request");
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nIdempotency-Key: é\r\nConnection: close\r\n\r\n",
        path(&unique("name")),
        super::API_TOKEN
    );
    let answer = http::raw(native.api_address(), &request);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_bad_header_or_body_is_told_whether_or_not_the_key_is_held() {
    let native = Native::start(&[]).await;
    let (free, held) = (unique("free"), unique("held"));
    native.granted(&reader("alice"), &held).await;
    let bad = json!({"ttlMs": 0});
    let of_free = native.acquire(&reader("bob"), &free, &bad).await;
    let of_held = native.acquire(&reader("bob"), &held, &bad).await;
    assert_problem(&of_free, 400, "bad-request");
    assert_eq!(without_id(&of_free), without_id(&of_held));
}
