//! The release binary in a memory cgroup of the size that `deploy/` gives it, under hostile load: more lists than are
//! served, heads that never end, answers that are not read. Holders of locks notice nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::harness::{Sidecar, TestRedis, eventually, unique};
use crate::locks::volume::fill_as_another_would;
use crate::process::overload::descriptors;

const LIMIT: u64 = 128 * 1024 * 1024;
const MEGABYTE: u64 = 1024 * 1024;
const HOLDS: usize = 50;
const LOAD: Duration = Duration::from_secs(20);

/// The binary that `make test` builds before; what cargo tests with is another one.
fn release_binary() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
    let binary = target.join("release/lockside");
    let built = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    let since = built(&binary).unwrap_or_else(|_| {
        panic!("{} is not there: `cargo build --locked --release` makes it, as `make test` does", binary.display())
    });
    let sources = fs::read_to_string(target.join("release/lockside.d")).expect("what the binary was made of");
    let (_, sources) = sources.split_once(": ").expect("a list of files");
    let newer = sources.split_whitespace().find(|source| built(Path::new(source)).is_ok_and(|at| at > since));
    assert_eq!(newer, None, "changed since {} was built: `cargo build --locked --release`", binary.display());
    binary
}

/// A memory cgroup of a test's own, gone with it.
struct Cgroup {
    path: PathBuf,
    is_v2: bool,
}

impl Cgroup {
    /// Where one can be made; else the sentence says what is missing.
    fn of(bytes: u64) -> Cgroup {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("the mounts of this machine");
        let own = fs::read_to_string("/proc/self/cgroup").expect("the cgroups of this process");
        let mut problems = Vec::new();
        for line in mounts.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let (mount, kind, options) = (Path::new(fields[1]), fields[2], fields[3]);
            let is_v2 = kind == "cgroup2";
            let controllers = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
            let has_memory = if is_v2 {
                controllers.split_whitespace().any(|controller| controller == "memory")
            } else {
                kind == "cgroup" && options.split(',').any(|option| option == "memory")
            };
            if !has_memory {
                continue;
            }
            let own = own.lines().find_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                (if is_v2 { controllers.is_empty() } else { controllers.split(',').any(|it| it == "memory") })
                    .then_some(path.trim_start_matches('/'))
            });
            for parent in [mount.join(own.unwrap_or_default()), mount.to_owned()] {
                match Cgroup::under(&parent, is_v2, bytes) {
                    Ok(cgroup) => return cgroup,
                    Err(error) => problems.push(format!("{}: {error}", parent.display())),
                }
            }
        }
        if problems.is_empty() {
            problems.push("no cgroup file system with the memory controller is mounted".to_owned());
        }
        panic!("this test needs a memory cgroup that it may write (root, cgroup v1 or v2): {}", problems.join("; "));
    }

    fn under(parent: &Path, is_v2: bool, bytes: u64) -> std::io::Result<Cgroup> {
        if is_v2 {
            fs::write(parent.join("cgroup.subtree_control"), "+memory")?;
        }
        let path = parent.join(unique("lockside-test"));
        fs::create_dir(&path)?;
        let cgroup = Cgroup { path, is_v2 };
        let limit = if is_v2 { "memory.max" } else { "memory.limit_in_bytes" };
        fs::write(cgroup.path.join(limit), bytes.to_string())?;
        // Where there is swap, what is swapped out would count for nothing.
        let swap = if is_v2 { ("memory.swap.max", 0) } else { ("memory.memsw.limit_in_bytes", bytes) };
        let _ = fs::write(cgroup.path.join(swap.0), swap.1.to_string());
        Ok(cgroup)
    }

    /// Starts a sidecar in it.
    fn sidecar(&self, binary: &Path, redis: &TestRedis) -> Sidecar {
        let mut command = Command::new("sh");
        let procs = self.path.join("cgroup.procs");
        command.args(["-c", &format!("echo $$ >'{}' && exec '{}' \"$@\"", procs.display(), binary.display())]);
        command.args(["lockside", "serve", "--log-format=json", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"]);
        command.args(["--redis-url", &redis.url()]);
        Sidecar::of(command)
    }

    /// The most that was used.
    fn most(&self) -> u64 {
        let name = if self.is_v2 { "memory.peak" } else { "memory.max_usage_in_bytes" };
        fs::read_to_string(self.path.join(name)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It may hold a process that has not quite gone.
        for _ in 0..50 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What plays until it is over.
struct Load {
    over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    fn add<F: Future<Output = ()> + Send + 'static>(&mut self, round: impl Fn() -> F + Send + 'static) {
        let over = Arc::clone(&self.over);
        self.tasks.push(tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                // A connection that is refused or cut is what the sidecar may do to this load.
                let _ = tokio::time::timeout(Duration::from_secs(5), round()).await;
            }
        }));
    }

    async fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("the load does not panic");
        }
    }
}

/// Sends this on a connection of its own, reads at most `reads` bytes of the answer, and stays for a while.
async fn send(address: Arc<str>, text: Arc<str>, reads: usize, stays: Duration) {
    let Ok(mut stream) = TcpStream::connect(&*address).await else { return };
    if stream.write_all(text.as_bytes()).await.is_err() {
        return;
    }
    let mut chunk = vec![0; 16 * 1024];
    let mut read = 0;
    while read < reads {
        match stream.read(&mut chunk).await {
            Ok(count @ 1..) => read += count,
            _ => return,
        }
    }
    tokio::time::sleep(stays).await;
}

