//! Slow clients, over real sockets: each is cut off in its time, and leaves nothing behind. The times themselves are
//! shown on a moved clock, beside the code.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::harness::{Scratch, Sidecar, TestRedis, Wire, eventually, unique};
use crate::locks::volume::fill_as_another_would;

/// Deadline of a head, a body and a reader that takes nothing.
const DEADLINE: Duration = Duration::from_secs(30);
/// Deadline of a head at the ops listener.
const OPS_DEADLINE: Duration = Duration::from_secs(5);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(30);
const MEGABYTE: u64 = 1024 * 1024;

/// Sends `begin`, then a byte a second, until the other side closes; what it said, and when it closed.
async fn dribble(address: &str, begin: &str) -> (String, Duration) {
    // The deadline runs from the moment the connection is accepted.
    let begun = Instant::now();
    let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    write.write_all(begin.as_bytes()).await.unwrap();
    let dribbling = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let mut said = Vec::new();
    let _ = tokio::time::timeout(DEADLINE + SLACK, read.read_to_end(&mut said)).await.expect("cut off in time");
    dribbling.abort();
    (String::from_utf8(said).unwrap(), begun.elapsed())
}

fn assert_in_time(took: Duration, deadline: Duration, what: &str) {
    println!("{what}: {took:?}");
    assert!((deadline..deadline + SLACK).contains(&took), "{what}: {took:?}");
}

#[tokio::test]
async fn a_head_or_a_body_of_a_byte_a_second_is_cut_off() {
    let sidecar = Sidecar::start(TestRedis::shared(), &[]).await;
    let head = async |address: &str, deadline: Duration| {
        let (said, took) = dribble(address, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-More: ").await;
        assert_eq!(said, "", "there is no request to answer");
        assert_in_time(took, deadline, "slow head");
    };
    let body = async {
        let length = "Content-Length: 1000\r\n\r\n";
        let begin = format!("POST /v1/locks/{} HTTP/1.1\r\nHost: localhost\r\n{length}", unique("slow"));
        let (said, took) = dribble(sidecar.api_address(), &begin).await;
        assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("\"not-applied\""), "{said}");
        assert_in_time(took, DEADLINE, "slow body");
    };
    tokio::join!(head(sidecar.api_address(), DEADLINE), head(sidecar.ops_address(), OPS_DEADLINE), body);
}

async fn metric(sidecar: &Sidecar, line: &str) -> bool {
    sidecar.ops("/metrics").await.text().lines().any(|metric| metric == line)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_100_000_locks_that_nobody_reads_pin_nothing_for_long() {
    const READERS: usize = 100;
    let redis = TestRedis::start(&[]);
    let scratch = Scratch::new();
    let socket = scratch.path("api");
    let flags = ["--redis-timeout=60s", "--listen", &format!("unix:{socket}")];
    let sidecar = Sidecar::start(&redis, &flags).await;
    let filler = redis.connection();
    tokio::task::spawn_blocking(move || fill_as_another_would(filler)).await.unwrap();
    let before = sidecar.memory();
    let (mut readers, begun) = (Vec::new(), Instant::now());
    // Two at once: the others have their turns when these have moved nothing for two seconds.
    while readers.len() < READERS {
        // It holds less of what nobody reads than TCP does.
        let mut reader = UnixStream::connect(&socket).await.unwrap();
        reader.write_all(b"GET /cmn/leasable-locks HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut head = [0; 12];
        reader.read_exact(&mut head).await.unwrap();
        match &head {
            b"HTTP/1.1 200" => readers.push(reader),
            b"HTTP/1.1 429" => tokio::time::sleep(Duration::from_millis(50)).await,
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
        if begun.elapsed() > DEADLINE - Duration::from_secs(5) {
            break;
        }
    }
    let count = readers.len();
    assert!(count >= 4, "{count} have had their turn in {:?}", begun.elapsed());
    let most = AtomicU64::new(0);
    let cut = format!("lockside_connections_cut_total{{listener=\"api\",reason=\"stall\"}} {count}");
    eventually("every reader is cut off", 3 * (DEADLINE + SLACK), async || {
        most.fetch_max(sidecar.memory().saturating_sub(before), Ordering::Relaxed);
        metric(&sidecar, &cut).await
    })
    .await;
    assert!(begun.elapsed() > DEADLINE);
    let most = most.into_inner();
    println!("{count} unread lists: {} KiB at most, {:?}", most / 1024, begun.elapsed());
    assert!(most < 16 * MEGABYTE, "the sidecar grew by {} KiB", most / 1024);
    let look = Wire::new(sidecar.api_address()).ask("GET /v1/locks/bulk-1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(look.body.contains("\"held\""), "others are served: {}", look.body);
}
