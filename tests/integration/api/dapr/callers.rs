//! Who is served.

use serde_json::json;

use super::{LOCK, UNLOCK, assert_error, assert_says};
use crate::harness::{API_TOKEN, Scratch, Sidecar, TestRedis, Who, editor, jwt, reader, unique};

/// On the shared Redis; knows users, and system callers by an API token.
async fn knows_both() -> Sidecar {
    Sidecar::who_knows(&TestRedis::shared().url(), &[]).await
}

#[tokio::test]
async fn the_api_token_counts_in_either_header() {
    let sidecar = knows_both().await;
    for (header, value) in [("dapr-api-token", API_TOKEN.to_owned()), ("authorization", format!("Bearer {API_TOKEN}"))]
    {
        let body = json!({"resourceId": unique("token"), "lockOwner": "o", "expiryInSeconds": 60});
        let call = |path: &str| sidecar.call("POST", path).header(header, &value).json(&body);
        assert_says(&call(LOCK).send().await, r#"{"success":true}"#);
        assert_says(&call(UNLOCK).send().await, r#"{"status":0}"#);
        assert_eq!(sidecar.call("GET", "/v1.0/metadata").header(header, &value).send().await.status, 200);
    }
}

#[tokio::test]
async fn a_bad_token_is_401_whatever_else_is_shown_and_no_token_too() {
    let (sidecar, alice) = (knows_both().await, jwt::editor("alice"));
    for (method, path) in [("POST", LOCK), ("POST", UNLOCK), ("GET", "/v1.0/metadata")] {
        let call = || sidecar.call(method, path).body("{");
        assert_error(&call().send().await, 401, "ERR_UNAUTHORIZED");
        for bad in ["", "x", "the api token of the tests!", &alice] {
            assert_error(&call().header("dapr-api-token", bad).send().await, 401, "ERR_UNAUTHORIZED");
            let beside = call().header("dapr-api-token", bad).bearer(API_TOKEN);
            assert_error(&beside.send().await, 401, "ERR_UNAUTHORIZED");
        }
        let second = call().header("dapr-api-token", "x").header("dapr-api-token", API_TOKEN);
        assert_error(&second.send().await, 401, "ERR_UNAUTHORIZED");
        let first = call().header("dapr-api-token", API_TOKEN).header("dapr-api-token", "x");
        assert_ne!(first.send().await.status, 401, "the first counts");
        assert_error(&call().bearer("x").send().await, 401, "ERR_UNAUTHORIZED");
    }
    // It comes before what leads nowhere, too.
    for (method, path, status, code) in [
        ("GET", LOCK, 405, "ERR_METHOD_NOT_ALLOWED"),
        ("POST", "/v1.0/state/x", 404, "ERR_NOT_FOUND"),
        ("PUT", "/v1.0-alpha1/lock", 404, "ERR_NOT_FOUND"),
    ] {
        assert_error(&sidecar.call(method, path).send().await, 401, "ERR_UNAUTHORIZED");
        let shown = sidecar.call(method, path).header("dapr-api-token", API_TOKEN);
        assert_error(&shown.send().await, status, code);
    }
    // Where no token is set, one that is shown is not for us.
    let open = Sidecar::start(TestRedis::shared(), &[]).await;
    let shown = open.call("POST", LOCK).header("dapr-api-token", "x").body("{").send().await;
    assert_error(&shown, 400, "ERR_MALFORMED_REQUEST");
}

#[tokio::test]
async fn users_are_refused_whatever_they_may() {
    let sidecar = knows_both().await;
    for user in [editor("alice"), reader("bob")] {
        for (method, path) in [("POST", LOCK), ("POST", UNLOCK), ("GET", "/v1.0/metadata")] {
            assert_error(&sidecar.ask(&user, method, path).body("{").send().await, 403, "ERR_FORBIDDEN");
            let Who::User(token) = &user else { unreachable!("a user") };
            let by_header = sidecar.call(method, path).bearer(token).body("{").send().await;
            assert_error(&by_header, 403, "ERR_FORBIDDEN");
        }
    }
}

#[tokio::test]
async fn on_loopback_without_a_token_nobody_is_asked_but_for_another_sites_page() {
    let scratch = Scratch::new();
    let secret = scratch.file("secret", jwt::SECRET);
    let sidecar = Sidecar::start(TestRedis::shared(), &["--jwt-secret-file", &secret]).await;
    let body = json!({"resourceId": unique("anonymous"), "lockOwner": "o", "expiryInSeconds": 60});
    let call = |path: &str| sidecar.call("POST", path).json(&body);
    assert_says(&call(LOCK).send().await, r#"{"success":true}"#);
    for (name, value) in [("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")] {
        assert_error(&call(LOCK).header(name, value).send().await, 403, "ERR_FORBIDDEN");
        assert_error(&call(UNLOCK).header(name, value).send().await, 403, "ERR_FORBIDDEN");
    }
    assert_says(&call(UNLOCK).send().await, r#"{"status":0}"#);
}

#[tokio::test]
async fn beyond_loopback_nobody_is_served_without_a_token() {
    let scratch = Scratch::new();
    let secret = scratch.file("secret", jwt::SECRET);
    let flags = ["--listen=0.0.0.0:0", "--jwt-secret-file", &secret];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    assert_error(&sidecar.call("POST", LOCK).body("{").send().await, 401, "ERR_UNAUTHORIZED");
}

#[tokio::test]
async fn health_asks_nobody_who_they_are() {
    let sidecar = knows_both().await;
    for path in ["/v1.0/healthz", "/v1.0/healthz/outbound"] {
        for call in [sidecar.call("GET", path), sidecar.call("GET", path).header("dapr-api-token", "x")] {
            let answer = call.send().await;
            assert_eq!((answer.status, answer.text()), (204, ""));
        }
    }
}
