//! What lockside did not write lies under a lock's key: it is held, and nothing breaks.

use serde_json::json;

use super::{Leases, Who, assert_message, editor, reader, redis_key, token_of};
use crate::harness::{TestRedis, unique};

/// Puts `text` under the key of a lock, without an expiry.
fn put(key: &str, text: &str) {
    TestRedis::shared().ask::<()>("SET", &[&redis_key(key), text]);
}

fn garbage() -> Vec<String> {
    let texts = ["", "1", "a program was here", "{", "{}", "null", "[]", "\u{0}", "{\"token\":7}", "{\"token\":\"7\"}"];
    let mut texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    // Looks like a lease of alice, and is none.
    texts.push(r#""kind":"user","owner":"alice","#.to_owned());
    texts.push(r#"{"x":1,"kind":"user","owner":"alice","nonce":"n","since":1,"ttl":1}"#.to_owned());
    texts.push(r#"{"token":"x","kind":"user","owner":"alice","nonce":"n","since":1,"ttl":1}"#.to_owned());
    texts
}

#[tokio::test]
async fn a_strangers_string_is_held_and_stays_as_it_is() {
    let leases = Leases::start(&[]).await;
    let alice = editor("alice");
    for text in garbage() {
        let key = unique("stranger");
        put(&key, &text);
        let answer = leases.create(&alice, &key, 30).await;
        assert_eq!(answer.status, 409, "{text}: {}", answer.text());
        assert_message(&leases.create(&Who::System, &key, 30).await, 409);
        assert!(leases.listed(&alice, &key).await.is_empty(), "{text}");
        let redis = TestRedis::shared();
        assert_eq!(redis.ask::<String>("GET", &[&redis_key(&key)]), text);
        assert_eq!(redis.ask::<i64>("PTTL", &[&redis_key(&key)]), -1, "{text}: no expiry was put on it");
    }
}

#[tokio::test]
async fn another_type_is_held_and_stays_as_it_is() {
    let leases = Leases::start(&[]).await;
    let redis = TestRedis::shared();
    let add = |command: &str, args: &[&str]| {
        let key = unique("type");
        let name = redis_key(&key);
        redis.ask::<()>(command, &[&[name.as_str()], args].concat());
        (key, name)
    };
    for (command, args) in [
        ("RPUSH", &["x"][..]),
        ("HSET", &["a", "b"]),
        ("SADD", &["x"]),
        ("ZADD", &["1", "x"]),
        ("XADD", &["*", "a", "b"]),
    ] {
        let (key, name) = add(command, args);
        assert_message(&leases.create(&reader("alice"), &key, 30).await, 409);
        assert_message(&leases.create(&Who::System, &key, 30).await, 409);
        assert!(leases.listed(&Who::System, &key).await.is_empty());
        assert_eq!(redis.ask::<i64>("PTTL", &[&name]), -1, "{command}");
    }
}

#[tokio::test]
async fn a_lease_that_a_stranger_wrote_over_is_gone_for_its_holder() {
    let leases = Leases::start(&[]).await;
    let alice = editor("alice");
    let redis = TestRedis::shared();
    for text in garbage() {
        let key = unique("over");
        let token = token_of(&leases.granted(&alice, &key, 30).await);
        put(&key, &text);
        assert_message(&leases.renew(&alice, token, 30).await, 404);
        assert_message(&leases.release(&alice, token).await, 404);
        assert_message(&leases.remove(&alice, token).await, 404);
        assert!(leases.listed(&alice, &key).await.is_empty(), "{text}");
        assert_eq!(redis.ask::<String>("GET", &[&redis_key(&key)]), text);
    }
    let key = unique("over");
    let token = token_of(&leases.granted(&alice, &key, 30).await);
    redis.ask::<()>("DEL", &[&redis_key(&key)]);
    redis.ask::<()>("RPUSH", &[&redis_key(&key), "x"]);
    assert_message(&leases.renew(&alice, token, 30).await, 404);
    assert_message(&leases.release(&alice, token).await, 404);
    assert_message(&leases.remove(&alice, token).await, 404);
    assert!(leases.listed(&alice, &key).await.is_empty());
}

#[tokio::test]
async fn the_admin_dialect_removes_no_strangers_string() {
    let leases = Leases::start(&[]).await;
    for text in garbage() {
        let id = unique("admin");
        let key = format!("volume:{id}");
        put(&key, &text);
        for (method, path, status) in [("POST", "/admin/lock", 409), ("DELETE", "/admin/remove-lock", 403)] {
            let call = leases.ask(&editor("alice"), method, path).json(&json!({"route": "volume", "id": id}));
            assert_eq!(call.send().await.status, status, "{method} {text}");
        }
        assert_eq!(TestRedis::shared().ask::<String>("GET", &[&redis_key(&key)]), text);
    }
}

#[tokio::test]
async fn an_index_that_lost_an_entry_or_has_one_too_many_breaks_nothing() {
    let leases = Leases::start(&[]).await;
    let (key, alice, redis) = (unique("index"), editor("alice"), TestRedis::shared());
    let token = token_of(&leases.granted(&alice, &key, 30).await);
    let index = format!("{{lockside:{}}}:tokens", token % 64);
    redis.ask::<()>("ZADD", &[&index, "64", &unique("nothing under it")]);
    assert_eq!(leases.renew(&alice, token, 30).await.status, 200);
    redis.ask::<()>("ZREM", &[&index, &key]);
    assert_message(&leases.renew(&alice, token, 30).await, 404);
    assert_eq!(leases.create(&alice, &key, 30).await.json()["token"], token, "the lease itself counts");
}
