//! Each error, and which of several it is.

use serde_json::{Value, json};

use super::{LOCK, UNLOCK, assert_error, sidecar, try_lock};
use crate::harness::{Sidecar, TestRedis, unique};

const MALFORMED: &str = "ERR_MALFORMED_REQUEST";

/// A message to the letter.
#[track_caller]
fn assert_message(answer: &crate::harness::Answer, status: u16, code: &str, message: &str) {
    assert_error(answer, status, code);
    assert_eq!(answer.json()["message"], message);
}

#[tokio::test]
async fn what_is_no_json_of_the_right_types_is_malformed() {
    let sidecar = sidecar().await;
    for body in [
        "{",
        "null",
        "[]",
        "\"x\"",
        "{} {}",
        "{\"resourceId\":7,\"lockOwner\":\"o\",\"expiryInSeconds\":1}",
        "{\"resourceId\":\"r\",\"lockOwner\":[],\"expiryInSeconds\":1}",
        "{\"resourceId\":\"r\",\"lockOwner\":\"o\",\"expiryInSeconds\":1.5}",
        "{\"resourceId\":\"r\",\"lockOwner\":\"o\",\"expiryInSeconds\":\"soon\"}",
        "{\"resourceId\":\"r\",\"lockOwner\":\"o\",\"expiryInSeconds\":2147483648}",
        "{\"resourceId\":\"r\",\"resource_id\":\"r\",\"lockOwner\":\"o\",\"expiryInSeconds\":1}",
        "{\"resourceId\":\"\\ud800\",\"lockOwner\":\"o\",\"expiryInSeconds\":1}",
    ] {
        for path in [LOCK, UNLOCK] {
            assert_error(&sidecar.call("POST", path).body(body).send().await, 400, MALFORMED);
        }
    }
}

#[tokio::test]
async fn the_checks_come_in_daprs_order() {
    let some = sidecar().await;
    let none = Sidecar::start(TestRedis::shared(), &["--dapr-stores=none"]).await;
    let lock = async |sidecar: &Sidecar, store: &str, body: &Value| {
        sidecar.call("POST", &format!("/v1.0-alpha1/lock/{store}")).body(body.to_string()).send().await
    };
    let malformed = [
        (json!({}), "ExpiryInSeconds is not positive in lock store nope"),
        (
            json!({"expiryInSeconds": -1, "resourceId": "r", "lockOwner": "o"}),
            "ExpiryInSeconds is not positive in lock store nope",
        ),
        (json!({"expiryInSeconds": null}), "ExpiryInSeconds is not positive in lock store nope"),
        (json!({"expiryInSeconds": 1}), "ResourceId is empty in lock store nope"),
        (json!({"expiryInSeconds": 1, "resourceId": ""}), "ResourceId is empty in lock store nope"),
        (json!({"expiryInSeconds": 1, "resourceId": null, "lockOwner": "o"}), "ResourceId is empty in lock store nope"),
        (json!({"expiryInSeconds": 1, "resourceId": "r"}), "LockOwner is empty in lock store nope"),
        (json!({"expiryInSeconds": 1, "resourceId": "r||s", "lockOwner": ""}), "LockOwner is empty in lock store nope"),
    ];
    for (body, message) in &malformed {
        assert_message(&lock(&some, "nope", body).await, 400, MALFORMED, message);
        // Without a store at all this comes behind the expiry and before everything else.
        let answer = lock(&none, "nope", body).await;
        if message.starts_with("Expiry") {
            assert_message(&answer, 400, MALFORMED, message);
        } else {
            assert_message(&answer, 500, "ERR_LOCK_STORE_NOT_CONFIGURED", "lock store is not configured");
        }
    }
    let good = json!({"expiryInSeconds": 1, "resourceId": "r", "lockOwner": "o"});
    let not_found = "lock store nope not found";
    assert_message(&lock(&some, "nope", &good).await, 400, "ERR_LOCK_STORE_NOT_FOUND", not_found);
    let too_long = json!({"expiryInSeconds": i32::MAX, "resourceId": "r||s", "lockOwner": "o"});
    assert_message(&lock(&some, "nope", &too_long).await, 400, "ERR_LOCK_STORE_NOT_FOUND", not_found);
    assert_error(&lock(&none, "nope", &good).await, 500, "ERR_LOCK_STORE_NOT_CONFIGURED");

    let unlock = async |sidecar: &Sidecar, body: &Value| {
        sidecar.call("POST", "/v1.0-alpha1/unlock/nope").body(body.to_string()).send().await
    };
    assert_message(&unlock(&some, &json!({})).await, 400, MALFORMED, "ResourceId is empty in lock store nope");
    let no_owner = json!({"resourceId": "r"});
    assert_message(&unlock(&some, &no_owner).await, 400, MALFORMED, "LockOwner is empty in lock store nope");
    assert_message(&unlock(&some, &good).await, 400, "ERR_LOCK_STORE_NOT_FOUND", not_found);
    assert_error(&unlock(&none, &json!({})).await, 500, "ERR_LOCK_STORE_NOT_CONFIGURED");
}

#[tokio::test]
async fn what_only_lockside_refuses_is_malformed_too_and_says_what_would_do() {
    let sidecar = sidecar().await;
    for (resource, owner, seconds, says) in [
        ("r".to_owned(), "o".to_owned(), 86_401, "expiryInSeconds: expected 1 to 86400 seconds"),
        ("a||b".to_owned(), "o".to_owned(), 1, "resourceId: expected a text without `||`"),
        ("a\nb".to_owned(), "o".to_owned(), 1, "key: a control character at byte 12; expected none"),
        ("x".repeat(502), "o".to_owned(), 1, "key: 513 bytes; expected at most 512"),
        ("r".to_owned(), "x".repeat(257), 1, "lockOwner: expected 1 to 256 bytes without control characters"),
        ("r".to_owned(), "o\t".to_owned(), 1, "lockOwner: expected 1 to 256 bytes without control characters"),
    ] {
        let answer = try_lock(&sidecar, &resource, &owner, seconds).send().await;
        assert_message(&answer, 400, MALFORMED, says);
    }
    let longest = try_lock(&sidecar, &unique("longest"), &"x".repeat(256), 86_400).send().await;
    assert_eq!(longest.status, 200, "{}", longest.text());
}

#[tokio::test]
async fn every_other_error_has_the_shape_too() {
    let sidecar = sidecar().await;
    for (method, path) in [("GET", LOCK), ("PUT", UNLOCK), ("POST", "/v1.0/metadata"), ("DELETE", "/v1.0/healthz")] {
        assert_error(&sidecar.call(method, path).send().await, 405, "ERR_METHOD_NOT_ALLOWED");
    }
    assert_error(&sidecar.call("POST", LOCK).body(vec![b' '; 20_000]).send().await, 413, "ERR_BODY_READ");
    let foreign = sidecar.call("POST", LOCK).header("host", "evil.test").send().await;
    assert_error(&foreign, 403, "ERR_FORBIDDEN");
    assert_error(&sidecar.call("POST", "/v1.0-alpha1/lock/%ff").body("{}").send().await, 400, MALFORMED);
}
