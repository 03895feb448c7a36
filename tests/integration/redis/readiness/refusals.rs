//! Each state of a real Redis in which an acquire fails: /readyz, metrics, the probe for containers and a warning say so at
//! once, and an acquire is told what to change, or that nothing is known.

use std::time::{Duration, Instant};

use serde_json::json;

use super::user::{ACL_FILE, login};
use super::{AT_ONCE, GOOD, raised};
use crate::harness::{Answer, Fault, Proxy, Scratch, Sidecar, TestRedis, eventually, free_port, lockside, unique};

/// Longer than anything here may take.
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);

/// Asserts that everything says that no lock can be granted: under the warning `code`, with `change`.
async fn says_so(sidecar: &Sidecar, code: &str, change: &str) {
    let what = format!("{code}, with {change}");
    let is_said = async || {
        let ready = sidecar.ops("/readyz").await;
        ready.status == 503 && ready.text().contains(&format!("warning: {code}: ")) && ready.text().contains(change)
    };
    let took = eventually(&what, AT_ONCE, is_said).await;
    println!("{what}: after {took:.1?}");
    let ready = sidecar.ops("/readyz").await;
    assert!(ready.text().starts_with("not ready: redis: "), "{}", ready.text());
    eventually("the metric says so", Duration::from_secs(2), async || raised(sidecar).await.contains(&code.to_owned()))
        .await;
    assert!(sidecar.ops("/metrics").await.text().contains("\nlockside_redis_up 0\n"), "{what}");
    let run = lockside(&["health", "--ready", "--ops-listen", sidecar.ops_address()]).await;
    assert_eq!(run.code, Some(69), "{run:?}");
    assert!(run.stderr.contains(change), "{run:?}");
}

async fn is_over(sidecar: &Sidecar) {
    eventually("ready again", AT_ONCE, async || sidecar.ops("/readyz").await.status == 200).await;
    assert!(sidecar.ops("/metrics").await.text().contains("\nlockside_redis_up 1\n"));
}

async fn acquire(sidecar: &Sidecar) -> Answer {
    let path = format!("/v1/locks/{}", unique("refused"));
    sidecar.call("POST", &path).json(&json!({"ttlMs": 60_000})).send().await
}

