//! Who is served: the pod is the trust boundary where nothing else is set.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::json;

use super::{API_TOKEN, Native, Who, assert_done, assert_problem, path, reader, token_of};
use crate::harness::{Scratch, Sidecar, TestRedis, jwt, lockside, unique};

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

/// As [`assert_served`], but that a lock cannot be taken away.
async fn assert_served_without_force(native: &Native) {
    assert_served(native, &Who::Nobody, "system").await;
    let key = unique("kept");
    let lease = native.granted(&Who::Nobody, &key).await;
    assert_problem(&native.force(&Who::Nobody, &key).await, 403, "forbidden");
    assert_eq!(native.fence(&Who::Nobody, &key, token_of(&lease)).await.status, 200);
    let removal = native.call("DELETE", &format!("/cmn/leasable-locks/custom/{}", token_of(&lease)));
    assert_eq!(removal.send().await.status, 401);
    assert_eq!(native.call("GET", "/cmn/leasable-locks").send().await.status, 401);
}

async fn assert_may_everything(native: &Native) {
    assert_served(native, &Who::Nobody, "system").await;
    let key = unique("forced");
    native.granted(&Who::Nobody, &key).await;
    assert_done(&native.force(&Who::Nobody, &key).await);
    let lease = json!({"key": key, "leasePeriod": 60});
    let lease = native.call("POST", "/cmn/leasable-locks").json(&lease).send().await;
    assert_eq!(lease.status, 201, "{}", lease.text());
    let removal = native.call("DELETE", &format!("/cmn/leasable-locks/custom/{}", lease.json()["token"]));
    assert_eq!(removal.send().await.status, 200);
}

/// The line that is said at start of callers without credentials.
fn said(native: &Native) -> Vec<String> {
    let log = native.log();
    log.lines().filter(|line| line.contains("callers without credentials")).map(str::to_owned).collect()
}

#[tokio::test]
async fn what_callers_without_a_credential_may_do_follows_from_what_is_configured_and_is_said_at_start() {
    let beyond = ["--listen", "0.0.0.0:0"];
    for (known, flags, level) in [
        (&[][..], vec![], "full"),
        (&[], vec!["--anonymous=lock"], "lock"),
        (&[], vec!["--anonymous=none"], "none"),
        (&["jwt"], vec![], "lock"),
        (&["jwt"], vec!["--anonymous="], "lock"),
        (&["jwt"], vec!["--anonymous=full"], "full"),
        (&["jwt"], vec!["--anonymous", "none"], "none"),
        (&["token"], vec![], "none"),
        (&["jwt", "token"], vec![], "none"),
        (&["jwt", "token"], vec!["--anonymous=lock"], "lock"),
        (&["token"], vec!["--anonymous=full"], "full"),
        (&["jwt"], beyond.to_vec(), "none"),
        (&[], [&beyond[..], &["--insecure"]].concat(), "full"),
        (&["jwt"], [&beyond[..], &["--insecure"]].concat(), "none"),
        (&["token"], [&beyond[..], &["--insecure"]].concat(), "none"),
        (&["jwt"], [&beyond[..], &["--insecure", "--anonymous=lock"]].concat(), "lock"),
        (&["jwt"], [&beyond[..], &["--insecure", "--anonymous=full"]].concat(), "full"),
    ] {
        let native = sidecar(known, &flags).await;
        match level {
            "full" => assert_may_everything(&native).await,
            "lock" => assert_served_without_force(&native).await,
            _ => assert_not_served(&native, &Who::Nobody).await,
        }
        let said = said(&native);
        assert_eq!(said.len(), 1, "{known:?} {flags:?}: {said:?}");
        assert!(said[0].contains(&format!("--anonymous {level}")) && said[0].contains("INFO"), "{said:?}");
        if known.contains(&"jwt") {
            assert_served(&native, &reader("alice"), "user").await;
        }
        if known.contains(&"token") {
            assert_served(&native, &Who::System, "system").await;
        }
    }
}

