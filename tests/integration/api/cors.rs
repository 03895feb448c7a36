//! Pages of other origins: what a browser is told before it sends a request, and before it shows the answer to the page.

use serde_json::json;

use crate::harness::{Answer, Sidecar, TestRedis, Who, unique};

const PAGE: &str = "https://admin.test";
const PATHS: [&str; 6] = [
    "/admin/lock",
    "/cmn/leasable-locks",
    "/v1/locks/a",
    "/v1/locks/a/hold",
    "/v1.0-alpha1/lock/lockstore",
    "/openapi.json",
];

async fn sidecar() -> Sidecar {
    let flags = ["--allowed-origins=https://admin.test", "--key-prefix", &unique("cors")];
    Sidecar::who_knows(&TestRedis::shared().url(), &flags).await
}

fn headers(answer: &Answer, name: &str) -> Vec<String> {
    let values = answer.headers.get_all(name).iter();
    values.flat_map(|value| value.to_str().unwrap().split(", ")).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_page_of_a_listed_origin_may_send_every_method_and_header_and_bring_the_cookie() {
    let sidecar = sidecar().await;
    for path in PATHS {
        let call = sidecar.call("OPTIONS", path).header("origin", PAGE).header("access-control-request-method", "PUT");
        let answer = call.header("access-control-request-private-network", "true").send().await;

        assert_eq!((answer.status, answer.text()), (204, ""), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE), "{path}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("access-control-allow-private-network"), Some("true"));
        assert!(headers(&answer, "access-control-max-age")[0].parse::<u32>().unwrap() > 60);
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE"] {
            assert!(headers(&answer, "access-control-allow-methods").contains(&method.to_owned()), "{method}");
        }
        for name in ["Content-Type", "Authorization", "Idempotency-Key", "X-Request-Id", "Accept-Language"] {
            assert!(headers(&answer, "access-control-allow-headers").contains(&name.to_owned()), "{name}");
        }
        assert!(headers(&answer, "vary").contains(&"Origin".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_page_of_a_listed_origin_reads_every_answer_and_its_headers() {
    let sidecar = sidecar().await;
    for (who, status) in [(Who::System, 201), (Who::System, 409), (Who::Nobody, 401)] {
        let call = sidecar.ask(&who, "POST", "/v1/locks/a").header("origin", PAGE).json(&json!({"ttlMs": 60_000}));
        let answer = call.send().await;

        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        for name in ["Retry-After", "Link", "Lockside-Token", "Lockside-Holder", "Lockside-Reason", "X-Request-Id"] {
            assert!(headers(&answer, "access-control-expose-headers").contains(&name.to_owned()), "{name}");
        }
    }
}

#[tokio::test]
async fn a_page_of_another_origin_is_told_nothing_and_the_log_says_what_to_set() {
    let sidecar = sidecar().await;
    for origin in ["https://evil.test", "http://admin.test", "https://admin.test:8443", "null"] {
        let asking = sidecar.call("OPTIONS", "/v1/locks/a").header("origin", origin);
        let answer = asking.header("access-control-request-method", "PUT").send().await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (403, Some("forbidden")), "{origin}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("--allowed-origins"), "{}", answer.text());

        let read = sidecar.ask(&Who::System, "GET", "/v1/locks/a").header("origin", origin).send().await;
        assert_eq!(read.status, 200, "a browser shows it to no page");
        for answer in [answer, read] {
            assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{origin}");
            assert!(headers(&answer, "vary").contains(&"Origin".to_owned()), "caches keep them apart");
        }
    }
    let log = sidecar.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("requests are refused")).collect();
    assert_eq!(told.len(), 1, "once a minute: {told:#?}");
    assert!(told[0].contains("WARN") && told[0].contains("https://evil.test") && told[0].contains("--allowed-origins"));
}

#[tokio::test]
async fn without_listed_origins_no_answer_has_a_word_of_them() {
    let sidecar = Sidecar::start(TestRedis::shared(), &["--key-prefix", &unique("cors")]).await;
    let answer = sidecar.call("GET", "/v1/locks/a").header("origin", PAGE).send().await;
    assert_eq!((answer.status, answer.header("vary")), (200, None));
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
}
