//! Redis away, and back: true answers in time, readiness that follows, and nobody who has to lend a hand.

#![expect(clippy::print_stdout, reason = "the figures are worth reading, too")]

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Answer, Call, Scratch, Sidecar, TestRedis, eventually, free_port, jwt, unique};

const TIMEOUT: Duration = Duration::from_millis(500);
/// What an answer may take beyond the deadline of Redis: 100 ms of ours, and what a busy machine adds.
const SLACK: Duration = Duration::from_millis(100 + 400);
const READINESS: Duration = Duration::from_secs(2);
const RECOVERY: Duration = Duration::from_secs(3);

/// A Redis of the test's own, and a sidecar that knows the user `alice` by her cookie.
async fn pair(flags: &[&str]) -> (TestRedis, Sidecar) {
    let redis = TestRedis::start(&[]);
    let scratch = Scratch::new();
    let secret = scratch.file("secret", jwt::SECRET);
    let sidecar = Sidecar::start(&redis, &[&["--jwt-secret-file", &secret], flags].concat()).await;
    (redis, sidecar)
}

async fn create(sidecar: &Sidecar, user: &str, key: &str) -> Answer {
    let call = sidecar.call("POST", "/cmn/leasable-locks").cookie(&jwt::editor(user));
    call.json(&json!({"key": key, "leasePeriod": 60})).send().await
}

/// One call of each route, with the statuses that say that Redis did not do it, or that nobody knows.
fn every_route(sidecar: &Sidecar) -> Vec<(&'static str, Call<'_>, &'static [u16])> {
    const UNAVAILABLE: &[u16] = &[503, 504];
    let alice = jwt::editor("alice");
    let call = |method: &str, path: &str| sidecar.call(method, path).cookie(&alice);
    let volume = json!({"route": "volume", "id": "1"});
    let lease = json!({"key": unique("outage"), "leasePeriod": 60});
    vec![
        ("admin lock", call("POST", "/admin/lock").json(&volume), &[500]),
        ("admin remove", call("DELETE", "/admin/remove-lock").json(&volume), &[500]),
        ("list", call("GET", "/cmn/leasable-locks"), UNAVAILABLE),
        ("create", call("POST", "/cmn/leasable-locks").json(&lease), UNAVAILABLE),
        ("renew", call("PUT", "/cmn/leasable-locks/4711?leasePeriod=60"), UNAVAILABLE),
        ("release", call("DELETE", "/cmn/leasable-locks/4711"), UNAVAILABLE),
        ("custom remove", call("DELETE", "/cmn/leasable-locks/custom/4711"), UNAVAILABLE),
    ]
}

