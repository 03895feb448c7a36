//! What lockside did not write lies under a lock's key: held by a stranger, in every route.

use serde_json::{Value, json};

use super::{Native, Who, assert_problem, editor, path, reader, redis_key, token_of};
use crate::harness::{TestRedis, unique};

/// Puts something under the key of a lock that is no lease; a key for each kind.
fn strange_keys() -> Vec<String> {
    let lists: [(&str, &[&str]); 4] =
        [("RPUSH", &["x"]), ("HSET", &["a", "b"]), ("SADD", &["x"]), ("XADD", &["*", "a", "b"])];
    let own = r#"{"token":"7","kind":"system","#;
    let texts = ["", "1", "a program was here", "{}", "null", "[1]", "\u{0}", "{\"token\":\"7\"}", own]
        .map(|text| ("SET", text));
    let mut keys = Vec::new();
    for (command, text) in texts {
        keys.push(put(command, &[text]));
    }
    for (command, args) in lists {
        keys.push(put(command, args));
    }
    keys
}

fn put(command: &str, args: &[&str]) -> String {
    let key = unique("stranger");
    let name = redis_key(&key);
    TestRedis::shared().ask::<()>(command, &[&[name.as_str()], args].concat());
    key
}

/// All that lies under the key of a lock.
fn dump(key: &str) -> (Vec<u8>, i64) {
    let redis = TestRedis::shared();
    (redis.ask("DUMP", &[&redis_key(key)]), redis.ask("PTTL", &[&redis_key(key)]))
}

#[tokio::test]
async fn a_stranger_is_a_holder_of_whom_nothing_is_known() {
    let native = Native::start(&[]).await;
    for key in strange_keys() {
        let before = dump(&key);
        assert_eq!(native.look(&key).await["state"], "held", "{key}");
        assert_eq!(native.look(&key).await["holder"]["owner"], Value::Null);
        for (who, body) in [
            (reader("alice"), json!({})),
            (Who::System, json!({"owner": "web-3"})),
            (reader("alice"), json!({"reentrant": true})),
            (Who::System, json!({"owner": "web-3", "reentrant": true})),
        ] {
            let answer = native.acquire(&who, &key, &body).await;
            assert_problem(&answer, 409, "held");
            assert_eq!(answer.json()["holder"], json!({"owner": null}));
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        let attempt = native.attempt(&Who::System, &key, "n-1", &json!({"owner": "web-3"})).await;
        assert_problem(&attempt, 409, "held");
        assert_eq!(dump(&key), before, "{key}");
    }
}

#[tokio::test]
async fn of_a_strangers_string_it_is_known_when_it_expires() {
    let native = Native::start(&[]).await;
    let key = put("SET", &["a program was here", "PX", "60000"]);
    let expires: u64 = TestRedis::shared().ask("PEXPIRETIME", &[&redis_key(&key)]);
    let answer = native.acquire(&Who::System, &key, &json!({})).await;
    assert_problem(&answer, 409, "held");
    for holder in [&answer.json()["holder"], &native.look(&key).await["holder"]] {
        let left_ms = holder["validForMs"].as_u64().unwrap();
        assert!((1..=60_000).contains(&left_ms), "{holder}");
        let until: jiff::Timestamp = holder["validUntil"].as_str().unwrap().parse().unwrap();
        assert_eq!(u64::try_from(until.as_millisecond()).unwrap(), expires);
        assert_eq!((holder.as_object().unwrap().len(), &holder["owner"]), (3, &Value::Null));
    }
    assert!((30..=60).contains(&answer.header("retry-after").unwrap().parse::<u64>().unwrap()));
}

#[tokio::test]
async fn a_strangers_key_is_nobodys_to_renew_release_fence_or_take() {
    let native = Native::start(&[]).await;
    for key in strange_keys() {
        let before = dump(&key);
        let token = (crc32fast::hash(key.as_bytes()) % 64 + 64).to_string();
        for who in [editor("alice"), Who::System] {
            assert_problem(&native.renew(&who, &key, &token, &json!({"ttlMs": 1000})).await, 410, "lost");
            assert_problem(&native.renew(&who, &key, &token, &json!({})).await, 410, "lost");
            assert_problem(&native.release(&who, &key, &token).await, 410, "lost");
            let fenced = native.fence(&who, &key, &token).await;
            assert_problem(&fenced, 409, "lost");
            assert_eq!(fenced.json().get("token"), None, "nobody knows a stranger's token");
            assert_problem(&native.force(&who, &key).await, 409, "held");
        }
        assert_eq!(dump(&key), before, "{key}");
    }
}

#[tokio::test]
async fn a_lease_that_a_stranger_wrote_over_is_lost_and_not_listed() {
    let native = Native::start(&[]).await;
    let key = unique("over");
    let token = token_of(&native.granted(&Who::System, &key).await);
    TestRedis::shared().ask::<()>("SET", &[&redis_key(&key), "a program was here"]);
    assert_problem(&native.renew(&Who::System, &key, token, &json!({})).await, 410, "lost");
    assert_problem(&native.release(&Who::System, &key, token).await, 410, "lost");
    assert_eq!(native.list(&format!("prefix={key}")).await.json()["locks"], json!([]));
    assert_problem(&native.ask(&Who::System, "POST", &path(&key)).send().await, 409, "held");
}
