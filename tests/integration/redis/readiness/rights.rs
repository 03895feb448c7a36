//! A user who lacks a right: one line of the log says what to change.

use std::time::{Duration, Instant};

use serde_json::json;

use super::user::{ACL_FILE, login};
use super::{AT_ONCE, GOOD, SEEN, warnings};
use crate::harness::{Scratch, Sidecar, TestRedis, eventually, jwt};

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

fn shard_of(key: &str) -> usize {
    lockside::lock::Key::parse(key).unwrap().shard().index()
}

#[tokio::test]
async fn an_operation_that_redis_refuses_is_sent_and_counted_once() {
    let (redis, scratch) = (TestRedis::start(&[&GOOD[..], &["--aclfile", ACL_FILE]].concat()), Scratch::new());
    let flags = login(&scratch);
    let sidecar = Sidecar::start(&redis, &flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let key = (0..).map(|number| format!("k-{number}")).find(|key| shard_of(key) > 9).unwrap();
    redis.ask::<String>("ACL", &["SETUSER", "lockside", "resetkeys", "~{lockside:[0-9]}:*"]);

    for _ in 0..5 {
        let answer = sidecar.call("DELETE", &format!("/v1/locks/{key}?token={}", 64 + shard_of(&key))).send().await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("redis-refused")), "{}", answer.text());
    }

    let metrics = sidecar.ops("/metrics").await;
    let counted = metrics
        .text()
        .lines()
        .find(|line| line.starts_with("lockside_redis_errors_total{") && line.contains("operation=\"release\""));
    assert!(counted.is_some_and(|line| line.ends_with(" 5")), "{counted:?}");
}

/// Who cannot be told of a turn is not put in line.
#[tokio::test]
async fn without_subscriptions_nobody_waits_and_the_log_says_so() {
    assert_told(&["-ssubscribe"], "+ssubscribe").await;
}

#[tokio::test]
async fn who_cannot_be_told_of_a_turn_is_not_put_in_line() {
    for (without, with, change) in [
        (["-ssubscribe"], ["+ssubscribe"], "+ssubscribe"),
        (["resetchannels"], ["&lockside:push:[0-9a-f]*"], "&lockside:push:[0-9a-f]*"),
    ] {
        let (redis, scratch) = (TestRedis::start(&[&GOOD[..], &["--aclfile", ACL_FILE]].concat()), Scratch::new());
        let flags = login(&scratch);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let sidecar = Sidecar::start(&redis, &flags).await;
        assert_eq!(sidecar.call("POST", "/v1/locks/a").json(&json!({"ttlMs": 60_000})).send().await.status, 201);
        redis.ask::<String>("ACL", &[&["SETUSER", "lockside"][..], &without].concat());

        // Each of them at once, also behind the first, and by what Redis says.
        for _ in 0..2 {
            let begun = Instant::now();
            let refused = sidecar.call("POST", "/v1/locks/a").json(&json!({"waitMs": 10_000})).send().await;
            assert!(begun.elapsed() < Duration::from_millis(700), "{:?}", begun.elapsed());
            let (said, status) = (refused.json(), refused.status);
            let said = [&said["code"], &said["outcome"]].map(|word| word.as_str().unwrap_or_default());
            assert_eq!((status, said), (503, ["redis-refused", "not-applied"]), "{}", refused.text());
            assert!(refused.text().contains(change), "{}", refused.text());
        }
        let state = sidecar.call("GET", "/v1/locks/a").send().await.json();
        assert_eq!((&state["state"], &state["waiters"]), (&json!("held"), &json!(0)));
        let is_not_ready = async || {
            let ready = sidecar.ops("/readyz").await;
            ready.status == 503 && ready.text().contains(change)
        };
        eventually("not ready", AT_ONCE, is_not_ready).await;
        redis.ask::<String>("ACL", &[&["SETUSER", "lockside"][..], &with].concat());
        eventually("ready", AT_ONCE, async || sidecar.ops("/readyz").await.status == 200).await;
        let waits = async || sidecar.call("POST", "/v1/locks/a").json(&json!({"waitMs": 1})).send().await.status == 409;
        eventually("it listens", SEEN, waits).await;
    }
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

/// Every request of a user fails without the directory, so a sidecar that has one is not ready.
#[tokio::test]
async fn without_the_users_a_sidecar_that_looks_them_up_is_not_ready() {
    let user = std::fs::read_to_string(ACL_FILE).unwrap();
    for lacking in ["+hget", "%R~lockside:users"] {
        let (redis, scratch) = (TestRedis::start(&[&GOOD[..], &["--aclfile", ACL_FILE]].concat()), Scratch::new());
        redis.ask::<u64>("HSET", &["lockside:users", "alice", r#"{"label":"L","active":true}"#]);
        let mut flags = login(&scratch);
        let secret = scratch.file("secret", jwt::SECRET);
        flags.extend(["--jwt-secret-file", &secret, "--user-directory"].map(str::to_owned));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let sidecar = Sidecar::start(&redis, &flags).await;
        let call = async || sidecar.call("POST", "/v1/locks/a").cookie(&jwt::editor("alice")).send().await;
        assert!(matches!(call().await.status, 201 | 409));

        let rules: Vec<&str> = user.split_whitespace().skip(2).filter(|rule| *rule != lacking).collect();
        redis.ask::<String>("ACL", &[&["SETUSER", "lockside", "reset"][..], &rules].concat());
        let refused = call().await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        let is_not_ready = async || {
            let ready = sidecar.ops("/readyz").await;
            ready.status == 503 && ready.text().contains("warning: rights: ") && ready.text().contains(lacking)
        };
        eventually(lacking, AT_ONCE, is_not_ready).await;
        redis.ask::<String>("ACL", &["SETUSER", "lockside", lacking]);
        eventually("ready", AT_ONCE, async || sidecar.ops("/readyz").await.status == 200).await;
        assert!(matches!(call().await.status, 201 | 409));
    }
}

/// Which keys are meant, nobody says but those who ask for them.
#[tokio::test]
async fn with_raw_keys_a_user_of_this_space_alone_is_a_warning_and_not_ready_once_a_lock_is_refused() {
    let (redis, scratch) = (TestRedis::start(&[&GOOD[..], &["--aclfile", ACL_FILE]].concat()), Scratch::new());
    let flags = [&login(&scratch)[..], &["--raw-keys".to_owned()]].concat();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let sidecar = Sidecar::start(&redis, &flags).await;
    let ready = sidecar.ops("/readyz").await;
    assert!(ready.text().contains("warning: rights: ") && ready.text().contains("such as ~*"), "{}", ready.text());

    let acquire = async |key: &str| sidecar.call("POST", &format!("/v1/locks/{key}")).send().await;
    let refused = acquire("job:1").await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("redis-refused")), "{}", refused.text());
    let is_not_ready = async || sidecar.ops("/readyz").await.status == 503;
    eventually("not ready", AT_ONCE, is_not_ready).await;
    // Nor does a probe of its own keys change that.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        assert!(is_not_ready().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    redis.ask::<String>("ACL", &["SETUSER", "lockside", "~job:*"]);
    assert_eq!(acquire("job:1").await.status, 201);
    let ready = sidecar.ops("/readyz").await;
    assert_eq!(ready.status, 200, "those are the keys that were meant: {}", ready.text());
    redis.ask::<String>("ACL", &["SETUSER", "lockside", "~*"]);
    assert_eq!(acquire("else").await.status, 201);
    let is_told = async || warnings(&sidecar).await.is_empty();
    eventually("no warning", AT_ONCE, is_told).await;
}
