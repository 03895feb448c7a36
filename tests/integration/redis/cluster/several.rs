//! Each master by itself: what is wrong with one is said of it, and what waits for one holds up no other's.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::{path_at, sidecar_at_all};
use crate::harness::{Cluster, Redundant, Sidecar, eventually};

/// A look every 15 s, on a busy machine.
const SEEN: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(5);

async fn acquire(sidecar: &Sidecar, path: &str) -> u16 {
    sidecar.call("POST", path).json(&json!({"ttlMs": 60_000})).send().await.status
}

/// Asks for a key and is gone before the answer, or, on a busy machine, just after it: then the lock stays for its ttl.
fn hang_up(sidecar: &Sidecar, path: &str) {
    let mut caller = TcpStream::connect(sidecar.api_address()).unwrap();
    let request = "HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\n{\"ttlMs\":2000}";
    caller.write_all(format!("POST {path} {request}").as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_one_master_is_said_of_it_and_stops_nobody_else() {
    let mut cluster = Cluster::start(&["--appendonly", "yes", "--min-replicas-to-write", "1"]);
    cluster.ask::<()>(1, "CONFIG", &["SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru"]).unwrap();
    cluster.kill(cluster.replica_of(2));
    let sidecar = sidecar_at_all(&cluster, &[]).await;
    let warnings = async || {
        let ready = sidecar.ops("/readyz").await;
        let warnings = ready.text().lines().filter(|line| line.starts_with("warning: "));
        warnings.map(str::to_owned).collect::<Vec<String>>()
    };
    eventually("both are told", Duration::from_secs(20), async || warnings().await.len() == 2).await;
    let warnings = warnings().await;
    let of = |code: &str, node: usize| format!("warning: {code}: on 127.0.0.1:{}: ", cluster.port(node));
    assert!(warnings.len() == 2, "{warnings:?}");
    assert!(warnings[0].starts_with(&of("no-good-replica", 2)), "{warnings:?}");
    assert!(warnings[1].starts_with(&of("eviction", 1)), "{warnings:?}");
    for (master, status) in [(0, 201), (1, 201), (2, 503)] {
        assert_eq!(acquire(&sidecar, &path_at(&cluster, master)).await, status, "{master}");
    }

    for master in [0, 1] {
        cluster.kill(cluster.replica_of(master));
    }
    eventually("no master takes writes", SEEN, async || sidecar.ops("/readyz").await.status == 503).await;
    let ready = sidecar.ops("/readyz").await;
    assert!(ready.text().starts_with("not ready: redis: on 127.0.0.1:"), "{}", ready.text());
    let log = sidecar.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("\"warning\":\"no-good-replica\"")).collect();
    // One master that grants nothing is a warning; where none does, it is an error.
    let levels = |level: &str| told.iter().filter(|line| line.contains(level)).count();
    assert!(levels("\"WARN\"") >= 1 && levels("\"ERROR\"") >= 1, "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_to_be_taken_back_at_one_master_holds_up_no_other() {
    let mut cluster = Cluster::start(&[]);
    let mut sidecar = sidecar_at_all(&cluster, &["--redis-timeout=500ms"]).await;
    for master in 0..Cluster::MASTERS {
        assert_eq!(acquire(&sidecar, &path_at(&cluster, master)).await, 201, "its scripts are known");
    }
    // Nobody is left to take its place.
    cluster.kill(cluster.replica_of(0));
    cluster.freeze(0);
    let lost = path_at(&cluster, 0);
    assert_eq!(acquire(&sidecar, &lost).await, 504, "nobody knows, so that it is to be taken back");

    for master in [1, 2] {
        let path = path_at(&cluster, master);
        let key = path.rsplit('/').next().unwrap();
        let is_told = |line: &str| line.contains("rolled back an undelivered grant") && line.contains(key);
        let took = eventually("some are taken back", SOON, async || {
            // Some are gone before they are heard.
            hang_up(&sidecar, &path);
            sidecar.log().lines().filter(|line| is_told(line)).count() >= 3
        })
        .await;
        println!("three taken back after {took:?}, while another master is frozen");
        let is_free = async || sidecar.call("GET", &path).send().await.json()["state"] == "free";
        eventually("so are the others", SOON, is_free).await;
    }

    cluster.resume(0);
    eventually("the rest is taken back", SOON, async || {
        let shown = sidecar.call("GET", &lost).send().await;
        shown.status == 200 && shown.json()["state"] == "free"
    })
    .await;
    sidecar.signal("TERM");
    assert_eq!(sidecar.exit_code(Duration::from_secs(5)).await, Some(0), "nothing is left to take back");
}
