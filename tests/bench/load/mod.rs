//! The load: a process of its own, one thread, that asks as fast as it is answered and says what it saw. The same for
//! everything that is measured.
//!
//! Not wrk: its scripts do not learn which connection an answer came by, so that they cannot give back the token that
//! this connection was granted.

mod grpc;
mod held;
mod http;
mod line;
mod looped;
mod straight;

use std::io::{BufRead, BufReader, Write};

use serde::{Deserialize, Serialize};

use crate::process::{Cores, Process};

/// What to ask, of whom, and for how long.
#[derive(Clone, Serialize, Deserialize)]
pub struct Load {
    /// `ip:port` of the servers; the connections are dealt out to them in turn.
    pub targets: Vec<String>,
    pub connections: usize,
    pub seconds: f64,
    pub shape: Shape,
}

#[derive(Clone, Serialize, Deserialize)]
pub enum Shape {
    /// Acquire and release in turn, each time another key.
    Pairs,
    /// Acquires of a key that is held all the time.
    Contended,
    /// Renewals, each connection of a lease of its own.
    Renewals,
    /// The list of all locks, again and again.
    List,
    /// All wait for one key, let go of it at once, and stand in line again.
    Handoffs,
    /// All wait for one key and let go of it at once; again when everybody had it.
    Turns,
    /// So many locks, each taken once and kept for an hour; into the file, where they are.
    Acquires { count: usize, file: Option<String> },
    /// The same, of one key that they share.
    Shares { count: usize, file: Option<String> },
    /// Lets go of the locks in the file.
    Releases { file: String },
    /// One hold for each connection, until the bench has seen enough.
    Holds { ttl_ms: u64 },
    /// Connections that have asked once, until the bench has seen enough.
    Idle,
    /// So many turns and no more: acquire, refusal and renewal if `renews`, release.
    Fixed { turns: u64, renews: bool },
    /// etcd's `lock` and `unlock` in turn, by its HTTP gateway.
    Etcd,
    /// Dapr's lock and unlock in turn, over HTTP.
    DaprHttp,
    /// The same over gRPC, all calls on one connection.
    DaprGrpc,
    /// The very commands that a sidecar sent, straight to Redis.
    Straight { acquire: Vec<u8>, release: Vec<u8>, token: u64 },
    /// A bare `SET NX PX` script and a compare-and-delete script, so many of each in one write.
    BareScripts { depth: usize },
}

/// What a load saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Answers over the whole run, warm-up included: what the processor time of the servers was spent on.
    pub answers: u64,
    /// Answers counted, and in how long.
    pub counted: u64,
    pub seconds: f64,
    /// Time from question to answer, microseconds; for handoffs from one's release to another's grant.
    pub p50_us: f64,
    pub p99_us: f64,
    /// Bytes of all bodies.
    pub bytes: u64,
}

impl Report {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.counted as f64 / self.seconds
    }

    /// Of latencies in nanoseconds.
    fn new(answers: u64, seconds: f64, mut latencies: Vec<u64>) -> Report {
        latencies.sort_unstable();
        let at = |part: f64| {
            let index = (latencies.len() as f64 * part) as usize;
            latencies.get(index).map_or(0.0, |nanoseconds| *nanoseconds as f64 / 1000.0)
        };
        Report { answers, counted: latencies.len() as u64, seconds, p50_us: at(0.5), p99_us: at(0.99), bytes: 0 }
    }
}

impl Load {
    fn start(&self, cores: Cores) -> Process {
        let own = std::env::current_exe().expect("the bench's own path");
        let load = serde_json::to_string(self).expect("plain data");
        Process::start(cores, own.to_str().expect("a UTF-8 path"), ["load", &load])
    }

    /// Runs it to its end.
    pub fn run(&self, cores: Cores) -> Report {
        let mut process = self.start(cores);
        let report = report(&mut process);
        process.finish();
        report
    }

    /// Runs it beside `others`, which run as long.
    pub fn run_beside(&self, others: &[Load], cores: Cores) -> Report {
        let others: Vec<Process> = others.iter().map(|other| other.start(cores)).collect();
        let own = self.run(cores);
        for mut other in others {
            report(&mut other);
            other.finish();
        }
        own
    }

    /// Runs it until it is ready; it stays so until the process is dropped.
    pub fn stay(&self) -> Process {
        let mut process = self.start(Cores::All);
        report(&mut process);
        process
    }
}

fn report(process: &mut Process) -> Report {
    let mut line = String::new();
    BufReader::new(process.stdout()).read_line(&mut line).expect("a pipe");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("the load failed: {error}: `{line}`"))
}

/// The load's own process.
pub async fn serve(load: &str) {
    let load: Load = serde_json::from_str(load).expect("a load as the bench writes it");
    let report = match &load.shape {
        Shape::Handoffs => line::handoffs(&load).await,
        Shape::Turns => line::turns(&load).await,
        Shape::Acquires { count, file } | Shape::Shares { count, file } => {
            held::acquires(&load, *count, file.as_deref()).await
        }
        Shape::Releases { file } => held::releases(&load, file).await,
        Shape::Holds { .. } | Shape::Idle => return held::stay(&load).await,
        Shape::Straight { acquire, release, token } => straight::sidecars(&load, acquire, release, *token).await,
        Shape::BareScripts { depth } => straight::bare(&load, *depth).await,
        Shape::Fixed { turns, renews } => looped::fixed(&load, *turns, *renews).await,
        Shape::DaprGrpc => grpc::pairs(&load).await,
        Shape::Pairs | Shape::Contended | Shape::Renewals | Shape::List | Shape::Etcd | Shape::DaprHttp => {
            looped::run(&load).await
        }
    };
    say(&report);
}

fn say(report: &Report) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(report).expect("plain data")).expect("the bench listens");
}
