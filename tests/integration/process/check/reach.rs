//! Names, ports, TLS and users: of one Redis, of sentinels and of a cluster.

use super::{Checked, GOOD, NAMES, check, check_on};
use crate::harness::certificates::Authority;
use crate::harness::trio::MASTER;
use crate::harness::{Cluster, Redundant, Scratch, TestRedis, Trio, free_port, until};

/// What is skipped where Redis cannot be reached.
const OF_REDIS: [&str; 6] = ["rights", "version", "persistence", "eviction", "replicas", "clock"];

#[tokio::test]
async fn a_name_that_does_not_resolve_is_named_and_all_that_follows_is_skipped() {
    let checked = check(&["--redis-url", "redis://nowhere.invalid:6379"]).await;
    checked.assert("dns", "fail", "the host name `nowhere.invalid` does not resolve");
    checked.assert_skipped(&["tcp", "tls", "auth"], "`dns` failed");
    checked.assert_skipped(&OF_REDIS, "`dns` failed");
    for name in ["listeners", "proxies"] {
        assert_eq!(checked.status(name), "ok");
    }
}

#[tokio::test]
async fn a_port_where_nothing_listens_is_named() {
    let port = free_port();
    let checked = check(&["--redis-url", &format!("redis://localhost:{port}")]).await;
    checked.assert("dns", "ok", "localhost");
    checked.assert("tcp", "fail", &format!("cannot connect to `localhost:{port}`: connection refused"));
    checked.assert_skipped(&["tls", "auth"], "`tcp` failed");
    checked.assert_skipped(&OF_REDIS, "`tcp` failed");
    let socket = Scratch::new().path("redis.sock");
    let checked = check(&["--redis-url", &format!("redis+unix://{socket}")]).await;
    checked.assert("dns", "skipped", "no name to look up");
    checked.assert("tcp", "fail", &socket);
    checked.assert("tcp", "fail", "start Redis there, or correct the path in --redis-url");
}

#[tokio::test]
async fn tls_where_the_other_side_has_none_and_the_other_way_round_is_told() {
    let port = free_port();
    let redis = TestRedis::with_tls(&["localhost"], &["--port", &port]);
    let checked = check(&["--redis-url", &format!("rediss://localhost:{port}")]).await;
    checked.assert("tcp", "ok", "accepts connections");
    checked.assert("tls", "fail", "use redis:// instead of rediss://");
    checked.assert_skipped(&["auth"], "`tls` failed");
    let checked = check(&["--redis-url", &format!("redis://localhost:{}", redis.tls_port())]).await;
    checked.assert("tls", "fail", "use rediss:// instead of redis://");
    checked.assert_skipped(&OF_REDIS, "`tls` failed");
}

#[tokio::test]
async fn a_certificate_is_accepted_from_its_ca_for_its_name_alone() {
    let redis = TestRedis::with_tls(&["localhost"], &GOOD);
    let checked = check_on(&redis, &[]).await;
    checked.assert("tls", "ok", "the certificate of `localhost:");
    assert_eq!((checked.status("auth"), checked.status("rights"), checked.code), ("ok", "ok", Some(0)));
    let other = Scratch::new();
    let other = (other.file("other.pem", Authority::new().pem()), other);
    let checked = check(&["--redis-url", &redis.url(), "--redis-ca-file", &other.0]).await;
    checked.assert("tls", "fail", "pass the CA file with --redis-ca-file");
    let checked = check(&["--redis-url", &format!("rediss://127.0.0.1:{}", redis.tls_port())]).await;
    checked.assert("tls", "fail", "is not for this name");
}

/// The flags of a client certificate that this authority issued.
fn pair(scratch: &Scratch, name: &str, authority: &Authority) -> [String; 4] {
    let (certificate, key) = authority.issue(&["lockside"]);
    let certificate = scratch.file(&format!("{name}.crt"), certificate);
    let key = scratch.file(&format!("{name}.key"), key);
    ["--redis-cert-file".to_owned(), certificate, "--redis-key-file".to_owned(), key]
}

/// Checks again where a handshake took longer than a connection may, as on a busy machine.
async fn check_in_time(flags: &[&str]) -> Checked {
    for _ in 0..10 {
        let checked = check(flags).await;
        if !checked.checks["tcp"]["detail"].as_str().unwrap().contains("no answer in time") {
            return checked;
        }
    }
    panic!("no answer in time, ten times");
}

