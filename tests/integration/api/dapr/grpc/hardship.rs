//! Clients that do what no client should: they end nothing but their own connection, and starve no other.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{YES, connected, sidecar, with};
use crate::harness::{Dice, Fields, Grpc, Sidecar, TestRedis, eventually, heavy, unique};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Empty settings.
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

async fn serves(sidecar: &Sidecar) {
    let grpc = connected(sidecar).await;
    assert_eq!(grpc.try_lock(&unique("grpc"), "o", 60).await.message(), YES);
}

/// What the sidecar sends to this connection before it closes it.
async fn answer_to(sidecar: &Sidecar, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(sidecar.grpc_address()).await.expect("connected");
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("closed");
    answer
}

#[tokio::test]
async fn ten_thousand_resets_starve_no_other_and_leave_nothing() {
    let _heavy = heavy().await;
    let redis = TestRedis::start(&[]);
    let sidecar = with(&redis, &[]).await;
    let address = sidecar.grpc_address();
    let abuse = tokio::spawn(async move {
        let mut sent = 0;
        while sent < 10_000 {
            let grpc = Grpc::connect(&address).await;
            for _ in 0..100 {
                // The sidecar may end such a connection; then the next one goes on.
                if grpc.connection.is_finished() {
                    break;
                }
                let path = "/dapr.proto.runtime.v1.Dapr/TryLockAlpha1";
                let (_pending, mut body) = grpc.begin(grpc.request(path)).await;
                let lock = Fields::lock("lockstore", &format!("reset-{sent}"), "o").number(4, 3600);
                let _ = body.send_data(lock.frame(), true);
                body.send_reset(h2::Reason::CANCEL);
                sent += 1;
            }
            grpc.connection.abort();
        }
    });
    let (grpc, mut longest, mut calls) = (connected(&sidecar).await, Duration::ZERO, 0);
    while !abuse.is_finished() {
        let begun = Instant::now();
        let name = unique("grpc");
        assert_eq!(grpc.try_lock(&name, "o", 60).await.message(), YES);
        assert_eq!(grpc.unlock(&name, "o").await.message(), b"");
        longest = longest.max(begun.elapsed());
        calls += 1;
    }
    println!("during 10,000 resets {calls} pairs of another connection, the longest {longest:?}");
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    eventually("every lock of a reset call is rolled back", Duration::from_secs(20), async || {
        let held = sidecar.call("GET", "/v1/locks").send().await.json();
        held["locks"].as_array().is_some_and(Vec::is_empty)
    })
    .await;
}

#[tokio::test]
async fn malformed_frames_end_their_connection_alone() {
    let sidecar = sidecar().await;
    let begun = [PREFACE, SETTINGS].concat();
    let mut dice = Dice(20);
    for round in 0..200 {
        let mut bytes = begun.clone();
        for _ in 0..=dice.roll(4) {
            let length = dice.roll(64) as usize;
            bytes.extend_from_slice(&[0, 0, length as u8, dice.roll(12) as u8, dice.roll(256) as u8]);
            bytes.extend_from_slice(&(dice.roll(6) as u32).to_be_bytes());
            bytes.extend((0..length).map(|_| dice.roll(256) as u8));
        }
        // A frame that is longer than any may be, so that every round ends.
        bytes.extend_from_slice(b"\xff\xff\xff\0\0\0\0\0\x01");
        let answer = answer_to(&sidecar, &bytes).await;
        assert!(answer.len() >= SETTINGS.len(), "{round}: {answer:x?}");
    }
    serves(&sidecar).await;
}

#[tokio::test]
async fn what_is_no_http2_is_told_what_is_spoken_here() {
    let sidecar = sidecar().await;
    for bytes in
        [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSX", b"\x16\x03\x01\x02\0\x01"]
    {
        let answer = answer_to(&sidecar, bytes).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 505 ") && answer.contains("gRPC"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
    }
    serves(&sidecar).await;
}

#[tokio::test]
async fn a_connection_too_many_is_told_to_go_away_without_a_stream_being_processed() {
    let sidecar = with(TestRedis::shared(), &["--max-connections=2"]).await;
    let kept = [connected(&sidecar).await, connected(&sidecar).await];
    let name = unique("grpc");
    assert_eq!(kept[0].try_lock(&name, "o", 60).await.message(), YES);
    let mut stream = TcpStream::connect(sidecar.grpc_address()).await.expect("connected");
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.expect("closed").expect("read");
    let goaway = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b";
    assert_eq!(answer, [SETTINGS, goaway].concat());
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused_on_their_stream() {
    let sidecar = sidecar().await;
    let grpc = connected(&sidecar).await;
    let request = grpc.request("/dapr.proto.runtime.v1.Dapr/TryLockAlpha1").header("x-long", "x".repeat(9000));
    let reply = grpc.send(request, Fields::default().frame()).await;
    assert_eq!(reply.http, 431);
    assert_eq!(grpc.try_lock(&unique("grpc"), "o", 60).await.message(), YES);
}
