//! Tokens, cookies and passwords appear in no log, no metric and no error.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Scratch, Sidecar, TestRedis, eventually, http::raw, jwt, lockside, unique};

const PASSWORD: &str = "hunter2-of-redis";
const API_TOKEN: &str = "hunter2-of-the-api";

/// A redis-server with a password, on a port of its own.
fn guarded_redis() -> (TestRedis, u16) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let redis = TestRedis::start(&["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    redis.ask::<()>("CONFIG", &["SET", "requirepass", PASSWORD]);
    (redis, port)
}

#[tokio::test]
async fn nothing_secret_is_in_logs_answers_and_metrics() {
    let (mut redis, port) = guarded_redis();
    let scratch = Scratch::new();
    let (secret, token) = (scratch.file("secret", jwt::SECRET), scratch.file("token", API_TOKEN));
    let sidecar = Sidecar::spawn(&[
        format!("--redis-url=redis://:{PASSWORD}@127.0.0.1:{port}"),
        format!("--jwt-secret-file={secret}"),
        format!("--api-token-file={token}"),
        "--log-level=trace".to_owned(),
        "--redis-timeout=200ms".to_owned(),
    ]);
    eventually("ready", Duration::from_secs(10), async || sidecar.ops("/readyz").await.status == 200).await;

    let good = jwt::editor("alice");
    let late = jwt::signed(&json!({"sub": "alice", "exp": jwt::seconds(-3600)}));
    let forged = format!("{}x", jwt::reader("mallory"));
    let nonsense = "hunter2.of.nobody";
    let mut seen = String::new();
    for token in [&good, &late, &forged, nonsense, API_TOKEN, "hunter2-guessed"] {
        for (method, path) in [
            ("POST", "/admin/lock"),
            ("DELETE", "/admin/remove-lock"),
            ("POST", "/cmn/leasable-locks"),
            ("GET", "/cmn/leasable-locks"),
            ("PUT", "/cmn/leasable-locks/7?leasePeriod=0"),
            ("DELETE", "/cmn/leasable-locks/custom/7"),
            ("GET", "/nowhere"),
        ] {
            let body = json!({"route": "volume", "id": "1", "key": "secrets", "leasePeriod": 30});
            let cookie = sidecar.call(method, path).cookie(token).json(&body).send().await;
            let bearer = sidecar.call(method, path).bearer(token).json(&body).send().await;
            for answer in [cookie, bearer] {
                seen += &format!("{:?}{}", answer.headers, answer.text());
            }
        }
    }
    let host = sidecar.api_address();
    seen += &raw(host, &format!("GET / HTTP/1.1\r\nHost: a b\r\nCookie: refreshToken={good}\r\n\r\n"));
    seen += &raw(host, &format!("BAD REQUEST {good}\r\n\r\n"));

    redis.kill();
    eventually("not ready", Duration::from_secs(3), async || sidecar.ops("/readyz").await.status == 503).await;
    let answer = sidecar.call("POST", "/cmn/leasable-locks").cookie(&good);
    let answer = answer.json(&json!({"key": "secrets", "leasePeriod": 30})).send().await;
    assert!(matches!(answer.status, 503 | 504), "{}", answer.text());
    seen += answer.text();
    seen += sidecar.ops("/readyz").await.text();
    seen += sidecar.ops("/metrics").await.text();
    seen += &sidecar.log();
    assert!(seen.contains("--redis-url"), "a password in the url earns a warning");
    let parts = [&good, &late, &forged].into_iter().flat_map(|token| token.split('.').skip(1));
    for secret in parts.chain([PASSWORD, API_TOKEN, jwt::SECRET, nonsense, "hunter2"]) {
        assert!(!seen.contains(secret), "`{secret}` is seen");
    }
}

#[tokio::test]
async fn a_wrong_password_is_the_reason_and_is_not_shown() {
    let (_redis, port) = guarded_redis();
    let scratch = Scratch::new();
    for (flags, reason) in [
        (vec![format!("--redis-url=redis://:hunter2-wrong@127.0.0.1:{port}")], "WRONGPASS"),
        (
            vec![
                format!("--redis-url=redis://127.0.0.1:{port}"),
                format!("--redis-password-file={}", scratch.file("password", "hunter2-wrong")),
            ],
            "WRONGPASS",
        ),
        (vec![format!("--redis-url=redis://127.0.0.1:{port}")], "NOAUTH"),
    ] {
        let sidecar = Sidecar::spawn(&flags);
        eventually("the reason is told", Duration::from_secs(3), async || {
            let ready = sidecar.ops("/readyz").await;
            ready.status == 503 && ready.text().contains(reason)
        })
        .await;
        let create = sidecar.call("POST", "/cmn/leasable-locks").json(&json!({"key": "x", "leasePeriod": 30}));
        let answer = create.send().await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(!answer.text().contains(reason), "that is for operators: {}", answer.text());
        assert!(sidecar.log().contains(reason));
        assert!(!sidecar.log().contains("hunter2"));
    }
}

#[tokio::test]
async fn a_password_in_a_file_opens_redis_without_its_last_newline() {
    let (_redis, port) = guarded_redis();
    let scratch = Scratch::new();
    for content in [PASSWORD.to_owned(), format!("{PASSWORD}\n"), format!("{PASSWORD}\r\n")] {
        let sidecar = Sidecar::spawn(&[
            format!("--redis-url=redis://127.0.0.1:{port}"),
            format!("--redis-password-file={}", scratch.file("password", content)),
        ]);
        eventually("ready", Duration::from_secs(3), async || sidecar.ops("/readyz").await.status == 200).await;
    }
}

#[tokio::test]
async fn a_mistake_shows_no_secret() {
    let scratch = Scratch::new();
    let secret = scratch.file("secret", "-----BEGIN hunter2");
    for flag in [
        "--redis-url=redis://:hunter2@".to_owned(),
        "--redis-url=redis://:hunter2@redis:66666".to_owned(),
        "--redis-url=redis://:hunter2@redis/x".to_owned(),
        "--redis-url=http://:hunter2@redis".to_owned(),
        "--redis-url=//:hunter2@redis".to_owned(),
        "--redis-url=redis+unix://:hunter2@".to_owned(),
        "--redis-ural=redis://:hunter2@redis".to_owned(),
        "redis://:hunter2@redis".to_owned(),
        "hunter2".to_owned(),
        format!("--jwt-secret-file={secret}"),
        format!("--jwt-public-key-file={secret}"),
    ] {
        let run = lockside(&["serve", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", &flag]).await;
        assert_eq!(run.code, Some(64), "{flag}: {}", run.stderr);
        assert!(!run.output().contains("hunter2"), "{flag}: {}", run.output());
    }
}

#[tokio::test]
async fn a_file_that_others_may_read_or_change_is_a_warning_with_its_mode() {
    let scratch = Scratch::new();
    let (secret, public) = (("--jwt-secret-file", jwt::SECRET), jwt::Pair::ed25519().public_pem);
    let public = ("--jwt-public-key-file", public.as_str());
    let (token, password) = (("--api-token-file", API_TOKEN), ("--redis-password-file", PASSWORD));
    for ((flag, content), mode, warning) in [
        (secret, 0o644, Some("read")),
        (secret, 0o604, Some("read")),
        (secret, 0o602, Some("change")),
        (secret, 0o600, None),
        (secret, 0o440, None),
        (token, 0o644, Some("read")),
        (token, 0o400, None),
        (password, 0o444, Some("read")),
        (password, 0o640, None),
        (public, 0o644, None),
        (public, 0o666, Some("change")),
    ] {
        let file = scratch.file("file", content);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        // Kubernetes's files are links, whose own mode says nothing.
        let link = scratch.path(&unique("link"));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let sidecar = Sidecar::spawn(&[format!("{flag}={link}"), format!("--redis-url={}", TestRedis::shared().url())]);
        let log = sidecar.log();
        let warnings: Vec<&str> = log.lines().filter(|line| line.contains("every user of this machine")).collect();
        match warning {
            Some(may) => {
                assert_eq!(warnings.len(), 1, "{flag} {mode:o}: {log}");
                for part in [format!("may {may} `{link}` of {flag}"), format!("(mode {mode:04o})"), "WARN".to_owned()] {
                    assert!(warnings[0].contains(&part), "{part}: {}", warnings[0]);
                }
            }
            None => assert!(warnings.is_empty(), "{flag} {mode:o}: {log}"),
        }
    }
}
