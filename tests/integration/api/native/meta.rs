//! `meta`: any JSON up to 1 KiB, which comes back byte for byte.

use serde_json::json;

use super::{Native, Who, assert_problem, path, redis_key};
use crate::harness::{Answer, Sidecar, TestRedis, lockside, unique};

async fn acquire(native: &Native, key: &str, meta: &str) -> Answer {
    let body = format!("{{ \"meta\" : {meta} , \"ttlMs\": 60000 }}");
    native.ask(&Who::System, "POST", &path(key)).body(body).send().await
}

#[tokio::test]
async fn meta_comes_back_as_it_was_wherever_a_holder_is_shown() {
    let native = Native::start(&[]).await;
    for meta in [
        "2.50",
        "1e5",
        "-0.0",
        "123456789012345678901234567890.10",
        "\"\\u00e9\\n\\/\"",
        "\"é€🔒\"",
        "\"\\ud83d\\ude00\"",
        "\"\"",
        "{ \"b\" : 1 ,\n\t\"a\":[1,  2] }",
        "{\"a\":1,\"a\":2}",
        "[]",
        "{}",
        "false",
        "\"\\\"},\\\"by\\\":\\\"*\\\"\"",
        "[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]",
    ] {
        let key = unique("meta");
        let granted = acquire(&native, &key, meta).await;
        assert_eq!(granted.status, 201, "{meta}: {}", granted.text());
        let shown = format!("\"meta\":{meta}");
        for answer in [
            native.ask(&Who::System, "GET", &path(&key)).send().await,
            acquire(&native, &key, "0").await,
            native.list(&format!("prefix={key}")).await,
        ] {
            assert!(answer.text().contains(&shown), "{shown}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn null_is_a_meta_that_comes_back_too() {
    let native = Native::start(&[]).await;
    let key = unique("null");
    assert_eq!(acquire(&native, &key, "null").await.status, 201);
    assert!(native.look(&key).await["holder"]["meta"].is_null());
}

#[tokio::test]
async fn meta_may_have_1024_bytes_of_json_and_not_one_more() {
    let native = Native::start(&[]).await;
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let two_bytes = |bytes: usize| format!("\"{}\"", "é".repeat((bytes - 2) / 2));
    let spaced = |bytes: usize| format!("[{}]", " ".repeat(bytes - 2));
    for meta in [text(1024), two_bytes(1024), spaced(1024)] {
        let key = unique("meta");
        assert_eq!(acquire(&native, &key, &meta).await.status, 201);
        assert!(native.ask(&Who::System, "GET", &path(&key)).send().await.text().contains(&meta));
    }
    for meta in [text(1025), two_bytes(1026), spaced(1025)] {
        let answer = acquire(&native, &unique("meta"), &meta).await;
        assert_problem(&answer, 400, "bad-request");
        assert!(answer.json()["detail"].as_str().unwrap().contains("1024"), "{}", answer.text());
    }
}

#[tokio::test]
async fn in_redis_meta_is_a_string_that_anybody_may_read() {
    let native = Native::start(&[]).await;
    let key = unique("redis");
    acquire(&native, &key, "{\"price\": 2.50}").await;
    let lease: serde_json::Value =
        serde_json::from_str(&TestRedis::shared().ask::<String>("GET", &[&redis_key(&key)])).unwrap();
    assert_eq!(lease["meta"], "{\"price\": 2.50}");
}

#[tokio::test]
async fn meta_that_a_reader_of_json_may_not_be_able_to_read_is_refused() {
    let native = Native::start(&[]).await;
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for meta in [
        "\"\\ud800\"",
        "\"\\udc00x\"",
        "{\"\\ud800\":1}",
        "[1e999]",
        "-1e999",
        "{\"a\":[1E+400]}",
        &nested(33),
        &nested(127),
    ] {
        let key = unique("odd");
        let answer = acquire(&native, &key, meta).await;
        assert_problem(&answer, 400, "bad-request");
        assert!(answer.json()["detail"].as_str().unwrap().starts_with("meta: "), "{meta}: {}", answer.text());
        let hold = native.ask(&Who::System, "POST", &format!("{}/hold", path(&key)));
        let held = hold.body(format!("{{\"meta\":{meta}}}")).send().await;
        assert_problem(&held, 400, "bad-request");
        assert!(native.is_free(&key).await);
    }
    assert_eq!(acquire(&native, &unique("deep"), &nested(32)).await.status, 201);
}

#[tokio::test]
async fn the_command_line_shows_locks_whatever_their_meta_is() {
    let sidecar = Native(Sidecar::start(TestRedis::shared(), &[]).await);
    let url = format!("http://{}", sidecar.api_address());
    let prefix = unique("plain");
    let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
    for (index, meta) in ["\"\\ud800\"", "1e999", &deep].into_iter().enumerate() {
        let key = format!("{prefix}-{index}");
        let granted = sidecar.call("POST", &path(&key)).body("{\"meta\":\"MARK\"}").send().await;
        assert_eq!(granted.status, 201, "{}", granted.text());
        // As a release before this check left it, or another program.
        let record: String = TestRedis::shared().ask("GET", &[&redis_key(&key)]);
        let odd = record.replace(&json!("\"MARK\"").to_string(), &json!(meta).to_string());
        assert_ne!(odd, record);
        let _: String = TestRedis::shared().ask("SET", &[&redis_key(&key), &odd, "KEEPTTL"]);
        let shown = lockside(&["show", "--url", &url, &key]).await;
        assert_eq!(shown.code, Some(0), "{}", shown.output());
        assert!(shown.stdout.contains("held"), "{}", shown.output());
        let tried = lockside(&["exec", "--url", &url, "--try", &key, "--", "true"]).await;
        assert!(tried.stderr.contains("is held by `"), "{}", tried.output());
    }
    for args in [&["ls"][..], &["ls", "--json"]] {
        let run = lockside(&[args, &["--url", &url, "--prefix", &prefix]].concat()).await;
        assert_eq!(run.code, Some(0), "{}", run.output());
        assert_eq!(run.stdout.matches(&prefix).count(), 3, "{}", run.output());
    }
}