/// Asserts that an acquire is refused at once, that nothing was changed, and what the answer and the log say of it.
async fn is_refused(sidecar: &Sidecar, change: &str) {
    let begun = Instant::now();
    let refused = acquire(sidecar).await;
    assert!(begun.elapsed() < REDIS_TIMEOUT / 2, "at once, not after {:?}: {}", begun.elapsed(), refused.text());
    let problem = refused.json();
    let said = (refused.status, problem["code"].as_str(), problem["outcome"].as_str());
    assert_eq!(said, (503, Some("redis-refused"), Some("not-applied")), "{} {}", refused.text(), sidecar.log());
    assert!(problem["detail"].as_str().unwrap().contains(change), "{change}: {}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("1"));
    let is_told =
        |line: &str| line.contains("Redis refused the command: ") || line.contains("granted, and rolled back: ");
    let logged = async || sidecar.log().lines().any(|line| line.contains("redis-refused") && is_told(line));
    eventually("the log says so", Duration::from_secs(2), logged).await;
}

/// Asserts that none of the acquires that were refused left a lock behind.
fn nothing_was_granted(redis: &TestRedis) {
    assert_eq!(redis.ask::<Vec<String>>("KEYS", &["*:lock:refused*"]), Vec::<String>::new());
}

/// A sidecar that is the shipped user, from whom `rule` takes something while it runs.
async fn without(rule: &[&str], change: &str) {
    let (redis, scratch) = (TestRedis::start(&[&GOOD[..], &["--aclfile", ACL_FILE]].concat()), Scratch::new());
    let flags = [&login(&scratch)[..], &["--redis-timeout=5s".to_owned()]].concat();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let sidecar = Sidecar::start(&redis, &flags).await;
    redis.ask::<String>("ACL", &[&["SETUSER", "lockside"][..], rule].concat());
    is_refused(&sidecar, change).await;
    says_so(&sidecar, "rights", change).await;
    is_refused(&sidecar, change).await;
    let user = std::fs::read_to_string(ACL_FILE).unwrap();
    let rules: Vec<&str> = user.split_whitespace().skip(2).collect();
    redis.ask::<String>("ACL", &[&["SETUSER", "lockside"][..], &rules].concat());
    is_over(&sidecar).await;

    // The same from the start on: never ready, and never served.
    redis.ask::<String>("ACL", &[&["SETUSER", "lockside"][..], rule].concat());
    let all =
        [&["--redis-url".to_owned(), redis.url()][..], &login(&scratch), &["--redis-timeout=5s".to_owned()]].concat();
    let sidecar = Sidecar::spawn(&all);
    says_so(&sidecar, "rights", change).await;
    is_refused(&sidecar, change).await;
    nothing_was_granted(&redis);
}

#[tokio::test]
async fn a_user_without_evalsha_is_not_ready() {
    without(&["-evalsha"], "+evalsha").await;
}

#[tokio::test]
async fn a_user_without_its_keys_is_not_ready() {
    without(&["resetkeys"], "~{lockside:[0-9]}:* ~{lockside:[0-9][0-9]}:*").await;
}

#[tokio::test]
async fn a_user_without_zadd_is_not_ready() {
    without(&["-zadd"], "+zadd").await;
}

#[tokio::test]
async fn a_user_without_set_is_not_ready() {
    without(&["-set"], "+set").await;
}

#[tokio::test]
async fn a_user_who_may_write_nothing_is_not_ready() {
    without(&["-@write"], "+zadd").await;
}

#[tokio::test]
async fn a_user_without_the_commands_of_the_first_look_is_not_ready() {
    for command in ["exists", "time"] {
        let (rule, change) = (format!("-{command}"), format!("+{command}"));
        without(&[&rule], &change).await;
    }
}

/// What a probe acquires it must be able to release; and an acquire is granted all the same.
#[tokio::test]
async fn a_user_who_cannot_release_is_not_ready() {
    for command in ["zrem", "del"] {
        let (redis, scratch) = (TestRedis::start(&[&GOOD[..], &["--aclfile", ACL_FILE]].concat()), Scratch::new());
        let flags = [&login(&scratch)[..], &["--redis-timeout=5s".to_owned()]].concat();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let sidecar = Sidecar::start(&redis, &flags).await;
        let lease = sidecar.call("POST", "/v1/locks/kept").json(&json!({"ttlMs": 60_000})).send().await.json();
        redis.ask::<String>("ACL", &["SETUSER", "lockside", &format!("-{command}")]);
        let begun = Instant::now();
        let kept = sidecar.call("DELETE", &format!("/v1/locks/kept?token={}", lease["token"])).send().await;
        assert!(begun.elapsed() < REDIS_TIMEOUT / 2, "{:?}", begun.elapsed());
        let said = (kept.status, kept.json()["code"].as_str().map(str::to_owned));
        assert_eq!(said, (503, Some("redis-refused".to_owned())), "{}", kept.text());
        assert_eq!(sidecar.call("GET", "/v1/locks/kept").send().await.json()["state"], "held", "nothing was changed");
        says_so(&sidecar, "rights", &format!("+{command}")).await;
        // What its probe could not release ends by itself, and is in no list.
        let listed = sidecar.call("GET", "/v1/locks?prefix=").send().await.json();
        assert!(listed["locks"].as_array().unwrap().iter().all(|lock| lock["key"] == "kept"), "{listed}");
        redis.ask::<String>("ACL", &["SETUSER", "lockside", &format!("+{command}")]);
        is_over(&sidecar).await;
        let left = async || {
            let keys = redis.ask::<Vec<String>>("KEYS", &["*:probe:*"]);
            keys == ["{lockside:0}:probe:tokens"] && redis.entries(&keys[0]) == 0
        };
        eventually("nothing is left of the probes but their last token", AT_ONCE, left).await;
    }
}

/// A release that frees the key before Redis stops it did happen: nobody is told that it did not.
#[tokio::test]
async fn a_script_that_was_stopped_behind_its_effect_is_unknown_at_once() {
    let (redis, scratch) = (TestRedis::start(&[&GOOD[..], &["--aclfile", ACL_FILE]].concat()), Scratch::new());
    let flags = [&login(&scratch)[..], &["--redis-timeout=5s".to_owned()]].concat();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let sidecar = Sidecar::start(&redis, &flags).await;
    let lease = sidecar.call("POST", "/v1/locks/a").json(&json!({"ttlMs": 60_000})).send().await.json();
    redis.ask::<String>("ACL", &["SETUSER", "lockside", "-spublish"]);
    let begun = Instant::now();
    let forced = sidecar.call("DELETE", "/v1/locks/a?force=true").send().await;
    assert!(begun.elapsed() < REDIS_TIMEOUT / 2, "{:?}", begun.elapsed());
    assert_eq!((forced.status, forced.json()["outcome"].as_str()), (504, Some("unknown")), "{}", forced.text());
    let fence = sidecar.call("GET", &format!("/v1/locks/a/fence?token={}", lease["token"])).send().await;
    assert_eq!(fence.status, 409, "it was done: {}", fence.text());
}

#[tokio::test]
async fn a_redis_without_evalsha_is_not_ready() {
    let redis = TestRedis::start(&[&GOOD[..], &["--rename-command", "EVALSHA", ""]].concat());
    let url = ["--redis-url".to_owned(), redis.url(), "--redis-timeout=5s".to_owned()];
    let sidecar = Sidecar::spawn(&url);
    says_so(&sidecar, "rights", "rename-command").await;
    is_refused(&sidecar, "rename-command").await;
}

#[tokio::test]
async fn a_redis_without_a_command_of_the_scripts_is_not_ready() {
    for command in ["ZADD", "SET", "EXISTS"] {
        let redis = TestRedis::start(&[&GOOD[..], &["--rename-command", command, "renamed"]].concat());
        let sidecar = Sidecar::spawn(&["--redis-url".to_owned(), redis.url(), "--redis-timeout=5s".to_owned()]);
        let change = format!("give redis back {}: remove its rename-command", command.to_lowercase());
        says_so(&sidecar, "rights", &change).await;
        is_refused(&sidecar, &change).await;
    }
}

#[tokio::test]
async fn a_redis_that_cannot_save_is_not_ready() {
    let redis = TestRedis::start(&GOOD);
    let sidecar = Sidecar::start(&redis, &["--redis-timeout=5s"]).await;
    let folder: Vec<String> = redis.ask("CONFIG", &["GET", "dir"]);
    let obstacle = format!("{}/dump.rdb", folder[1]);
    std::fs::create_dir(&obstacle).unwrap();
    redis.ask::<String>("CONFIG", &["SET", "save", "3600 1"]);
    // From then on a new connection would not even have a PING answered.
    let connection = std::cell::RefCell::new(redis.connection());
    let ask = |command: &str, args: &[&str]| -> String {
        redis::cmd(command).arg(args).query(&mut *connection.borrow_mut()).expect("an answer")
    };
    ask("BGSAVE", &[]);
    let failed = async || ask("INFO", &["persistence"]).contains("rdb_last_bgsave_status:err");
    eventually("the snapshot fails", AT_ONCE, failed).await;
    is_refused(&sidecar, "stop-writes-on-bgsave-error").await;
    says_so(&sidecar, "probe", "stop-writes-on-bgsave-error").await;
    std::fs::remove_dir(&obstacle).unwrap();
    ask("CONFIG", &["SET", "stop-writes-on-bgsave-error", "no"]);
    is_over(&sidecar).await;
    nothing_was_granted(&redis);
}

#[tokio::test]
async fn memory_warns_before_it_is_full_and_is_not_ready_when_it_is() {
    let redis = TestRedis::start(&GOOD);
    let sidecar = Sidecar::start(&redis, &["--redis-timeout=5s"]).await;
    let info: String = redis.ask("INFO", &["memory"]);
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse::<u64>().ok()).unwrap();
    // A twentieth more than what is used.
    redis.ask::<String>("CONFIG", &["SET", "maxmemory", &(used + used / 20).to_string()]);
    eventually("it is nearly full", super::SEEN, async || raised(&sidecar).await == ["memory"]).await;
    let ready = sidecar.ops("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    assert!(ready.text().contains("warning: memory: redis uses 9"), "{}", ready.text());
    redis.ask::<String>("CONFIG", &["SET", "maxmemory", "1"]);
    is_refused(&sidecar, "raise maxmemory").await;
    says_so(&sidecar, "memory", "raise maxmemory").await;
    redis.ask::<String>("CONFIG", &["SET", "maxmemory", "0"]);
    is_over(&sidecar).await;
    nothing_was_granted(&redis);
    assert_eq!(acquire(&sidecar).await.status, 201);
}

#[tokio::test]
async fn a_replica_that_takes_no_writes_is_not_ready() {
    let (master, redis) = (TestRedis::start(&["--port", &free_port()]), TestRedis::start(&GOOD));
    let sidecar = Sidecar::start(&redis, &["--redis-timeout=5s"]).await;
    let port: Vec<String> = master.ask("CONFIG", &["GET", "port"]);
    redis.ask::<String>("REPLICAOF", &["127.0.0.1", &port[1]]);
    says_so(&sidecar, "replica", "point --redis-url at the master").await;
    is_refused(&sidecar, "point --redis-url at the master").await;
    redis.ask::<String>("REPLICAOF", &["NO", "ONE"]);
    is_over(&sidecar).await;
}

#[tokio::test]
async fn a_redis_that_is_loading_is_not_ready() {
    let slowly = ["--key-load-delay", "200000", "--loading-process-events-interval-bytes", "1024"];
    let mut redis = TestRedis::start(&[&slowly[..], &["--dbfilename", "data.rdb"]].concat());
    let sidecar = Sidecar::start(&redis, &["--redis-timeout=5s"]).await;
    for key in 0..200 {
        redis.ask::<String>("SET", &[&format!("data-{key}"), &unique(&"x".repeat(2000))]);
    }
    redis.ask::<String>("CONFIG", &["SET", "rdbcompression", "no"]);
    redis.ask::<String>("SAVE", &[]);
    redis.kill();
    redis.launch();
    says_so(&sidecar, "probe", "it is loading its data").await;
    let refused = acquire(&sidecar).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("redis-refused")), "{}", refused.text());
}

