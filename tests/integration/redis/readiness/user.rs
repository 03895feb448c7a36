//! lockside as the ACL user that is shipped with it: everything works, and Redis refuses it nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::{GOOD, warnings};
use crate::harness::{Scratch, Sidecar, TestRedis, eventually, jwt};

pub const ACL_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/redis/lockside.acl");
pub const ACL: &str = include_str!("../../../../deploy/redis/lockside.acl");

/// A word of the user's line that begins so, without that beginning.
fn words(beginning: &str) -> impl Iterator<Item = &'static str> {
    ACL.split_whitespace().filter_map(move |word| word.strip_prefix(beginning))
}

/// What lies in a lock space, or is heard there; and the same of others whose prefixes begin so or look so.
#[test]
fn the_shipped_user_may_touch_one_lock_space_and_no_other() {
    let redis = redis();
    let may = |command: &[&str]| {
        let said: String = redis.ask("ACL", &[&["DRYRUN", "lockside"][..], command].concat());
        said == "OK"
    };
    for key in [
        "{lockside:0}:lock:a",
        "{lockside:63}:lock:}{:*",
        "{lockside:17}:tokens",
        "{lockside:17}:queue:a",
        "{lockside:17}:offer:a",
        "{lockside:17}:forced:a",
        "{lockside:17}:probe:tokens",
        "{lockside:raw}:mark",
    ] {
        assert!(may(&["SET", key, ""]) && may(&["GET", key]), "{key}");
    }
    for key in [
        "{lockside:app:1}:lock:a",
        "{lockside:1:17}:lock:a",
        "{lockside:raw:1}:lock:a",
        "{lockside:1} other}:lock:a",
        "{lockside:1} other}",
        "{lockside:100}:lock:a",
        "{lockside:x}:lock:a",
        "{lockside:}:lock:a",
        "{lockside:raw}:other",
        "{lockside}:lock:a",
        "{other:1}:lock:a",
        "lockside:other",
        "lockside:users:1",
    ] {
        assert!(!may(&["SET", key, ""]) && !may(&["GET", key]), "{key}");
    }
    assert!(may(&["HGET", "lockside:users", "alice"]) && !may(&["DEL", "lockside:users"]), "it only reads the users");
    for (channel, is_ours) in [
        ("lockside:push:all", true),
        ("lockside:push:0123456789abcdef-1", true),
        ("lockside:push:0:all", true),
        ("{lockside:7}:push:all", true),
        ("{lockside:17}:push:0123456789abcdef-1", true),
        ("lockside:push:push:all", false),
        ("lockside:app:push:all", false),
        ("{lockside:app:7}:push:all", false),
        ("other:push:all", false),
    ] {
        for command in [&["SSUBSCRIBE", channel][..], &["SPUBLISH", channel, ""]] {
            assert_eq!(may(command), is_ours, "{command:?}");
        }
    }
}

/// A Redis that knows the user, from the very file.
fn redis() -> TestRedis {
    TestRedis::start(&[&GOOD[..], &["--aclfile", ACL_FILE]].concat())
}

/// What it takes to be the user.
pub fn login(scratch: &Scratch) -> Vec<String> {
    let password = scratch.file("password", words(">").next().expect("a password"));
    ["--redis-username", "lockside", "--redis-password-file", &password].map(str::to_owned).to_vec()
}

/// Calls a path as the user `name`, asserts the status, and gives the answer.
async fn does(sidecar: &Sidecar, name: &str, line: &str, body: Value, status: u16) -> Value {
    let (method, path) = line.split_once(' ').unwrap();
    let call = sidecar.call(method, path).cookie(&jwt::editor(name));
    let answer = if body.is_null() { call.send().await } else { call.json(&body).send().await };
    assert_eq!(answer.status, status, "{line}: {}", answer.text());
    serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
}

pub async fn admin(sidecar: &Sidecar) {
    let target = json!({"route": "volume", "id": "1234"});
    does(sidecar, "alice", "POST /admin/lock", target.clone(), 200).await;
    does(sidecar, "alice", "POST /admin/lock", target.clone(), 200).await;
    does(sidecar, "bob", "POST /admin/lock", target.clone(), 409).await;
    does(sidecar, "alice", "DELETE /admin/remove-lock?route=volume&id=1234", Value::Null, 200).await;
    does(sidecar, "nobody", "POST /admin/lock", target, 404).await;
}

