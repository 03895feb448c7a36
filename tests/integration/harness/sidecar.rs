//! The real binary, started with real flags.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::http::{Call, Client};
use super::{Answer, Scratch, TestRedis, jwt, topology};

/// A running `lockside serve`.
pub struct Sidecar {
    child: Child,
    api: String,
    ops: String,
    client: Client,
    /// What it was told by files, and its log.
    scratch: Scratch,
}

impl Sidecar {
    /// Starts a sidecar on `redis` with further flags, and waits until it is ready.
    pub async fn start(redis: &TestRedis, flags: &[&str]) -> Sidecar {
        Sidecar::start_at(&redis.url(), flags).await
    }

    /// Starts a sidecar on the Redis at `url`, such as one behind a proxy, and waits until it is ready.
    pub async fn start_at(url: &str, flags: &[&str]) -> Sidecar {
        let mut all = vec!["--redis-url".to_owned(), url.to_owned()];
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let sidecar = Sidecar::spawn(&all);
        super::eventually("the sidecar is ready", Duration::from_secs(10), async || {
            sidecar.ops("/readyz").await.status == 200
        })
        .await;
        sidecar
    }

    /// Starts a sidecar on the shared Redis that verifies tokens with [`jwt::SECRET`].
    pub async fn with_secret(flags: &[&str]) -> Sidecar {
        let scratch = Scratch::new();
        let secret = scratch.file("secret", jwt::SECRET);
        Sidecar::start(TestRedis::shared(), &[&["--jwt-secret-file", &secret], flags].concat()).await
    }

    /// Starts a sidecar, ready or not. Ports are the kernel's choice, unless a flag says where to listen.
    pub fn spawn(flags: &[String]) -> Sidecar {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockside"));
        command.arg("serve").args(flags);
        for (flag, value) in [("--listen", "127.0.0.1:0"), ("--ops-listen", "127.0.0.1:0"), ("--log-format", "json")] {
            if !flags.iter().any(|given| given.split('=').next() == Some(flag)) {
                command.args([flag, value]);
            }
        }
        let scratch = Scratch::new();
        let url = flags.windows(2).find(|pair| pair[0] == "--redis-url").map(|pair| pair[1].as_str());
        topology::introduce(&mut command, url.unwrap_or_default(), &scratch);
        Sidecar::begun(command, scratch)
    }

    /// Starts a `lockside serve` with whatever arguments and environment `command` has.
    pub fn of(command: Command) -> Sidecar {
        Sidecar::begun(command, Scratch::new())
    }

    fn begun(mut command: Command, scratch: Scratch) -> Sidecar {
        // A file, not a pipe: what was written before an answer can be read as soon as the answer is here.
        let log = std::fs::File::create(scratch.path(LOG)).expect("a scratch file");
        let child = command.stdin(Stdio::null()).stderr(log).spawn().expect("lockside starts");
        // Made first, so that it ends with the test whatever it says.
        let mut sidecar = Sidecar { child, api: String::new(), ops: String::new(), client: Client::new(), scratch };
        (sidecar.api, sidecar.ops) = addresses(&sidecar.scratch);
        sidecar
    }

    /// Starts one that never gets ready, and waits for what it says of it: in /readyz, and in a line of its log.
    pub async fn says_why_not(flags: &[&str], expected: &str) {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let sidecar = Sidecar::spawn(&flags);
        super::eventually(expected, Duration::from_secs(10), async || {
            let answer = sidecar.ops("/readyz").await;
            assert_eq!(answer.status, 503, "{flags:?}");
            answer.text().contains(expected)
        })
        .await;
        let told = || sidecar.log().lines().filter(|line| line.contains(expected)).count();
        super::eventually("the log says so, too", Duration::from_secs(5), async || told() > 0).await;
        // Once, but for a busy machine, where it may take turns with a deadline.
        assert!(told() <= 3, "not told again and again: {}", sidecar.log());
    }

    /// A call of the API listener: `sidecar.call("POST", "/admin/lock")`.
    pub fn call(&self, method: &str, path: &str) -> Call<'_> {
        Call::new(&self.client, method, &format!("http://{}{path}", self.api))
    }

    /// GET of the ops listener.
    pub async fn ops(&self, path: &str) -> Answer {
        Call::new(&self.client, "GET", &format!("http://{}{path}", self.ops)).send().await
    }

    /// `ip:port` of the API listener, for calls that no client would make.
    pub fn api_address(&self) -> &str {
        &self.api
    }

    /// `ip:port` of the listener of gRPC, or its `unix:/path`.
    pub fn grpc_address(&self) -> String {
        let log = self.log();
        let line = log.lines().find(|line| line.contains("\"listening\"")).expect("the line of the listeners");
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        line["dapr_grpc"].as_str().expect("--dapr-grpc-listen").to_owned()
    }

    pub fn ops_address(&self) -> &str {
        &self.ops
    }

    /// The log so far, whole lines.
    pub fn log(&self) -> String {
        log_in(&self.scratch)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success(), "kill -{name}");
    }

    /// Waits for the process to end; its exit code.
    pub async fn exit_code(&mut self, within: Duration) -> Option<i32> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "still running after {within:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Resident memory, bytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a process of ours");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a VmRSS line");
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
    }
}

/// The file of the log.
const LOG: &str = "log";

/// The whole lines of the log in `scratch`.
fn log_in(scratch: &Scratch) -> String {
    let log = std::fs::read(scratch.path(LOG)).expect("the log");
    let whole = log.iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
    String::from_utf8(log[..whole].to_vec()).expect("a log of UTF-8")
}

/// The line that says where the sidecar serves.
fn addresses(scratch: &Scratch) -> (String, String) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let log = log_in(scratch);
        if let Some(line) = log.lines().find(|line| line.contains("listening")) {
            let field = |name: &str| match serde_json::from_str::<serde_json::Value>(line) {
                Ok(line) => line[name].as_str().expect("an address").to_owned(),
                Err(_) => {
                    let mut words = line.split_whitespace();
                    words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).expect("an address").to_owned()
                }
            };
            return (field("api"), field("ops"));
        }
        assert!(Instant::now() < deadline, "lockside did not serve: {log}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
