//! What Redis says of itself, and what its user may do.

use super::{GOOD, check, check_on};
use crate::harness::{Lens, Scratch, TestRedis, free_port, until};

pub const ACL_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/redis/lockside.acl");

/// A Redis that knows the shipped user, whom these rules change; and what it takes to be the user.
fn with_user(rules: &[&str], scratch: &Scratch) -> (TestRedis, Vec<String>) {
    let redis = TestRedis::start(&[&GOOD[..], &["--aclfile", ACL_FILE]].concat());
    redis.ask::<String>("ACL", &[&["SETUSER", "lockside", "on", ">pass"], rules].concat());
    let password = scratch.file("password", "pass");
    (redis, ["--redis-username", "lockside", "--redis-password-file", &password].map(str::to_owned).to_vec())
}

#[tokio::test]
async fn a_missing_right_is_named_as_readiness_names_it() {
    for (rules, said) in [
        (&["-evalsha"][..], "+evalsha"),
        (&["-zadd", "-pttl"], "+pttl +zadd"),
        (&["resetkeys"], "~{lockside:[0-9]}:*"),
        (&["resetchannels"], "&lockside:push:[0-9a-f]*"),
        (&["-time"], "+time"),
    ] {
        let scratch = Scratch::new();
        let (redis, login) = with_user(rules, &scratch);
        let checked = check_on(&redis, &login.iter().map(String::as_str).collect::<Vec<_>>()).await;
        checked.assert("auth", "ok", "accepts the user");
        checked.assert("rights", "fail", said);
        checked.assert("version", "ok", "7.");
    }
}

#[tokio::test]
async fn the_shipped_user_may_not_read_the_configuration_and_all_is_known_by_info() {
    let scratch = Scratch::new();
    let (redis, login) = with_user(&[], &scratch);
    let login: Vec<&str> = login.iter().map(String::as_str).collect();
    assert!(redis.ask::<String>("ACL", &["DRYRUN", "lockside", "CONFIG", "GET", "save"]).contains("no permissions"));
    redis.ask::<String>("ACL", &["LOG", "RESET"]);
    let checked = check_on(&redis, &login).await;
    checked.assert("persistence", "ok", "appendonly is yes");
    checked.assert("eviction", "ok", "noeviction");
    assert_eq!(redis.ask::<Vec<redis::Value>>("ACL", &["LOG"]), [], "Redis refused nothing");

    redis.ask::<String>("ACL", &["SETUSER", "lockside", "-info"]);
    let checked = check_on(&redis, &login).await;
    for name in ["version", "persistence", "eviction", "replicas"] {
        checked.assert(name, "warn", "redis refused INFO");
        assert_eq!(checked.checks[name]["change"], "allow its user +info");
    }
    checked.assert("rights", "ok", "acquired");
    assert_eq!(checked.code, Some(0));
}

#[tokio::test]
async fn keys_that_may_not_be_deleted_are_told_and_expire() {
    let scratch = Scratch::new();
    let (redis, login) = with_user(&["-del"], &scratch);
    let login: Vec<&str> = login.iter().map(String::as_str).collect();
    let checked = check(&[&["--redis-url", &redis.url()], &login[..]].concat()).await;
    checked.assert("rights", "fail", "+del");
    checked.assert("rights", "fail", "the keys of this check could not be deleted, and expire within 10 s");
    let left: Vec<String> = redis.ask("KEYS", &["*:check:*"]);
    assert!(!left.is_empty(), "nothing could be deleted");
    for key in left {
        // -2: it has expired meanwhile.
        let ttl: i64 = redis.ask("PTTL", &[&key]);
        assert!((-2..=10_000).contains(&ttl) && ttl != -1, "{key}: {ttl}");
    }

    // Neither delete nor end: the key is named.
    redis.ask::<String>("ACL", &["SETUSER", "lockside", "-pexpire"]);
    let checked = check(&[&["--redis-url", &redis.url()], &login[..]].concat()).await;
    checked.assert("rights", "fail", ":tokens` may stay in Redis");
}

#[tokio::test]
async fn a_redis_that_is_too_old_fails() {
    let redis = TestRedis::start(&GOOD);
    let lens = Lens::before(&redis, |reply| {
        let name = b"redis_version:";
        if let Some(at) = reply.windows(name.len()).position(|part| part == name) {
            reply[at + name.len()] = b'6';
        }
    });
    check(&["--redis-url", &lens.url()]).await.assert("version", "fail", "install Redis 7.0 or later");
}

#[tokio::test]
async fn a_redis_that_forgets_is_a_warning() {
    let checked = check_on(&TestRedis::start(&["--appendonly", "no"]), &[]).await;
    checked.assert("persistence", "warn", "set appendonly to yes");
    assert_eq!(checked.code, Some(0));
}

#[tokio::test]
async fn every_other_policy_than_noeviction_fails_with_a_limit_and_without() {
    for policy in ["allkeys-lru", "volatile-ttl"] {
        for limit in ["0", "100mb"] {
            let redis = TestRedis::start(&["--maxmemory", limit, "--maxmemory-policy", policy]);
            let checked = check_on(&redis, &[]).await;
            checked.assert("eviction", "fail", policy);
            checked.assert("eviction", "fail", "noeviction");
        }
    }
    let full = TestRedis::start(&["--maxmemory", "1mb"]);
    let checked = check_on(&full, &[]).await;
    checked.assert("eviction", "fail", "maxmemory");
    assert_ne!(checked.status("rights"), "ok", "an acquire is refused");
}

#[tokio::test]
async fn replicas_that_are_asked_for_and_missing_fail_and_others_are_a_warning() {
    let port = free_port();
    let master = TestRedis::start(&[&GOOD[..], &["--port", &port]].concat());
    let checked = check_on(&master, &["--min-replicas", "1"]).await;
    checked.assert("replicas", "fail", "--min-replicas asks for 1 replicas, and redis has 0");
    checked.assert("rights", "skipped", "--min-replicas");

    let replica = TestRedis::start(&[&GOOD[..], &["--replicaof", &format!("127.0.0.1 {port}")]].concat());
    until("it follows", || master.ask::<String>("INFO", &["replication"]).contains("state=online"));
    let checked = check_on(&master, &["--min-replicas", "1"]).await;
    checked.assert("replicas", "warn", "set min-replicas-to-write to 1");
    checked.assert("rights", "ok", "acquired");
    master.ask::<String>("CONFIG", &["SET", "min-replicas-to-write", "1"]);
    check_on(&master, &["--min-replicas", "1"]).await.assert("replicas", "ok", "1 replica connected");
    check(&["--redis-url", &replica.url()]).await.assert("replicas", "fail", "point --redis-url at the master");
}

#[tokio::test]
async fn a_clock_that_differs_is_a_warning() {
    let redis = TestRedis::start(&GOOD);
    let lens = Lens::before(&redis, crate::redis::ahead(600));
    let checked = check(&["--redis-url", &lens.url()]).await;
    checked.assert("clock", "warn", "s ahead of that of this machine");
    let detail = checked.checks["clock"]["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("599.") || detail.contains("600."), "{detail}");
    check_on(&redis, &[]).await.assert("clock", "ok", "within a second");
}
