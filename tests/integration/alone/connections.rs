//! Connections that do nothing, and clients that do not read: what they cost, and that no other client notices.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Sidecar, TestRedis, eventually, unique};
use crate::process::overload::{ask, descriptors, p99};

const MEGABYTE: u64 = 1024 * 1024;

#[tokio::test]
async fn ten_thousand_idle_connections_stop_nobody() {
    let count = 10_000.min(descriptors() / 2);
    let mut command = Command::new("bash");
    // A soft limit as shells and services have it.
    let lockside = env!("CARGO_BIN_EXE_lockside");
    command.args(["-c", &format!("ulimit -Sn 1024; exec {lockside} \"$@\""), "lockside", "serve", "--log-format=json"]);
    command.args(["--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--max-connections=12000"]);
    command.args(["--redis-url", &TestRedis::shared().url()]);
    let sidecar = Sidecar::of(command);
    eventually("ready", Duration::from_secs(10), async || sidecar.ops("/readyz").await.status == 200).await;
    let before = sidecar.memory();
    let request = "GET /v1/locks/idle HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut idle = Vec::new();
    for number in 0..count {
        let mut stream = TcpStream::connect(sidecar.api_address()).await.unwrap();
        if number % 2 == 0 {
            assert!(ask(&mut stream, request).await.unwrap().starts_with("HTTP/1.1 200 "));
        }
        idle.push(stream);
    }
    let all = format!("lockside_connections{{listener=\"api\"}} {count}");
    eventually(&all, Duration::from_secs(5), async || sidecar.ops("/metrics").await.text().contains(&all)).await;
    let grown = sidecar.memory().saturating_sub(before);
    let mut health = Vec::new();
    for _ in 0..100 {
        let asked = Instant::now();
        let mut stream = TcpStream::connect(sidecar.ops_address()).await.unwrap();
        let said = ask(&mut stream, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
        health.push(asked.elapsed());
        let mut stream = TcpStream::connect(sidecar.api_address()).await.unwrap();
        assert!(ask(&mut stream, request).await.unwrap().starts_with("HTTP/1.1 200 "), "others are served, too");
    }
    let health = p99(&mut health);
    println!("{count} idle connections: {} KiB, health p99 {health:?}", grown / 1024);
    assert!(health < Duration::from_secs(1), "{health:?}");
    // A debug build's connections are larger.
    assert!(grown < 300 * MEGABYTE, "the sidecar grew by {} KiB", grown / 1024);
    assert!(!sidecar.log().contains("cannot accept"), "{}", sidecar.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_that_are_not_read_delay_no_other_client() {
    const CLIENTS: usize = 300;
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    let before = sidecar.memory();
    let document = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = TcpStream::connect(sidecar.api_address()).await.unwrap();
        stream.write_all(document.as_bytes()).await.unwrap();
        clients.push(stream);
    }
    for number in 0..50 {
        let asked = Instant::now();
        let path = format!("/v1/locks/{}-{number}", unique("unread"));
        assert_eq!(sidecar.call("POST", &path).send().await.status, 201);
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }
    let grown = sidecar.memory().saturating_sub(before);
    println!("{CLIENTS} clients that read nothing: {} KiB", grown / 1024);
    assert!(grown < 24 * MEGABYTE, "the sidecar grew by {} KiB", grown / 1024);
    // They are served when they do read, and not more than a bounded part lies in between.
    let mut client = clients.swap_remove(0);
    let mut read = 0;
    let mut chunk = vec![0; 65_536];
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout(Duration::from_secs(2), client.read(&mut chunk)).await {
        read += count;
    }
    assert!(read > 20 * 100_000, "{read} bytes of 20 documents");
}