pub async fn leases(sidecar: &Sidecar) {
    let wanted = json!({"key": "report", "leasePeriod": 60});
    let token = &does(sidecar, "alice", "POST /cmn/leasable-locks", wanted.clone(), 201).await["token"];
    let list = does(sidecar, "bob", "GET /cmn/leasable-locks", Value::Null, 200).await;
    assert_eq!(&list[0]["token"], token);
    does(sidecar, "alice", &format!("PUT /cmn/leasable-locks/{token}?leasePeriod=90"), Value::Null, 200).await;
    does(sidecar, "alice", &format!("DELETE /cmn/leasable-locks/{token}"), Value::Null, 200).await;
    let token = &does(sidecar, "alice", "POST /cmn/leasable-locks", wanted, 201).await["token"];
    does(sidecar, "bob", &format!("DELETE /cmn/leasable-locks/custom/{token}"), Value::Null, 200).await;
}

pub async fn native(sidecar: &Sidecar) {
    let body = json!({"ttlMs": 30_000, "reentrant": true, "meta": {"a": 1}});
    let token = &does(sidecar, "alice", "POST /v1/locks/job", body.clone(), 201).await["token"];
    does(sidecar, "alice", "POST /v1/locks/job", body, 200).await;
    does(sidecar, "bob", "POST /v1/locks/job", json!({}), 409).await;
    does(sidecar, "bob", "GET /v1/locks/job", Value::Null, 200).await;
    does(sidecar, "bob", &format!("GET /v1/locks/job/fence?token={token}"), Value::Null, 200).await;
    let list = does(sidecar, "bob", "GET /v1/locks?prefix=jo", Value::Null, 200).await;
    assert_eq!(list["locks"][0]["key"], "job");
    does(sidecar, "alice", &format!("PUT /v1/locks/job?token={token}"), json!({"ttlMs": 60_000}), 200).await;
    does(sidecar, "alice", &format!("DELETE /v1/locks/job?token={token}"), Value::Null, 204).await;
    does(sidecar, "alice", "POST /v1/locks/job", json!({}), 201).await;
    does(sidecar, "bob", "DELETE /v1/locks/job?force=true", Value::Null, 204).await;
    for user in ["alice", "bob"] {
        let shared = does(sidecar, user, "POST /v1/locks/pool", json!({"mode": "shared", "limit": 2}), 201).await;
        let renewal = format!("PUT /v1/locks/pool?token={}", shared["token"]);
        does(sidecar, user, &renewal, json!({"ttlMs": 60_000}), 200).await;
    }
    does(sidecar, "bob", "DELETE /v1/locks/pool?force=true", Value::Null, 204).await;
}

/// Several keys in one step.
async fn bundles(sidecar: &Sidecar) {
    let keys = json!([{"key": "one"}, {"key": "two", "mode": "shared"}]);
    let bundle = does(sidecar, "alice", "POST /v1/bundles", json!({"keys": keys}), 201).await;
    does(sidecar, "bob", "POST /v1/bundles", json!({"keys": keys}), 409).await;
    let leases = bundle["leases"].as_array().expect("leases").iter();
    let named: Value = leases.map(|lease| json!({"key": lease["key"], "token": lease["token"]})).collect();
    does(sidecar, "alice", "PUT /v1/bundles", json!({"leases": named}), 200).await;
    does(sidecar, "alice", "POST /v1/bundles/release", json!({"leases": named}), 204).await;
}

/// One watches a key that is taken meanwhile, and another all keys.
pub async fn watching(sidecar: &Sidecar) {
    let stream = |path: &str| sidecar.call("GET", path).cookie(&jwt::reader("bob")).open();
    let (mut one, mut all) = (stream("/v1/locks/watched/events").await, stream("/v1/events").await);
    let begun = [one.event().await, all.event().await].map(|event| event.expect("an event").0);
    assert!(begun.iter().all(|event| event == "state" || event == "synced"), "{begun:?}");
    does(sidecar, "alice", "POST /v1/locks/watched", json!({}), 201).await;
    while one.event().await.expect("an event").0 != "granted" {}
    does(sidecar, "bob", "DELETE /v1/locks/watched?force=true", Value::Null, 204).await;
    while one.event().await.expect("an event").0 != "forced" {}
}

/// Two wait in line: one gets the lock when the first holder's lease expires, by the other sidecar; one hangs up.
pub async fn waiting(first: &Sidecar, second: &Sidecar) {
    does(first, "alice", "POST /v1/locks/printer", json!({"ttlMs": 4000}), 201).await;
    let waits = json!({"ttlMs": 5000, "waitMs": 30_000});
    let gone = does(first, "carol", "POST /v1/locks/printer", waits.clone(), 201);
    assert!(tokio::time::timeout(Duration::from_millis(300), gone).await.is_err(), "it waits, and hangs up");
    let token = &does(second, "bob", "POST /v1/locks/printer", waits, 201).await["token"];
    does(second, "bob", &format!("DELETE /v1/locks/printer?token={token}"), Value::Null, 204).await;
}

