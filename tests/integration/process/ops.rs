//! The ops listener, the probe for containers, the log, and the end of the process.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::http::raw;
use crate::harness::{Scratch, Sidecar, TestRedis, eventually, jwt, lockside, lockside_with, unique};

async fn acquire(sidecar: &Sidecar, key: &str) -> u16 {
    let call = sidecar.call("POST", "/cmn/leasable-locks").json(&json!({"key": key, "leasePeriod": 30}));
    call.send().await.status
}

/// The samples of a metric whose labels contain all of `labels`.
fn samples(metrics: &str, name: &str, labels: &[&str]) -> Vec<f64> {
    let lines = metrics.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    let lines = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
    lines.map(|line| line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")).collect()
}

#[tokio::test]
async fn the_ops_listener_answers_three_paths_and_no_more() {
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    for (path, status) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/", 404),
        ("/healthz/", 404),
        ("/api/healthz", 404),
        ("/cmn/leasable-locks", 404),
        ("/admin/lock", 404),
    ] {
        assert_eq!(sidecar.ops(path).await.status, status, "{path}");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        let ask = |method: &str| {
            raw(sidecar.ops_address(), &format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        };
        let answer = ask("POST");
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
        assert!(ask("DELETE").starts_with("HTTP/1.1 405 "));
        assert!(ask("HEAD").starts_with("HTTP/1.1 200 "));
        assert_eq!(sidecar.call("GET", path).send().await.status, 404, "the api listener has no {path}");
    }
}

#[tokio::test]
async fn metrics_are_what_promtool_accepts() {
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    assert_eq!(acquire(&sidecar, &unique("promtool")).await, 201);
    let metrics = sidecar.ops("/metrics").await;
    assert!(metrics.header("content-type").is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4")));
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    child.stdin.take().unwrap().write_all(&metrics.body).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said, "", "not even an advice");
}

#[tokio::test]
async fn requests_are_counted_by_dialect_operation_and_outcome_and_timed_by_kind() {
    let scratch = Scratch::new();
    let secret = scratch.file("secret", jwt::SECRET);
    let sidecar = Sidecar::start(TestRedis::shared(), &["--jwt-secret-file", &secret]).await;
    let (alice, bob) = (jwt::editor("alice"), jwt::editor("bob"));
    let body = json!({"route": "volume", "id": unique("metrics")});
    for token in [&alice, &alice, &bob] {
        sidecar.call("POST", "/admin/lock").cookie(token).json(&body).send().await;
    }
    sidecar.call("PUT", "/cmn/leasable-locks/7?leasePeriod=30").cookie(&alice).send().await;
    sidecar.call("PUT", "/cmn/leasable-locks/x?leasePeriod=30").cookie(&alice).send().await;
    sidecar.call("GET", "/nowhere").send().await;
    let metrics = sidecar.ops("/metrics").await;
    for (dialect, operation, outcome, count) in [
        ("admin", "lock", "ok", 2.0),
        ("admin", "lock", "held", 1.0),
        ("leases", "renew", "not-found", 1.0),
        ("leases", "renew", "bad-request", 1.0),
        ("none", "none", "not-found", 1.0),
    ] {
        let (dialect, operation) = (format!("dialect=\"{dialect}\""), format!("operation=\"{operation}\""));
        let labels = [dialect.as_str(), &operation, &format!("outcome=\"{outcome}\"")];
        assert_eq!(samples(metrics.text(), "lockside_requests_total", &labels), [count], "{labels:?}");
    }
    for (kind, count) in [("acquire", 3.0), ("renew", 2.0), ("other", 1.0)] {
        let labels = [format!("operation=\"{kind}\"")];
        let labels = labels.iter().map(String::as_str).collect::<Vec<_>>();
        let timed = samples(metrics.text(), "lockside_request_duration_seconds_count", &labels);
        assert_eq!(timed, [count], "{kind}");
    }
}

#[tokio::test]
async fn redis_the_process_and_the_build_are_measured() {
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    assert_eq!(acquire(&sidecar, &unique("measured")).await, 201);
    let metrics = sidecar.ops("/metrics").await.text().to_owned();
    assert!(samples(&metrics, "lockside_redis_round_trip_seconds_count", &[])[0] >= 1.0);
    assert!(samples(&metrics, "lockside_redis_commands_total", &["operation=\"acquire\""])[0] >= 1.0);
    assert_eq!(samples(&metrics, "lockside_redis_up", &[]), [1.0]);
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert_eq!(samples(&metrics, "lockside_build_info", &[&version]), [1.0]);
    for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"] {
        assert!(samples(&metrics, name, &[])[0] >= 0.0, "{name}");
    }
}

