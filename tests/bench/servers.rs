//! The servers that are measured: lockside, its Redis, the bare hyper server, etcd. Each on ports of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::Bench;
use crate::bare::Answers;
use crate::process::{Cores, Process, Scratch, eventually, free_port};

/// A `redis-server` that keeps nothing. Over TCP, as in production.
pub struct Redis {
    pub process: Process,
    pub port: u16,
    commands: redis::Connection,
}

/// What Redis counted from one moment to another.
pub struct Counted {
    /// Inside scripts, microseconds.
    pub script_us: f64,
    /// Calls of every kind, those inside scripts included.
    pub commands: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub cpu: Duration,
}

impl Redis {
    pub fn start(cores: Cores, scratch: &Scratch) -> Redis {
        let port = free_port();
        let number = port.to_string();
        let directory = scratch.path("");
        let args = ["--port", &number, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", &directory];
        let process = Process::start(cores, "redis-server", args);
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).expect("a good url");
        let commands = eventually("redis-server answers", || {
            let mut connection = client.get_connection().ok()?;
            redis::cmd("PING").exec(&mut connection).ok()?;
            Some(connection)
        });
        Redis { process, port, commands }
    }

    pub fn ask<T: redis::FromRedisValue>(&mut self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query(&mut self.commands).expect("an answer from redis")
    }

    /// Everything that Redis counts, so far.
    pub fn count(&mut self) -> Counted {
        let info: String = self.ask(&["INFO", "everything"]);
        let field = |line: &str, name: &str| {
            let value = line.split([':', ',']).find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0)
        };
        let total = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.and_then(|value| value.parse::<u64>().ok()).unwrap_or(0)
        };
        let (mut script_us, mut commands) = (0.0, 0.0);
        for line in info.lines().filter(|line| line.starts_with("cmdstat_") && !line.starts_with("cmdstat_info")) {
            commands += field(line, "calls");
            if ["cmdstat_eval", "cmdstat_fcall"].iter().any(|script| line.starts_with(script)) {
                script_us += field(line, "usec");
            }
        }
        Counted {
            script_us,
            commands: commands as u64,
            bytes_in: total("total_net_input_bytes"),
            bytes_out: total("total_net_output_bytes"),
            cpu: self.process.cpu(),
        }
    }
}

/// The binary that is measured: the one of the release profile, whatever this one was built by.
pub fn lockside_path() -> String {
    std::env::var("BENCH_LOCKSIDE")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/target/release/lockside").to_owned())
}

/// Which binary is measured, for people: its path, what it says that it is, and its size.
pub fn measured() -> String {
    let path = lockside_path();
    let said = std::process::Command::new(&path).arg("version").output().expect("the binary runs").stdout;
    let size = std::fs::metadata(&path).expect("the binary").len();
    format!("{path}, {}, {size} bytes", String::from_utf8_lossy(&said).trim())
}

/// The release binary, as `lockside serve` runs it.
pub struct Lockside {
    pub process: Process,
    pub api: String,
}

impl Lockside {
    pub fn start(cores: Cores, redis_port: u16) -> Lockside {
        Lockside::with(cores, &[], redis_port, &[])
    }

    /// Starts it under a tool, such as `valgrind`, with another deadline for Redis.
    pub fn patient(cores: Cores, tool: &[&str], redis_port: u16, redis_timeout: &str) -> Lockside {
        Lockside::with(cores, tool, redis_port, &["--redis-timeout", redis_timeout])
    }

    /// Starts it with further flags.
    pub fn with(cores: Cores, tool: &[&str], redis_port: u16, flags: &[&str]) -> Lockside {
        Lockside::of(&lockside_path(), cores, tool, redis_port, flags)
    }

    /// Starts another binary than the one that is measured.
    pub fn of(binary: &str, cores: Cores, tool: &[&str], redis_port: u16, flags: &[&str]) -> Lockside {
        let (api, ops) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let url = format!("redis://127.0.0.1:{redis_port}");
        let serve = ["serve", "--redis-url", &url, "--listen", &api, "--ops-listen", &ops];
        let words = [tool, &[binary], &serve, flags].concat();
        let process = Process::start(cores, words[0], &words[1..]);
        eventually("lockside is ready", || ask(&ops, "GET", "/readyz", "").filter(|(status, _)| *status == 200));
        Lockside { process, api }
    }
}