/// Many at once, which go to Redis in one call.
pub async fn crowd(sidecar: &Sidecar) {
    let acquire = async |key: usize| {
        let token =
            &does(sidecar, "alice", &format!("POST /v1/locks/{key}"), json!({"ttlMs": 1000}), 201).await["token"];
        does(sidecar, "alice", &format!("DELETE /v1/locks/{key}?token={token}"), Value::Null, 204).await;
    };
    futures_util::future::join_all((0..50).map(acquire)).await;
}

pub async fn hold(sidecar: &Sidecar) {
    let call = sidecar.call("POST", "/v1/locks/night/hold").cookie(&jwt::editor("alice"));
    let mut lines = call.json(&json!({"ttlMs": 900})).open().await;
    assert_eq!(lines.next().await.unwrap()["event"], "acquired");
    assert_eq!(lines.news().await.unwrap()["event"], "renewed");
    drop(lines);
    eventually("it is released", Duration::from_secs(5), async || {
        does(sidecar, "bob", "GET /v1/locks/night", Value::Null, 200).await["state"] == "free"
    })
    .await;
}

/// An entry of the index whose lease expires is dropped.
pub async fn sweep(sidecar: &Sidecar) {
    does(sidecar, "alice", "POST /v1/locks/brief", json!({"ttlMs": 100}), 201).await;
    eventually("it is swept", Duration::from_secs(20), async || {
        sidecar.ops("/metrics").await.text().contains("lockside_locks_held 0")
    })
    .await;
}

/// What Redis refused, and to whom: one entry each.
pub fn refused(redis: &TestRedis) -> Vec<String> {
    let log: Vec<redis::Value> = redis.ask("ACL", &["LOG"]);
    log.iter().map(|entry| format!("{entry:?}")).collect()
}

/// The commands that were called; a subcommand as `script|load`.
fn commands(redis: &TestRedis) -> BTreeSet<String> {
    let stats: String = redis.ask("INFO", &["commandstats"]);
    let called = stats.lines().filter(|line| !line.contains(":calls=0,"));
    let lines = called.filter_map(|line| line.strip_prefix("cmdstat_")?.split(':').next());
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn all_works_as_the_shipped_user_and_redis_refuses_nothing() {
    let (redis, scratch) = (redis(), Scratch::new());
    for user in ["alice", "bob", "carol"] {
        redis.ask::<u64>("HSET", &["lockside:users", user, r#"{"label":"L","active":true}"#]);
    }
    redis.ask::<String>("CONFIG", &["RESETSTAT"]);
    let mut flags = login(&scratch);
    let secret = scratch.file("secret", jwt::SECRET);
    flags.extend(["--jwt-secret-file", &secret, "--user-directory", "--threads=2"].map(str::to_owned));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let url = format!("{}?db=1", redis.url());
    let start = async || Sidecar::start_at(&url, &flags).await;
    // The directory is where the locks are.
    redis.ask::<u64>("MOVE", &["lockside:users", "1"]);
    let (first, second) = (start().await, start().await);

    admin(&first).await;
    leases(&first).await;
    native(&first).await;
    bundles(&first).await;
    watching(&first).await;
    waiting(&first, &second).await;
    // They connect, greet and subscribe anew.
    assert!(redis.ask::<u64>("CLIENT", &["KILL", "USER", "lockside"]) >= 4);
    redis.ask::<String>("SCRIPT", &["FLUSH"]);
    for sidecar in [&first, &second] {
        eventually("it is back", Duration::from_secs(10), async || sidecar.ops("/readyz").await.status == 200).await;
    }
    waiting(&first, &second).await;
    hold(&second).await;
    crowd(&first).await;
    sweep(&first).await;
    assert_eq!(warnings(&first).await, Vec::<String>::new(), "{}", first.log());

    assert_eq!(refused(&redis), Vec::<String>::new());
    let metrics = first.ops("/metrics").await.text().to_owned() + second.ops("/metrics").await.text();
    for script in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/lua")).unwrap() {
        let path = script.unwrap().path();
        let is_script = !std::fs::read_to_string(&path).unwrap().starts_with("-- Not a script");
        let name = path.file_stem().unwrap().to_str().unwrap();
        let ran = format!("lockside_redis_commands_total{{operation=\"{name}\"}}");
        // The batch is counted as what is in it. What is declined is an offer that comes when its waiter has left; it needs
        // what `undo` needs.
        assert!(
            !is_script || ["batch", "queue_decline"].contains(&name) || metrics.contains(&ran),
            "{name} was not run"
        );
    }
    let used = commands(&redis);
    // These are for sentinels, for a cluster and for replicas that count; for leases that are longer than a first
    // look; and for a hold that wants to know its position.
    const ELSEWHERE: [&str; 7] = ["role", "wait", "cluster|nodes", "cluster|info", "get", "strlen", "zrank"];
    for command in words("+").filter(|command| !ELSEWHERE.contains(command)) {
        assert!(used.contains(command), "the user may {command}, and nothing needs it");
    }
}
