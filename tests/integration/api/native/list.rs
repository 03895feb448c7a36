//! `GET /v1/locks`: a page of the locks of every dialect.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Native, Who, assert_done, assert_problem, editor, fields, left_ms, reader, token_of};
use crate::harness::{eventually, unique};

/// The locks of a page.
fn locks(page: &Value) -> Vec<Value> {
    page["locks"].as_array().expect("an array").clone()
}

#[tokio::test]
async fn an_entry_is_the_key_and_what_get_says_of_its_holder() {
    let native = Native::start(&[]).await;
    let prefix = unique("entry");
    let key = format!("{prefix}-a");
    native.acquire(&reader("alice"), &key, &json!({"ttlMs": 60_000, "meta": {"a": 1}})).await;
    let page = native.list(&format!("prefix={prefix}")).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("application/json")));
    let page = page.json();
    assert_eq!((fields(&page), &page["next"]), (vec!["locks", "next"], &Value::Null));
    let mut entry = locks(&page)[0].clone();
    assert_eq!(
        fields(&entry),
        [
            "key",
            "kind",
            "meta",
            "mode",
            "owner",
            "since",
            "state",
            "token",
            "ttlMs",
            "validForMs",
            "validUntil",
            "waiters"
        ]
    );
    let mut holder = native.look(&key).await["holder"].clone();
    assert!(left_ms(&holder) <= left_ms(&entry));
    assert_eq!((&entry["key"], &entry["waiters"], &entry["ttlMs"]), (&json!(key), &json!(0), &json!(60_000)));
    entry
        .as_object_mut()
        .unwrap()
        .retain(|field, _| !["key", "state", "validForMs", "waiters"].contains(&field.as_str()));
    holder.as_object_mut().unwrap().retain(|field, _| field != "validForMs");
    assert_eq!(entry, holder);
}

#[tokio::test]
async fn the_list_is_of_every_dialect_and_for_everybody_who_is_served() {
    let native = Native::start(&[]).await;
    let id = unique("every");
    let (alice, key) = (editor("alice"), format!("volume:{id}"));
    native.ask(&alice, "POST", "/admin/lock").json(&json!({"route": "volume", "id": id})).send().await;
    native
        .ask(&Who::System, "POST", "/cmn/leasable-locks")
        .json(&json!({"key": format!("{key}-2"), "leasePeriod": 60}))
        .send()
        .await;
    native.granted(&reader("bob"), &format!("{key}-3")).await;
    for who in [reader("carol"), Who::System] {
        let page = native.ask(&who, "GET", &format!("/v1/locks?prefix={key}")).send().await.json();
        let kinds: Vec<Value> = locks(&page).iter().map(|entry| entry["kind"].clone()).collect();
        assert_eq!(kinds, ["user", "system", "user"]);
    }
}

#[tokio::test]
async fn the_pages_are_the_list_in_the_order_of_grants() {
    let native = Native::start(&[]).await;
    let prefix = unique("pages é&");
    let encoded: String = form_urlencoded::byte_serialize(prefix.as_bytes()).collect();
    let mut tokens = Vec::new();
    for index in 0..5 {
        let key = format!("{prefix}-{index}");
        let key = percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC).to_string();
        tokens.push(token_of(&native.granted(&Who::System, &key).await));
    }
    native.renew(&Who::System, &format!("{}-0", encoded.replace('+', "%20")), tokens[0], &json!({})).await;
    for limit in [1, 2, 4, 5, 6, 10_000] {
        let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = native.list(&format!("prefix={encoded}&limit={limit}{cursor}")).await.json();
            assert!(locks(&page).len() <= limit);
            seen.extend(locks(&page).iter().map(token_of));
            pages += 1;
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!((&seen, pages), (&tokens, 5_usize.div_ceil(limit)), "a full last page is the last");
    }
}

#[tokio::test]
async fn what_ended_is_not_listed_and_a_cursor_outlives_it() {
    let native = Native::start(&[]).await;
    let prefix = unique("ended");
    let mut tokens = Vec::new();
    for (name, ttl_ms) in [("released", 60_000), ("forced", 60_000), ("expired", 300), ("kept", 60_000)] {
        tokens.push(token_of(&native.granted_for(&Who::System, &format!("{prefix}-{name}"), ttl_ms).await));
    }
    let first = native.list(&format!("prefix={prefix}&limit=1")).await.json();
    assert_eq!(token_of(&locks(&first)[0]), tokens[0]);
    assert_done(&native.release(&Who::System, &format!("{prefix}-released"), tokens[0]).await);
    assert_done(&native.force(&Who::System, &format!("{prefix}-forced")).await);
    let gone = async || native.is_free(&format!("{prefix}-expired")).await;
    eventually("the lease ends", Duration::from_secs(4), gone).await;
    let cursor = first["next"].as_str().unwrap();
    for query in [format!("prefix={prefix}"), format!("prefix={prefix}&cursor={cursor}")] {
        let page = native.list(&query).await.json();
        assert_eq!(locks(&page).iter().map(token_of).collect::<Vec<_>>(), [tokens[3]]);
    }
}

#[tokio::test]
async fn no_locks_are_an_empty_page() {
    let native = Native::start(&["--key-prefix", &unique("empty")]).await;
    assert_eq!(native.list("").await.text(), r#"{"locks":[],"next":null}"#);
}

#[tokio::test]
async fn a_page_has_1000_locks_unless_more_are_asked_for() {
    let native = Native::start(&["--key-prefix", &unique("full")]).await;
    for index in 0..1001 {
        native.granted(&Who::System, &index.to_string()).await;
    }
    let page = native.list("").await.json();
    assert_eq!(locks(&page).len(), 1000);
    let rest = native.list(&format!("cursor={}", page["next"].as_str().unwrap())).await.json();
    assert_eq!((locks(&rest).len(), &rest["next"]), (1, &Value::Null));
    assert_eq!(locks(&native.list("limit=1001").await.json()).len(), 1001);
}

#[tokio::test]
async fn pages_that_make_no_sense_are_refused() {
    let native = Native::start(&[]).await;
    for query in
        ["limit=0", "limit=10001", "limit=-1", "limit=x", "limit=1.5", "limit=", "cursor=x", "cursor=0", "cursor="]
    {
        assert_problem(&native.list(query).await, 400, "bad-request");
    }
}