/// Calls each route several times, and asserts what each answers and how long it takes.
async fn assert_answers_in_time(sidecar: &Sidecar, what: &str) {
    for round in 0..3 {
        for (route, call, statuses) in every_route(sidecar) {
            let begun = Instant::now();
            let answer = call.send().await;
            let took = begun.elapsed();
            println!("{what}, round {round}: {route} answered {} after {took:.3?}", answer.status);
            assert!(statuses.contains(&answer.status), "{what}: {route}: {} {}", answer.status, answer.text());
            assert!(took <= TIMEOUT + SLACK, "{what}: {route} took {took:?}");
            match statuses {
                [500] => assert_eq!(answer.text(), r#"{"data":"Internal server error","code":500}"#),
                _ => assert!(answer.json()["messageValue"].is_string(), "{}", answer.text()),
            }
            assert_eq!(answer.header("retry-after").is_some(), answer.status == 503, "{what}: {route}");
        }
    }
}

async fn becomes(sidecar: &Sidecar, status: u16, what: &str) {
    let took = eventually(what, READINESS, async || sidecar.ops("/readyz").await.status == status).await;
    println!("{what}: /readyz is {status} after {took:.3?}");
}

async fn works_again(sidecar: &Sidecar, what: &str) {
    let key = unique("again");
    let took = eventually(what, RECOVERY, async || create(sidecar, "alice", &key).await.status == 201).await;
    println!("{what}: works again after {took:.3?}");
}

#[tokio::test]
async fn with_redis_killed_every_route_fails_in_time_and_works_again_after() {
    let (mut redis, sidecar) = pair(&["--redis-timeout=500ms"]).await;
    assert_eq!(create(&sidecar, "alice", "before").await.status, 201);
    redis.kill();
    assert_answers_in_time(&sidecar, "killed").await;
    redis.up();
    works_again(&sidecar, "killed").await;
}

#[tokio::test]
async fn with_redis_frozen_every_route_fails_in_time_and_works_again_after() {
    let (redis, sidecar) = pair(&["--redis-timeout=500ms"]).await;
    assert_eq!(create(&sidecar, "alice", "before").await.status, 201);
    redis.signal("STOP");
    assert_answers_in_time(&sidecar, "frozen").await;
    redis.signal("CONT");
    works_again(&sidecar, "frozen").await;
    assert_eq!(create(&sidecar, "alice", "before").await.status, 200, "what she had she has");
}

#[tokio::test]
async fn readiness_follows_a_redis_that_is_killed_and_says_why() {
    let (mut redis, sidecar) = pair(&[]).await;
    for _ in 0..2 {
        redis.kill();
        becomes(&sidecar, 503, "killed").await;
        let ready = sidecar.ops("/readyz").await;
        assert!(ready.text().starts_with("not ready: redis: "), "{}", ready.text());
        assert_eq!(sidecar.ops("/healthz").await.status, 200, "alive without Redis");
        let metrics = sidecar.ops("/metrics").await;
        assert!(metrics.text().contains("\nlockside_redis_up 0\n"));
        redis.up();
        becomes(&sidecar, 200, "up").await;
    }
}

#[tokio::test]
async fn readiness_follows_a_redis_that_freezes_right_after_an_answer() {
    let (redis, sidecar) = pair(&[]).await;
    for round in 0..4 {
        assert_eq!(create(&sidecar, "alice", &unique("freeze")).await.status, 201, "{round}");
        redis.signal("STOP");
        becomes(&sidecar, 503, "frozen").await;
        let ready = sidecar.ops("/readyz").await;
        assert!(ready.text().starts_with("not ready: redis: "), "{}", ready.text());
        redis.signal("CONT");
        becomes(&sidecar, 200, "going on").await;
    }
}

#[tokio::test]
async fn a_redis_that_comes_late_is_waited_for() {
    let mut redis = TestRedis::start(&[]);
    redis.kill();
    let sidecar = Sidecar::spawn(&["--redis-url".to_owned(), redis.url()]);
    assert_eq!(sidecar.ops("/healthz").await.status, 200);
    let ready = sidecar.ops("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().starts_with("not ready: redis: "), "{}", ready.text());
    let body = json!({"key": unique("early"), "leasePeriod": 60});
    let early = sidecar.call("POST", "/cmn/leasable-locks").json(&body).send().await;
    assert_eq!(early.status, 503, "surely not done: {}", early.text());
    redis.up();
    becomes(&sidecar, 200, "up for the first time").await;
    assert_eq!(sidecar.call("POST", "/cmn/leasable-locks").json(&body).send().await.status, 201);
}

/// What is said of a Redis that was never there: what was tried, with the address, and for people.
#[tokio::test]
async fn a_redis_that_was_never_there_is_said_plainly_with_its_address() {
    let (port, scratch) = (free_port(), Scratch::new());
    let (nowhere, blocked) = (scratch.path("nowhere.sock"), scratch.file("no.sock", ""));
    for (url, sentence) in [
        (format!("redis://127.0.0.1:{port}"), format!("cannot connect to `127.0.0.1:{port}`: connection refused")),
        (format!("redis+unix://{nowhere}"), format!("cannot connect to `{nowhere}`: no such file or directory")),
        (format!("redis+unix://{blocked}"), format!("cannot connect to `{blocked}`: connection refused")),
        (
            format!("redis://no-such-host.invalid:{port}"),
            format!("cannot connect to `no-such-host.invalid:{port}`: the host name `no-such-host.invalid` does not"),
        ),
        (
            format!("redis-sentinel://127.0.0.1:{port}?master=main"),
            format!("a sentinel: cannot connect to `127.0.0.1:{port}`: connection refused"),
        ),
        (
            format!("redis-cluster://127.0.0.1:{port}"),
            format!("a node: cannot connect to `127.0.0.1:{port}`: connection refused"),
        ),
    ] {
        let sidecar = Sidecar::spawn(&["--redis-url".to_owned(), url.clone()]);
        let ready = async || sidecar.ops("/readyz").await.text().to_owned();
        let said = format!("not ready: redis: {sentence}");
        eventually(&said, Duration::from_secs(10), async || ready().await.starts_with(&said)).await;
        let refused = sidecar.call("POST", "/v1/locks/a").json(&json!({})).send().await;
        assert_eq!(refused.json()["code"], "redis-unavailable", "{}", refused.text());
        let first = async || sidecar.log().lines().any(|line| line.contains("cannot connect to redis yet"));
        eventually("the log says so", Duration::from_secs(5), first).await;
        let log = sidecar.log();
        for bad in ["still", "Os {", "Custom {", "IO Error", "\"ERROR\""] {
            assert!(!log.contains(bad), "{url}: {bad}: {log}");
        }
        let line = log.lines().find(|line| line.contains("cannot connect to redis yet")).unwrap();
        let address = url.split("://").nth(1).unwrap().split('?').next().unwrap();
        assert_eq!(line.matches(address).count(), 1, "the address once: {line}");
    }
}

/// What speaks another protocol, or lets lockside in and then refuses it.
#[tokio::test]
async fn what_is_no_redis_or_refuses_the_greeting_is_named_with_what_to_change() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 64]).await;
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
            });
        }
    });
    let url = format!("redis://127.0.0.1:{port}");
    let sentence = format!("cannot connect to `127.0.0.1:{port}`: it does not use Redis's protocol");
    Sidecar::says_why_not(&["--redis-url", &url], &sentence).await;

    let redis = TestRedis::start(&["--rename-command", "CLIENT", ""]);
    Sidecar::says_why_not(&["--redis-url", &redis.url()], "give redis back client: remove its rename-command").await;

    let port = free_port();
    let full = TestRedis::start(&["--port", &port, "--maxclients", "1"]);
    let _only = full.connection();
    Sidecar::says_why_not(&["--redis-url", &format!("redis://127.0.0.1:{port}")], "max number of clients").await;
}