#[tokio::test]
async fn locks_held_are_those_of_the_lock_space_over_all_sidecars() {
    let prefix = unique("held");
    let first = Sidecar::start(TestRedis::shared(), &["--key-prefix", &prefix]).await;
    let second = Sidecar::start(TestRedis::shared(), &["--key-prefix", &prefix]).await;
    // A look at Redis is a second old at most.
    let held = async |sidecar: &Sidecar, count: f64| {
        eventually(&format!("{count} are held"), Duration::from_secs(3), async || {
            samples(sidecar.ops("/metrics").await.text(), "lockside_locks_held", &[]) == [count]
        })
        .await
    };
    held(&first, 0.0).await;
    for index in 0..3 {
        assert_eq!(acquire(&first, &format!("{index}")).await, 201);
    }
    held(&second, 3.0).await;
    let list: Value = first.call("GET", "/cmn/leasable-locks").send().await.json();
    let path = format!("/cmn/leasable-locks/{}", list[0]["token"]);
    assert_eq!(first.call("DELETE", &path).send().await.status, 200);
    held(&second, 2.0).await;
    let oldest = samples(second.ops("/metrics").await.text(), "lockside_oldest_lock_timestamp_seconds", &[])[0];
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 60.0..now + 1.0).contains(&oldest), "{oldest}, and it is {now}");
}

#[tokio::test]
async fn redis_is_looked_at_once_a_second_however_many_scrape() {
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &[]).await;
    for index in 0..100 {
        assert_eq!(acquire(&sidecar, &format!("{index}")).await, 201);
    }
    sidecar.ops("/metrics").await;
    let (before, begun) = (redis.calls("evalsha"), std::time::Instant::now());
    for _ in 0..200 {
        assert_eq!(samples(sidecar.ops("/metrics").await.text(), "lockside_locks_held", &[]), [100.0]);
        assert_eq!(sidecar.ops("/readyz").await.status, 200);
    }
    let (looks, seconds) = (redis.calls("evalsha") - before, begun.elapsed().as_secs() + 1);
    assert!(looks <= seconds, "{looks} looks in {seconds} s, each one call of a script");
}

#[tokio::test]
async fn a_sidecar_has_at_most_250_series_after_a_day() {
    let scratch = Scratch::new();
    let secret = scratch.file("secret", jwt::SECRET);
    let sidecar = Sidecar::start(TestRedis::shared(), &["--jwt-secret-file", &secret]).await;
    let (alice, bob) = (jwt::editor("alice"), jwt::editor("bob"));
    let name = unique("day");
    // Each operation with each outcome that it often has.
    for who in [Some(&alice), Some(&bob), None] {
        for (method, path, body) in every_request(&name) {
            let mut call = sidecar.call(method, &path);
            if let Some(who) = who {
                call = call.cookie(who);
            }
            match path.ends_with("/hold") {
                true => drop(call.json(&body).open().await),
                false => drop(call.json(&body).send().await),
            }
        }
    }
    // Those that a connection ended or Redis refused come on top.
    let metrics = sidecar.ops("/metrics").await;
    let series = metrics.text().lines().filter(|line| !line.starts_with('#')).count();
    println!("{series} series");
    assert!(series <= 200, "{series} series: {}", metrics.text());
}

/// All operations of all dialects, well and ill formed.
fn every_request(name: &str) -> Vec<(&'static str, String, Value)> {
    let (target, lock) = (json!({"route": "volume", "id": name}), json!({"key": name, "leasePeriod": 30}));
    let dapr = json!({"resourceId": name, "lockOwner": "a", "expiryInSeconds": 30});
    let requests = [
        ("POST", "/admin/lock".to_owned(), target.clone()),
        ("POST", "/admin/lock".to_owned(), json!({})),
        ("DELETE", "/admin/remove-lock".to_owned(), target),
        ("POST", "/cmn/leasable-locks".to_owned(), lock),
        ("POST", "/cmn/leasable-locks".to_owned(), json!({})),
        ("GET", "/cmn/leasable-locks?limit=1".to_owned(), json!({})),
        ("PUT", "/cmn/leasable-locks/7?leasePeriod=30".to_owned(), json!({})),
        ("DELETE", "/cmn/leasable-locks/7".to_owned(), json!({})),
        ("DELETE", "/cmn/leasable-locks/custom/7".to_owned(), json!({})),
        ("POST", format!("/v1/locks/{name}-n"), json!({"ttlMs": 30_000})),
        ("POST", format!("/v1/locks/{name}-n"), json!({"ttlMs": 30_000, "reentrant": true})),
        ("POST", format!("/v1/locks/{name}-n"), json!({"ttlMs": 30_000, "waitMs": 1})),
        ("POST", format!("/v1/locks/{name}-n"), json!({"ttlMs": 0})),
        ("PUT", format!("/v1/locks/{name}-n?token=7"), json!({})),
        ("GET", format!("/v1/locks/{name}-n"), json!({})),
        ("GET", format!("/v1/locks/{name}-n/fence?token=7"), json!({})),
        ("DELETE", format!("/v1/locks/{name}-n?token=7"), json!({})),
        ("DELETE", format!("/v1/locks/{name}-f?force=true"), json!({})),
        ("GET", "/v1/locks?limit=1".to_owned(), json!({})),
        ("POST", format!("/v1/locks/{name}-h/hold"), json!({"ttlMs": 1000})),
        ("POST", "/v1.0-alpha1/lock/lockstore".to_owned(), dapr.clone()),
        ("POST", "/v1.0-alpha1/unlock/lockstore".to_owned(), dapr),
        ("GET", "/v1.0/metadata".to_owned(), json!({})),
        ("GET", "/v1.0/healthz".to_owned(), json!({})),
        ("GET", "/openapi.json".to_owned(), json!({})),
        ("GET", "/nowhere".to_owned(), json!({})),
    ];
    requests.into()
}

