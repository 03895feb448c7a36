//! `--redis-url`, and the credentials beside it.

use super::*;

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
fn a_database_is_named_by_the_path_or_by_db_and_not_by_both() {
    let database = |url: &str| Config::resolve(&flags(&[&format!("--redis-url={url}")])).map(|it| it.redis.database);
    for (url, number) in [
        ("redis://x", None),
        ("redis://x/", None),
        ("redis://x/3", Some(3)),
        ("redis://x?db=3", Some(3)),
        ("redis://x/?db=3", Some(3)),
        ("redis://x?%64b=3", Some(3)),
        ("redis+unix:///s?db=3", Some(3)),
        ("redis-sentinel://x?master=m&db=3", Some(3)),
        ("redis-sentinel://x?db=3&sentinelServiceName=m", Some(3)),
    ] {
        assert_eq!(database(url).ok(), Some(number), "{url}");
    }
    for (url, says) in [
        ("redis://x/2?db=5", "named twice"),
        ("redis://x/2?db=2", "named twice"),
        ("redis-sentinel://x/2?db=5&master=m", "named twice"),
        ("redis://x?db=1&db=2", "`db` comes twice"),
        ("redis://x?db=", "no number from 0 to 255"),
        ("redis://x?db=256", "no number from 0 to 255"),
        ("redis://x/+2", "no number from 0 to 255"),
        ("redis://x//2", "no number from 0 to 255"),
        ("redis://x/2/3", "no number from 0 to 255"),
        ("redis-cluster://x?db=0", "a cluster has database 0 alone"),
        ("redis-cluster://x/1", "a cluster has database 0 alone"),
    ] {
        let all = mistakes(&[&format!("--redis-url={url}")]);
        assert!(all.len() == 1 && all[0].contains(says), "{url}: {all:?}");
    }
}

#[test]
fn every_part_of_a_redis_url_that_is_not_used_is_refused_by_name() {
    for (url, says) in [
        ("redis://x?password=hunter2", "`password` is not used; use --redis-password-file"),
        ("redis://x?username=me", "`username` is not used; use --redis-username"),
        ("rediss://x?ssl_cert_reqs=none", "`ssl_cert_reqs` is not used"),
        ("redis://x?timeout=5", "`timeout` is not used; use --redis-timeout"),
        ("redis://x?DB=5", "`DB` is not used; use `db`"),
        ("redis://x?protocol=3&db=1", "`protocol` is not used"),
        ("redis://x?master=m", "`master` is not used; it is for redis-sentinel://"),
        ("redis+unix:///s?master=m", "`master` is not used"),
        ("redis-cluster://x?master=m", "`master` is not used"),
        ("redis-sentinel://x?master=m&sentinelServiceName=m", "master and sentinelServiceName mean the same"),
        ("redis-sentinel://x?master=m&role=replica", "`role` is not used"),
        ("redis://x#insecure", "behind the `#` is not used"),
        ("redis+unix:///run/redis#1.sock", "behind the `#` is not used"),
        ("redis-cluster://x#", "behind the `#` is not used"),
        ("redis://x?hunter2!", "the parameter behind the `?` is not used"),
        ("redis+unix://x/s", "a user, a password or a host before the path is not used"),
        ("redis+unix://:hunter2@/s", "a user, a password or a host before the path is not used"),
        ("redis-sentinel://a,me:hunter2@b?master=m", "user and password stand once"),
        ("redis://x:0", "port 0"),
    ] {
        let all = mistakes(&[&format!("--redis-url={url}")]);
        assert!(all.len() == 1 && all[0].contains(says), "{url}: {all:?}");
        assert!(all[0].contains("expected redis://host:6379") && !all[0].contains("hunter2"), "{url}: {all:?}");
    }
    let file = std::env::temp_dir().join(format!("lockside-config-password-{}", std::process::id()));
    std::fs::write(&file, "x").expect("a scratch file");
    let password = format!("--redis-password-file={}", file.display());
    let all = mistakes(&["--redis-url=redis://me:hunter2@x", "--redis-username=you", &password]);
    std::fs::remove_file(&file).expect("a scratch file");
    for flag in ["--redis-username", "--redis-password-file"] {
        assert!(all.iter().any(|line| line.starts_with(&format!("{flag}: given, and --redis-url has one"))), "{all:?}");
    }
}