/// Lists, heads and documents, asked for without a credential.
fn load(sidecar: &Sidecar) -> Load {
    let (api, ops): (Arc<str>, Arc<str>) = (sidecar.api_address().into(), sidecar.ops_address().into());
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let document = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20);
    let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-More: {}", "x".repeat(15_000));
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-More: {}", "x".repeat(31_000));
    let mut load = Load { over: Arc::default(), tasks: Vec::new() };
    for (count, address, text, reads, stays) in [
        // Six that are not read, and others that are.
        (6, &api, get("/cmn/leasable-locks"), 0, 5000),
        (6, &api, get("/v1/locks?limit=10000"), 0, 5000),
        (8, &api, get("/cmn/leasable-locks"), usize::MAX, 0),
        (4, &api, get("/v1/locks?prefix=nothing"), usize::MAX, 0),
        (300, &api, document, 0, 5000),
        (300, &api, head, 0, 5000),
        (150, &ops, long, 0, 2000),
        (150, &ops, "G".to_owned(), 0, 2000),
    ] {
        let text: Arc<str> = text.into();
        for _ in 0..count {
            let (address, text) = (Arc::clone(address), Arc::clone(&text));
            load.add(move || send(Arc::clone(&address), Arc::clone(&text), reads, Duration::from_millis(stays)));
        }
    }
    load
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_that_is_not_its_own_loses_no_hold_delays_no_acquire_and_fits_into_128_mib() {
    let (binary, cgroup) = (release_binary(), Cgroup::of(LIMIT));
    descriptors();
    let redis = TestRedis::start(&[]);
    let filler = redis.connection();
    tokio::task::spawn_blocking(move || fill_as_another_would(filler)).await.unwrap();
    let sidecar = Arc::new(cgroup.sidecar(&binary, &redis));
    eventually("ready", Duration::from_secs(10), async || sidecar.ops("/readyz").await.status == 200).await;

    let renewed = Arc::new(AtomicUsize::new(0));
    let mut holds = Vec::new();
    for number in 0..HOLDS {
        let path = format!("/v1/locks/held-{number}/hold");
        let mut hold = sidecar.call("POST", &path).json(&json!({"ttlMs": 1000})).open().await;
        assert_eq!(hold.next().await.unwrap()["event"], "acquired");
        let renewed = Arc::clone(&renewed);
        holds.push(tokio::spawn(async move {
            while let Some(line) = hold.next().await {
                assert_ne!(line["event"], "lost", "hold {number}: {line}");
                renewed.fetch_add(1, Ordering::Relaxed);
            }
            panic!("hold {number} ended");
        }));
    }
    let before = sidecar.memory();
    let load = load(&sidecar);
    let (begun, mut slowest, mut slowest_probe, mut count, mut most) =
        (Instant::now(), Duration::ZERO, Duration::ZERO, 0, 0);
    while begun.elapsed() < LOAD {
        let path = format!("/v1/locks/mine-{count}");
        let asked = Instant::now();
        let lease = sidecar.call("POST", &path).json(&json!({"ttlMs": 10_000})).send().await;
        slowest = slowest.max(asked.elapsed());
        assert_eq!(lease.status, 201, "{}", lease.text());
        let token = &lease.json()["token"];
        assert_eq!(sidecar.call("DELETE", &format!("{path}?token={token}")).send().await.status, 204);
        count += 1;
        if count % 20 == 0 {
            let asked = Instant::now();
            let mut probe = TcpStream::connect(sidecar.ops_address()).await.unwrap();
            probe.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut said = [0; 12];
            probe.read_exact(&mut said).await.expect("a probe is answered");
            assert_eq!(&said, b"HTTP/1.1 200");
            slowest_probe = slowest_probe.max(asked.elapsed());
            most = most.max(sidecar.memory());
        }
        assert!(holds.iter().all(|hold| !hold.is_finished()), "a hold was lost: {}", sidecar.log());
    }
    println!(
        "{count} acquires, {slowest:?} at most; a probe {slowest_probe:?}; {} renewals; {} MiB at most, {} in the cgroup",
        renewed.load(Ordering::Relaxed),
        most / MEGABYTE,
        cgroup.most() / MEGABYTE
    );
    assert!(slowest < Duration::from_secs(1), "an acquire took {slowest:?}");
    assert!(slowest_probe < Duration::from_secs(1), "a probe took {slowest_probe:?}");
    assert!(renewed.load(Ordering::Relaxed) > HOLDS * LOAD.as_secs() as usize, "each is renewed thrice a second");
    load.end().await;
    assert!(holds.iter().all(|hold| !hold.is_finished()), "a hold was lost: {}", sidecar.log());
    let after = 12 * MEGABYTE;
    eventually("its memory returns", Duration::from_secs(60), async || sidecar.memory() < before + after).await;
    assert_eq!(sidecar.ops("/healthz").await.status, 200, "it lives");
}
