//! Connections over TLS: holds that end with them, and handshakes that never come to an end.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{SOON, Stand};
use crate::harness::{eventually, unique};

const JOB: &str = "spiffe://cluster.test/ns/jobs/sa/importer";

async fn is_free(stand: &Stand, key: &str) -> bool {
    let answer = stand.named(JOB).ask("GET", &format!("/v1/locks/{key}"), None).await.expect("an answer");
    answer.json()["state"] == "free"
}

#[tokio::test]
async fn a_hold_ends_when_its_connection_is_cut_without_a_close_notify() {
    let stand = Stand::with_clients(&[]).await;
    let key = unique("held");
    let mut connection = stand.named(JOB).connect().await.expect("connected");
    let body = json!({"ttlMs": 60_000});
    let mut lines = connection.open("POST", &format!("/v1/locks/{key}/hold"), &body).await;
    assert_eq!(lines.news().await.expect("a line")["event"], "acquired");
    assert!(!is_free(&stand, &key).await);
    drop((lines, connection));
    eventually("it is released", SOON, async || is_free(&stand, &key).await).await;
}

#[tokio::test]
async fn a_hold_ends_with_a_close_notify_although_the_socket_stays_open() {
    let stand = Stand::with_clients(&[]).await;
    let key = unique("held");
    let mut stream = stand.named(JOB).shake().await.expect("a handshake");
    let body = r#"{"ttlMs":60000}"#;
    let head = format!("POST /v1/locks/{key}/hold HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n");
    stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.expect("sent");
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("acquired") {
        assert!(stream.read_buf(&mut seen).await.expect("bytes") > 0, "{}", String::from_utf8_lossy(&seen));
    }
    stream.get_mut().1.send_close_notify();
    stream.flush().await.expect("sent");
    eventually("it is released", SOON, async || is_free(&stand, &key).await).await;
}

#[tokio::test]
async fn a_grant_to_a_client_that_said_close_notify_is_rolled_back_although_the_socket_stays_open() {
    let stand = Stand::with_clients(&[]).await;
    for behind in ["", "G", "GET /v1/locks HTTP/1.1\r\nhost: localhost\r\n\r\n"] {
        let key = unique("gone");
        let mut stream = stand.named(JOB).shake().await.expect("a handshake");
        let head = format!("POST /v1/locks/{key} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n");
        let request = format!("{head}content-length: 15\r\n\r\n{{\"ttlMs\":60000}}{behind}");
        // With what stands behind the request in one flight.
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.expect("sent");
        stream.get_mut().1.send_close_notify();
        stream.flush().await.expect("sent");
        let mut answer = String::new();
        let ended = stream.read_to_string(&mut answer).await;
        assert!(!answer.contains("201"), "behind `{behind}`: {ended:?}: {answer}");
        eventually("it is free", SOON, async || is_free(&stand, &key).await).await;
    }
}

#[tokio::test]
async fn a_waiter_that_hangs_up_gives_its_place_to_the_next() {
    let stand = Stand::with_clients(&[]).await;
    let key = unique("queued");
    let path = format!("/v1/locks/{key}");
    let lease = stand.named(JOB).ask("POST", &path, Some(&json!({}))).await.expect("answered");
    let queued = async |count: u64| {
        let queue = stand.named(JOB).ask("GET", &format!("{path}/queue"), None).await.expect("answered");
        queue.json()["queue"].as_array().map(|waiters| waiters.len() as u64) == Some(count)
    };
    let mut first = stand.named(JOB).connect().await.expect("connected");
    let waiting = tokio::spawn({
        let path = path.clone();
        async move { first.ask("POST", &path, Some(&json!({"waitMs": 60_000}))).await }
    });
    eventually("one waits", SOON, async || queued(1).await).await;
    waiting.abort();
    eventually("none waits", SOON, async || queued(0).await).await;
    let of_lease = format!("{path}?token={}", lease.json()["token"]);
    assert_eq!(stand.named(JOB).ask("DELETE", &of_lease, None).await.expect("answered").status, 204);
    assert!(is_free(&stand, &key).await);
}

#[tokio::test]
async fn a_hold_of_exec_ends_with_its_processes() {
    let stand = Stand::with_clients(&[]).await;
    let key = unique("exec");
    let address = stand.sidecar.api_address().trim_start_matches("tls:").replace("127.0.0.1", "localhost");
    let files = super::command_line::files(&stand, JOB);
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockside"));
    command.args(["exec", "--url", &format!("https://{address}"), "--ttl", "60s", &key, "--", "sleep", "600"]);
    let mut child = command.envs(files).spawn().expect("lockside starts");
    eventually("it is held", SOON, async || !is_free(&stand, &key).await).await;
    child.kill().expect("killed");
    child.wait().expect("ended");
    eventually("it is released", SOON, async || is_free(&stand, &key).await).await;
}

#[tokio::test]
async fn silent_connections_keep_no_one_else_waiting() {
    let stand = Stand::with_clients(&[]).await;
    let address = stand.sidecar.api_address().trim_start_matches("tls:").to_owned();
    let mut silent = Vec::new();
    for at in 0..100 {
        let mut stream = TcpStream::connect(&address).await.expect("a connection");
        if at % 2 == 0 {
            // The beginning of a ClientHello, and no more.
            stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).await.expect("written");
        }
        silent.push(stream);
    }
    let open = r#"lockside_connections{listener="api"} 100"#;
    eventually("all are counted", SOON, async || stand.metric(open).await).await;
    let client = stand.named(JOB);
    let begun = Instant::now();
    for _ in 0..10 {
        let path = format!("/v1/locks/{}", unique("quick"));
        assert_eq!(client.ask("POST", &path, Some(&json!({}))).await.expect("answered").status, 201);
    }
    println!("10 handshakes and requests took {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(silent);
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut_as_a_head_is() {
    let stand = Stand::with_clients(&[]).await;
    let address = stand.sidecar.api_address().trim_start_matches("tls:").to_owned();
    let mut stream = TcpStream::connect(&address).await.expect("a connection");
    stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).await.expect("written");
    let begun = Instant::now();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(45), stream.read_to_end(&mut rest)).await.expect("it is closed");
    assert!(begun.elapsed() >= Duration::from_secs(29), "{:?}", begun.elapsed());
    let cut = r#"lockside_connections_cut_total{listener="api",reason="head"} 1"#;
    eventually("it is counted", SOON, async || stand.metric(cut).await).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed() {
    let stand = Stand::with_clients(&["--max-connections", "2"]).await;
    let mut kept = [stand.named(JOB).connect().await.expect("connected"), stand.named(JOB).connect().await.unwrap()];
    assert!(stand.named(JOB).connect().await.is_err());
    assert!(stand.metric(r#"lockside_connections_refused_total{listener="api"} 1"#).await);
    for connection in &mut kept {
        assert_eq!(connection.ask("GET", "/v1/locks", None).await.expect("answered").status, 200);
    }
}
