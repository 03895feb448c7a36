//! A user who lacks a right: one line of the log says what to change.

use serde_json::json;

use super::user::{ACL_FILE, login};
use super::{AT_ONCE, GOOD, SEEN, warnings};
use crate::harness::{Scratch, Sidecar, TestRedis, eventually};

/// The lines of the log that tell of a missing right.
fn told(sidecar: &Sidecar) -> Vec<String> {
    let log = sidecar.log();
    log.lines().filter(|line| line.contains("redis ACL: permission denied")).map(str::to_owned).collect()
}

/// A sidecar whose user has been changed by `rule`; asserts that its log says `change` in one line, whatever is asked
/// of it, and that it is a warning.
async fn assert_told(rule: &[&str], change: &str) {
    let (redis, scratch) = (TestRedis::start(&[&GOOD[..], &["--aclfile", ACL_FILE]].concat()), Scratch::new());
    redis.ask::<String>("ACL", &[&["SETUSER", "lockside"][..], rule].concat());
    let sidecar = Sidecar::spawn(&[&["--redis-url".to_owned(), redis.url()][..], &login(&scratch)].concat());
    for _ in 0..3 {
        sidecar.call("POST", "/v1/locks/a").json(&json!({"ttlMs": 60_000})).send().await;
        sidecar.call("POST", "/v1/locks/a").json(&json!({"waitMs": 1500})).send().await;
        sidecar.call("DELETE", "/v1/locks/a?force=true").send().await;
    }
    eventually("it is told", SEEN, async || !told(&sidecar).is_empty()).await;
    let lines = told(&sidecar);
    assert_eq!(lines.len(), 1, "{rule:?}: {lines:#?}");
    assert!(lines[0].contains("ERROR") && lines[0].contains(change), "{rule:?}: {}", lines[0]);
    assert!(lines[0].contains("deploy/redis/lockside.acl"), "{}", lines[0]);
    eventually("it is a warning", AT_ONCE, async || warnings(&sidecar).await.contains(&"rights".to_owned())).await;
    let ready = sidecar.ops("/readyz").await;
    assert!(ready.text().contains(change), "{}", ready.text());
}

#[tokio::test]
async fn without_evalsha_the_log_says_so() {
    assert_told(&["-evalsha"], "+evalsha").await;
}

#[tokio::test]
async fn without_the_keys_the_log_says_so() {
    let keys = "~{lockside:[0-9]}:* ~{lockside:[0-9][0-9]}:* ~{lockside:raw}:mark %R~lockside:users";
    assert_told(&["resetkeys"], keys).await;
}

#[tokio::test]
async fn without_the_channels_the_log_says_so() {
    assert_told(&["resetchannels"], "&lockside:push:[0-9a-f]*").await;
}

/// Who cannot be told of a turn is not put in line.
#[tokio::test]
async fn without_subscriptions_nobody_waits_and_the_log_says_so() {
    assert_told(&["-ssubscribe"], "+ssubscribe").await;
}

#[tokio::test]
async fn who_cannot_be_told_of_a_turn_is_not_put_in_line() {
    let (redis, scratch) = (TestRedis::start(&[&GOOD[..], &["--aclfile", ACL_FILE]].concat()), Scratch::new());
    redis.ask::<String>("ACL", &["SETUSER", "lockside", "-ssubscribe"]);
    let flags = login(&scratch);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let sidecar = Sidecar::start(&redis, &flags).await;
    assert_eq!(sidecar.call("POST", "/v1/locks/a").json(&json!({"ttlMs": 60_000})).send().await.status, 201);

    let refused = sidecar.call("POST", "/v1/locks/a").json(&json!({"waitMs": 10_000})).send().await;

    assert_eq!((refused.status, refused.json()["outcome"].as_str()), (503, Some("not-applied")), "{}", refused.text());
    let state = sidecar.call("GET", "/v1/locks/a").send().await.json();
    assert_eq!((&state["state"], &state["waiters"]), (&json!("held"), &json!(0)));
    redis.ask::<String>("ACL", &["SETUSER", "lockside", "+ssubscribe"]);
    let waits = async || sidecar.call("POST", "/v1/locks/a").json(&json!({"waitMs": 1})).send().await.status == 409;
    eventually("it listens", SEEN, waits).await;
}

#[tokio::test]
async fn without_the_time_it_is_not_ready_and_says_so() {
    let (redis, scratch) = (TestRedis::start(&[&GOOD[..], &["--aclfile", ACL_FILE]].concat()), Scratch::new());
    redis.ask::<String>("ACL", &["SETUSER", "lockside", "-time"]);
    let flags = [&["--redis-url".to_owned(), redis.url()][..], &login(&scratch)].concat();
    let sidecar = Sidecar::spawn(&flags);
    eventually("it is told", SEEN, async || !told(&sidecar).is_empty()).await;
    assert!(told(&sidecar)[0].contains("+time "), "{}", sidecar.log());
    eventually("not ready, and why", SEEN, async || {
        let ready = sidecar.ops("/readyz").await;
        ready.status == 503 && ready.text().contains("'time'")
    })
    .await;
    assert_eq!(told(&sidecar).len(), 1, "{}", sidecar.log());
}

#[tokio::test]
async fn without_info_the_worth_is_unknown_and_the_locks_work() {
    let (redis, scratch) = (TestRedis::start(&[&GOOD[..], &["--aclfile", ACL_FILE]].concat()), Scratch::new());
    redis.ask::<String>("ACL", &["SETUSER", "lockside", "-info"]);
    let flags = login(&scratch);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let sidecar = Sidecar::start(&redis, &flags).await;
    let ready = sidecar.ops("/readyz").await;
    assert!(ready.text().contains("warning: unknown: redis refused INFO"), "{}", ready.text());
    assert!(sidecar.log().contains("+info"), "{}", sidecar.log());
    assert_eq!(sidecar.call("GET", "/v1/locks/a").send().await.status, 200);
}
