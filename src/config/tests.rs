use clap::Parser;

use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    flags: Flags,
}

fn flags(args: &[&str]) -> Flags {
    Command::parse_from(std::iter::once("lockside").chain(args.iter().copied())).flags
}

fn mistakes(args: &[&str]) -> Vec<String> {
    let mistakes = Config::resolve(&flags(args)).expect_err("a mistake");
    mistakes.iter().map(Mistake::to_string).collect()
}

#[test]
fn the_defaults_are_good() {
    let config = Config::resolve(&flags(&[])).expect("the defaults");
    assert_eq!(config.listen.api.to_string(), "127.0.0.1:7420");
    assert_eq!(config.redis.server, RedisServer::Tcp { host: "127.0.0.1".to_owned(), port: 6379 });
    assert_eq!(config.locks.admin_ttl.as_ms(), 300_000);
    assert!(config.warnings.is_empty());
}

#[test]
fn every_mistake_is_named_in_one_run() {
    let all = mistakes(&[
        "--redis-url=http://x",
        "--redis-timeout=0",
        "--listen=here",
        "--max-ttl=-1s",
        "--key-prefix={x}",
        "--jwt-issuer=me",
        "--threads=0",
        "--log-level=loud",
    ]);
    for flag in [
        "--redis-url",
        "--redis-timeout",
        "--listen",
        "--max-ttl",
        "--key-prefix",
        "--jwt-issuer",
        "--threads",
        "--log-level",
    ] {
        assert!(all.iter().any(|line| line.starts_with(&format!("{flag}: "))), "{flag} in {all:#?}");
    }
}

#[test]
fn a_redis_url_is_read_whole() {
    let config = Config::resolve(&flags(&["--redis-url=redis://us%40er:pa%2Fss@[::1]:7000/3"])).expect("a good url");
    assert_eq!(config.redis.server, RedisServer::Tcp { host: "::1".to_owned(), port: 7000 });
    assert_eq!(config.redis.username.as_deref(), Some("us@er"));
    assert_eq!(config.redis.password.expect("a password").now().expose(), "pa/ss");
    assert_eq!(config.redis.database, Some(3));
    assert_eq!(config.warnings.len(), 1, "a password in the url earns a warning");

    let config = Config::resolve(&flags(&["--redis-url=redis+unix:///run/redis%20s.sock?db=2"])).expect("a good url");
    assert_eq!(config.redis.server, RedisServer::Unix { path: "/run/redis s.sock".into() });
    assert_eq!(config.redis.database, Some(2));
}

#[test]
fn bad_redis_urls_say_what_is_expected_and_show_no_password() {
    for url in [
        "",
        "redis://",
        "redis:///0",
        "redis+unix://",
        "rediss://:hunter2@",
        "redis://:hunter2@x/a",
        "redis://:hunter2@x:99999",
        "redis://:hunter2@x,y",
        "redis-sentinel://:hunter2@x:26379,y",
        "redis-sentinel://:hunter2@x,?master=main",
        "redis-cluster://:hunter2@x/1",
        "redis-cluster://:hunter2@x,:y",
    ] {
        let all = mistakes(&[&format!("--redis-url={url}")]);
        assert!(all[0].contains("expected redis://host:6379"), "{url}: {all:?}");
        assert!(!all[0].contains("hunter2"), "{url}: {all:?}");
    }
}

#[test]
fn a_url_names_all_sentinels_and_their_master() {
    let url = "--redis-url=rediss-sentinel://me:p%2Cw@a:1,b,[::1]:3/2?master=main";
    let ca = std::env::temp_dir().join(format!("lockside-config-{}", std::process::id()));
    std::fs::write(&ca, "no certificate").expect("a scratch file");
    let all = mistakes(&[url, &format!("--redis-ca-file={}", ca.display())]);
    std::fs::remove_file(&ca).expect("a scratch file");
    assert!(all.len() == 1 && all[0].contains("no certificate in it"), "{all:?}");

    let config = Config::resolve(&flags(&[&url.replace("rediss", "redis")])).expect("a good url").redis;
    let hosts = [("a", 1), ("b", 26379), ("::1", 3)].map(|(host, port)| (host.to_owned(), port)).to_vec();
    assert_eq!(config.server, RedisServer::Sentinel { hosts, master: "main".to_owned() });
    assert_eq!((config.username.as_deref(), config.database), (Some("me"), Some(2)));
    assert_eq!(config.password.expect("a password").now().expose(), "p,w");
}

#[test]
fn a_url_names_nodes_of_a_cluster() {
    let config = Config::resolve(&flags(&["--redis-url=redis-cluster://me@a,b:7000/0"])).expect("a good url").redis;
    let hosts = [("a", 6379), ("b", 7000)].map(|(host, port)| (host.to_owned(), port)).to_vec();
    assert_eq!(config.server, RedisServer::Cluster { hosts });
    assert_eq!((config.username.as_deref(), config.database), (Some("me"), None));
}

#[test]
fn what_is_for_another_redis_is_a_mistake() {
    for (given, says) in [
        (&["--redis-ca-file=/x"][..], "expected rediss:// there"),
        (&["--redis-sentinel-username=x"], "expected redis-sentinel:// there"),
        (&["--redis-url=redis-cluster://x", "--raw-keys"], "--raw-keys: a Redis Cluster has"),
        (&["--min-replicas=1", "--redis-timeout=500ms"], "leaves no time for an answer"),
        (&["--min-replicas=17"], "expected a number from 0 to 16"),
    ] {
        let all = mistakes(given);
        assert!(all.len() == 1 && all[0].contains(says), "{given:?}: {all:?}");
    }
    assert!(Config::resolve(&flags(&["--redis-timeout=500ms"])).is_ok(), "nobody waits for replicas");
}

#[test]
fn nothing_secret_is_in_debug() {
    let config = Config::resolve(&flags(&["--redis-url=redis://:hunter2@x"])).expect("a good url");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_listener_beyond_loopback_needs_authentication_or_says_insecure() {
    let all = mistakes(&["--listen=0.0.0.0:7420"]);
    assert!(all[0].contains("--insecure"), "{all:?}");
    assert!(Config::resolve(&flags(&["--listen=0.0.0.0:7420", "--insecure"])).is_ok());
    assert!(Config::resolve(&flags(&["--listen=unix:/run/lockside.sock"])).is_ok());
    assert!(Config::resolve(&flags(&["--listen=[::1]:7420"])).is_ok());
}

#[test]
fn lock_stores_are_names_that_make_no_two_locks_one() {
    let stores =
        |text: &str| Config::resolve(&flags(&[&format!("--dapr-stores={text}")])).map(|it| it.listen.dapr_stores);
    let store = |name: &str, prefix: &str| DaprStore { name: name.to_owned(), prefix: prefix.to_owned() };
    assert_eq!(stores("a, b=lock||app,").ok(), Some(vec![store("a", "a"), store("b", "lock||app")]));
    assert_eq!(stores("").ok(), Some(Vec::new()));
    for bad in ["a||b", "a\tb", "a=", "=a", "a|", "a=b|", "a=b||", &"x".repeat(65)] {
        assert!(mistakes(&[&format!("--dapr-stores={bad}")])[0].starts_with("--dapr-stores: "), "{bad}");
    }
}