#[tokio::test]
async fn a_redis_that_asks_for_a_client_certificate_fails_without_one_that_it_accepts() {
    let (redis, scratch) = (TestRedis::with_tls(&["localhost"], &GOOD), Scratch::new());
    redis.ask::<String>("CONFIG", &["SET", "tls-auth-clients", "yes"]);
    let own = pair(&scratch, "own", Authority::shared());
    let foreign = pair(&scratch, "foreign", &Authority::new());
    let url = redis.url();
    let at = ["--redis-url", &url];
    for (flags, why, change) in [
        (&[][..], "requires a client certificate", "set --redis-cert-file and --redis-key-file (CertificateRequired)"),
        (
            &foreign,
            "does not accept the certificate of --redis-cert-file",
            "is it of the CA in its tls-ca-cert-file, and has it not expired? (UnknownCA)",
        ),
    ] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let checked = check_in_time(&[&at[..], &flags].concat()).await;
        checked.assert("tcp", "ok", "accepts connections");
        checked.assert("tls", "fail", why);
        assert_eq!(checked.checks["tls"]["change"], change);
        checked.assert_skipped(&["auth"], "`tls` failed");
        checked.assert_skipped(&OF_REDIS, "`tls` failed");
        assert_eq!(checked.code, Some(1));
    }
    let checked = check_in_time(&[&at[..], &own.each_ref().map(String::as_str)].concat()).await;
    checked.assert("tls", "ok", "the certificate of `localhost:");
    let wrong = NAMES.iter().filter(|name| matches!(checked.status(name), "warn" | "fail")).collect::<Vec<_>>();
    assert_eq!((checked.status("auth"), checked.status("rights"), wrong.len()), ("ok", "ok", 0), "{wrong:?}");
    assert_eq!(checked.code, Some(0));
}

#[tokio::test]
async fn each_master_of_a_cluster_is_sent_the_client_certificate() {
    let (cluster, scratch) = (Cluster::with_tls(&GOOD), Scratch::new());
    for node in 0..cluster.size() {
        cluster.ask::<String>(node, "CONFIG", &["SET", "tls-auth-clients", "yes"]).unwrap();
    }
    let url = cluster.url();
    let checked = check_in_time(&["--redis-url", &url]).await;
    checked.assert("tls", "fail", "requires a client certificate");
    let own = pair(&scratch, "own", Authority::shared());
    let flags = [&["--redis-url", &url][..], &own.each_ref().map(String::as_str)].concat();
    let checked = check_in_time(&flags).await;
    for master in cluster.masters() {
        let place = format!("127.0.0.1:{}", cluster.port(master));
        ["tls", "auth", "rights"].iter().for_each(|name| checked.assert(name, "ok", &place));
    }
    assert_eq!(checked.code, Some(0));
}

#[tokio::test]
async fn a_wrong_password_and_none_are_told_apart() {
    let (redis, scratch) = (TestRedis::start(&[]), Scratch::new());
    redis.ask::<String>("CONFIG", &["SET", "requirepass", "secret"]);
    let wrong = scratch.file("wrong", "another");
    let checked = check(&["--redis-url", &redis.url(), "--redis-password-file", &wrong]).await;
    checked.assert("auth", "fail", "fix --redis-username or --redis-password-file (WRONGPASS");
    checked.assert_skipped(&OF_REDIS, "`auth` failed");
    let checked = check(&["--redis-url", &redis.url()]).await;
    checked.assert("auth", "fail", "name its file with --redis-password-file");
    let right = scratch.file("right", "secret\n");
    let checked = check(&["--redis-url", &redis.url(), "--redis-password-file", &right]).await;
    assert_eq!((checked.status("auth"), checked.status("rights")), ("ok", "ok"));
}

#[tokio::test]
async fn a_busy_redis_and_a_database_that_it_does_not_have_are_no_matter_of_the_user() {
    let redis = TestRedis::start(&[&GOOD[..], &["--busy-reply-threshold", "50"]].concat());
    let url = redis.url();
    let unknown = if url.starts_with("redis+unix") { format!("{url}?db=99") } else { format!("{url}/99") };
    let checked = check(&["--redis-url", &unknown]).await;
    checked.assert("auth", "ok", "accepts the user");
    checked.assert("rights", "fail", "name a lower one in --redis-url");

    // On connections of their own: a busy Redis answers nothing else.
    let command = |args: &[&str]| {
        let mut command = std::process::Command::new("redis-cli");
        command.args(["-s", &redis.socket()]).args(args).stdout(std::process::Stdio::piped());
        command
    };
    let mut script = command(&["EVAL", "while true do end", "0"]).spawn().unwrap();
    until("it is busy", || command(&["PING"]).output().unwrap().stdout.starts_with(b"BUSY"));
    let checked = check(&["--redis-url", &url]).await;
    checked.assert("auth", "ok", "accepts the user");
    checked.assert("rights", "fail", "end it with SCRIPT KILL");
    assert!(command(&["SCRIPT", "KILL"]).output().unwrap().stdout.starts_with(b"OK"));
    script.wait().unwrap();
}