/// hyper and nothing behind it: reads the same body, and answers fixed bytes of the same size.
pub struct Bare {
    pub process: Process,
    pub api: String,
}

impl Bare {
    pub fn start(cores: Cores, answers: &Answers) -> Bare {
        let api = format!("127.0.0.1:{}", free_port());
        let own = std::env::current_exe().expect("the bench's own path");
        let answers = serde_json::to_string(answers).expect("plain data");
        let process = Process::start(cores, own.to_str().expect("a UTF-8 path"), ["bare", &api, &answers]);
        eventually("the bare server listens", || TcpStream::connect(&api).ok());
        Bare { process, api }
    }
}

/// etcd with its HTTP gateway, data in memory.
pub struct Etcd {
    _process: Process,
    pub api: String,
}

impl Etcd {
    pub fn start(scratch: &Scratch) -> Etcd {
        let (client, peer) = (free_port(), free_port());
        let (api, directory) = (format!("127.0.0.1:{client}"), scratch.path(&format!("etcd-{client}")));
        let (client, peer) = (format!("http://{api}"), format!("http://127.0.0.1:{peer}"));
        let cluster = format!("default={peer}");
        let args = [
            ["--data-dir", &directory],
            ["--listen-client-urls", &client],
            ["--advertise-client-urls", &client],
            ["--listen-peer-urls", &peer],
            ["--initial-advertise-peer-urls", &peer],
            ["--initial-cluster", &cluster],
            ["--logger", "zap"],
            ["--log-level", "error"],
        ];
        let process = Process::start(Cores::All, "etcd", args.concat());
        eventually("etcd answers", || ask(&api, "GET", "/health", "").filter(|(_, body)| body.contains("true")));
        Etcd { _process: process, api }
    }
}

/// Dapr's sidecar with its Redis lock store.
pub struct Daprd {
    pub process: Process,
    pub grpc: String,
}

impl Daprd {
    /// Nothing where it is not built.
    pub fn start(bench: &Bench, redis_port: u16) -> Option<Daprd> {
        let path = bench.settings.daprd.as_ref().filter(|path| !path.is_empty())?;
        let resources = bench.scratch.path("daprd");
        std::fs::create_dir_all(&resources).expect("a scratch folder");
        let component = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: lockstore\nspec:\n  type: lock.redis\n  \
             version: v1\n  metadata:\n  - name: redisHost\n    value: 127.0.0.1:{redis_port}\n  - name: redisPassword\n    \
             value: \"\"\n"
        );
        std::fs::write(format!("{resources}/lock.yaml"), component).expect("a scratch file");
        let ports = [0; 4].map(|_| free_port().to_string());
        let [http, grpc, internal, metrics] = &ports;
        let args = [
            ["--app-id", "bench"],
            ["--mode", "standalone"],
            ["--resources-path", &resources],
            ["--dapr-http-port", http],
            ["--dapr-grpc-port", grpc],
            ["--dapr-internal-grpc-port", internal],
            ["--metrics-port", metrics],
            ["--log-level", "error"],
        ];
        let process = Process::start(Cores::All, path, args.concat());
        let health = format!("127.0.0.1:{http}");
        eventually("daprd is healthy", || {
            ask(&health, "GET", "/v1.0/healthz", "").filter(|(status, _)| *status == 204)
        });
        Some(Daprd { process, grpc: format!("127.0.0.1:{grpc}") })
    }
}

/// One request by a connection of its own: status and body, or nothing where nobody answers.
pub fn ask(address: &str, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}");
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let status = line.split_whitespace().nth(1)?.parse().ok()?;
    let mut rest = String::new();
    reader.read_to_string(&mut rest).ok()?;
    Some((status, rest.split_once("\r\n\r\n")?.1.to_owned()))
}

/// The token in the JSON of a lease.
pub fn token_in(lease: &str) -> u64 {
    let digits = lease.split("\"token\":").nth(1).expect("a token").trim_start_matches('"');
    digits.split(|letter: char| !letter.is_ascii_digit()).next().expect("a part").parse().expect("a number")
}