/// The client library keeps to itself what Redis says to the name of a connection: it is asked again, by every way there is.
#[tokio::test]
async fn what_redis_has_against_the_name_of_a_connection_is_said_in_its_own_words() {
    let (scratch, port) = (Scratch::new(), free_port());
    let redis = TestRedis::with_tls(&["localhost"], &["--port", &port, "--busy-reply-threshold", "50"]);
    let rights = ["on", ">a word of the test", "~*", "&*", "+@all"];
    redis.ask::<String>("ACL", &[&["SETUSER", "named"], &rights[..]].concat());
    redis.ask::<String>("ACL", &[&["SETUSER", "nameless"], &rights[..], &["-client|setname"]].concat());
    let password = scratch.file("password", "a word of the test");
    let urls = [
        format!("redis://127.0.0.1:{port}"),
        format!("redis://127.0.0.1:{port}/3"),
        format!("redis+unix://{}", redis.socket()),
        format!("rediss://localhost:{}", redis.tls_port()),
    ];
    let says = async |user: &str, expected: &str| {
        for url in &urls {
            let flags = ["--redis-url", url, "--redis-username", user, "--redis-password-file", &password];
            Sidecar::says_why_not(&flags, expected).await;
        }
    };
    says("nameless", "allow its ACL user the command: +client|setname").await;
    let (mut busy, mut other) = (redis.connection(), redis.connection());
    let script = std::thread::spawn(move || {
        let _ = redis::cmd("EVAL").arg("while true do end").arg(0).query::<()>(&mut busy);
    });
    says("named", "(BUSY Redis is busy running a script").await;
    says("named", "end it with SCRIPT KILL").await;
    redis::cmd("SCRIPT").arg("KILL").query::<()>(&mut other).expect("the script is killed");
    script.join().expect("the script has ended");
}

