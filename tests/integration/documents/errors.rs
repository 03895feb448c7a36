//! `GET /errors`, the page that the `type` of an error names.

use serde_json::json;

use super::read;
use crate::harness::{Sidecar, TestRedis, Who, lockside, unique};

const PAGE: &str = "docs/reference/errors.md";

#[tokio::test]
async fn the_page_of_the_errors_is_served_to_browsers_and_to_others_without_credentials() {
    let sidecar = Sidecar::who_knows(&TestRedis::shared().url(), &[]).await;
    let markdown = sidecar.ask(&Who::Nobody, "GET", "/errors").send().await;
    assert_eq!(markdown.status, 200);
    let headings =
        |text: &str| -> Vec<String> { text.lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect() };
    assert_eq!(headings(markdown.text()), headings(&read(PAGE)));
    assert!(!markdown.text().contains("]("), "a link to a page that is not served: {}", markdown.text());
    assert_eq!(markdown.header("content-type"), Some("text/markdown; charset=utf-8"));
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let html = sidecar.ask(&Who::Nobody, "GET", "/errors").header("accept", accept).send().await;
    assert_eq!((html.status, html.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for answer in [&markdown, &html] {
        assert_eq!(answer.header("vary"), Some("Accept"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    assert!(html.text().contains("<h2 id=\"outcome-unknown\">"), "{}", html.text());
    for (method, path, status) in [("POST", "/errors", 405), ("GET", "/errors/", 404), ("GET", "/api/errors", 404)] {
        assert_eq!(sidecar.call(method, path).send().await.status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn the_type_of_an_error_is_its_anchor_on_that_page() {
    let held = async |flags: &[&str]| {
        let sidecar = Sidecar::start(TestRedis::shared(), flags).await;
        let path = format!("/v1/locks/{}", unique("type"));
        assert_eq!(sidecar.call("POST", &path).json(&json!({})).send().await.status, 201);
        let refused = sidecar.call("POST", &path).json(&json!({})).send().await.json();
        let body = json!({"progress": true});
        let mut hold = sidecar.call("POST", &format!("{path}/hold")).json(&body).open().await;
        let line = hold.next().await.unwrap();
        assert_eq!((&refused["code"], &line["event"]), (&json!("held"), &json!("refused")));
        assert_eq!(refused["type"], line["type"]);
        refused["type"].as_str().unwrap().to_owned()
    };
    assert_eq!(held(&[]).await, "/errors#held");
    assert_eq!(held(&["--docs-url", "https://docs.test/lockside/"]).await, "https://docs.test/lockside/errors#held");
}

#[tokio::test]
async fn a_docs_url_is_an_address_that_a_path_can_follow() {
    for wrong in ["docs", "ftp://docs.test", "https://docs.test/?a=b", "https://docs.test/#a", "https://u:p@docs.test"]
    {
        let run = lockside(&["serve", "--docs-url", wrong]).await;
        assert_eq!(run.code, Some(64), "{wrong}: {}", run.stderr);
        assert!(run.stderr.contains("--docs-url: "), "{}", run.stderr);
    }
}
