//! `meta`: any JSON up to 1 KiB, which comes back byte for byte.

use super::{Native, Who, assert_problem, path, redis_key};
use crate::harness::{Answer, TestRedis, unique};

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
        "1E+400",
        "123456789012345678901234567890.10",
        "\"\\u00e9\\n\\/\"",
        "\"é€🔒\"",
        "\"\\ud800\"",
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