#[tokio::test]
async fn no_key_and_no_owner_is_in_any_metric() {
    let scratch = Scratch::new();
    let secret = scratch.file("secret", jwt::SECRET);
    let sidecar = Sidecar::start(TestRedis::shared(), &["--jwt-secret-file", &secret]).await;
    let (user, key) = (unique("who"), unique("what"));
    let token = jwt::editor(&user);
    for period in [30, 0] {
        let body = json!({"key": key, "leasePeriod": period});
        sidecar.call("POST", "/cmn/leasable-locks").cookie(&token).json(&body).send().await;
    }
    sidecar.call("POST", "/admin/lock").cookie(&token).json(&json!({"route": key, "id": key})).send().await;
    sidecar.call("GET", &format!("/{key}")).send().await;
    sidecar.call("DELETE", &format!("/cmn/leasable-locks/{key}")).cookie(&token).send().await;
    let metrics = sidecar.ops("/metrics").await;
    assert!(!metrics.text().contains(&user), "{}", metrics.text());
    assert!(!metrics.text().contains(&key), "{}", metrics.text());
}

#[tokio::test]
async fn the_probe_for_containers_tells_alive_and_ready_by_its_exit_code() {
    let mut redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &[]).await;
    let address = sidecar.ops_address().to_owned();
    let health = ["health", "--ops-listen", &address];
    let ready = ["health", "--ready", "--ops-listen", &address];
    assert_eq!(lockside(&health).await.code, Some(0));
    assert_eq!(lockside(&ready).await.code, Some(0));
    // As the sidecar itself was told: an address that is no one's in particular.
    let port = address.rsplit(':').next().unwrap();
    for listen in [format!("0.0.0.0:{port}"), format!("localhost:{port}")] {
        let run = lockside_with(&["health"], &[("LOCKSIDE_OPS_LISTEN", &listen)]).await;
        assert_eq!(run.code, Some(0), "{listen}: {}", run.stderr);
    }
    redis.kill();
    eventually("not ready", Duration::from_secs(3), async || sidecar.ops("/readyz").await.status == 503).await;
    assert_eq!(lockside(&health).await.code, Some(0));
    let run = lockside(&ready).await;
    assert_eq!(run.code, Some(69));
    assert!(run.stderr.contains("redis"), "{}", run.stderr);
    drop(sidecar);
    assert_eq!(lockside(&health).await.code, Some(69));
}

#[tokio::test]
async fn the_probe_reaches_an_ops_listener_on_a_unix_socket() {
    let scratch = Scratch::new();
    let address = format!("unix:{}", scratch.path("ops.sock"));
    let flags = ["--redis-url".to_owned(), TestRedis::shared().url(), "--ops-listen".to_owned(), address.clone()];
    let sidecar = Sidecar::spawn(&flags);
    let health = ["health", "--ready", "--ops-listen", &address];
    eventually("ready", Duration::from_secs(5), async || lockside(&health).await.code == Some(0)).await;
    drop(sidecar);
    assert_eq!(lockside(&health).await.code, Some(69));
}

