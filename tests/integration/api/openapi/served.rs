//! `GET /openapi.json`.

use serde_json::json;

use super::{Document, TEXT};
use crate::harness::{Sidecar, TestRedis, Who, unique};

#[tokio::test]
async fn everybody_reads_the_document_without_a_credential() {
    let sidecar = Sidecar::who_knows(&TestRedis::shared().url(), &[]).await;
    let answer = sidecar.ask(&Who::Nobody, "GET", "/openapi.json").send().await;
    Document::new().check("getOpenApi", &answer);
    assert_eq!((answer.status, answer.text()), (200, TEXT));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let foreign = sidecar.call("GET", "/openapi.json").header("origin", "http://a.test").send().await;
    assert_eq!(foreign.status, 200, "reading changes nothing");
}

#[tokio::test]
async fn the_document_is_where_it_is_and_nowhere_else() {
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    for (method, path, status) in
        [("POST", "/openapi.json", 405), ("GET", "/api/openapi.json", 404), ("GET", "/openapi.json/", 404)]
    {
        let answer = sidecar.call(method, path).send().await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("allow"), (status == 405).then_some("GET, HEAD"));
    }
    assert_eq!(sidecar.ops("/openapi.json").await.status, 404);
    let foreign = sidecar.call("GET", "/openapi.json").header("host", "evil.test").send().await;
    assert_eq!(foreign.status, 403, "a name that was rebound");
    assert!(sidecar.ops("/metrics").await.text().contains("operation=\"openapi\""));
}

#[tokio::test]
async fn its_limits_are_those_that_the_sidecar_keeps() {
    let flags = ["--max-ttl=90s", "--max-wait=2s", "--default-ttl=4s", "--admin-ttl=5s"];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    let served = sidecar.call("GET", "/openapi.json").send().await.json();
    let schema = |name: &str| served["components"]["schemas"][name]["maximum"].as_u64().unwrap();
    for (body, limit) in [("ttlMs", schema("TtlMs")), ("waitMs", schema("WaitMs"))] {
        for (value, status) in [(limit, 201), (limit + 1, 400)] {
            let path = format!("/v1/locks/{}", unique("limit"));
            let answer = sidecar.call("POST", &path).json(&json!({body: value})).send().await;
            assert_eq!(answer.status, status, "{body}: {value}");
        }
    }
    assert_eq!(schema("LeasePeriod"), 90);
}

#[tokio::test]
async fn a_client_that_has_the_document_is_told_that_it_has_not_changed() {
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    let other = Sidecar::start(TestRedis::shared(), &["--max-wait=2s"]).await;
    let etag = sidecar.call("GET", "/openapi.json").send().await.header("etag").expect("a tag").to_owned();
    for (known, status) in [
        (etag.clone(), 304),
        (format!("W/{etag}"), 304),
        (format!("\"a\", {etag}"), 304),
        ("*".to_owned(), 304),
        ("\"a\"".to_owned(), 200),
        (etag.trim_matches('"').to_owned(), 200),
    ] {
        let answer = sidecar.call("GET", "/openapi.json").header("if-none-match", &known).send().await;
        assert_eq!((answer.status, answer.header("etag")), (status, Some(&*etag)), "{known}");
        assert_eq!(answer.body.is_empty(), status == 304);
    }
    let answer = other.call("GET", "/openapi.json").header("if-none-match", &etag).send().await;
    assert_eq!(answer.status, 200, "another document");
}
