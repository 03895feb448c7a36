//! `GET`: every active lock of every dialect, whole or in pages.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Leases, PATH, Who, assert_message, editor, reader, token_of};
use crate::harness::{eventually, unique};

#[tokio::test]
async fn the_list_says_of_a_lease_what_its_grant_said() {
    let leases = Leases::start(&[]).await;
    let prefix = unique("list");
    let mine = leases.granted(&editor("alice"), &format!("{prefix}-a"), 30).await;
    let systems = leases.granted(&Who::System, &format!("{prefix}-b"), 30).await;
    for who in [reader("bob"), Who::System] {
        assert_eq!(leases.listed(&who, &prefix).await, [mine.clone(), systems.clone()]);
        let all = leases.ask(&who, "GET", PATH).send().await.json();
        assert!([&mine, &systems].iter().all(|lease| all.as_array().unwrap().contains(lease)));
    }
}

#[tokio::test]
async fn no_locks_are_an_empty_array() {
    let leases = Leases::start(&["--key-prefix", &unique("empty")]).await;
    let answer = leases.ask(&Who::System, "GET", PATH).send().await;
    assert_eq!((answer.status, answer.text()), (200, "[]"));
}

#[tokio::test]
async fn what_is_released_removed_or_expired_is_not_listed() {
    let leases = Leases::start(&[]).await;
    let (prefix, alice) = (unique("gone"), editor("alice"));
    let mut tokens = Vec::new();
    for (name, seconds) in [("released", 30), ("removed", 30), ("expired", 1), ("kept", 30)] {
        tokens.push(token_of(&leases.granted(&alice, &format!("{prefix}-{name}"), seconds).await));
    }
    assert_eq!(leases.listed(&alice, &prefix).await.len(), 4);
    assert_message(&leases.release(&alice, tokens[0]).await, 200);
    assert_message(&leases.remove(&alice, tokens[1]).await, 200);
    eventually("the short lease ends", Duration::from_secs(4), async || {
        leases.listed(&alice, &prefix).await.len() == 1
    })
    .await;
    assert_eq!(token_of(&leases.listed(&alice, &prefix).await[0]), tokens[3]);
}

#[tokio::test]
async fn a_lock_of_the_admin_dialect_is_a_lease_of_its_user() {
    let leases = Leases::start(&["--admin-ttl", "90s"]).await;
    let (alice, id) = (editor("alice"), unique("volume"));
    let key = format!("volume:{id}");
    let lock = || leases.ask(&alice, "POST", "/admin/lock").json(&json!({"route": "volume", "id": id})).send();
    assert_eq!(lock().await.status, 200);
    let listed = leases.listed(&Who::System, &key).await;
    assert_eq!(listed.len(), 1);
    let lease = &listed[0];
    assert_eq!((lease["key"].as_str(), lease["user"]["id"].as_str()), (Some(&*key), Some("alice")));
    assert_eq!(lease["user"]["label"], "Name of alice");
    assert_eq!(lease["lockedBySystem"], false);
    let token = token_of(lease);

    assert_message(&leases.renew(&editor("bob"), token, 60).await, 403);
    assert_message(&leases.renew(&Who::System, token, 60).await, 403);
    assert_message(&leases.release(&editor("bob"), token).await, 403);
    assert_eq!(leases.renew(&alice, token, 60).await.json()["key"], key.as_str());
    assert_eq!(leases.create(&alice, &key, 60).await.json()["token"], token, "one key space");
    assert_eq!(leases.create(&editor("bob"), &key, 60).await.status, 409);
    assert_message(&leases.release(&alice, token).await, 200);
    assert_eq!(lock().await.status, 200);
    let token = token_of(&leases.listed(&Who::System, &key).await[0]);
    assert_message(&leases.remove(&editor("eve"), token).await, 200);
    let remove = leases.ask(&alice, "DELETE", "/admin/remove-lock").json(&json!({"route": "volume", "id": id}));
    assert_eq!(remove.send().await.text(), r#"{"data":"Not found","code":404}"#);
}

#[tokio::test]
async fn the_pages_are_the_list_in_the_order_of_tokens() {
    let leases = Leases::start(&[]).await;
    let prefix = unique("pages é&");
    let mut granted = Vec::new();
    for index in 0..5 {
        granted.push(leases.granted(&Who::System, &format!("{prefix}-{index}"), 30).await);
    }
    let encoded: String = form_urlencoded::byte_serialize(prefix.as_bytes()).collect();
    let mut next = Some(format!("/api{PATH}?prefix={encoded}&limit=2"));
    let (mut pages, mut seen) = (Vec::new(), Vec::<Value>::new());
    while let Some(path) = next {
        let page = leases.ask(&Who::System, "GET", &path).send().await;
        assert_eq!(page.status, 200, "{}", page.text());
        let found = page.json().as_array().expect("an array").clone();
        pages.push(found.len());
        seen.extend(found);
        next = page.header("link").map(|link| {
            let (path, rel) = link.strip_prefix('<').and_then(|link| link.split_once('>')).expect("<…>");
            assert_eq!(rel, "; rel=\"next\"");
            path.to_owned()
        });
    }
    assert_eq!(pages, [2, 2, 1]);
    assert_eq!(seen, granted);
    assert!(seen.is_sorted_by_key(token_of));
}

#[tokio::test]
async fn pages_that_make_no_sense_are_refused() {
    let leases = Leases::start(&[]).await;
    for query in [
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=1.5",
        "limit=",
        "cursor=x",
        "cursor=1.5",
        "cursor=",
        "limit=1&limit=1",
        "prefix=%FF",
    ] {
        assert_message(&leases.ask(&Who::System, "GET", &format!("{PATH}?{query}")).send().await, 400);
    }
}

#[tokio::test]
async fn a_long_list_is_one_whole_array() {
    let leases = Leases::start(&["--key-prefix", &unique("long")]).await;
    let system = Who::System;
    let mut tokens = Vec::new();
    for index in 0..700 {
        tokens.push(token_of(&leases.granted(&system, &format!("{index}"), 60).await));
    }
    let list = leases.ask(&system, "GET", PATH).send().await.json();
    assert_eq!(list.as_array().unwrap().iter().map(token_of).collect::<Vec<_>>(), tokens);
}
