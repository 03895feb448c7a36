//! Held by them, held by us.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Raw, libraries, library, name_for};
use crate::harness::{Sidecar, TestRedis, eventually, unique};

#[tokio::test]
async fn what_they_hold_is_held_with_what_is_known_and_ours_once_they_let_go() {
    let raw = Raw::start().await;
    for (name, peer, key) in libraries() {
        assert_eq!(peer.ask(&format!("try {key} 60000")).await, "yes", "{name}");

        let answer = raw.acquire(&key, &json!({"ttlMs": 1000})).await;
        assert_eq!(answer.status, 409, "{name}: {}", answer.text());
        let problem = answer.json();
        let holder = &problem["holder"];
        assert_eq!((&problem["code"], &holder["owner"]), (&json!("held"), &Value::Null));
        let left_ms = holder["validForMs"].as_u64().expect("what is left");
        assert!((40_000..=60_000).contains(&left_ms), "{name}: {holder}");
        assert!(holder["validUntil"].is_string() && holder.get("token").is_none(), "{holder}");
        let retry: u64 = answer.header("retry-after").expect("a time").parse().unwrap();
        assert_eq!(retry, left_ms.div_ceil(1000));
        assert!(problem["detail"].as_str().unwrap().contains("a program that is not lockside for another"));

        let shown = raw.look(&key).await;
        assert_eq!((&shown["state"], &shown["holder"]["owner"]), (&json!("held"), &Value::Null));
        assert!(raw.listed(&key).await.is_empty(), "the list is of our leases");
        let forced = raw.0.call("DELETE", &format!("{}?force=true", super::path(&key))).send().await;
        assert_eq!(forced.status, 409, "not ours to take");
        assert_eq!(peer.ask(&format!("release {key}")).await, "released", "{name}");

        let token = raw.granted(&key).await;
        assert_eq!(raw.release(&key, token).await, 204);
    }
}

#[tokio::test]
async fn half_an_application_at_dapr_and_half_at_our_dapr_api_exclude_one_another() {
    let (prefix, peer) = (unique("raw"), library("dapr"));
    let flags = ["--raw-keys", "--key-prefix", &prefix, "--dapr-stores", "lockstore=lock||app"];
    let sidecar = Sidecar::start(TestRedis::alone(), &flags).await;
    let key = name_for("dapr");
    let resource = key.rsplit("||").next().unwrap();
    let call = async |action: &str| {
        let body = json!({"resourceId": resource, "lockOwner": "web-1", "expiryInSeconds": 60});
        let answer = sidecar.call("POST", &format!("/v1.0-alpha1/{action}/lockstore")).json(&body).send().await;
        answer.text().to_owned()
    };
    assert_eq!(call("lock").await, r#"{"success":true}"#);
    assert_eq!(peer.ask(&format!("try {key} 60000")).await, "no");
    assert_eq!(peer.ask(&format!("release {key}")).await, "Error", "another's, though its owner has the same name");
    assert_eq!(call("unlock").await, r#"{"status":0}"#);
    assert_eq!(peer.ask(&format!("try {key} 60000")).await, "yes");
    assert_eq!(call("lock").await, r#"{"success":false}"#);
    assert_eq!(call("unlock").await, r#"{"status":2}"#);
    assert_eq!(peer.ask(&format!("release {key}")).await, "released");
    assert_eq!(call("unlock").await, r#"{"status":1}"#);
}

#[tokio::test]
async fn what_we_hold_they_do_not_get_until_we_let_go() {
    let raw = Raw::start().await;
    for (name, peer, key) in libraries() {
        let token = raw.granted(&key).await;
        assert_eq!(peer.ask(&format!("try {key} 60000")).await, "no", "{name}");
        let listed = raw.listed(&key).await;
        assert_eq!((listed.len(), &listed[0]["key"], &listed[0]["token"]), (1, &json!(key), &json!(token)));

        let (waiter, asked) = (peer.clone(), format!("wait {key} 60000"));
        let waits = tokio::spawn(async move { (waiter.ask(&asked).await, Instant::now()) });
        // They keep asking; none of their looks in the meantime gets it.
        let until = Instant::now() + Duration::from_millis(500);
        eventually("half a second has passed", Duration::from_secs(5), async || Instant::now() > until).await;
        assert!(!waits.is_finished(), "{name}");
        let freed = Instant::now();
        assert_eq!(raw.release(&key, token).await, 204);
        let (answer, at) = waits.await.unwrap();
        assert_eq!(answer, "yes", "{name}");
        println!("{name} had our lock {:?} after its release", at - freed);

        assert_eq!(raw.acquire(&key, &json!({})).await.status, 409, "{name}");
        assert!(raw.listed(&key).await.is_empty());
        assert_eq!(peer.ask(&format!("release {key}")).await, "released", "{name}");
    }
}

#[tokio::test]
async fn what_we_hold_ends_for_them_too_when_it_expires() {
    let raw = Raw::start().await;
    for (name, peer, key) in libraries() {
        let lease = raw.acquire(&key, &json!({"ttlMs": 300})).await;
        assert_eq!(lease.status, 201);
        assert_eq!(peer.ask(&format!("wait {key} 60000")).await, "yes", "{name}");
        // Our late renewal and release are lost, and leave theirs alone.
        let token = lease.json()["token"].as_u64().unwrap();
        let renewed = raw.0.call("PUT", &format!("{}?token={token}", super::path(&key))).send().await;
        assert_eq!((renewed.status, raw.release(&key, token).await), (410, 410), "{name}");
        assert_eq!(peer.ask(&format!("release {key}")).await, "released", "{name}: it was theirs throughout");
    }
}

#[tokio::test]
async fn their_late_release_leaves_ours_alone() {
    let raw = Raw::start().await;
    for (name, peer, key) in libraries() {
        assert_eq!(peer.ask(&format!("try {key} 1000")).await, "yes", "{name}");
        let granted = raw.acquire(&key, &json!({"ttlMs": 60_000, "waitMs": 20_000})).await;
        assert_eq!(granted.status, 201, "{}", granted.text());
        let token = granted.json()["token"].as_u64().unwrap();
        let said = peer.ask(&format!("release {key}")).await;
        assert_ne!(said, "released", "{name}");
        assert_eq!(raw.look(&key).await["holder"]["token"], token, "{name}: {said}");
        assert_eq!(raw.release(&key, token).await, 204, "{name}");
    }
}
