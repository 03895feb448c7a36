//! All flags together; those of Redis and of the listeners have files of their own.

mod listen;
mod redis;

use clap::{CommandFactory, Parser};

use super::*;
use crate::secret::Secret;

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
    let shown = |addresses: &[Address]| addresses.iter().map(Address::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&config.listen.api), ["127.0.0.1:7420"]);
    assert_eq!(shown(&config.listen.ops), ["0.0.0.0:9420", "[::]:9420"]);
    assert_eq!(config.listen.ops, config.listen.ops_of_any_family);
    assert_eq!(config.listen.sockets, SocketAccess { mode: 0o660, group: None });
    assert_eq!((config.listen.max_connections, config.listen.max_connections_is_set), (16_384, false));
    assert_eq!(config.redis.server, RedisServer::Tcp { host: "127.0.0.1".to_owned(), port: 6379 });
    assert_eq!(config.locks.admin_ttl.as_ms(), 300_000);
    assert!(config.warnings.is_empty());
}

#[test]
fn a_default_follows_the_cap_and_a_lease_that_is_set_must_keep_to_it() {
    for cap in ["--max-ttl", "--max-hold"] {
        for (time, admin, native) in [("10s", 10_000, 10_000), ("1m", 60_000, 30_000), ("24h", 300_000, 30_000)] {
            let config = Config::resolve(&flags(&[&format!("{cap}={time}")])).expect("a cap alone");
            let ttls = (config.locks.admin_ttl.as_ms(), config.locks.default_ttl.as_ms());
            assert_eq!(ttls, (admin, native), "{cap} {time}");
        }
        for flag in ["--admin-ttl", "--default-ttl"] {
            assert_eq!(mistakes(&[&format!("{cap}=10s"), &format!("{flag}=11s")]).len(), 1, "{cap} {flag}");
        }
    }
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
fn nothing_secret_is_in_debug() {
    let config = Config::resolve(&flags(&["--redis-url=redis://:hunter2@x"])).expect("a good url");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn lock_stores_are_names_that_make_no_two_locks_one() {
    let stores =
        |text: &str| Config::resolve(&flags(&[&format!("--dapr-stores={text}")])).map(|it| it.listen.dapr_stores);
    let store = |name: &str, prefix: &str| DaprStore { name: name.to_owned(), prefix: prefix.to_owned() };
    assert_eq!(stores("a, b=lock||app,").ok(), Some(vec![store("a", "a"), store("b", "lock||app")]));
    assert_eq!(stores("a=x,b=x").ok(), Some(vec![store("a", "x"), store("b", "x")]), "two names of one store");
    assert_eq!(stores("none").ok(), Some(Vec::new()));
    for bad in [
        "",
        ",",
        "none,a",
        "a||b",
        "a\tb",
        "a=",
        "=a",
        "a|",
        "a=b|",
        "a=b||",
        "s=a,s=b",
        "s,s",
        "s,t,s=u",
        &"x".repeat(65),
    ] {
        assert!(mistakes(&[&format!("--dapr-stores={bad}")])[0].starts_with("--dapr-stores: "), "{bad}");
    }
}

#[test]
fn an_election_stands_there_once_and_fits_the_longest_ttl() {
    for (args, flag, problem) in [
        (&["--elect=a,a"][..], "--elect", "has the name of `a`"),
        (&["--elect=a=k", "--elect=b=k"], "--elect", "has the lock of `a`"),
        (&["--elect=a,b=election:a"], "--elect", "has the lock of `a`"),
        (&["--elect=A"], "--elect", "expected a name of 1 to 63"),
        (&["--elect=a", "--max-ttl=10s"], "--elect-ttl", "expected 1s to 10s"),
        (&["--elect=a", "--max-ttl=500ms", "--elect-ttl=1s"], "--max-ttl", "an election needs 1s"),
        (&["--elect=a", "--elect-ttl=900ms"], "--elect-ttl", "expected 1s to 24h"),
        (&["--elect-while=localhost:80"], "--elect-while", "expected a URL"),
        (&["--elect-as=a\nb"], "--elect-as", "without control characters"),
    ] {
        let told = mistakes(args);
        assert!(told.len() == 1 && told[0].starts_with(&format!("{flag}: ")) && told[0].contains(problem), "{told:?}");
    }
    let config = Config::resolve(&flags(&["--max-ttl=10s"])).expect("without an election nothing is too long");
    assert!(config.elections.elections.is_empty());
    assert_eq!(mistakes(&["--elect=a", "--elect-ttl=1ms", "--elect-while=localhost:80"]).len(), 2, "all in one run");
    let config = Config::resolve(&flags(&["--elect-while=asked:30s"])).expect("of no effect, but good");
    assert_eq!(config.warnings, ["--elect-while has no effect without --elect"]);
    let config = Config::resolve(&flags(&["--elect=a", "--elect-as=web-3", "--elect-ttl=20s"])).expect("good flags");
    assert_eq!((config.elections.candidate.as_str(), config.elections.ttl.as_ms()), ("web-3", 20_000));
}

#[test]
fn every_list_may_be_repeated_or_comma_separated_and_names_something() {
    let all = |config: Config| {
        let ListenConfig { api, dapr_grpc, ops, allowed_hosts, allowed_origins, dapr_stores, .. } = config.listen;
        let addresses = |all: Vec<Address>| all.iter().map(Address::to_string).collect::<Vec<_>>();
        let stores = dapr_stores.into_iter().map(|store| store.name).collect();
        let elections = config.elections.elections.into_iter().map(|ballot| ballot.name).collect();
        let claims = config.auth.permissions.claims().to_vec();
        [
            addresses(api),
            addresses(dapr_grpc),
            addresses(ops),
            allowed_hosts,
            allowed_origins,
            stores,
            elections,
            claims,
        ]
    };
    let mut command = Command::command();
    let lists: Vec<String> = command
        .get_arguments()
        .filter(|arg| matches!(arg.get_action(), clap::ArgAction::Append))
        .map(|arg| format!("--{}", arg.get_long().expect("a flag")))
        .collect();
    let known = [
        ("--listen", ["127.0.0.1:1", "127.0.0.1:2"]),
        ("--dapr-grpc-listen", ["127.0.0.1:5", "127.0.0.1:6"]),
        ("--ops-listen", ["127.0.0.1:3", "127.0.0.1:4"]),
        ("--allowed-hosts", ["a.test", "b.test"]),
        ("--allowed-origins", ["https://a.test", "https://b.test"]),
        ("--dapr-stores", ["a", "b"]),
        ("--elect", ["a", "b"]),
        ("--permission-claim", ["a.b", "https://a.test/b"]),
    ];
    assert_eq!(lists, known.map(|(flag, _)| flag), "every flag that is a list");
    for (at, (flag, [a, b])) in known.into_iter().enumerate() {
        for args in [
            &[format!("{flag}={a},{b}")][..],
            &[format!("{flag}={a}"), format!("{flag}={b}")],
            &[format!("{flag}={a},"), format!("{flag}= {b} ,")],
        ] {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let config = Config::resolve(&flags(&args)).unwrap_or_else(|mistakes| panic!("{args:?}: {mistakes:?}"));
            assert_eq!(all(config)[at], [a, b], "{args:?}");
        }
        for nothing in [",", " , ", " "] {
            let told = mistakes(&[&format!("{flag}={nothing}")]);
            assert!(told.len() == 1 && told[0].starts_with(&format!("{flag}: ")), "{flag}={nothing}: {told:?}");
        }
    }
    command.build();
    for arg in command.get_arguments().filter(|arg| arg.get_long().is_some_and(|flag| flag != "help")) {
        let (flag, value) = (format!("--{}", arg.get_long().expect("a flag")), "=true");
        if !lists.contains(&flag) {
            let twice =
                Command::try_parse_from(["lockside".to_owned(), format!("{flag}{value}"), format!("{flag}{value}")]);
            assert!(twice.is_err(), "{flag} twice: the last would win without a word");
        }
    }
}
