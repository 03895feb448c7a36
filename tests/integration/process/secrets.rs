//! Tokens, cookies and passwords appear in no log, no metric and no error.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Scratch, Sidecar, TestRedis, eventually, http::raw, jwt, lockside, lockside_with, unique};

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
async fn nothing_secret_is_seen_while_requests_are_malformed_and_secrets_rotate() {
    let (redis, port) = guarded_redis();
    let scratch = Scratch::new();
    let password = scratch.file("password", PASSWORD);
    let (secret, token) =
        (scratch.file("secret", "hunter2 of 32 bytes, or a few more"), scratch.file("token", API_TOKEN));
    let stdout = std::fs::File::create(scratch.path("stdout")).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lockside"));
    command.args(["serve", "--log-level=trace", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"]).stdout(stdout);
    command.args(["--redis-timeout=200ms", "--redis-url", &format!("redis://127.0.0.1:{port}")]);
    command.args(["--redis-password-file", &password, "--jwt-secret-file", &secret, "--api-token-file", &token]);
    // Whatever a library would make of these, the log stays ours.
    command.envs([("RUST_LOG", "trace"), ("RUST_BACKTRACE", "1")]);
    let sidecar = Sidecar::of(command);
    eventually("ready", Duration::from_secs(10), async || sidecar.ops("/readyz").await.status == 200).await;

    let sign = |secret: &str| {
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        jwt::sign(&jwt::editor_claims("alice"), jsonwebtoken::Algorithm::HS512, &key)
    };
    let good = sign("hunter2 of 32 bytes, or a few more");
    let mut shown: Vec<String> = good.split('.').map(str::to_owned).collect();
    let mut seen = String::new();
    let (dot, cut) = (format!("{good}."), good[..good.len() - 3].to_owned());
    for credential in [&good, &dot, &cut, API_TOKEN, "hunter2", "hunter2\u{e4}", ""] {
        for header in [
            format!("Authorization: Bearer {credential}"),
            format!("Authorization: {credential}"),
            format!("Authorization: Basic {credential}"),
            format!("Authorization: Bearer {credential}\r\nAuthorization: Bearer {credential}"),
            format!("Authorization : Bearer {credential}"),
            format!("Authorization: Bearer {credential}\0"),
            format!("Cookie: refreshToken={credential}"),
            format!("Cookie: refreshToken=\"{credential}"),
            format!("Cookie: refreshToken={credential}; refreshToken={credential}"),
            format!("Cookie refreshToken={credential}"),
            format!("Cookie: refreshToken={credential}{}", "x".repeat(40_000)),
        ] {
            for line in [
                "POST /v1/locks/a?token=x",
                "DELETE /admin/remove-lock",
                "GET /cmn/leasable-locks?limit=1",
                "TRACE /v1/locks",
            ] {
                let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n\r\n");
                seen += &raw(sidecar.api_address(), &request);
                if header.len() > 40_000 {
                    break;
                }
            }
        }
    }

    // Unfit ones first, then new ones, then a Redis that takes none of them.
    for (file, unfit, next) in [
        ("secret", &b"-----BEGIN hunter2"[..], "hunter2 of 32 bytes, and another one"),
        ("token", b"hunter2 \xff", "hunter2-next"),
        ("password", b"hunter2 \xff", "hunter2-next-of-redis"),
    ] {
        let (told, taken) = ("keeping the previous one", "secret reloaded");
        let count = |word| sidecar.log().matches(word).count();
        let (unfits, takens) = (count(told), count(taken));
        scratch.file(file, unfit);
        eventually("told", Duration::from_secs(10), async || count(told) > unfits).await;
        scratch.file(file, next);
        eventually("taken", Duration::from_secs(10), async || count(taken) > takens).await;
    }
    let next = sign("hunter2 of 32 bytes, and another one");
    shown.extend(next.split('.').skip(2).map(str::to_owned));
    assert_eq!(sidecar.call("GET", "/v1/locks").bearer(&next).send().await.status, 200);
    let admin = redis::Client::open(format!("redis+unix://{}?pass={PASSWORD}", redis.socket())).unwrap();
    let mut admin = admin.get_connection().unwrap();
    redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).exec(&mut admin).unwrap();
    eventually("refused", Duration::from_secs(10), async || sidecar.log().contains("WRONGPASS")).await;
    for bearer in [&good, &next, "hunter2-next"] {
        let answer = sidecar.call("POST", "/v1/locks/a").bearer(bearer).send().await;
        seen += &format!("{:?}{}", answer.headers, answer.text());
    }
    for path in ["/readyz", "/metrics", "/healthz"] {
        seen += sidecar.ops(path).await.text();
    }
    seen += &sidecar.log();
    seen += &std::fs::read_to_string(scratch.path("stdout")).unwrap();
    assert!(seen.contains("DEBUG") && seen.contains("unauthorized") && seen.contains("not ready"), "something is seen");
    // A token's first part is no secret: it says only how it was signed.
    for secret in shown.iter().skip(1).map(String::as_str).chain(["hunter2"]) {
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
async fn a_secret_that_is_set_where_the_path_of_its_file_belongs_is_not_shown() {
    for setting in [
        "API_TOKEN_FILE",
        "JWT_SECRET_FILE",
        "JWT_PUBLIC_KEY_FILE",
        "REDIS_PASSWORD_FILE",
        "REDIS_SENTINEL_PASSWORD_FILE",
    ] {
        let flag = format!("--{}", setting.to_lowercase().replace('_', "-"));
        let more =
            ["serve", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--redis-url=redis-sentinel://h?master=m"];
        for secret in ["hunter2", "hunter2 with spaces", "hunter2\u{1b}[31m", "hunter2\nand more"] {
            let by_variable = lockside_with(&more, &[(&format!("LOCKSIDE_{setting}"), secret)]).await;
            let by_flag = lockside(&[&more[..], &[&format!("{flag}={secret}")]].concat()).await;
            for run in [by_variable, by_flag] {
                assert_eq!(run.code, Some(64), "{flag}: {}", run.stderr);
                assert!(run.stderr.contains(&format!("lockside: {flag}: cannot read the file")), "{}", run.stderr);
                assert!(!run.output().contains("hunter2"), "{flag}: {}", run.output());
            }
        }
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

#[tokio::test]
async fn a_key_that_would_let_anybody_sign_or_can_never_verify_ends_the_start_with_its_reason() {
    let scratch = Scratch::new();
    let pair = jwt::Pair::p256();
    let der = {
        use base64::Engine;
        let text: String = pair.public_pem.lines().filter(|line| !line.starts_with('-')).collect();
        base64::prelude::BASE64_STANDARD.decode(text).unwrap()
    };
    let ssh = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAgCq alice@example".to_owned().into_bytes();
    let jwk = br#"{"kty":"RSA","n":"0vx7agoebGcQSuu","e":"AQAB"}"#.to_vec();
    let jwks = [b"{\"keys\":[", &jwk[..], b"]}\n"].concat();
    let pem = |text: &str| text.to_owned().into_bytes();
    let (secret, public) = ("--jwt-secret-file", "--jwt-public-key-file");
    for (flag, content, says) in [
        (secret, der.clone(), "DER"),
        (secret, jwk.clone(), "JWK"),
        (secret, jwks.clone(), "JWK"),
        (secret, ssh.clone(), "SSH"),
        (secret, pem(&pair.public_pem), "PEM"),
        (public, der, "no PEM block"),
        (public, jwks, "no PEM block"),
        (public, ssh, "no PEM block"),
        (public, pem(&pair.private_pem), "private"),
        (public, pem(SECP256K1), "unsupported curve"),
        (public, pem(RSA_1024), "1024 bits"),
        (public, pem(&format!("{}{SECP256K1}", pair.public_pem)), "(block 2)"),
        (public, pem(&format!("{RSA_1024}{}", pair.public_pem)), "(block 1)"),
    ] {
        let file = scratch.file("key", &content);
        let run = lockside(&["serve", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", flag, &file]).await;
        assert_eq!(run.code, Some(64), "{says}: {}", run.output());
        assert!(run.stderr.contains(flag) && run.stderr.contains(says), "{says}: {}", run.stderr);
    }
}

const SECP256K1: &str = "\
-----BEGIN PUBLIC KEY-----
MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAENZQM2Rc6h16SgUGv1HI7f2XGo44CIcMx
u9w3uRS+C7Y2KfPWP25vUZVbg8ng6wrPWO6Ij0cSzhYfeIlAGFEwpA==
-----END PUBLIC KEY-----
";
const RSA_1024: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCx6MhmH1zWURdfzic8Y4AoNe3B
PRuqMN8lpTKhY6u+usi5/PoEwQvWb9dkGQ5Z5cO919rMU3slUJ2HFwWZN8Se4ujV
dL75jrj1JntLIzGkQF9REI+dEORGXAXvax3FSLngEEQT+HTcDFanwcJL/NvN3OTs
lcObHYN4i04GpcC5HwIDAQAB
-----END PUBLIC KEY-----
";

#[tokio::test]
async fn an_api_token_that_may_be_guessed_is_a_warning_at_start_and_when_it_is_rotated_to() {
    let scratch = Scratch::new();
    let warnings = |sidecar: &Sidecar| {
        let is_it = |line: &&str| line.contains("WARN") && line.contains("--api-token-file is shorter than 16 bytes");
        sidecar.log().lines().filter(is_it).count()
    };
    for (token, is_short) in [("s", true), ("fifteen letters", true), ("sixteen letters!", false)] {
        let file = scratch.file("token", token);
        let sidecar = Sidecar::start(TestRedis::shared(), &["--api-token-file", &file]).await;
        assert_eq!(warnings(&sidecar), usize::from(is_short), "{token}: {}", sidecar.log());
        if !is_short {
            scratch.file("token", "x");
            eventually("a warning", Duration::from_secs(15), async || warnings(&sidecar) == 1).await;
        }
    }
}
