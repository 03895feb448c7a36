//! The close of a client that holds or waits is seen whatever it sent behind its request; and no answer is lost to a
//! client that is still sending.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Scratch, Sidecar, TestRedis, eventually, unique};

/// A connection of either kind, as it stands.
enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Wire {
    fn open(address: &str) -> Wire {
        let patience = Some(Duration::from_secs(10));
        if let Some(path) = address.strip_prefix("unix:") {
            let stream = UnixStream::connect(path).unwrap();
            stream.set_read_timeout(patience).unwrap();
            stream.set_write_timeout(patience).unwrap();
            Wire::Unix(stream)
        } else {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(patience).unwrap();
            stream.set_write_timeout(patience).unwrap();
            Wire::Tcp(stream)
        }
    }

    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Wire::Tcp(stream) => stream.write_all(bytes),
            Wire::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// What comes until the other side closes, or it holds `end`.
    fn read_until(&mut self, end: &str) -> std::io::Result<String> {
        let (mut said, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            let count = match self {
                Wire::Tcp(stream) => stream.read(&mut chunk),
                Wire::Unix(stream) => stream.read(&mut chunk),
            }?;
            said.extend_from_slice(&chunk[..count]);
            let text = String::from_utf8_lossy(&said).into_owned();
            if count == 0 || text.contains(end) {
                return Ok(text);
            }
        }
    }

    fn end(self, how: How) {
        if let (Wire::Tcp(stream), How::Reset) = (&self, how) {
            socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        match (&self, how) {
            (Wire::Tcp(stream), How::HalfClose) => stream.shutdown(Shutdown::Write).unwrap(),
            (Wire::Unix(stream), How::HalfClose) => stream.shutdown(Shutdown::Write).unwrap(),
            _ => return,
        }
        // Open still, for reading, when the lock has to be free.
        std::mem::forget(self);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Close,
    Reset,
    HalfClose,
}

fn post(path: &str, body: &Value) -> String {
    let body = body.to_string();
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

async fn field(sidecar: &Sidecar, key: &str, name: &str) -> Value {
    sidecar.call("GET", &format!("/v1/locks/{key}")).send().await.json()[name].clone()
}

/// One that serves over TCP, and one over a unix socket, for the same locks.
struct Both {
    tcp: Sidecar,
    _unix: Sidecar,
    path: String,
    _scratch: Scratch,
}

impl Both {
    async fn start() -> Both {
        let scratch = Scratch::new();
        let path = format!("unix:{}", scratch.path("api"));
        let (tcp, unix) = (
            Sidecar::start(TestRedis::shared(), &[]).await,
            Sidecar::start(TestRedis::shared(), &["--listen", &path]).await,
        );
        Both { tcp, _unix: unix, path, _scratch: scratch }
    }

    fn addresses(&self) -> [String; 2] {
        [self.tcp.api_address().to_owned(), self.path.clone()]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_is_seen_whatever_lies_before_it() {
    let both = Both::start().await;
    let sidecar = &both.tcp;
    let get = "GET /v1/locks/x HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let behind = [
        ("nothing", String::new()),
        ("an empty line", "\r\n".to_owned()),
        ("a byte", "x".to_owned()),
        ("a request", get.to_owned()),
        ("half a request", get[..20].to_owned()),
        ("40 KB of requests", get.repeat(800)),
        ("a megabyte", "x".repeat(1_000_000)),
    ];
    let mut cases = Vec::new();
    for address in both.addresses() {
        for how in [How::Close, How::Reset, How::HalfClose] {
            for (what, bytes) in &behind {
                for comes_later in [false, true] {
                    for body in [
                        json!({"ttlMs": 60_000}),
                        json!({"ttlMs": 60_000, "waitMs": 60_000}),
                        json!({"ttlMs": 60_000, "waitMs": 60_000, "progress": true}),
                    ] {
                        cases.push((address.clone(), how, *what, bytes.clone(), comes_later, body));
                    }
                }
            }
        }
    }
    let ends = cases.into_iter().map(async |(address, how, what, bytes, comes_later, body)| {
        let case = format!("{what} {how:?} later: {comes_later} {address} {body}");
        let (key, is_waiter) = (unique("behind"), body["waitMs"].is_u64());
        let is_hold = !is_waiter || body["progress"] == true;
        if is_waiter {
            let held = sidecar.call("POST", &format!("/v1/locks/{key}")).json(&json!({"ttlMs": 300_000}));
            assert_eq!(held.send().await.status, 201);
        }
        let (name, before, after) =
            if is_waiter { ("waiters", json!(1), json!(0)) } else { ("state", json!("held"), json!("free")) };
        let request = post(&format!("/v1/locks/{key}{}", if is_hold { "/hold" } else { "" }), &body);
        let first = if comes_later { request } else { request + &bytes };
        let send = |mut wire: Wire, bytes: String| {
            tokio::task::spawn_blocking(move || {
                wire.send(bytes.as_bytes()).unwrap();
                wire
            })
        };
        let mut wire = send(Wire::open(&address), first).await.expect(&case);
        eventually(&case, Duration::from_secs(10), async || field(sidecar, &key, name).await == before).await;
        if comes_later {
            wire = send(wire, bytes).await.expect(&case);
            assert_eq!(field(sidecar, &key, name).await, before, "{case}");
        }
        wire.end(how);
        eventually(&case, Duration::from_secs(5), async || field(sidecar, &key, name).await == after).await;
    });
    // Not all at once, so that none waits for the others.
    let ends = futures_util::StreamExt::buffer_unordered(futures_util::stream::iter(ends), 16);
    futures_util::StreamExt::for_each(ends, async |()| {}).await;
}

#[tokio::test]
async fn a_hold_lasts_whatever_is_sent_behind_it_and_a_request_behind_a_wait_is_answered() {
    let both = Both::start().await;
    for address in both.addresses() {
        let (held, waited) = (unique("lasts"), unique("next"));
        let mut hold = Wire::open(&address);
        let flood = "x".repeat(1_000_000);
        hold.send((post(&format!("/v1/locks/{held}/hold"), &json!({"ttlMs": 3000})) + &flood).as_bytes()).unwrap();
        eventually("held", Duration::from_secs(5), async || field(&both.tcp, &held, "state").await == "held").await;

        let lease = both.tcp.call("POST", &format!("/v1/locks/{waited}")).json(&json!({"ttlMs": 500})).send().await;
        assert_eq!(lease.status, 201);
        let mut wait = Wire::open(&address);
        let path = format!("/v1/locks/{waited}");
        let get = format!("GET {path}/fence?token=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        wait.send(post(&path, &json!({"waitMs": 10_000})).as_bytes()).unwrap();
        for part in get.as_bytes().chunks(20) {
            wait.send(part).unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let said = tokio::task::spawn_blocking(move || wait.read_until("\"lost\"")).await.unwrap().unwrap();
        assert!(said.starts_with("HTTP/1.1 201 ") && said.contains("HTTP/1.1 409 "), "{said}");

        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(field(&both.tcp, &held, "state").await, "held");
        drop(hold);
        eventually("free", Duration::from_secs(5), async || field(&both.tcp, &held, "state").await == "free").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_refusal_reaches_a_client_that_sends_head_and_body_apart() {
    let both = Both::start().await;
    for address in both.addresses() {
        tokio::task::spawn_blocking(move || {
            for round in 0..400_u64 {
                let (path, further, status) = [
                    ("/v1/nowhere", "", "404"),
                    ("/v1/locks/early", "Authorization: Bearer x\r\n", "401"),
                    ("/admin/lock", "", "401"),
                    ("/v1/locks", "", "405"),
                ][round as usize % 4];
                let length = 1 << (round % 14);
                let mut wire = Wire::open(&address);
                let head =
                    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{further}Content-Length: {length}\r\n\r\n");
                wire.send(head.as_bytes()).unwrap();
                std::thread::sleep(Duration::from_micros(round % 8 * 500));
                for part in vec![b' '; length].chunks(1024) {
                    wire.send(part).unwrap_or_else(|error| panic!("round {round}: {error} {address}"));
                }
                let said = wire.read_until("}").unwrap_or_else(|error| panic!("round {round}: {error} {address}"));
                assert!(said.starts_with(&format!("HTTP/1.1 {status} ")) && said.contains('}'), "{round}: {said}");
            }
        })
        .await
        .unwrap();
    }
}
