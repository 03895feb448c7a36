//! Real redis-servers on unix sockets: one that all tests share, and others that a test may stop, flush and restart.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use redis::{Client, Connection, FromRedisValue};

use super::topology::tls_args;
use super::{Cluster, Redundant, Scratch, Topology, Trio, free_port};

/// The program that serves: redis-server, or what REDIS_SERVER names.
pub fn server() -> String {
    std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

/// A redis-server of the tests' own.
pub struct TestRedis {
    child: Option<Child>,
    scratch: Scratch,
    args: Vec<String>,
    tls_port: Option<String>,
    /// Its settings, where it may change them itself.
    file: Option<String>,
    /// How sidecars find it, where that is not by its socket or its TLS port.
    reached_by: Option<String>,
    /// What it is made of, where it is more than one server.
    cluster: Option<Box<Cluster>>,
}

impl TestRedis {
    /// The server that tests share. Use unique keys or a unique prefix; never flush it, never stop it.
    pub fn shared() -> &'static TestRedis {
        static SHARED: OnceLock<TestRedis> = OnceLock::new();
        SHARED.get_or_init(|| kept(TestRedis::of_this_run))
    }

    /// One server that tests share, for what stands between it and a sidecar.
    pub fn alone() -> &'static TestRedis {
        static ALONE: OnceLock<TestRedis> = OnceLock::new();
        match Topology::of_this_run() {
            Topology::Cluster => ALONE.get_or_init(|| kept(|| TestRedis::start(&[]))),
            _ => TestRedis::shared(),
        }
    }

    fn of_this_run() -> TestRedis {
        match Topology::of_this_run() {
            Topology::Single | Topology::Tls => TestRedis::start(&[]),
            Topology::Sentinel => {
                let mut trio = Trio::start(&[]);
                let url = trio.url();
                let mut master = trio.servers.remove(0);
                master.reached_by = Some(url);
                // They live as long as the process.
                std::mem::forget(trio);
                master
            }
            Topology::Cluster => {
                let cluster = Cluster::start(&[]);
                let (url, scratch) = (cluster.url(), Scratch::new());
                let (reached_by, cluster) = (Some(url), Some(Box::new(cluster)));
                TestRedis { child: None, scratch, args: Vec::new(), tls_port: None, file: None, reached_by, cluster }
            }
        }
    }

    /// A server for one test, without persistence unless `args` say otherwise.
    pub fn start(args: &[&str]) -> TestRedis {
        let names: &[&str] = &["localhost"];
        TestRedis::start_with(args, (Topology::of_this_run() == Topology::Tls).then_some(names))
    }

    /// Speaks TLS where there are names for its certificate.
    pub fn start_with(args: &[&str], names: Option<&[&str]>) -> TestRedis {
        let mut args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let (scratch, tls_port) = (Scratch::new(), names.map(|_| free_port()));
        if let (Some(names), Some(port)) = (names, &tls_port) {
            args.extend(tls_args(&scratch, port, names));
        }
        let mut redis = TestRedis { child: None, scratch, args, tls_port, file: None, reached_by: None, cluster: None };
        redis.up();
        redis
    }

    /// A server that keeps what it is told to remember: whose replica it is, when it is restarted.
    pub fn start_of_a_file(args: &[&str]) -> TestRedis {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let scratch = Scratch::new();
        let mut redis =
            TestRedis { child: None, scratch, args, tls_port: None, file: None, reached_by: None, cluster: None };
        let mut lines = String::new();
        for arg in redis.settings() {
            match arg.strip_prefix("--") {
                Some(name) => lines.extend(["\n", name]),
                None => lines.extend([" \"", &arg, "\""]),
            }
        }
        redis.file = Some(redis.scratch.file("redis.conf", lines + "\n"));
        redis.up();
        redis
    }

    /// `--redis-url` of this server.
    pub fn url(&self) -> String {
        if let Some(url) = &self.reached_by {
            return url.clone();
        }
        match &self.tls_port {
            Some(port) => format!("rediss://localhost:{port}"),
            None => format!("redis+unix://{}", self.socket()),
        }
    }

    /// The port on which it speaks TLS.
    pub fn tls_port(&self) -> &str {
        self.tls_port.as_deref().expect("a server with TLS")
    }

    pub fn socket(&self) -> String {
        self.scratch.path("redis.sock")
    }

    /// Starts the server (again), and waits until it answers.
    pub fn up(&mut self) {
        self.launch();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.is_up() {
            assert!(Instant::now() < deadline, "redis-server did not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn is_up(&self) -> bool {
        self.try_connect().is_some()
    }

    /// Starts the server (again), and waits for nothing.
    pub fn launch(&mut self) {
        // Tied to our life by the kernel, so that nothing is left running whatever becomes of the tests.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", &server()]);
        match &self.file {
            Some(file) => command.arg(file),
            None => command.args(self.settings()),
        };
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("redis-server starts");
        self.child = Some(child);
    }

    fn settings(&self) -> Vec<String> {
        let (socket, directory) = (self.socket(), self.scratch.path(""));
        let all = ["--port", "0", "--save", "", "--loglevel", "warning", "--unixsocket", &socket, "--dir", &directory];
        all.iter().map(|arg| (*arg).to_owned()).chain(self.args.iter().cloned()).collect()
    }

    /// Kills the server at once: what it had in memory is lost.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the server can be killed");
            child.wait().expect("the server ends");
        }
    }

    /// Stops the server as its service would: by SIGTERM.
    pub fn stop(&mut self) {
        self.signal("TERM");
        if let Some(mut child) = self.child.take() {
            child.wait().expect("the server ends");
        }
    }

    /// Sends a signal such as `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("a running server").id();
        let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
        assert!(status.expect("kill runs").success(), "kill -{name}");
    }

    pub fn connection(&self) -> Connection {
        self.try_connect().expect("a connection to redis-server")
    }

    fn try_connect(&self) -> Option<Connection> {
        let client = Client::open(format!("unix://{}", self.socket())).expect("a good url");
        let mut connection = client.get_connection().ok()?;
        redis::cmd("PING").query::<String>(&mut connection).ok()?;
        Some(connection)
    }

    /// Entries of an index: all members but the last token's.
    pub fn entries(&self, index: &str) -> usize {
        self.ask::<Vec<Vec<u8>>>("ZRANGE", &[index, "0", "-1"]).iter().filter(|member| *member != b"\xff").count()
    }

    /// Runs one command: `redis.ask("GET", &["x"])`; on a cluster where the key is, or everywhere.
    pub fn ask<T: FromRedisValue>(&self, command: &str, args: &[&str]) -> T {
        if let Some(cluster) = &self.cluster {
            return cluster.ask_whom_it_concerns(command, args);
        }
        redis::cmd(command).arg(args).query(&mut self.connection()).expect("an answer from redis")
    }

    /// Calls of a command since the counters were reset, by clients and by scripts.
    pub fn calls(&self, command: &str) -> u64 {
        let stats: String = self.ask("INFO", &["commandstats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |rest| rest.split(',').next().unwrap_or_default().parse().expect("a number of calls"))
    }

    /// Calls of all commands since the counters were reset, by clients and by scripts.
    pub fn all_calls(&self) -> u64 {
        let stats: String = self.ask("INFO", &["commandstats"]);
        let calls =
            stats.lines().filter_map(|line| line.split_once(":calls=")?.1.split(',').next()?.parse::<u64>().ok());
        calls.sum()
    }

    /// The commands that clients send within `time`; not those that scripts call.
    pub fn sent_within(&self, time: Duration) -> Vec<String> {
        let mut socket = UnixStream::connect(self.socket()).expect("a connection to redis-server");
        socket.write_all(b"MONITOR\r\n").expect("redis-server takes a command");
        let (mut seen, ends) = (Vec::new(), Instant::now() + time);
        while let Some(left) = ends.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            socket.set_read_timeout(Some(left)).expect("a time to wait for");
            let mut buffer = [0; 16_384];
            match socket.read(&mut buffer) {
                Ok(0) => panic!("redis-server closed the connection"),
                Ok(length) => seen.extend_from_slice(&buffer[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let lines = String::from_utf8_lossy(&seen).lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        lines.into_iter().filter(|line| !line.contains(" lua] ")).collect()
    }
}

/// What `start` returns. The kernel ends a server with the thread that started it: this one lives as long as the process.
fn kept(start: impl FnOnce() -> TestRedis + Send + 'static) -> TestRedis {
    let (give, take) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        give.send(start()).expect("the test that asked is waiting");
        loop {
            std::thread::park();
        }
    });
    take.recv().expect("a redis-server")
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.signal("CONT");
        }
        self.kill();
    }
}
