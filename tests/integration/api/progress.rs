//! What a hold says while it waits and while nothing happens, so that no client takes it for dead.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::http::Lines;
use crate::harness::{Sidecar, TestRedis, eventually, unique};

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(2);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(1);

async fn open(sidecar: &Sidecar, key: &str, body: Value) -> Lines {
    sidecar.call("POST", &format!("/v1/locks/{key}/hold")).json(&body).open().await
}

async fn next(lines: &mut Lines) -> Value {
    tokio::time::timeout(Duration::from_secs(10), lines.next()).await.expect("a line in time").expect("a line")
}

/// The next line that is none of a wait.
async fn decided(lines: &mut Lines) -> Value {
    loop {
        let line = next(lines).await;
        if line["event"] != "waiting" {
            return line;
        }
    }
}

async fn acquired(sidecar: &Sidecar, key: &str, body: Value) -> Value {
    let lease = sidecar.call("POST", &format!("/v1/locks/{key}")).json(&body).send().await;
    assert_eq!(lease.status, 201, "{}", lease.text());
    lease.json()
}

async fn release(sidecar: &Sidecar, key: &str, lease: &Value) {
    let path = format!("/v1/locks/{key}?token={}", lease["token"]);
    assert_eq!(sidecar.call("DELETE", &path).send().await.status, 204);
}

async fn waiters(sidecar: &Sidecar, key: &str, count: u64) {
    eventually("as many wait", Duration::from_secs(5), async || {
        sidecar.call("GET", &format!("/v1/locks/{key}")).send().await.json()["waiters"] == count
    })
    .await;
}

#[tokio::test]
async fn a_hold_writes_a_line_at_least_every_two_seconds_whatever_its_ttl() {
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    let watched = [1000, 5000, 8000, 60_000, 1_200_000].map(async |ttl_ms: u64| {
        let mut lines = open(&sidecar, &unique("signs"), json!({"ttlMs": ttl_ms})).await;
        let (mut last, end) = (Instant::now(), Instant::now() + Duration::from_secs(12));
        let (mut promised, mut pings) = (Instant::now(), 0);
        while Instant::now() < end {
            let line = next(&mut lines).await;
            assert!(last.elapsed() < PAUSE + SLACK, "{ttl_ms}: {:?} before {line}", last.elapsed());
            last = Instant::now();
            let valid = last + Duration::from_millis(line["validForMs"].as_u64().expect("a validity"));
            if line["event"] == "ping" {
                pings += 1;
                assert!(valid < promised + Duration::from_millis(200), "a ping promises no more than was promised");
            } else {
                promised = valid;
            }
        }
        pings
    });
    let pings = futures_util::future::join_all(watched).await;
    assert!(pings[0] == 0 && (5..=7).contains(&pings[4]), "only where nothing else is said: {pings:?}");
}

#[tokio::test]
async fn a_hold_with_progress_says_where_it_stands_until_it_is_granted() {
    let (sidecar, key) = (Sidecar::start(TestRedis::shared(), &[]).await, unique("progress"));
    let lease = acquired(&sidecar, &key, json!({"ttlMs": 60_000, "owner": "first"})).await;
    let body = |owner: &str| json!({"ttlMs": 5000, "waitMs": 60_000, "progress": true, "owner": owner});
    let asked = Instant::now();
    let mut second = open(&sidecar, &key, body("second")).await;
    assert_eq!(second.status, 200);
    assert!(asked.elapsed() < PAUSE, "at once, not after {:?}", asked.elapsed());
    waiters(&sidecar, &key, 1).await;
    let mut third = open(&sidecar, &key, body("third")).await;
    for (lines, position) in [(&mut second, 1), (&mut third, 2)] {
        let mut last = Instant::now();
        for _ in 0..3 {
            let mut line = next(lines).await;
            while line["position"].is_null() {
                // Redis has not said yet, on a busy machine.
                line = next(lines).await;
            }
            assert!(last.elapsed() < PAUSE + SLACK, "{:?}", last.elapsed());
            last = Instant::now();
            let holder = (&line["holder"]["owner"], &line["holder"]["token"]);
            assert_eq!((&line["event"], &line["position"]), (&json!("waiting"), &json!(position)), "{line}");
            assert_eq!(holder, (&json!("first"), &lease["token"]));
        }
    }
    release(&sidecar, &key, &lease).await;
    let granted = decided(&mut second).await;
    assert_eq!((&granted["event"], &granted["owner"]), (&json!("acquired"), &json!("second")));
    let moved_up = async {
        let mut line = Value::Null;
        while (&line["position"], &line["holder"]["owner"]) != (&json!(1), &json!("second")) {
            line = next(&mut third).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), moved_up).await.expect("the third has moved up");
    drop(second);
    assert_eq!(decided(&mut third).await["owner"], "third");
}

#[tokio::test]
async fn a_hold_with_progress_is_refused_in_its_stream_with_the_fields_of_the_problem() {
    let mut sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    let key = unique("refused");
    let held = acquired(&sidecar, &key, json!({"ttlMs": 60_000, "owner": "first"})).await;
    for (wait_ms, code) in [(0, "held"), (300, "wait-timeout"), (60_000, "draining")] {
        let body = json!({"waitMs": wait_ms, "progress": true});
        let mut lines = open(&sidecar, &key, body).await;
        assert_eq!(lines.status, 200, "{code}");
        if code == "draining" {
            waiters(&sidecar, &key, 1).await;
            sidecar.signal("TERM");
        }
        let line = decided(&mut lines).await;
        assert_eq!((&line["event"], &line["code"]), (&json!("refused"), &json!(code)), "{line}");
        assert_eq!((&line["outcome"], line["status"].is_u64()), (&json!("not-applied"), true), "{line}");
        if code != "draining" {
            assert_eq!(line["holder"]["token"], held["token"], "{line}");
        }
        assert_eq!(lines.next().await, None, "the last line");
    }
    assert_eq!(sidecar.exit_code(Duration::from_secs(5)).await, Some(0));
}