#[tokio::test]
async fn a_server_that_is_frozen_is_not_ready() {
    let redis = TestRedis::start(&GOOD);
    let sidecar = Sidecar::start(&redis, &[]).await;
    redis.signal("STOP");
    says_so(&sidecar, "probe", "").await;
    let unknown = acquire(&sidecar).await;
    assert!(matches!(unknown.status, 503 | 504), "{}", unknown.text());
    assert_ne!(unknown.json()["code"], "redis-refused", "it said nothing");
    redis.signal("CONT");
    is_over(&sidecar).await;
}

#[tokio::test]
async fn a_server_that_was_frozen_for_long_is_ready_again_without_an_error_in_the_log() {
    let redis = TestRedis::start(&GOOD);
    let sidecar = Sidecar::start(&redis, &[]).await;
    redis.signal("STOP");
    says_so(&sidecar, "probe", "").await;
    // Longer than a probe that succeeded vouches.
    tokio::time::sleep(Duration::from_secs(12)).await;
    redis.signal("CONT");
    is_over(&sidecar).await;
    let log = sidecar.log();
    assert!(!log.lines().any(|line| line.contains("locks cannot be granted")), "{log}");
}

#[tokio::test]
async fn a_server_that_is_gone_is_not_ready_and_is_named() {
    let mut redis = TestRedis::start(&GOOD);
    let sidecar = Sidecar::start(&redis, &[]).await;
    redis.kill();
    says_so(&sidecar, "probe", &redis.socket()).await;
    let is_refused = async || {
        let refused = acquire(&sidecar).await;
        match (refused.status, refused.json()["code"].as_str()) {
            (503, Some("redis-unavailable")) => true,
            // Sent before that connection's end was noticed.
            (504, Some("outcome-unknown")) => false,
            _ => panic!("{}", refused.text()),
        }
    };
    eventually("an acquire is refused", AT_ONCE, is_refused).await;
    redis.up();
    is_over(&sidecar).await;
}