/// A user whom Redis does not let in: it was reached, and said what is wrong.
#[tokio::test]
async fn a_password_that_redis_refuses_is_a_refusal_and_no_outage() {
    let redis = TestRedis::start(&[]);
    redis.ask::<String>("CONFIG", &["SET", "requirepass", "the right one"]);
    let scratch = Scratch::new();
    let wrong = scratch.file("password", "a wrong one");
    for (flags, change) in
        [(&[][..], "--redis-password-file"), (&["--redis-password-file", &wrong], "--redis-username")]
    {
        let flags: Vec<String> = ["--redis-url", &redis.url()].iter().chain(flags).map(|it| (*it).to_owned()).collect();
        let sidecar = Sidecar::spawn(&flags);
        let said = async || sidecar.ops("/readyz").await.text().contains(change);
        eventually(change, Duration::from_secs(10), said).await;
        let refused = sidecar.call("POST", "/v1/locks/a").json(&json!({})).send().await;
        let said = (refused.status, refused.json()["code"].as_str().map(str::to_owned));
        assert_eq!(said, (503, Some("redis-refused".to_owned())), "{}", refused.text());
        assert!(refused.json()["detail"].as_str().unwrap().contains(change), "{}", refused.text());
    }
}

#[tokio::test]
async fn a_short_deadline_bounds_the_wait_for_a_connection_too() {
    let (mut redis, sidecar) = pair(&["--redis-timeout=20ms"]).await;
    redis.kill();
    becomes(&sidecar, 503, "killed").await;
    let mut figures = Vec::new();
    for _ in 0..9 {
        let begun = Instant::now();
        assert!(matches!(create(&sidecar, "alice", "short").await.status, 503 | 504));
        figures.push(begun.elapsed());
    }
    figures.sort();
    println!("--redis-timeout=20ms, killed: {figures:.3?}");
    assert!(figures[figures.len() / 2] < Duration::from_millis(20 + 100), "{figures:?}");
}

#[tokio::test]
async fn an_acquire_without_an_answer_leaves_no_lock_behind() {
    let (redis, sidecar) = pair(&["--redis-timeout=200ms"]).await;
    assert_eq!(create(&sidecar, "alice", "known to redis").await.status, 201);
    let keys: Vec<String> = (0..5).map(|index| format!("lost-{index}")).collect();
    redis.signal("STOP");
    for key in &keys {
        assert!(matches!(create(&sidecar, "alice", key).await.status, 503 | 504));
    }
    redis.signal("CONT");
    for key in &keys {
        eventually("bob gets it", RECOVERY, async || create(&sidecar, "bob", key).await.status == 201).await;
    }
}

#[tokio::test]
async fn an_outage_is_measured_and_logged_by_its_reason() {
    let (mut redis, sidecar) = pair(&["--redis-timeout=200ms"]).await;
    redis.kill();
    becomes(&sidecar, 503, "killed").await;
    eventually("a request is refused", READINESS, async || create(&sidecar, "alice", "x").await.status == 503).await;
    let metrics = sidecar.ops("/metrics").await;
    let errors = metrics.text().lines().find(|line| line.starts_with("lockside_redis_errors_total{"));
    assert!(errors.is_some_and(|line| line.contains("error=\"") && line.contains("operation=\"")), "{errors:?}");
    assert!(metrics.text().contains("outcome=\"redis-unavailable\""));
    assert!(!metrics.text().contains("\nlockside_locks_held "), "what nobody knows is left out");
    let log = sidecar.log();
    assert_eq!(log.lines().filter(|line| line.contains("\"ERROR\"")).count(), 1, "one cause for alarm: {log}");
    assert!(log.contains("redis-unavailable"), "{log}");
}