#[tokio::test]
async fn anonymous_callers_beyond_loopback_need_insecure_and_a_known_word() {
    let scratch = Scratch::new();
    let secret = scratch.file("secret", jwt::SECRET);
    let key = ["--jwt-secret-file", &secret];
    for (flags, says) in [
        (&["--listen=0.0.0.0:0", "--anonymous=lock"][..], "needs --insecure"),
        (&["--listen=0.0.0.0:0", "--anonymous=full"], "needs --insecure"),
        (&["--listen=[::]:0", "--anonymous=full"], "needs --insecure"),
        (&["--anonymous=yes"], "expected full, lock or none"),
        (&["--anonymous=Full"], "expected full, lock or none"),
    ] {
        let args = [&["serve", "--ops-listen=127.0.0.1:0"], &key[..], flags].concat();
        let run = lockside(&args).await;
        assert_eq!(run.code, Some(64), "{flags:?}: {}", run.output());
        assert!(run.stderr.contains("--anonymous: ") && run.stderr.contains(says), "{flags:?}: {}", run.stderr);
    }
}

#[tokio::test]
async fn a_request_that_came_through_a_proxy_is_never_served_as_anonymous() {
    for (known, flags) in [(&[][..], &[][..]), (&["jwt"], &[]), (&["jwt"], &["--anonymous=full"])] {
        let native = sidecar(known, flags).await;
        for (name, value) in [
            ("forwarded", "for=192.0.2.60;proto=http"),
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", "locks.example.com"),
            ("X-Forwarded-Proto", "https"),
            ("x-forwarded-prefix", ""),
            ("via", "1.1 vegur"),
        ] {
            for (method, target) in [
                ("POST", path(&unique("proxied"))),
                ("GET", "/v1/locks".to_owned()),
                ("DELETE", format!("{}?force=true", path("proxied"))),
                ("POST", format!("{}/hold", path(&unique("proxied")))),
            ] {
                let answer = native.call(method, &target).header(name, value).send().await;
                assert_problem(&answer, 401, "unauthorized");
                assert!(answer.text().contains("through a proxy"), "{}", answer.text());
            }
            let body = json!({"resourceId": unique("proxied"), "lockOwner": "o", "expiryInSeconds": 60});
            let dapr = native.call("POST", "/v1.0-alpha1/lock/lockstore").header(name, value).json(&body).send().await;
            assert_eq!((dapr.status, &dapr.json()["errorCode"]), (401, &json!("ERR_UNAUTHORIZED")), "{}", dapr.text());
            let list = native.call("GET", "/cmn/leasable-locks").header(name, value).send().await;
            assert_eq!(list.status, 401, "{}", list.text());
            if known.contains(&"jwt") {
                let signed = native.ask(&reader("alice"), "POST", &path(&unique("signed"))).header(name, value);
                assert_eq!(signed.send().await.status, 201, "a credential is good through a proxy, too");
            }
        }
        let health = native.call("GET", "/v1.0/healthz").header("via", "1.1 vegur").send().await;
        assert_eq!(health.status, 204, "health asks nobody who they are");
    }
}

#[tokio::test]
async fn a_bad_credential_is_never_taken_for_none() {
    let expired = jwt::signed(&json!({"sub": "alice", "exp": jwt::seconds(-3600)}));
    for known in [&[][..], &["jwt"], &["jwt", "token"]] {
        let native = sidecar(known, &[]).await;
        for cookie in ["", "garbage", &expired].into_iter().filter(|_| known.contains(&"jwt")) {
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
async fn a_credential_of_a_kind_that_is_not_configured_is_not_for_us() {
    let (open, guarded) = (sidecar(&[], &[]).await, sidecar(&["token"], &[]).await);
    for cookie in ["", "garbage", &jwt::editor("alice")] {
        assert_served(&open, &Who::User(cookie.to_owned()), "system").await;
        assert_not_served(&guarded, &Who::User(cookie.to_owned())).await;
        let beside = guarded.ask(&Who::User(cookie.to_owned()), "GET", "/v1/locks").bearer(API_TOKEN);
        assert_eq!(beside.send().await.status, 200);
    }
    let body = json!({"resourceId": unique("dapr"), "lockOwner": "o", "expiryInSeconds": 60});
    for native in [&open, &sidecar(&["jwt"], &[]).await] {
        let call = |path: &str| native.call("POST", path).header("dapr-api-token", "x").json(&body);
        assert_eq!(call("/v1.0-alpha1/lock/lockstore").send().await.status, 200);
        assert_eq!(call("/v1.0-alpha1/unlock/lockstore").header("dapr-api-token", "y").send().await.status, 200);
    }
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