#[test]
fn a_redis_url_that_is_typed_wrongly_says_how_it_is_typed() {
    const ENCODE: &str = "percent-encode it in the user and the password, as ";
    let once = || "user and password stand once, before all hosts; percent-encode a `,` in them as %2C".to_owned();
    for (url, says) in [
        ("redis://:hunter2#ss@x", format!("a `#` before the `@`: {ENCODE}%23, or use --redis-password-file")),
        ("redis://:hunter2?ss@x", format!("a `?` before the `@`: {ENCODE}%3F")),
        ("redis://:hunter2/ss@x", format!("a `/` before the `@`: {ENCODE}%2F")),
        // What comes before it may look like a host and a port.
        ("redis://me:12/hunter2@x", format!("{ENCODE}%2F")),
        ("redis://me:12?hunter2=1@x", format!("{ENCODE}%3F")),
        ("redis://me:12#hunter2@x", format!("{ENCODE}%23")),
        ("redis://me@there:hunter2/x@x", format!("{ENCODE}%2F")),
        ("rediss-sentinel://:hunter2#x@a,b?master=m", format!("{ENCODE}%23")),
        ("redis-sentinel://me:hunter2@a?master=m@b?master=m", format!("{ENCODE}%3F")),
        ("redis-cluster://me:1/hunter2@a,b", format!("{ENCODE}%2F")),
        ("redis+unix://:hunter2/x@/s", format!("{ENCODE}%2F")),
        ("redis-sentinel://:hunter2@h1,:hunter2@h2?master=m", once()),
        ("redis-sentinel://me:hunter2@h1:26379,h2,me:hunter2@h3?master=m", once()),
        ("redis-sentinel://me@h1,me@h2?master=m", once()),
        ("redis-sentinel://me,you:hunter2@h?master=m", once()),
        ("redis-sentinel://:hun,ter2@h?master=m", once()),
        ("redis-sentinel://:hun@ter2@h?master=m", once()),
        ("redis-sentinel://:hunter2@@h?master=m", once()),
        ("rediss-cluster://:hunter2@h1,:hunter2@h2", once()),
        ("redis-cluster://:hunter2,@h1,h2", once()),
        ("redis://:hunter2@h1,:hunter2@h2", once()),
        ("redis://::1:6379", "put an IPv6 address in brackets".to_owned()),
        ("redis://2001:db8::1/0", "put an IPv6 address in brackets".to_owned()),
        ("redis://me:hunter2@fe80::1", "put an IPv6 address in brackets".to_owned()),
        ("redis-sentinel://a,::1,b?master=m", "put an IPv6 address in brackets".to_owned()),
        ("\"redis://:hunter2@x\"", "the value is in quotes".to_owned()),
        ("'redis://x'", "the value is in quotes".to_owned()),
        ("\"redis://x", "the value is in quotes".to_owned()),
        ("redis://x:6379\"", "the value is in quotes".to_owned()),
        ("redis://:hunter2\tx@x", "a control character".to_owned()),
    ] {
        let all = mistakes(&[&format!("--redis-url={url}")]);
        assert!(all.len() == 1 && all[0].contains(&says), "{url}: {all:?}");
        assert!(!all[0].contains("hunter2"), "{url}: {all:?}");
    }
    let config = Config::resolve(&flags(&["--redis-url= redis-sentinel://a?master=m%40in\n"])).expect("a good url");
    assert!(matches!(config.redis.server, RedisServer::Sentinel { master, .. } if master == "m@in"));
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
    let config = Config::resolve(&flags(&["--redis-url=redis-cluster://me:pw@a,b:7000/0"])).expect("a good url").redis;
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
fn a_user_name_without_a_password_is_a_mistake_wherever_either_stands() {
    let file = std::env::temp_dir().join(format!("lockside-password-{}", std::process::id()));
    std::fs::write(&file, "hunter2").expect("a file");
    let (password, empty) = (format!("--redis-password-file={}", file.display()), "--redis-password-file=");
    let sentinels = "--redis-url=redis-sentinel://h?master=m";
    let of_sentinels = format!("--redis-sentinel-password-file={}", file.display());
    for (args, flag) in [
        (&["--redis-username=nop"][..], Some("--redis-username")),
        (&["--redis-username=nop", empty], Some("--redis-username")),
        (&["--redis-username=nop", "--redis-url=redis://:@h"], Some("--redis-username")),
        (&["--redis-url=redis://nop@h"], Some("--redis-url")),
        (&["--redis-url=rediss://nop:@h"], Some("--redis-url")),
        (&["--redis-url=redis-cluster://nop@h,i"], Some("--redis-url")),
        (&["--redis-url=redis-sentinel://nop@h?master=m"], Some("--redis-url")),
        (&[sentinels, "--redis-sentinel-username=nop"], Some("--redis-sentinel-username")),
        (&[sentinels, "--redis-sentinel-username=nop", &password], Some("--redis-sentinel-username")),
        (&["--redis-username=nop", &password], None),
        (&["--redis-username=nop", "--redis-url=redis://:pw@h"], None),
        (&["--redis-url=redis://nop@h", &password], None),
        (&["--redis-url=redis://nop:pw@h"], None),
        (&["--redis-url=redis://:pw@h"], None),
        (&["--redis-url=redis://:@h"], None),
        (&[sentinels, "--redis-sentinel-username=nop", &of_sentinels], None),
        (&["--redis-username="], None),
    ] {
        match flag {
            Some(flag) => {
                let all = mistakes(args);
                let says = format!("{flag}: a user name is given without a password; add --redis-");
                assert!(all.len() == 1 && all[0].starts_with(&says), "{args:?}: {all:?}");
            }
            None => assert!(Config::resolve(&flags(args)).is_ok(), "{args:?}"),
        }
    }
    let both = mistakes(&["--redis-username=nop", "--redis-password-file=/no/such"]);
    assert!(both.len() == 1 && both[0].contains("cannot read"), "the file is what is wrong: {both:?}");
    let _ = std::fs::remove_file(file);
}
