//! `make bench`: what lockside costs, beside what it could cost at the least and beside its peers. Everything that
//! is measured is a process of its own: the release binary, `redis-server`, the load (this binary again), the bare
//! server (this binary, too), the peers. All sides of a row run in one run, in turns, for several rounds; what counts is
//! the ratio, since the absolute times are the machine's.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(clippy::print_stderr, reason = "progress goes beside the table")]

mod bare;
mod cost;
mod growth;
mod load;
mod peers;
mod process;
mod record;
mod rows;
mod servers;
mod svg;
mod table;
mod train;

use std::process::ExitCode;

use clap::Parser;

use process::Scratch;

/// Measures lockside beside the least it could cost and beside its peers.
#[derive(Parser)]
#[command(name = "make bench ARGS=")]
pub struct Settings {
    /// Rounds of each row; each side once in a round, in turns.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long one side runs in one round, seconds.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Only these rows, such as `a,f`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<char>,
    /// The table as JSON.
    #[arg(long)]
    json: bool,
    /// The table as Markdown.
    #[arg(long)]
    markdown: bool,
    /// Instead of the table: count what operations cost, and compare it with `tests/bench/cost.txt`.
    #[arg(long)]
    cost: bool,
    /// Instead of the table: what an operation costs with more locks, connections and sidecars; drawn into `docs/bench`.
    #[arg(long)]
    growth: bool,
    /// Instead of the table: the load by which the compiler learns what is often done.
    #[arg(long)]
    train: bool,
    /// A Python that has redis-py.
    #[arg(long, default_value = "python3", env = "BENCH_PYTHON")]
    python: String,
    /// A directory in which `redlock` and `ioredis` are installed; without it their row is left out.
    #[arg(long, env = "BENCH_NODE_MODULES")]
    node_modules: Option<String>,
    /// Dapr's sidecar, as `make test-sdks` builds it; without it its lines are left out.
    #[arg(long, env = "BENCH_DAPRD")]
    daprd: Option<String>,
    /// A directory with the jars of Redisson; without it its lines are left out.
    #[arg(long, env = "BENCH_REDISSON")]
    redisson: Option<String>,
    /// The binary of an earlier commit, whose exclusive acquire a shared one is compared with; without it that line is left out.
    #[arg(long, env = "BENCH_EARLIER")]
    earlier: Option<String>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a row needs to run.
pub struct Bench {
    pub settings: Settings,
    pub scratch: Scratch,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime")
    };
    match words.iter().map(String::as_str).collect::<Vec<_>>()[1..] {
        ["bare", address, answers] => runtime().block_on(bare::serve(address, answers)),
        ["load", load] => runtime().block_on(load::serve(load)),
        _ => {
            let settings = Settings::parse();
            let bench = Bench { settings, scratch: Scratch::new() };
            clean_up_when_stopped(bench.scratch.path(""), runtime());
            open_many_files();
            if bench.settings.cost {
                return cost::check(&bench);
            }
            if bench.settings.growth {
                growth::draw(&bench);
                return ExitCode::SUCCESS;
            }
            if bench.settings.train {
                train::play(&bench);
                return ExitCode::SUCCESS;
            }
            eprintln!("measured: {}", servers::measured());
            let lines = rows::all(&bench);
            if bench.settings.json {
                println!("{}", serde_json::to_string_pretty(&lines).expect("plain data"));
            } else if bench.settings.markdown {
                table::print_markdown(&lines);
            } else {
                table::print(&lines);
            }
        }
    }
    ExitCode::SUCCESS
}

/// The children die with us, whatever ends us; what is left is our directory.
fn clean_up_when_stopped(scratch: String, runtime: tokio::runtime::Runtime) {
    use tokio::signal::unix::{SignalKind, signal};
    std::thread::spawn(move || {
        runtime.block_on(async {
            let mut terminated = signal(SignalKind::terminate()).expect("a handler");
            let mut interrupted = signal(SignalKind::interrupt()).expect("a handler");
            tokio::select! { _ = terminated.recv() => {}, _ = interrupted.recv() => {} }
        });
        Scratch::remove_at(&scratch);
        std::process::exit(130);
    });
}

/// Each connection is a descriptor here, in the load and in lockside; children inherit the limit.
fn open_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
