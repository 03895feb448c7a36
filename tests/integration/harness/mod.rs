//! What the tests stand on: a real redis-server, the real binary, real sockets.

pub mod certificates;
pub mod clients;
pub mod cluster;
pub mod command;
pub mod grpc;
pub mod history;
pub mod http;
pub mod idle_proxy;
pub mod issuer;
pub mod jwt;
pub mod lens;
pub mod proxy;
pub mod redis;
pub mod redundant;
pub mod screen;
pub mod secure;
pub mod sidecar;
pub mod timed;
pub mod topology;
pub mod trio;
pub mod trouble;
pub mod who;
pub mod wire;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

pub use certificates::Authority;
pub use cluster::Cluster;
pub use command::{Finished, lockside, lockside_fed, lockside_with, subcommands};
pub use grpc::{Fields, Grpc};
pub use http::{Answer, Call};
pub use idle_proxy::IdleProxy;
pub use lens::Lens;
pub use proxy::{Fault, Proxy};
pub use redis::{TestRedis, server};
pub use redundant::{Place, Redundant};
pub use screen::Screen;
pub use secure::{Pair, Secure};
pub use sidecar::Sidecar;
pub use timed::{Timed, TimedRedis};
pub use topology::{Topology, free_port};
pub use trio::Trio;
pub use trouble::Trouble;
pub use who::{API_TOKEN, Who, editor, reader};
pub use wire::Wire;

/// A text that no other test uses, so that all run in parallel on one Redis.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A generator of numbers that differ from task to task and need not be random.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// For a test that keeps the machine busy by itself: two of them run at once, so that the deadlines of all others hold.
pub async fn heavy() -> SemaphorePermit<'static> {
    static HEAVY: Semaphore = Semaphore::const_new(2);
    HEAVY.acquire().await.expect("never closed")
}

/// Polls until `holds`, for at most `within`; panics with `what` when it never does. Returns how long it took.
pub async fn eventually<F: Future<Output = bool>>(
    what: &str,
    within: Duration,
    mut holds: impl FnMut() -> F,
) -> Duration {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

/// The same on the thread of the caller, for what starts and ends servers; for at most 30 s.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A directory of a test's own, gone with it.
pub struct Scratch(std::path::PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        let path = std::env::temp_dir().join(unique("lockside-test"));
        std::fs::create_dir_all(&path).expect("a scratch directory");
        Scratch(path)
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).expect("a scratch file");
        path
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a UTF-8 path").to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
