//! `make cost`: what one operation costs, counted instead of timed, so that a busy machine changes nothing: the
//! instructions of lockside, by callgrind, and the commands and bytes that Redis sees. Compared with `cost.txt`.
//!
//! Instructions are the difference of two runs of different lengths, so that the start counts for nothing.

use std::process::ExitCode;

use crate::Bench;
use crate::load::{Load, Shape};
use crate::process::Cores;
use crate::servers::{Lockside, Redis};

const FIGURES: &str = include_str!("cost.txt");
const TURNS: u64 = 500;
/// callgrind counts each byte of a `rep movsb` as an instruction; without it copies count as what they are.
const COPIES: &str = "GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=1073741824";
/// Memory is not given back, which the allocator does by the clock.
const PURGES: &str = "_RJEM_MALLOC_CONF=dirty_decay_ms:-1";
/// What else is done by the clock only ever adds: the least of so many runs is the nearest to none of it.
const RUNS: usize = 3;

/// A line of `cost.txt`, and what was counted now.
struct Figure {
    name: &'static str,
    now: f64,
}

/// Counts and compares; fails where an operation costs more than its figure and tolerance allow.
pub fn check(bench: &Bench) -> ExitCode {
    let mut figures = redis(bench);
    figures.extend(instructions(bench));
    println!("{:<42} {:>12} {:>12} {:>8} {:>9}", "", "now", "cost.txt", "by", "tolerance");
    let mut dearer = false;
    for Figure { name, now } in figures {
        let Some((kept, tolerance)) = kept(name) else {
            println!("{name:<42} {now:>12.1} {:>12}", "-");
            dearer = true;
            continue;
        };
        let by = (now / kept - 1.0) * 100.0;
        let verdict = match by {
            by if by > tolerance => "DEARER",
            by if by < -tolerance => "cheaper: write it down",
            _ => "",
        };
        dearer |= by > tolerance;
        println!("{name:<42} {now:>12.1} {kept:>12.1} {by:>7.1}% {:>9} {verdict}", format!("{tolerance} %"));
    }
    if dearer {
        println!("an operation costs more than tests/bench/cost.txt says: find out why, or write the new figure there");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Figure and tolerance (percent) of a name.
fn kept(name: &str) -> Option<(f64, f64)> {
    FIGURES.lines().find_map(|line| {
        let mut columns = line.strip_prefix(name)?.split_whitespace();
        Some((columns.next()?.parse().ok()?, columns.next()?.trim_end_matches('%').parse().ok()?))
    })
}

fn load(lockside: &Lockside, turns: u64, renews: bool) -> Load {
    let shape = Shape::Fixed { turns, renews };
    Load { targets: vec![lockside.api.clone()], connections: 1, seconds: 0.0, shape }
}

/// At full speed, so that what a sidecar asks of Redis by the clock does not matter.
fn redis(bench: &Bench) -> Vec<Figure> {
    let mut redis = Redis::start(Cores::One, &bench.scratch);
    let lockside = Lockside::start(Cores::One, redis.port);
    load(&lockside, 100, true).run(Cores::One);
    let mut cost = |renews| {
        let before = redis.count();
        load(&lockside, TURNS, renews).run(Cores::One);
        let after = redis.count();
        let each = |before: u64, after: u64| (after - before) as f64 / TURNS as f64;
        let bytes = each(before.bytes_in, after.bytes_in) + each(before.bytes_out, after.bytes_out);
        (each(before.commands, after.commands), bytes)
    };
    let ((commands, bytes), (all_commands, all_bytes)) = (cost(false), cost(true));
    vec![
        Figure { name: "redis commands, acquire + release", now: commands },
        Figure { name: "redis commands, refusal + renewal", now: all_commands - commands },
        Figure { name: "redis bytes, acquire + release", now: bytes },
        Figure { name: "redis bytes, refusal + renewal", now: all_bytes - bytes },
    ]
}

fn instructions(bench: &Bench) -> Vec<Figure> {
    let count = |turns, renews| {
        let redis = Redis::start(Cores::One, &bench.scratch);
        let out = bench.scratch.path("callgrind.out");
        let file = format!("--callgrind-out-file={out}");
        let lockside = Lockside::patient(
            Cores::One,
            &["env", COPIES, PURGES, "valgrind", "--tool=callgrind", &file],
            redis.port,
            "10s",
        );
        load(&lockside, turns, renews).run(Cores::One);
        lockside.process.terminate();
        let text = std::fs::read_to_string(&out).expect("callgrind's file");
        let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).expect("a total");
        total.trim().parse::<f64>().expect("a number")
    };
    let counted = |turns, renews| (0..RUNS).map(|_| count(turns, renews)).fold(f64::INFINITY, f64::min);
    let once = counted(TURNS, false);
    let pair = (counted(2 * TURNS, false) - once) / TURNS as f64;
    let others = (counted(TURNS, true) - once) / TURNS as f64;
    vec![
        Figure { name: "instructions, acquire + release", now: pair },
        Figure { name: "instructions, refusal + renewal", now: others },
    ]
}
