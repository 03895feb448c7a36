//! Readers that stop reading: nothing waits for them in memory, others are told as ever, and one that reads again sees what
//! is there.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::{RIGHT, Watcher};
use crate::harness::{Sidecar, TestRedis, eventually, heavy};
use crate::locks::pipelined::Pipelined;

const KEYS: usize = 100;
/// So often each key is granted and removed.
const ROUNDS: usize = 200;
/// When the other reader comes that stops: it reads again before it is cut, and the kernel does not keep all for it.
const LATE: usize = 140;
/// From when on memory is compared.
const WARM: usize = 20;
/// Bytes by which the sidecar may grow; what it tells a reader in all that time is more than ten times as much.
const GROWTH: u64 = 4 * 1024 * 1024;

/// The field of a lease that makes its events long.
fn long_meta() -> String {
    format!(",\"meta\":{}", Value::from(json!({"text": "x".repeat(3000)}).to_string()))
}

fn keys() -> Vec<String> {
    (0..KEYS).map(|number| format!("k-{number}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_reading_costs_no_memory_and_in_the_end_sees_what_is_there() {
    let _turn = heavy().await;
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &[]).await;
    let path = "/v1/events?prefix=k-";
    let [one, all] = [Watcher::open(&sidecar, "/v1/locks/k-0/events").await, Watcher::open(&sidecar, path).await];
    let (keys, meta) = (keys(), long_meta());
    let mut locks = Pipelined::on(redis.connection());
    // Their heads are read, and nothing more.
    let mut stopped = vec![sidecar.call("GET", path).open().await];
    let (mut memory, mut largest) = (0, 0);
    for round in 0..ROUNDS {
        locks.force(&keys);
        eventually("none is shown", RIGHT, async || all.shown().held.is_empty()).await;
        locks.acquire(&keys, 60_000, &meta);
        eventually("all are shown", RIGHT, async || all.shown().held.len() == KEYS).await;
        if round == WARM {
            memory = sidecar.memory();
        }
        if round == LATE {
            stopped.push(sidecar.call("GET", path).open().await);
        }
        largest = largest.max(sidecar.memory());
    }
    println!("{} KiB, and at most {}", memory / 1024, largest / 1024);
    assert!(largest < memory + GROWTH, "grew from {memory} to {largest} bytes");
    let right = all.shown();
    assert_eq!((right.gaps, one.shown().gaps), (0, 0));
    assert_eq!(one.shown().held.get("k-0"), right.held.get("k-0"));

    let late = Watcher::of(stopped.remove(1)).await;

    eventually("it has caught up", Duration::from_secs(20), async || late.shown().held == right.held).await;
    assert_eq!((late.shown().is_synced, late.shown().gaps), (true, 1));
}

/// A connection on which a stream is asked for and not read, with the smallest window that the kernel gives.
async fn unread(sidecar: &Sidecar, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(1).expect("a small window");
    let mut stream = socket.connect(sidecar.api_address().parse().expect("ip:port")).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("written");
    stream
}

/// Reads until this text has come.
async fn read_up_to(stream: &mut TcpStream, end: &str) {
    let (mut seen, mut buffer) = (Vec::new(), vec![0; 16_384]);
    while !seen.windows(end.len()).any(|part| part == end.as_bytes()) {
        let count = stream.read(&mut buffer).await.expect("the stream goes on");
        assert_ne!(count, 0, "the stream has ended before {end:?}");
        seen.drain(..seen.len().saturating_sub(end.len()));
        seen.extend_from_slice(&buffer[..count]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_nothing_for_twenty_seconds_goes_on_and_one_that_never_does_is_cut() {
    let redis = TestRedis::start(&[]);
    let sidecar = Sidecar::start(&redis, &[]).await;
    let path = "/v1/events?prefix=k-";
    let all = Watcher::open(&sidecar, path).await;
    let [mut pauses, _stays] = [unread(&sidecar, path).await, unread(&sidecar, path).await];
    let watch = async |count: usize| {
        let gauge = format!("lockside_watchers{{kind=\"prefix\"}} {count}\n");
        sidecar.ops("/metrics").await.text().contains(&gauge)
    };
    eventually("all watch", RIGHT, async || watch(3).await).await;
    let (keys, meta, begun) = (keys(), long_meta(), Instant::now());
    let mut locks = Pipelined::on(redis.connection());
    // More than the queues of a stream and of its connection have room for.
    for _ in 0..12 {
        locks.force(&keys);
        eventually("none is shown", RIGHT, async || all.shown().held.is_empty()).await;
        locks.acquire(&keys, 120_000, &meta);
        eventually("all are shown", RIGHT, async || all.shown().held.len() == KEYS).await;
    }
    tokio::time::sleep(Duration::from_secs(20).saturating_sub(begun.elapsed())).await;
    assert!(watch(3).await, "none was cut within {:?}", begun.elapsed());

    read_up_to(&mut pauses, "event: gap\ndata: {}\n\n").await;
    read_up_to(&mut pauses, "event: synced\ndata: {}\n\n").await;

    eventually("the other one is cut", Duration::from_secs(20), async || watch(2).await).await;
    assert_eq!(all.shown().gaps, 0);
}