#[tokio::test]
async fn the_probe_waits_until_a_sidecar_is_up_or_ready_and_no_longer_than_it_is_told() {
    let (mut redis, scratch) = (TestRedis::start(&[]), Scratch::new());
    redis.kill();
    let address = format!("unix:{}", scratch.path("ops.sock"));
    let flags = ["--redis-url".to_owned(), redis.url(), "--ops-listen".to_owned(), address.clone()];
    let health = ["health", "--ops-listen", &address];
    let begun = Instant::now();
    assert_eq!(lockside(&[&health[..], &["--wait", "1s"]].concat()).await.code, Some(69));
    assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let starting = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Sidecar::spawn(&flags)
    };
    let up = [&health[..], &["--wait", "30s"]].concat();
    let (run, sidecar) = tokio::join!(lockside(&up), starting);
    assert_eq!(run.code, Some(0), "{}", run.stderr);

    let ready = [&health[..], &["--ready"]].concat();
    assert_eq!(lockside(&ready).await.code, Some(69));
    let restarting = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        redis.up();
    };
    let until_ready = [&ready[..], &["--wait", "30s"]].concat();
    let (run, ()) = tokio::join!(lockside(&until_ready), restarting);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    drop(sidecar);
    let run = lockside(&[&health[..], &["--wait", "2h"]].concat()).await;
    assert!(run.code == Some(64) && run.stderr.contains("--wait"), "{run:?}");
}

#[tokio::test]
async fn at_sigterm_a_request_under_way_gets_its_answer() {
    for signal in ["TERM", "INT"] {
        let mut sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
        let address = sidecar.api_address().to_owned();
        let body = json!({"key": unique("drained"), "leasePeriod": 30}).to_string();
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        write!(
            stream,
            "POST /cmn/leasable-locks HTTP/1.1\r\nHost: {address}\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .unwrap();
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n", "the request is being read");

        sidecar.signal(signal);
        eventually("readiness turns off", Duration::from_secs(2), async || {
            let ready = sidecar.ops("/readyz").await;
            ready.status == 503 && ready.text().contains("draining")
        })
        .await;
        assert_eq!(sidecar.ops("/healthz").await.status, 200, "alive as long as it drains");
        eventually("the port is given back", Duration::from_secs(2), async || TcpListener::bind(&address).is_ok())
            .await;
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        assert_eq!(sidecar.exit_code(Duration::from_secs(5)).await, Some(0), "{}", sidecar.log());
    }
}

#[tokio::test]
async fn at_sigterm_idle_connections_delay_nothing_and_the_grace_bounds_the_rest() {
    let mut idle = Sidecar::start(TestRedis::shared(), &["--shutdown-grace=60s"]).await;
    assert_eq!(acquire(&idle, &unique("idle")).await, 201);
    let _silent = TcpStream::connect(idle.api_address()).unwrap();
    idle.signal("TERM");
    assert_eq!(idle.exit_code(Duration::from_secs(5)).await, Some(0));

    let mut busy = Sidecar::start(TestRedis::shared(), &["--shutdown-grace=300ms"]).await;
    let mut stream = TcpStream::connect(busy.api_address()).unwrap();
    let address = busy.api_address();
    let head = format!("POST /cmn/leasable-locks HTTP/1.1\r\nHost: {address}\r\nContent-Length: 9\r\n\r\n{{");
    stream.write_all(head.as_bytes()).unwrap();
    busy.signal("TERM");
    assert_eq!(busy.exit_code(Duration::from_secs(5)).await, Some(0));
}

#[tokio::test]
async fn the_log_is_json_or_text_with_one_line_a_request_at_debug() {
    for format in ["json", "text"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockside"));
        command.args(["serve", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--log-level=debug"]);
        command.args(["--redis-url", &TestRedis::shared().url(), "--log-format", format]);
        let sidecar = Sidecar::of(command);
        let ready = async || sidecar.ops("/readyz").await.status == 200;
        eventually("ready", Duration::from_secs(10), ready).await;
        let requests = || {
            let log = sidecar.log();
            let lines = log.lines().filter(|line| line.contains("leases")).map(str::to_owned);
            lines.collect::<Vec<_>>()
        };
        assert_eq!(acquire(&sidecar, &unique("logged")).await, 201);
        assert_eq!(sidecar.call("DELETE", "/cmn/leasable-locks/7").send().await.status, 404);
        eventually("both are logged", Duration::from_secs(2), async || requests().len() >= 2).await;
        assert_eq!(requests().len(), 2, "{:#?}", requests());
        for (line, words) in requests().iter().zip([["create", "201", "POST"], ["release", "404", "DELETE"]]) {
            assert!(words.iter().all(|word| line.contains(word)), "{line}");
            let parsed = serde_json::from_str::<Value>(line);
            assert_eq!(parsed.is_ok(), format == "json", "{line}");
        }
        assert!(!sidecar.log().contains('\u{1b}'), "no colours where no terminal is");
    }
}

#[tokio::test]
async fn without_debug_the_log_says_nothing_of_good_requests() {
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    let before = sidecar.log();
    assert_eq!(acquire(&sidecar, &unique("quiet")).await, 201);
    assert_eq!(sidecar.call("GET", "/nowhere").send().await.status, 404);
    assert_eq!(sidecar.log(), before);
}
