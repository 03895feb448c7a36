//! What HTTP clients, proxies and people do beside the plain request.

use serde_json::{Value, json};

use crate::harness::{Sidecar, TestRedis, Who, editor, reader, unique};

async fn sidecar() -> Sidecar {
    Sidecar::who_knows(&TestRedis::shared().url(), &["--key-prefix", &unique("http")]).await
}

#[tokio::test]
async fn a_head_has_the_status_and_the_headers_of_a_get_and_no_body() {
    let sidecar = sidecar().await;
    for path in
        ["/v1/locks", "/v1/locks/a", "/v1/locks/a/fence?token=7", "/cmn/leasable-locks", "/openapi.json", "/errors"]
    {
        let get = sidecar.ask(&Who::System, "GET", path).send().await;
        let head = sidecar.ask(&Who::System, "HEAD", path).send().await;

        assert_eq!((head.status, head.text()), (get.status, ""), "{path}");
        for name in ["content-type", "content-length", "etag", "cache-control", "vary"] {
            assert_eq!(head.header(name), get.header(name), "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn a_compressed_body_is_415_and_says_so_in_every_api() {
    let sidecar = sidecar().await;
    for (who, method, path) in [
        (editor("alice"), "POST", "/admin/lock"),
        (Who::System, "POST", "/cmn/leasable-locks"),
        (Who::System, "POST", "/v1/locks/a"),
        (Who::System, "POST", "/v1.0-alpha1/lock/lockstore"),
    ] {
        for coding in ["gzip", "br", "identity, gzip"] {
            let answer = sidecar.ask(&who, method, path).header("content-encoding", coding).body("{}").send().await;
            assert_eq!(answer.status, 415, "{path}: {}", answer.text());
            let is_told = path == "/admin/lock" || answer.text().contains("Content-Encoding");
            assert!(is_told, "{path}: {}", answer.text());
            let body = answer.json();
            let code = body.get("code").or(body.get("context")).and_then(Value::as_str);
            assert!(matches!(code, None | Some("unsupported-media-type")), "{path}: {}", answer.text());
        }
    }
    let plain = sidecar.ask(&Who::System, "POST", "/v1/locks/a").header("content-encoding", "identity").body("{}");
    assert_eq!(plain.send().await.status, 201);
}

#[tokio::test]
async fn a_byte_order_mark_before_a_body_counts_for_nothing() {
    let sidecar = sidecar().await;
    let key = unique("mark");
    for (path, body) in [
        ("/v1/locks/a", "{\"ttlMs\":60000}".to_owned()),
        (
            "/v1.0-alpha1/lock/lockstore",
            format!("{{\"resourceId\":\"{key}\",\"lockOwner\":\"o\",\"expiryInSeconds\":9}}"),
        ),
    ] {
        let answer = sidecar.ask(&Who::System, "POST", path).body(format!("\u{feff}{body}")).send().await;
        assert!(matches!(answer.status, 200 | 201), "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn no_answer_is_kept_by_a_cache_or_taken_for_what_it_is_not() {
    let sidecar = sidecar().await;
    for (method, path) in [
        ("GET", "/v1/locks"),
        ("POST", "/v1/locks/a"),
        ("PATCH", "/v1/locks/a"),
        ("GET", "/cmn/leasable-locks"),
        ("GET", "/v1.0/metadata"),
        ("GET", "/nowhere"),
        ("POST", "/admin/lock"),
    ] {
        let answer = sidecar.ask(&Who::System, method, path).send().await;
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{method} {path}");
    }
}

#[tokio::test]
async fn a_wrong_path_or_method_says_what_would_be_right() {
    let sidecar = sidecar().await;
    let slash = sidecar.ask(&Who::System, "POST", "/v1/locks/orders/7").json(&json!({})).send().await;
    assert_eq!((slash.status, slash.json()["code"].as_str()), (404, Some("not-found")));
    assert!(slash.json()["detail"].as_str().unwrap().contains("/v1/locks/orders%2F7"), "{}", slash.text());

    let method = sidecar.ask(&Who::System, "PATCH", "/v1/locks/a").send().await;
    assert!(method.json()["detail"].as_str().unwrap().contains("GET, HEAD, POST, PUT, DELETE"), "{}", method.text());
}

#[tokio::test]
async fn a_path_of_dapr_may_begin_and_end_with_more_slashes_and_its_errors_are_those_of_dapr() {
    let sidecar = sidecar().await;
    let body = |key: &str| json!({"resourceId": key, "lockOwner": "o", "expiryInSeconds": 9});
    for path in ["//v1.0-alpha1/lock/lockstore", "/v1.0-alpha1/lock/lockstore/"] {
        let answer = sidecar.ask(&Who::System, "POST", path).json(&body(&unique("slash"))).send().await;
        assert_eq!((answer.status, answer.json()), (200, json!({"success": true})), "{path}");
    }
    for path in ["/v1.0-alpha1/lock", "/v1.0-alpha1/locks/lockstore", "/v1.0/nowhere"] {
        let answer = sidecar.ask(&Who::System, "POST", path).json(&body("x")).send().await;
        assert_eq!((answer.status, answer.json()["errorCode"].as_str()), (404, Some("ERR_NOT_FOUND")), "{path}");
    }
}

#[tokio::test]
async fn why_a_host_is_not_served_is_told_to_the_sender_and_once_to_the_log() {
    let sidecar = sidecar().await;
    for _ in 0..3 {
        for path in ["/v1/locks/a", "/admin/lock", "/cmn/leasable-locks", "/v1.0-alpha1/lock/lockstore"] {
            let answer = sidecar.ask(&Who::System, "POST", path).header("host", "admin.example.com").send().await;
            assert_eq!(answer.status, 403, "{path}");
            assert_eq!(answer.header("lockside-reason"), Some("host-not-allowed"), "{path}");
        }
    }
    let log = sidecar.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("requests are refused")).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("admin.example.com") && told[0].contains("--allowed-hosts"), "{}", told[0]);
}

#[tokio::test]
async fn each_reason_for_which_a_request_is_not_allowed_has_its_code_in_every_api() {
    let strict = sidecar().await;
    let open = Sidecar::start(TestRedis::shared(), &["--key-prefix", &unique("http")]).await;
    let (plain, reader) = (Who::Nobody, reader("alice"));
    let (host, page, proxy) = (("host", "evil.test"), ("origin", "http://evil.test"), ("via", "1.1 proxy"));
    let own = ("host", "localhost");
    for (who, method, path, header, status, reason) in [
        (&plain, "POST", "/v1/locks/a", host, 403, "host-not-allowed"),
        (&plain, "POST", "/admin/lock", host, 403, "host-not-allowed"),
        (&plain, "POST", "/cmn/leasable-locks", host, 403, "host-not-allowed"),
        (&plain, "POST", "/v1.0-alpha1/lock/lockstore", host, 403, "host-not-allowed"),
        (&plain, "POST", "/v1/locks/a", proxy, 401, "proxied-anonymous"),
        (&plain, "POST", "/cmn/leasable-locks", proxy, 401, "proxied-anonymous"),
        (&plain, "POST", "/v1.0-alpha1/lock/lockstore", proxy, 401, "proxied-anonymous"),
        (&reader, "POST", "/v1/locks/a", page, 403, "origin-not-allowed"),
        (&reader, "POST", "/admin/lock", page, 403, "origin-not-allowed"),
        (&reader, "POST", "/cmn/leasable-locks", page, 403, "origin-not-allowed"),
        (&reader, "DELETE", "/v1/locks/a?force=true", own, 403, "missing-permission"),
        (&reader, "POST", "/admin/lock?route=r&id=1", own, 403, "missing-permission"),
        (&reader, "DELETE", "/cmn/leasable-locks/custom/7", own, 403, "missing-permission"),
        (&reader, "POST", "/v1.0-alpha1/lock/lockstore", own, 403, "missing-permission"),
    ] {
        let sidecar = if matches!(who, Who::Nobody) { &open } else { &strict };
        let answer = sidecar.ask(who, method, path).header(header.0, header.1).body("{}").send().await;
        let told = (answer.status, answer.header("lockside-reason"));
        assert_eq!(told, (status, Some(reason)), "{method} {path} {header:?}: {}", answer.text());
    }
}
