//! The id of a request: the caller's comes back, one of ours is made only where something is written of it.

use serde_json::{Value, json};

use super::{Line, answer_of};
use crate::harness::http::{raw, raw_head};
use crate::harness::{Answer, Scratch, Sidecar, TestRedis, Who, editor, eventually, jwt, unique};

/// A request of each dialect that is granted, and one that is refused.
fn calls() -> Vec<(&'static str, String, Value, u16)> {
    let key = unique("id");
    let dapr = json!({"resourceId": key, "lockOwner": "o", "expiryInSeconds": 60});
    vec![
        ("POST", "/admin/lock".to_owned(), json!({"route": key, "id": "1"}), 200),
        ("DELETE", "/admin/remove-lock".to_owned(), json!({"route": key, "id": "2"}), 404),
        ("POST", "/cmn/leasable-locks".to_owned(), json!({"key": format!("{key}-l"), "leasePeriod": 60}), 201),
        ("GET", "/cmn/leasable-locks?limit=1".to_owned(), json!({}), 200),
        ("GET", format!("/cmn/leasable-locks?prefix={key}"), json!({}), 200),
        ("DELETE", "/cmn/leasable-locks/7".to_owned(), json!({}), 404),
        ("POST", format!("/v1/locks/{key}-n"), json!({}), 201),
        ("GET", format!("/v1/locks/{key}-n"), json!({}), 200),
        ("POST", format!("/v1/locks/{key}-n"), json!({"ttlMs": 0}), 400),
        ("PUT", format!("/v1/locks/{key}-n?token=7"), json!({}), 410),
        ("POST", "/v1.0-alpha1/lock/lockstore".to_owned(), dapr, 403),
        ("GET", "/v1.0/healthz".to_owned(), json!({}), 204),
        ("GET", "/openapi.json".to_owned(), json!({}), 200),
        ("GET", "/nowhere".to_owned(), json!({}), 404),
        ("PATCH", "/v1/locks".to_owned(), json!({}), 405),
        ("PATCH", "/admin/lock".to_owned(), json!({}), 405),
    ]
}

fn is_problem(answer: &Answer) -> bool {
    answer.header("content-type") == Some("application/problem+json")
}

#[tokio::test]
async fn the_id_that_a_caller_sends_comes_back_from_the_ops_listener_and_with_a_head_that_is_too_long() {
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    let ask = |address: &str, head: &str| raw(address, &format!("{head}Host: localhost\r\nConnection: close\r\n\r\n"));
    for (line, status) in [
        ("GET /healthz", 200),
        ("GET /readyz", 200),
        ("GET /metrics", 200),
        ("HEAD /healthz", 200),
        ("GET /nowhere", 404),
        ("POST /healthz", 405),
    ] {
        let with = |ids: &str| ask(sidecar.ops_address(), &format!("{line} HTTP/1.1\r\n{ids}"));
        let told = with("X-Request-Id: probe-7\r\n");
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {told}");
        assert!(told.contains("\r\nx-request-id: probe-7\r\n"), "{line}: {told}");
        for unfit in ["", "X-Request-Id: a b\r\n", "X-Request-Id: a\r\nX-Request-Id: b\r\n"] {
            assert!(!with(unfit).to_lowercase().contains("x-request-id"), "{line}: {unfit}");
        }
    }
    let long = "y".repeat(5 * 1024);
    for (ids, comes_back) in [("X-Request-Id: probe-8\r\n", true), ("X-Request-Id: a b\r\n", false), ("", false)] {
        let told = ask(sidecar.ops_address(), &format!("GET /healthz HTTP/1.1\r\n{ids}X-Long: {long}\r\n"));
        assert!(told.starts_with("HTTP/1.1 431 "), "{told}");
        assert_eq!(told.contains("\r\nx-request-id: probe-8\r\n"), comes_back, "{told}");
    }
    let first = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let both = format!("{first}GET /healthz HTTP/1.1\r\nX-Request-Id: probe-8\r\nX-Long: {long}\r\n");
    let told = ask(sidecar.ops_address(), &both);
    assert!(told.contains("HTTP/1.1 431 ") && told.contains("\r\nx-request-id: probe-8\r\n"), "{told}");
}

#[tokio::test]
async fn the_id_that_a_caller_sends_comes_back_in_every_answer_and_in_problems() {
    let sidecar = Sidecar::who_knows(&TestRedis::shared().url(), &[]).await;
    let longest = "~".repeat(64);
    for sent in ["7", "0af7651916cd43dd8448eb211c80319c", "a\"b\\c{}", &longest] {
        for (method, path, body, status) in calls() {
            let call = sidecar.ask(&editor("alice"), method, &path).header("X-Request-Id", sent).json(&body);
            let answer = call.send().await;
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
            assert_eq!(answer.header("x-request-id"), Some(sent), "{method} {path}");
            if is_problem(&answer) {
                assert_eq!(answer.json()["requestId"], sent, "{method} {path}");
            } else if status != 204 && path != "/openapi.json" {
                assert!(!answer.text().contains("requestId"), "only problems have it: {}", answer.text());
            }
        }
        let hold = format!("POST /v1/locks/{}/hold HTTP/1.1\r\nHost: localhost\r\n", unique("id"));
        let head = format!("{hold}Cookie: refreshToken={}\r\nX-Request-Id: {sent}\r\n\r\n", jwt::editor("alice"));
        let held = raw_head(sidecar.api_address(), &head);
        assert!(held.starts_with("HTTP/1.1 200") && held.contains(&format!("x-request-id: {sent}\r\n")), "{held}");
    }
}

