//! More than there is room for: requests above `--max-in-flight` over a Redis that is frozen, connections by the ten
//! thousand, and file descriptors that run out.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Sidecar, TestRedis, eventually, unique};

const MEGABYTE: u64 = 1024 * 1024;

/// An answer's head and body, in one text; `None` when the connection closes before it is whole.
async fn answer(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 2048];
    loop {
        let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
        let text = std::str::from_utf8(&bytes).expect("UTF-8");
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        if body.len() >= length {
            return Some(text.to_owned());
        }
    }
}

pub async fn ask(stream: &mut TcpStream, request: &str) -> Option<String> {
    stream.write_all(request.as_bytes()).await.ok()?;
    answer(stream).await
}

/// The one that 99 of 100 are below.
pub fn p99(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_told_so_at_once_while_redis_is_frozen() {
    const IN_FLIGHT: usize = 250;
    const ROUNDS: u32 = 3;
    const ROUND: Duration = Duration::from_secs(2);
    let redis = TestRedis::start(&[]);
    let flags = [format!("--max-in-flight={IN_FLIGHT}"), "--redis-timeout=30s".to_owned()];
    let sidecar = Sidecar::start(&redis, &[&flags[0], &flags[1]]).await;
    let mut streams = Vec::new();
    for _ in 0..4 * IN_FLIGHT {
        let mut stream = TcpStream::connect(sidecar.api_address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let warm = "GET /v1/locks/warm HTTP/1.1\r\nHost: localhost\r\n\r\n";
        assert!(ask(&mut stream, warm).await.unwrap().starts_with("HTTP/1.1 200 "));
        streams.push(stream);
    }
    let before = sidecar.memory();
    redis.signal("STOP");
    let name = Arc::new(unique("overload"));
    let tasks: Vec<_> = streams
        .into_iter()
        .enumerate()
        .map(|(number, mut stream)| {
            let name = Arc::clone(&name);
            tokio::spawn(async move {
                let mut times = Vec::new();
                for round in 0..ROUNDS {
                    // Spread over the round, so that what is measured is the sidecar and not our own queue.
                    tokio::time::sleep(ROUND * (number as u32) / (4 * IN_FLIGHT as u32)).await;
                    let body = "{\"ttlMs\":60000}";
                    let head = format!("Host: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    let asked = Instant::now();
                    let request = format!("POST /v1/locks/{name}-{number}-{round} HTTP/1.1\r\n{head}");
                    let said = tokio::time::timeout(Duration::from_secs(60), ask(&mut stream, &request));
                    let said = said.await.expect("an answer").expect("a whole one");
                    if !said.contains("\"code\":\"overloaded\"") {
                        return (times, Some(said));
                    }
                    times.push(asked.elapsed());
                    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("retry-after: 1\r\n"), "{said}");
                    assert!(said.contains("\"outcome\":\"not-applied\""), "{said}");
                }
                (times, None)
            })
        })
        .collect();
    let (mut health, mut most) = (Vec::new(), 0);
    while health.len() < 100 {
        let asked = Instant::now();
        assert_eq!(sidecar.ops("/healthz").await.status, 200);
        health.push(asked.elapsed());
        most = most.max(sidecar.memory().saturating_sub(before));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let metrics = sidecar.ops("/metrics").await;
    assert_eq!(metrics.status, 200, "metrics are there without Redis");
    redis.signal("CONT");
    let (mut times, mut others) = (Vec::new(), Vec::new());
    for task in tasks {
        let (some, other) = task.await.unwrap();
        times.extend(some);
        others.extend(other);
    }
    let count = times.len();
    let (refused, health) = (p99(&mut times), p99(&mut health));
    println!("{count} refused, p99 {refused:?}; health p99 {health:?}; {} KiB more at most", most / 1024);
    assert!(count > 2 * IN_FLIGHT && others.len() >= IN_FLIGHT, "{count} refused, {} not", others.len());
    // A health check does next to nothing: what it takes is the machine's own noise.
    assert!(refused < Duration::from_millis(250).max(5 * health), "{refused:?}, a health check {health:?}");
    assert!(health < Duration::from_secs(2), "{health:?}");
    assert!(most < 16 * MEGABYTE, "the sidecar grew by {} KiB", most / 1024);
    eventually("it serves again", Duration::from_secs(5), async || {
        let path = format!("/v1/locks/{}", unique("after"));
        sidecar.call("POST", &path).send().await.status == 201
    })
    .await;
}

/// Raises our own limit of file descriptors; how many there are.
pub fn descriptors() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("the soft limit may be raised");
    maximum.map_or(usize::MAX, |maximum| usize::try_from(maximum).unwrap())
}

/// Seconds of processor time that a process has used.
fn cpu_seconds(sidecar: &Sidecar) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", sidecar.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |field: &str| field.parse::<f64>().unwrap();
    (ticks(fields[11]) + ticks(fields[12])) / 100.0
}

fn limit_descriptors(sidecar: &Sidecar, soft: u64) {
    let limit = format!("--nofile={soft}:");
    let status = Command::new("prlimit").args(["--pid", &sidecar.pid().to_string(), &limit]).status();
    assert!(status.expect("prlimit runs").success());
}

#[tokio::test]
async fn a_low_limit_of_descriptors_is_told_and_leaves_the_ops_listener_its_part() {
    let mut command = Command::new("bash");
    let lockside = env!("CARGO_BIN_EXE_lockside");
    command.args(["-c", &format!("ulimit -n 400; exec {lockside} \"$@\""), "lockside", "serve", "--log-format=json"]);
    command.args(["--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--redis-url", &TestRedis::shared().url()]);
    let sidecar = Sidecar::of(command);
    eventually("ready", Duration::from_secs(10), async || sidecar.ops("/readyz").await.status == 200).await;
    let log = sidecar.log();
    let told = log.lines().find(|line| line.contains("as many as the 400 file descriptors")).expect("a line");
    assert!(told.contains("INFO") && !log.contains("--max-connections"), "nobody asked for more: {log}");

    let mut flood = Vec::new();
    let mut refused = 0;
    for _ in 0..600 {
        let mut stream = TcpStream::connect(sidecar.api_address()).await.unwrap();
        let said = tokio::time::timeout(Duration::from_millis(5), answer(&mut stream)).await;
        refused += usize::from(said.is_ok());
        flood.push(stream);
    }
    assert!(refused > 300, "{refused} were refused");
    assert_eq!(sidecar.ops("/healthz").await.status, 200);
    assert_eq!(sidecar.ops("/readyz").await.status, 200);
    assert!(!sidecar.log().contains("cannot accept"), "{}", sidecar.log());
    drop(flood);
    eventually("served again", Duration::from_secs(5), async || {
        sidecar.call("GET", "/v1/locks?limit=1").try_send().await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
}

#[tokio::test]
async fn a_number_of_connections_that_was_asked_for_and_cannot_be_had_is_a_warning() {
    let mut command = Command::new("bash");
    let lockside = env!("CARGO_BIN_EXE_lockside");
    command.args(["-c", &format!("ulimit -n 400; exec {lockside} \"$@\""), "lockside", "serve", "--log-format=json"]);
    command.args(["--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--redis-url", &TestRedis::shared().url()]);
    command.env("LOCKSIDE_MAX_CONNECTIONS", "16384");
    let sidecar = Sidecar::of(command);
    eventually("told", Duration::from_secs(5), async || sidecar.log().contains("file descriptors")).await;
    let log = sidecar.log();
    let told = log.lines().find(|line| line.contains("--max-connections 16384")).expect("a line");
    assert!(told.contains("WARN") && told.contains("may have, 400:"), "{log}");
}

#[tokio::test]
async fn without_descriptors_it_waits_quietly_and_goes_on() {
    let sidecar = Sidecar::start(TestRedis::shared(), &["--max-connections=5000"]).await;
    let open = std::fs::read_dir(format!("/proc/{}/fd", sidecar.pid())).unwrap().count();
    limit_descriptors(&sidecar, open as u64 + 5);
    let mut streams = Vec::new();
    for _ in 0..50 {
        streams.push(TcpStream::connect(sidecar.api_address()).await.unwrap());
    }
    eventually("told", Duration::from_secs(5), async || sidecar.log().contains("cannot accept")).await;
    let (used, begun) = (cpu_seconds(&sidecar), Instant::now());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let busy = (cpu_seconds(&sidecar) - used) / begun.elapsed().as_secs_f64();
    println!("without descriptors: {:.1} % of a core", 100.0 * busy);
    assert!(busy < 0.25, "{busy}");
    assert_eq!(sidecar.log().matches("cannot accept").count(), 1, "{}", sidecar.log());

    limit_descriptors(&sidecar, 1000);
    let request = "GET /v1/locks/after HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for stream in &mut streams {
        assert!(ask(stream, request).await.expect("an answer").starts_with("HTTP/1.1 200 "), "nobody was forgotten");
    }
}

/// Connects, and sends this in pieces so far apart that each is a read of its own.
async fn dribbled(address: &str, head: &str, piece: usize) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in head.as_bytes().chunks(piece) {
        if stream.write_all(piece).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut said = vec![0; 64];
    let count =
        tokio::time::timeout(Duration::from_secs(10), stream.read(&mut said)).await.expect("an answer").unwrap();
    String::from_utf8(said[..count].to_vec()).unwrap()
}

/// A head of exactly so many bytes.
fn head_of(path: &str, bytes: usize) -> String {
    let begin = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-More: ");
    format!("{begin}{}\r\n\r\n", "x".repeat(bytes - begin.len() - 4))
}

#[tokio::test]
async fn a_head_that_is_too_long_is_431_however_it_arrives() {
    const API: usize = 16 * 1024;
    const OPS: usize = 4 * 1024;
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    for (address, path, longest) in
        [(sidecar.api_address(), "/v1/locks/head", API), (sidecar.ops_address(), "/healthz", OPS)]
    {
        for piece in [1000, 3333, usize::MAX] {
            for (bytes, status) in [(longest, "200"), (longest + 1, "431"), (33_000, "431"), (48_000, "431")] {
                let said = dribbled(address, &head_of(path, bytes), piece).await;
                assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {bytes} by {piece}: {said}");
            }
        }
    }
    // So is the second one of a connection.
    let small = "GET /v1/locks/head HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for bytes in [API + 100, 48_000] {
        let mut stream = TcpStream::connect(sidecar.api_address()).await.unwrap();
        assert!(ask(&mut stream, small).await.unwrap().starts_with("HTTP/1.1 200 "));
        stream.write_all(head_of("/v1/locks/head", bytes).as_bytes()).await.unwrap();
        let mut said = [0; 12];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"HTTP/1.1 431", "{bytes}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_heads_never_keep_a_probe_out_of_the_ops_listener() {
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    let before = sidecar.memory();
    let part = head_of("/healthz", 3000)[..2500].to_owned();
    let mut half_open = Vec::new();
    for round in 0..1000 {
        let mut stream = TcpStream::connect(sidecar.ops_address()).await.unwrap();
        // Nothing, a byte, much of a head, or a whole one and then a part.
        let sent = match round % 4 {
            0 => "",
            1 => "G",
            2 => &part,
            _ => "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /h",
        };
        stream.write_all(sent.as_bytes()).await.unwrap();
        half_open.push(stream);
        if round % 20 == 0 {
            let asked = Instant::now();
            let mut probe = TcpStream::connect(sidecar.ops_address()).await.unwrap();
            let said = ask(&mut probe, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
            assert!(said.expect("an answer").starts_with("HTTP/1.1 200 "), "after {round}");
            assert!(asked.elapsed() < Duration::from_secs(1), "after {round}: {:?}", asked.elapsed());
        }
    }
    let grown = sidecar.memory().saturating_sub(before);
    println!("1000 half-open heads: {} KiB", grown / 1024);
    assert!(grown < 8 * MEGABYTE, "the sidecar grew by {} KiB", grown / 1024);
    let metrics = sidecar.ops("/metrics").await;
    let gave_way = "lockside_connections_cut_total{listener=\"ops\",reason=\"gave_way\"}";
    assert!(metrics.text().contains(gave_way), "{}", metrics.text());
    let open = metrics.text().lines().find_map(|line| line.strip_prefix("lockside_connections{listener=\"ops\"} "));
    assert!(open.unwrap().parse::<u64>().unwrap() <= 64, "{open:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_that_is_a_little_slow_with_its_head_gets_through_a_flood_of_connections() {
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    let address: Arc<str> = sidecar.ops_address().into();
    let over = Arc::new(AtomicBool::new(false));
    // Each comes back as soon as it has been closed.
    let flood: Vec<_> = (0..200)
        .map(|_| {
            let (address, over) = (Arc::clone(&address), Arc::clone(&over));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let Ok(mut stream) = TcpStream::connect(&*address).await else { continue };
                    let _ = stream.write_all(b"G").await;
                    let _ = tokio::time::timeout(Duration::from_secs(1), stream.read_u8()).await;
                }
            })
        })
        .collect();
    for count in 0..20 {
        let asked = Instant::now();
        let mut probe = TcpStream::connect(&*address).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let said = ask(&mut probe, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(said.is_some_and(|said| said.starts_with("HTTP/1.1 200 ")), "probe {count}");
        assert!(asked.elapsed() < Duration::from_secs(1), "probe {count}: {:?}", asked.elapsed());
    }
    over.store(true, Ordering::Relaxed);
    for client in flood {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn an_unfinished_head_costs_what_was_sent_of_it() {
    const COUNT: usize = 2000;
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    let _ = descriptors();
    let mut all = Vec::new();
    let mut before = sidecar.memory();
    for (sent, most) in [("G".to_owned(), 12), (head_of("/v1/locks/a", 15_000)[..14_000].to_owned(), 34)] {
        for _ in 0..COUNT {
            let mut stream = TcpStream::connect(sidecar.api_address()).await.unwrap();
            stream.write_all(sent.as_bytes()).await.unwrap();
            all.push(stream);
        }
        let open = format!("lockside_connections{{listener=\"api\"}} {}", all.len());
        eventually(&open, Duration::from_secs(5), async || sidecar.ops("/metrics").await.text().contains(&open)).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let each = sidecar.memory().saturating_sub(before) / 1024 / COUNT as u64;
        println!("a head of which {} bytes were sent: {each} KiB", sent.len());
        // A debug build's connections are larger.
        assert!(each <= most, "{each} KiB for {} bytes", sent.len());
        before = sidecar.memory();
    }
}
