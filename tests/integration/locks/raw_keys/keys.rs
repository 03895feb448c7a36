//! What lies in Redis: a lock under its name, everything else where it always does.

use std::time::Duration;

use serde_json::json;

use super::{Raw, libraries, path};
use crate::harness::{Sidecar, TestRedis, eventually, unique};

#[tokio::test]
async fn a_lock_lies_under_its_name_with_an_expiry_and_leaves_nothing() {
    let (raw, redis) = (Raw::start().await, TestRedis::alone());
    for name in [unique("plain"), unique("{braces}}:x"), unique("mit Leerzeichen ß"), unique("a/b?c#d")] {
        let token = raw.granted(&name).await;
        let text: String = redis.ask("GET", &[&name]);
        assert!(text.starts_with(&format!("{{\"token\":\"{token}\",")), "{text}");
        assert!((1..=60_000).contains(&redis.ask::<i64>("PTTL", &[&name])));
        assert_eq!(raw.release(&name, token).await, 204);
        assert_eq!(redis.ask::<u64>("EXISTS", &[&name]), 0);
    }
}

#[tokio::test]
async fn a_name_like_one_of_our_own_keys_is_a_lock_and_touches_none_of_them() {
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &["--raw-keys"]).await;
    let acquire = async |name: &str| sidecar.call("POST", &path(name)).json(&json!({})).send().await.status;
    let shard = crc32fast::hash(b"a") % 64;
    for name in ["tokens", "queue:a", "forced:a", "lock:a", "mark:a"].map(|kind| format!("{{lockside:{shard}}}:{kind}"))
    {
        assert_eq!((acquire(&name).await, acquire(&name).await), (201, 409), "{name}");
    }
    assert_eq!((acquire("lockside:users").await, redis.ask::<u64>("EXISTS", &["lockside:users"])), (201, 0));
    assert_eq!((acquire("a").await, acquire("a").await), (201, 409));
    let listed = sidecar.call("GET", "/v1/locks").send().await.json();
    assert_eq!(listed["locks"].as_array().unwrap().len(), 7, "{listed}");
}

#[tokio::test]
async fn an_entry_of_the_index_is_swept_though_a_stranger_has_the_key_by_now() {
    let (raw, redis, key) = (Raw::start().await, TestRedis::alone(), unique("swept"));
    assert_eq!(raw.acquire(&key, &json!({"ttlMs": 50})).await.status, 201);
    eventually("it expires", Duration::from_secs(5), async || redis.ask::<u64>("EXISTS", &[&key]) == 0).await;
    redis.ask::<()>("SET", &[&key, "a stranger's"]);
    eventually("it is swept", Duration::from_secs(20), async || {
        raw.0.ops("/metrics").await.text().lines().any(|line| line == "lockside_locks_held 0")
    })
    .await;
    assert_eq!(redis.ask::<String>("GET", &[&key]), "a stranger's");
}

#[tokio::test]
async fn the_other_dialects_and_two_sidecars_meet_at_one_raw_key() {
    let (prefix, key) = (unique("raw"), unique("met"));
    let flags = ["--raw-keys", "--key-prefix", &prefix, "--dapr-stores", "s"];
    let (one, two) =
        (Sidecar::start(TestRedis::alone(), &flags).await, Sidecar::start(TestRedis::shared(), &flags).await);
    let name = format!("s||{key}");
    let lock = json!({"resourceId": key, "lockOwner": "web-1", "expiryInSeconds": 60});
    let locked = one.call("POST", "/v1.0-alpha1/lock/s").json(&lock).send().await;
    assert_eq!(locked.text(), r#"{"success":true}"#);
    assert_eq!(TestRedis::alone().ask::<u64>("EXISTS", &[&name]), 1);
    let lease = json!({"key": name, "leasePeriod": 60});
    assert_eq!(two.call("POST", "/cmn/leasable-locks").json(&lease).send().await.status, 409);
    let shown = two.call("GET", &path(&name)).send().await.json();
    assert_eq!(shown["holder"]["owner"], "web-1");
    let unlocked = two.call("POST", "/v1.0-alpha1/unlock/s").json(&lock).send().await;
    assert_eq!(unlocked.text(), r#"{"status":0}"#);
    assert_eq!(one.call("POST", "/cmn/leasable-locks").json(&lease).send().await.status, 201);
}

#[tokio::test]
async fn a_shared_key_excludes_the_libraries_and_they_exclude_it() {
    let raw = Raw::start().await;
    for (name, peer, key) in libraries() {
        let shared = json!({"mode": "shared", "ttlMs": 60_000});
        let answer = raw.acquire(&key, &shared).await;
        assert_eq!(answer.status, 201, "{name}: {}", answer.text());
        let token = answer.json()["token"].as_u64().expect("a token");
        assert_ne!(peer.ask(&format!("try {key} 60000")).await, "yes", "{name}");
        assert_eq!(raw.look(&key).await["sharedBy"], 1, "{name} left it as it is");
        assert_eq!(raw.release(&key, token).await, 204, "{name}");
        assert_eq!(peer.ask(&format!("try {key} 60000")).await, "yes", "{name}");
        assert_eq!(raw.acquire(&key, &shared).await.status, 409, "{name}");
        assert_eq!(peer.ask(&format!("release {key}")).await, "released", "{name}");
    }
}
