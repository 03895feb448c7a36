//! Handshakes that begin and never end: what they cost stays theirs.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Secure, unique};
use crate::tls::Stand;

/// What a client says first, as it can be sent again without any cost.
async fn recorded_hello() -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Secure::new(&listener.local_addr().unwrap().to_string(), None);
    let shaking = tokio::spawn(async move { client.shake().await.map(drop) });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut hello = Vec::new();
    while hello.len() < 5 || hello.len() < 5 + usize::from(u16::from_be_bytes([hello[3], hello[4]])) {
        assert!(stream.read_buf(&mut hello).await.unwrap() > 0);
    }
    shaking.abort();
    hello
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_handshakes_ends_no_hold_and_stops_no_health_check() {
    let stand = Stand::without_clients(&["--threads", "1"]).await;
    let mut connection = stand.client(None).connect().await.expect("connected");
    let path = format!("/v1/locks/{}/hold", unique("held"));
    let mut lines = connection.open("POST", &path, &json!({"ttlMs": 3000})).await;
    assert_eq!(lines.next().await.expect("a line")["event"], "acquired");
    let hello = recorded_hello().await;

    let address = stand.sidecar.api_address().trim_start_matches("tls:");
    let mut begun = Vec::new();
    for _ in 0..2000 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&hello).await.unwrap();
        begun.push(stream);
    }

    let (started, mut slowest) = (Instant::now(), Duration::ZERO);
    while started.elapsed() < Duration::from_secs(6) {
        let asked = Instant::now();
        assert_eq!(stand.sidecar.ops("/healthz").await.status, 200);
        slowest = slowest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let mut renewals = 0;
    while let Ok(line) = tokio::time::timeout(Duration::from_secs(1), lines.next()).await {
        match line.expect("a line")["event"].as_str() {
            Some("renewed") => renewals += 1,
            Some("ping") => {}
            other => panic!("{other:?}"),
        }
        if started.elapsed() > Duration::from_secs(8) {
            break;
        }
    }
    assert!(renewals >= 5, "{renewals} renewals");
}