#[tokio::test]
async fn an_id_that_is_not_fit_is_replaced_by_one_of_ours_everywhere() {
    let sidecar = Sidecar::start(TestRedis::shared(), &["--log-level=debug"]).await;
    for (count, sent) in [
        "X-Request-Id: ".to_owned(),
        format!("X-Request-Id: {}", "x".repeat(65)),
        "X-Request-Id: two words".to_owned(),
        "X-Request-Id: a\tb".to_owned(),
        "X-Request-Id: hunter2-\u{e4}".to_owned(),
        "X-Request-Id: hunter2-\u{2028}".to_owned(),
        "X-Request-Id: one\r\nX-Request-Id: other".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        for (path, status) in [("/v1.0/healthz", 204), ("/v1/locks/a?token=x", 400)] {
            let (method, key) = if status == 204 { ("GET", "") } else { ("DELETE", "") };
            let answer = raw(
                sidecar.api_address(),
                &format!("{method} {path}{key} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{sent}\r\n\r\n"),
            );
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{count}: {answer}");
            let id = answer.split("x-request-id: ").nth(1).and_then(|rest| rest.split("\r\n").next()).expect("an id");
            assert!((1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()), "{answer}");
            assert!(!sent.contains(id) && !answer.contains("hunter2"), "{answer}");
            assert_eq!(answer.matches(id).count(), if status == 204 { 1 } else { 2 }, "in the problem, too: {answer}");
            answer_of(&sidecar, id).await.assert("request_id", id);
        }
    }
    assert!(!sidecar.log().contains("hunter2"));
}

#[tokio::test]
async fn without_one_an_id_is_made_only_where_a_line_or_a_problem_has_it() {
    let sidecar = Sidecar::who_knows(&TestRedis::shared().url(), &[]).await;
    for (method, path, body, status) in calls() {
        let answer = sidecar.ask(&editor("alice"), method, &path).json(&body).send().await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        let id = answer.header("x-request-id");
        assert_eq!(id.is_some(), is_problem(&answer), "{method} {path}");
        if is_problem(&answer) {
            assert_eq!(answer.json()["requestId"].as_str(), id, "{method} {path}");
        }
    }
    let debug = Sidecar::who_knows(&TestRedis::shared().url(), &["--log-level=debug"]).await;
    for (method, path, body, _) in calls() {
        let answer = debug.ask(&editor("alice"), method, &path).json(&body).send().await;
        let line = answer_of(&debug, answer.header("x-request-id").expect("the id of the line")).await;
        line.assert("target", "lockside.api");
        line.assert("method", method);
    }
}

#[tokio::test]
async fn a_failure_that_a_line_tells_of_has_the_id_of_the_line_in_every_dialect() {
    let mut redis = TestRedis::start(&[]);
    let sidecar = Sidecar::who_knows(&redis.url(), &["--redis-timeout=200ms"]).await;
    redis.kill();
    let down = async || sidecar.ops("/readyz").await.status == 503;
    eventually("it is known", std::time::Duration::from_secs(5), down).await;
    let key = unique("down");
    let mut ids = Vec::new();
    for (who, path, body) in [
        (editor("alice"), "/admin/lock", json!({"route": key, "id": "1"})),
        (editor("alice"), "/cmn/leasable-locks", json!({"key": key, "leasePeriod": 60})),
        (editor("alice"), "/v1/locks/down", json!({})),
        (
            Who::System,
            "/v1.0-alpha1/lock/lockstore",
            json!({"resourceId": key, "lockOwner": "o", "expiryInSeconds": 1}),
        ),
    ] {
        let answer = sidecar.ask(&who, "POST", path).json(&body).send().await;
        assert!(answer.status >= 500, "{}", answer.text());
        let id = answer.header("x-request-id").expect("the id of the line").to_owned();
        answer_of(&sidecar, &id).await.assert("message", "request failed");
        ids.push(id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 4, "{ids:?}");
}

#[tokio::test]
async fn a_trace_that_is_not_whole_is_not_told() {
    let scratch = Scratch::new();
    let secret = scratch.file("secret", jwt::SECRET);
    let flags = ["--jwt-secret-file", &secret, "--log-level=debug"];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (sent, told) in [
        (format!("00-{trace}-00f067aa0ba902b7-01"), true),
        (format!("00-{trace}-0000000000000000-01"), false),
        ("00-hunter2-00f067aa0ba902b7-01".to_owned(), false),
    ] {
        let id = unique("traced");
        let call = sidecar.call("GET", "/v1/locks").header("x-request-id", &id).header("traceparent", &sent);
        assert_eq!(call.send().await.status, 200);
        let line: Line = answer_of(&sidecar, &id).await;
        assert_eq!(line.get("trace_id"), told.then_some(trace), "{}", line.raw);
    }
    assert!(!sidecar.log().contains("hunter2"));
}
