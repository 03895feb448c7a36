//! (a) to (d): what one request costs, beside a bare hyper server and beside Redis alone.

use crate::Bench;
use crate::load::{Load, Shape};
use crate::process::{Cores, Scratch};
use crate::record;
use crate::servers::{Bare, Lockside, Redis};
use crate::table::{Budget, Line};

const CONNECTIONS: usize = 64;

/// The two sides and Redis.
struct Sides {
    redis: Redis,
    lockside: Lockside,
    bare: Bare,
    cores: Cores,
}

/// The figures of several rounds of both sides.
#[derive(Default)]
struct Figures {
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    cpu: Vec<f64>,
    redis_cpu: Vec<f64>,
}

impl Sides {
    fn start(cores: Cores, scratch: &Scratch) -> Sides {
        let redis = Redis::start(cores, scratch);
        let lockside = Lockside::start(cores, redis.port);
        let bare = Bare::start(cores, &record::answers(&lockside));
        Sides { redis, lockside, bare, cores }
    }

    /// Each side once a round, in turns: lockside's figures and the bare server's.
    fn measure(&self, bench: &Bench, rounds: usize, connections: usize, shape: &Shape) -> (Figures, Figures) {
        let (mut ours, mut bare) = (Figures::default(), Figures::default());
        for _ in 0..rounds {
            for (figures, api, process) in [
                (&mut bare, &self.bare.api, &self.bare.process),
                (&mut ours, &self.lockside.api, &self.lockside.process),
            ] {
                let load = Load {
                    targets: vec![api.clone()],
                    connections,
                    seconds: bench.settings.seconds,
                    shape: shape.clone(),
                };
                let (cpu, redis_cpu) = (process.cpu(), self.redis.process.cpu());
                let report = load.run(self.cores);
                let each = |spent: std::time::Duration| spent.as_secs_f64() * 1e6 / report.answers as f64;
                figures.cpu.push(each(process.cpu() - cpu));
                figures.redis_cpu.push(each(self.redis.process.cpu() - redis_cpu));
                figures.rate.push(report.rate());
                figures.p50.push(report.p50_us);
                figures.p99.push(report.p99_us);
            }
        }
        (ours, bare)
    }
}

const BARE: &str = "bare hyper";

/// (a)
pub fn pairs(bench: &Bench) -> Vec<Line> {
    let (ours, bare) =
        Sides::start(Cores::All, &bench.scratch).measure(bench, bench.settings.rounds, CONNECTIONS, &Shape::Pairs);
    let what = |what: &str| format!("acquire + release, 64 connections: {what}");
    vec![
        Line::beside('a', what("requests"), "1/s", ours.rate, (BARE, bare.rate)).budget(Budget::AtLeast(0.35)),
        Line::beside('a', what("CPU of lockside"), "µs", ours.cpu, (BARE, bare.cpu)).budget(Budget::AtMost(1.6)),
        Line::alone('a', what("CPU of Redis"), "µs", ours.redis_cpu),
        Line::beside('a', what("p50"), "µs", ours.p50, (BARE, bare.p50)),
        Line::beside('a', what("p99"), "µs", ours.p99, (BARE, bare.p99)),
    ]
}

/// (b)
pub fn one_connection(bench: &Bench) -> Vec<Line> {
    let sides = Sides::start(Cores::One, &bench.scratch);
    let (mut ours, mut bare, mut straights) = (Figures::default(), Figures::default(), Vec::new());
    for _ in 0..bench.settings.rounds {
        let (our, their) = sides.measure(bench, 1, 1, &Shape::Pairs);
        let recorded = record::commands(&sides.redis);
        let shape = Shape::Straight { acquire: recorded.acquire, release: recorded.release, token: recorded.token };
        let targets = vec![format!("127.0.0.1:{}", sides.redis.port)];
        let straight = Load { targets, connections: 1, seconds: bench.settings.seconds, shape };
        straights.push(straight.run(Cores::One).p50_us);
        for (all, round) in [(&mut ours, our), (&mut bare, their)] {
            all.p50.extend(round.p50);
            all.p99.extend(round.p99);
            all.rate.extend(round.rate);
            all.cpu.extend(round.cpu);
        }
    }
    let least = bare.p50.iter().zip(&straights).map(|(bare, straight)| bare + straight).collect();
    let what = |what: &str| format!("acquire + release, 1 connection, 1 core: {what}");
    vec![
        Line::beside('b', what("p50"), "µs", ours.p50.clone(), ("bare + straight", least)).budget(Budget::AtMost(1.35)),
        Line::beside('b', what("p50"), "µs", ours.p50.clone(), (BARE, bare.p50)),
        Line::beside('b', what("p50"), "µs", ours.p50, ("same EVALSHA straight", straights)),
        Line::beside('b', what("CPU of lockside"), "µs", ours.cpu, (BARE, bare.cpu)),
        Line::beside('b', what("requests"), "1/s", ours.rate, (BARE, bare.rate)),
    ]
}

/// (c)
pub fn contended(bench: &Bench) -> Vec<Line> {
    let mut sides = Sides::start(Cores::All, &bench.scratch);
    sides.bare = Bare::start(Cores::All, &record::refusal(&sides.lockside));
    let (ours, bare) = sides.measure(bench, bench.settings.rounds, CONNECTIONS, &Shape::Contended);
    let what = |what: &str| format!("acquires of a held key: {what}");
    vec![
        Line::beside('c', what("requests"), "1/s", ours.rate, (BARE, bare.rate)),
        Line::beside('c', what("CPU of lockside"), "µs", ours.cpu, (BARE, bare.cpu)),
        Line::alone('c', what("CPU of Redis"), "µs", ours.redis_cpu),
    ]
}

/// (d)
pub fn renewals(bench: &Bench) -> Vec<Line> {
    let (ours, bare) =
        Sides::start(Cores::All, &bench.scratch).measure(bench, bench.settings.rounds, CONNECTIONS, &Shape::Renewals);
    let what = |what: &str| format!("renewals: {what}");
    vec![
        Line::beside('d', what("requests"), "1/s", ours.rate, (BARE, bare.rate)),
        Line::beside('d', what("CPU of lockside"), "µs", ours.cpu, (BARE, bare.cpu)),
        Line::alone('d', what("CPU of Redis"), "µs", ours.redis_cpu),
    ]
}