#[tokio::test]
async fn a_redis_in_a_url_of_sentinels_is_no_sentinel() {
    let (port, scratch) = (free_port(), Scratch::new());
    let redis = TestRedis::start(&[&GOOD[..], &["--port", &port]].concat());
    let url = format!("redis-sentinel://127.0.0.1:{port}?master=mymaster");
    let checked = check(&["--redis-url", &url]).await;
    checked.assert("tcp", "fail", "is no sentinel");
    checked.assert("tcp", "fail", "use redis://");
    // One with a password, which lockside gives to the master alone.
    redis.ask::<String>("CONFIG", &["SET", "requirepass", "secret"]);
    let checked = check(&["--redis-url", &url, "--redis-password-file", &scratch.file("password", "secret")]).await;
    assert_eq!((checked.status("auth"), checked.code), ("fail", Some(1)), "{:?}", checked.checks);
}

#[tokio::test]
async fn a_redis_that_accepts_and_does_not_answer_fails_within_a_few_seconds() {
    let port = free_port();
    let redis = TestRedis::start(&["--port", &port]);
    redis.signal("STOP");
    let checked = check(&["--redis-url", &format!("redis://127.0.0.1:{port}")]).await;
    checked.assert("tcp", "fail", "no answer in time");
    assert_eq!(checked.code, Some(1));
}

#[tokio::test]
async fn each_sentinel_and_the_master_that_they_name_are_checked() {
    let mut trio = Trio::start(&GOOD);
    let url = trio.url();
    let checked = check(&["--redis-url", &url, "--min-replicas", "1"]).await;
    let master = format!("`127.0.0.1:{}`", trio.port(0));
    for name in ["tcp", "auth"] {
        checked.assert(name, "ok", &master);
        trio.sentinels.iter().for_each(|sentinel| checked.assert(name, "ok", &sentinel.port));
    }
    checked.assert("rights", "ok", "acquired");
    assert_eq!(trio.servers[0].ask::<u64>("DBSIZE", &[]), 0, "nothing is left");

    let unknown = url.replace(MASTER, "another");
    let checked = check(&["--redis-url", &unknown]).await;
    checked.assert("tcp", "fail", "watches no master named `another`");
    checked.assert_skipped(&OF_REDIS, "`tcp` failed");

    let gone = trio.sentinels.remove(1).port.clone();
    let checked = check(&["--redis-url", &url]).await;
    checked.assert("tcp", "warn", &format!("cannot connect to `127.0.0.1:{gone}`"));
    checked.assert("rights", "ok", "acquired");

    trio.sentinels.iter().for_each(|sentinel| sentinel.signal("STOP"));
    let checked = check(&["--redis-url", &url]).await;
    assert_eq!((checked.status("tcp"), checked.code), ("fail", Some(1)), "{:?}", checked.checks);
}

#[tokio::test]
async fn each_master_of_a_cluster_is_checked() {
    let mut cluster = Cluster::start(&GOOD);
    let url = cluster.url();
    let checked = check(&["--redis-url", &url]).await;
    for master in cluster.masters() {
        let place = format!("127.0.0.1:{}", cluster.port(master));
        ["tcp", "auth", "rights"].iter().for_each(|name| checked.assert(name, "ok", &place));
        assert_eq!(cluster.ask::<u64>(master, "DBSIZE", &[]), Ok(0), "nothing is left");
    }
    let refusing = format!("127.0.0.1:{}", cluster.port(1));
    assert_eq!(cluster.ask::<String>(1, "CONFIG", &["SET", "maxmemory", "1"]), Ok("OK".to_owned()));
    let checked = check(&["--redis-url", &url]).await;
    checked.assert("eviction", "fail", &format!("on {refusing}: "));
    checked.assert("rights", "skipped", "not everywhere for another reason: ");
    assert_eq!(cluster.ask::<String>(1, "CONFIG", &["SET", "maxmemory", "0"]), Ok("OK".to_owned()));

    let replica = cluster.replica_of(0);
    cluster.kill(replica);
    let lost = format!("`127.0.0.1:{}`", cluster.port(0));
    cluster.kill(0);
    until("the others know", || {
        cluster.ask::<String>(1, "CLUSTER", &["NODES"]).is_ok_and(|nodes| nodes.contains("fail"))
    });
    let other = format!("redis-cluster://127.0.0.1:{}", cluster.port(1));
    let checked = check(&["--redis-url", &other]).await;
    checked.assert("tcp", "fail", &lost);
    assert_eq!(NAMES.iter().filter(|name| checked.status(name) == "fail").count(), 1, "{:?}", checked.checks);
}

#[tokio::test]
async fn a_sentinel_and_a_node_of_a_cluster_are_not_taken_for_one_redis() {
    let port = free_port();
    let node = TestRedis::start(&["--port", &port, "--cluster-enabled", "yes"]);
    let checked = check(&["--redis-url", &node.url()]).await;
    checked.assert("replicas", "fail", "use redis-cluster:// in --redis-url");
    let sentinel = crate::harness::trio::Sentinel::start(&port, "");
    until("the sentinel answers", || sentinel.connection().is_some());
    let checked = check(&["--redis-url", &format!("redis://127.0.0.1:{}", sentinel.port)]).await;
    checked.assert("rights", "fail", "use redis-sentinel://");
}