#[tokio::test]
async fn a_connection_that_answers_nothing_is_not_ready() {
    let redis = TestRedis::start(&GOOD);
    let proxy = Proxy::start(&redis);
    let sidecar = Sidecar::start_at(&proxy.url(), &[]).await;
    // For a connection that is replaced, as long as that takes.
    proxy.half_open();
    let is_seen = async || sidecar.ops("/readyz").await.status == 503;
    eventually("a half-open connection is seen", AT_ONCE, is_seen).await;
    is_over(&sidecar).await;
    proxy.set(Fault::SwallowReplies);
    says_so(&sidecar, "probe", "").await;
    proxy.mend();
    is_over(&sidecar).await;
}

#[tokio::test]
async fn too_few_replicas_for_a_grant_are_not_ready() {
    let master = TestRedis::start(&[&GOOD[..], &["--port", &free_port(), "--repl-diskless-sync-delay", "0"]].concat());
    let port: Vec<String> = master.ask("CONFIG", &["GET", "port"]);
    let replica = TestRedis::start(&["--replicaof", &format!("127.0.0.1 {}", port[1])]);
    let follows = async || master.ask::<String>("INFO", &["replication"]).contains("state=online");
    eventually("the replica follows", AT_ONCE, follows).await;
    let flags = ["--min-replicas=1", "--replica-timeout=200ms", "--redis-timeout=5s"];
    let sidecar = Sidecar::start(&master, &flags).await;
    // It is connected, and acknowledges nothing.
    replica.signal("STOP");
    says_so(&sidecar, "no-good-replica", "0 of 1 replicas acknowledged").await;
    is_refused(&sidecar, "restore them").await;
    replica.signal("CONT");
    is_over(&sidecar).await;
    nothing_was_granted(&master);
}