#[tokio::test]
async fn what_was_asked_wrongly_or_too_often_is_an_ordinary_answer_though_progress_is_asked_for() {
    let sidecar = Sidecar::start(TestRedis::shared(), &["--max-waiters=0"]).await;
    let key = unique("ordinary");
    let path = format!("/v1/locks/{key}/hold");
    let lease = acquired(&sidecar, &key, json!({"ttlMs": 60_000})).await;
    for (body, status) in [
        (json!({"progress": true, "ttlMs": 1}), 400),
        (json!({"progress": "yes"}), 400),
        (json!({"progress": true, "waitMs": 1000}), 429),
    ] {
        assert_eq!(sidecar.call("POST", &path).json(&body).send().await.status, status, "{body}");
    }
    let body = json!({"progress": true});
    assert_eq!(sidecar.call("POST", &path).bearer("bad").json(&body).send().await.status, 401);
    let foreign = sidecar.call("POST", &path).header("origin", "https://evil.test").json(&body).send().await;
    assert_eq!(foreign.status, 403);
    let plain = sidecar.call("POST", &format!("/v1/locks/{key}")).json(&body).send().await;
    assert_eq!((plain.status, plain.json()["code"].as_str()), (400, Some("bad-request")), "of a hold alone");
    release(&sidecar, &key, &lease).await;
    let mut lines = open(&sidecar, &key, body).await;
    assert_eq!((lines.status, &next(&mut lines).await["event"]), (200, &json!("acquired")));
}

#[tokio::test]
async fn a_client_that_hangs_up_while_it_streams_progress_leaves_the_queue() {
    let (sidecar, key) = (Sidecar::start(TestRedis::shared(), &[]).await, unique("leaves"));
    acquired(&sidecar, &key, json!({"ttlMs": 60_000})).await;
    let mut lines = open(&sidecar, &key, json!({"waitMs": 60_000, "progress": true})).await;
    next(&mut lines).await;
    waiters(&sidecar, &key, 1).await;
    drop(lines);
    waiters(&sidecar, &key, 0).await;
}

#[tokio::test]
async fn a_wait_in_vain_says_who_holds_the_key_and_how_many_wait() {
    let (sidecar, key) = (Sidecar::start(TestRedis::shared(), &[]).await, unique("vain"));
    let lease = acquired(&sidecar, &key, json!({"ttlMs": 60_000, "owner": "first"})).await;
    let mut other = open(&sidecar, &key, json!({"waitMs": 60_000, "progress": true})).await;
    next(&mut other).await;
    waiters(&sidecar, &key, 1).await;
    for path in ["", "/hold"] {
        let call = sidecar.call("POST", &format!("/v1/locks/{key}{path}")).json(&json!({"waitMs": 200}));
        let asked = Instant::now();
        let answer = call.send().await;
        assert!(asked.elapsed() < Duration::from_millis(1200), "{:?}", asked.elapsed());
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (409, &json!("wait-timeout")), "{problem}");
        assert_eq!((&problem["holder"]["token"], &problem["waiters"]), (&lease["token"], &json!(1)), "{problem}");
        let seconds: u64 = answer.header("retry-after").expect("Retry-After").parse().expect("seconds");
        assert!((50..=60).contains(&seconds), "{seconds}");
    }
}

#[tokio::test]
async fn a_client_with_a_read_timeout_of_five_seconds_waits_for_20_s_and_holds_for_a_minute() {
    let (sidecar, key) = (Sidecar::start(TestRedis::shared(), &[]).await, unique("minute"));
    acquired(&sidecar, &key, json!({"ttlMs": 20_000})).await;
    let (address, path) = (sidecar.api_address().to_owned(), format!("/v1/locks/{key}/hold"));
    let lives = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        let body = r#"{"ttlMs":600000,"waitMs":60000,"progress":true}"#;
        let length = body.len();
        write!(stream, "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}")
            .expect("sent");
        let begun = Instant::now();
        let (mut waiting, mut pings, mut waited) = (0, 0, None);
        for line in BufReader::new(stream).lines() {
            let line = line.expect("no read takes five seconds");
            // Of the head and of the lengths between the chunks there is nothing to see.
            let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
            match line["event"].as_str() {
                Some("waiting") => waiting += 1,
                Some("acquired") => waited = Some(begun.elapsed()),
                Some("ping") => pings += 1,
                None => {}
                other => panic!("{other:?}"),
            }
            if waited.is_some_and(|waited| begun.elapsed() > waited + Duration::from_secs(60)) {
                break;
            }
        }
        (waiting, pings, waited.expect("it was granted"))
    });
    let (waiting, pings, waited) = lives.await.expect("no panic");
    println!("{waiting} lines in {waited:?}, then {pings} in a minute");
    assert!(waited > Duration::from_secs(18) && waiting >= 8, "{waiting} lines in {waited:?}");
    assert!(pings >= 25, "{pings}");
}
