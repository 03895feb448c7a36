//! (e), (g), (h), (l): what locks and connections cost that stay.

use std::time::{Duration, Instant};

use crate::Bench;
use crate::load::{Load, Shape};
use crate::process::{Cores, Process};
use crate::servers::{Lockside, Redis, lockside_path};
use crate::table::{Budget, Line};

const LISTED: usize = 100_000;
const HOLDS: usize = 2_000;
const CONNECTIONS: usize = 10_000;
const MEGABYTE: f64 = 1_000_000.0;

fn megabytes(process: &Process) -> f64 {
    process.memory() as f64 / MEGABYTE
}

/// After a pause in which what was used only to open everything can be given back.
fn settled_megabytes(process: &Process) -> f64 {
    std::thread::sleep(Duration::from_secs(2));
    megabytes(process)
}

/// (e)
pub fn list(bench: &Bench) -> Vec<Line> {
    let redis = Redis::start(Cores::All, &bench.scratch);
    let lockside = Lockside::start(Cores::All, redis.port);
    let load = |connections, shape| Load {
        targets: vec![lockside.api.clone()],
        connections,
        seconds: bench.settings.seconds,
        shape,
    };
    load(64, Shape::Acquires { count: LISTED, file: None }).run(Cores::All);
    let before = megabytes(&lockside.process);
    let (mut rate, mut cpu, mut redis_cpu, mut grown) = (vec![], vec![], vec![], vec![]);
    for _ in 0..bench.settings.rounds {
        let (ours, theirs) = (lockside.process.cpu(), redis.process.cpu());
        let report = load(1, Shape::List).run(Cores::All);
        let listed = report.answers as f64 * LISTED as f64;
        rate.push(report.rate() * LISTED as f64);
        cpu.push((lockside.process.cpu() - ours).as_secs_f64() * 1e6 / listed);
        redis_cpu.push((redis.process.cpu() - theirs).as_secs_f64() * 1e6 / listed);
        grown.push(megabytes(&lockside.process) - before);
    }
    let what = |what: &str| format!("list of 100,000: {what}");
    vec![
        Line::alone('e', what("locks"), "1/s", rate),
        Line::beside('e', what("CPU of lockside a lock"), "µs", cpu, ("Redis", redis_cpu)),
        Line::alone('e', what("memory grows by"), "MB", grown),
    ]
}

/// (l)
pub fn lists_beside_renewals(bench: &Bench) -> Vec<Line> {
    let redis = Redis::start(Cores::All, &bench.scratch);
    let lockside = Lockside::start(Cores::All, redis.port);
    let seconds = bench.settings.seconds;
    let load = |connections, shape| Load { targets: vec![lockside.api.clone()], connections, seconds, shape };
    load(64, Shape::Acquires { count: LISTED, file: None }).run(Cores::All);
    let (renewals, lists) = (load(16, Shape::Renewals), [load(1, Shape::List), load(1, Shape::List)]);
    let none: &[Load] = &[];
    let (mut with, mut without) = ((vec![], vec![]), (vec![], vec![]));
    for _ in 0..bench.settings.rounds {
        for (others, figures) in [(&lists[..], &mut with), (none, &mut without)] {
            let report = renewals.run_beside(others, Cores::All);
            figures.0.push(report.p99_us);
            figures.1.push(report.rate());
        }
    }
    let what = |what: &str| format!("renewals beside two lists of 100,000: {what}");
    vec![
        Line::beside('l', what("99 % within"), "µs", with.0, ("no list", without.0)),
        Line::beside('l', what("requests"), "1/s", with.1, ("no list", without.1)),
    ]
}

/// (g)
pub fn holds(bench: &Bench) -> Vec<Line> {
    let mut redis = Redis::start(Cores::All, &bench.scratch);
    let lockside = Lockside::start(Cores::All, redis.port);
    let shape = Shape::Holds { ttl_ms: 30_000 };
    let load = Load { targets: vec![lockside.api.clone()], connections: HOLDS, seconds: 0.0, shape };
    let _load = load.stay();
    let memory = settled_megabytes(&lockside.process);
    let (before, spent, begin) = (redis.count(), lockside.process.cpu(), Instant::now());
    // Every lease is renewed once in a third of its ttl.
    std::thread::sleep(Duration::from_secs(10));
    let (after, spent, seconds) = (redis.count(), lockside.process.cpu() - spent, begin.elapsed().as_secs_f64());
    let per_second = |spent: Duration| spent.as_secs_f64() * 1000.0 / seconds;
    vec![
        Line::alone('g', "2,000 holds of 30 s: CPU of lockside in a second", "ms", vec![per_second(spent)]),
        Line::alone(
            'g',
            "2,000 holds of 30 s: CPU of Redis in a second",
            "ms",
            vec![per_second(after.cpu - before.cpu)],
        ),
        Line::alone('h', "memory with 2,000 holds", "MB", vec![memory]).budget(Budget::AtMost(40.0)),
        idle_holds(bench),
    ]
}

/// Holds whose next renewal is hours away: what remains are the signs of life, a line every two seconds.
fn idle_holds(bench: &Bench) -> Line {
    let redis = Redis::start(Cores::All, &bench.scratch);
    let lockside = Lockside::start(Cores::All, redis.port);
    let shape = Shape::Holds { ttl_ms: 86_400_000 };
    let load = Load { targets: vec![lockside.api.clone()], connections: HOLDS, seconds: 0.0, shape };
    let _load = load.stay();
    std::thread::sleep(Duration::from_secs(2));
    let (spent, begin) = (lockside.process.cpu(), Instant::now());
    std::thread::sleep(Duration::from_secs(20));
    let share = (lockside.process.cpu() - spent).as_secs_f64() / begin.elapsed().as_secs_f64();
    let what = "2,000 idle holds: CPU of lockside, of a core";
    Line::alone('g', what, "%", vec![share * 100.0]).budget(Budget::AtMost(2.0))
}

/// (h)
pub fn memory(bench: &Bench) -> Vec<Line> {
    let redis = Redis::start(Cores::All, &bench.scratch);
    let lockside = Lockside::start(Cores::All, redis.port);
    let idle = settled_megabytes(&lockside.process);
    let load = Load { targets: vec![lockside.api.clone()], connections: CONNECTIONS, seconds: 0.0, shape: Shape::Idle };
    let _load = load.stay();
    let connected = settled_megabytes(&lockside.process);
    let size = std::fs::metadata(lockside_path()).expect("the release binary").len() as f64 / MEGABYTE;
    vec![
        Line::alone('h', "memory idle", "MB", vec![idle]).budget(Budget::AtMost(10.0)),
        Line::alone('h', "memory with 10,000 connections", "MB", vec![connected]).budget(Budget::AtMost(120.0)),
        Line::alone('h', "binary, stripped", "MB", vec![size]).budget(Budget::AtMost(10.0)),
    ]
}
