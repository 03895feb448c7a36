//! Who is served: the pod is the trust boundary where nothing else is set.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::json;

use super::{API_TOKEN, Native, Who, assert_done, assert_problem, path, reader, token_of};
use crate::harness::{Scratch, Sidecar, TestRedis, jwt, unique};

/// A sidecar on the shared Redis that knows what `known` says, out of `jwt` and `token`.
async fn sidecar(known: &[&str], flags: &[&str]) -> Native {
    let scratch = Scratch::new();
    let (secret, token) = (scratch.file("secret", jwt::SECRET), scratch.file("token", API_TOKEN));
    let mut all = flags.to_vec();
    if known.contains(&"jwt") {
        all.extend(["--jwt-secret-file", &secret]);
    }
    if known.contains(&"token") {
        all.extend(["--api-token-file", &token]);
    }
    Native(Sidecar::start(TestRedis::shared(), &all).await)
}

/// Every route, as somebody who is served gets it.
async fn assert_served(native: &Native, who: &Who, kind: &str) {
    let key = unique("served");
    let lease = native.granted(who, &key).await;
    let look = native.ask(who, "GET", &path(&key)).send().await;
    assert_eq!((look.status, &look.json()["holder"]["kind"]), (200, &json!(kind)));
    assert_eq!(native.ask(who, "GET", &format!("/v1/locks?prefix={key}")).send().await.status, 200);
    assert_eq!(native.fence(who, &key, token_of(&lease)).await.status, 200);
    assert_eq!(native.renew(who, &key, token_of(&lease), &json!({})).await.status, 200);
    assert_done(&native.release(who, &key, token_of(&lease)).await);
}

/// Every route, as somebody who is not: 401 before anything else is told.
async fn assert_not_served(native: &Native, who: &Who) {
    for (method, path) in [
        ("POST", path(&unique("refused"))),
        ("POST", path("%00")),
        ("PUT", path("a")),
        ("PUT", format!("{}?token=x", path("a"))),
        ("DELETE", format!("{}?token=7", path("a"))),
        ("DELETE", format!("{}?force=true", path("a"))),
        ("GET", path("a")),
        ("GET", format!("{}/fence", path("a"))),
        ("GET", "/v1/locks?limit=0".to_owned()),
    ] {
        let answer = native.ask(who, method, &path).body("{").send().await;
        assert_problem(&answer, 401, "unauthorized");
    }
}

#[tokio::test]
async fn on_loopback_anonymous_callers_are_system_owners() {
    for known in [&[][..], &["jwt"]] {
        let native = sidecar(known, &[]).await;
        assert_served(&native, &Who::Nobody, "system").await;
        let key = unique("forced");
        native.granted(&Who::Nobody, &key).await;
        assert_done(&native.force(&Who::Nobody, &key).await);
    }
    assert_served(&sidecar(&["jwt"], &[]).await, &reader("alice"), "user").await;
}

#[tokio::test]
async fn once_an_api_token_is_set_anonymous_callers_are_not_served() {
    for known in [&["token"][..], &["jwt", "token"]] {
        let native = sidecar(known, &[]).await;
        assert_not_served(&native, &Who::Nobody).await;
        assert_served(&native, &Who::System, "system").await;
    }
}

#[tokio::test]
async fn beyond_loopback_anonymous_callers_are_served_only_by_insecure() {
    let native = sidecar(&["jwt"], &["--listen", "0.0.0.0:0"]).await;
    assert_not_served(&native, &Who::Nobody).await;
    assert_served(&native, &reader("alice"), "user").await;
    for known in [&[][..], &["jwt"]] {
        let native = sidecar(known, &["--listen", "0.0.0.0:0", "--insecure"]).await;
        assert_served(&native, &Who::Nobody, "system").await;
    }
    let native = sidecar(&["token"], &["--listen", "0.0.0.0:0", "--insecure"]).await;
    assert_not_served(&native, &Who::Nobody).await;
}

#[tokio::test]
async fn a_bad_credential_is_never_taken_for_none() {
    let expired = jwt::signed(&json!({"sub": "alice", "exp": jwt::seconds(-3600)}));
    for known in [&[][..], &["jwt"], &["jwt", "token"]] {
        let native = sidecar(known, &[]).await;
        for cookie in ["", "garbage", &expired] {
            assert_not_served(&native, &Who::User(cookie.to_owned())).await;
        }
        for authorization in ["Bearer garbage", "Bearer ", "Basic eDp5", "the api token of the tests"] {
            let call = native.call("POST", &path(&unique("bad"))).header("authorization", authorization);
            assert_problem(&call.send().await, 401, "unauthorized");
        }
    }
    assert_not_served(&sidecar(&["jwt"], &[]).await, &Who::System).await;
}

#[tokio::test]
async fn on_a_unix_socket_anonymous_callers_are_served() {
    let scratch = Scratch::new();
    let socket = scratch.path("api.sock");
    let _native = sidecar(&["jwt"], &["--listen", &format!("unix:{socket}")]).await;
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let request = format!("POST {} HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n", path(&unique("unix")));
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}
