//! (n) What a share of a key costs Redis, beside an exclusive lock, each alone in its call, and beside Redisson's; with few who
//! share it and many.

use crate::Bench;
use crate::load::{Load, Shape};
use crate::peers::redisson;
use crate::process::Cores;
use crate::servers::{Lockside, Redis, lockside_path};
use crate::table::{Budget, Line};

/// Acquires, and then releases, in one round.
const LOCKS: usize = 500;
/// Those who share the key all the time.
const HOLDERS: [usize; 3] = [1, 100, 1_000];

/// Microseconds in Redis's scripts of an acquire and of a release, round by round.
#[derive(Default)]
pub struct Costs {
    pub acquire: Vec<f64>,
    pub release: Vec<f64>,
}

/// What an exclusive lock and a share cost Redis, while so many share the key.
pub struct Shared {
    pub holders: usize,
    pub alone: Costs,
    pub shared: Costs,
}

/// What was measured in turns.
pub struct Measured {
    /// By how many share the key.
    pub shared: Vec<Shared>,
    /// An exclusive lock by an earlier commit, where there is its binary.
    pub earlier: Option<Costs>,
}

pub fn row(bench: &Bench) -> Vec<Line> {
    let Measured { shared: all, earlier } = costs(bench);
    let mut lines = Vec::new();
    for Shared { holders, alone, shared } in &all {
        let line = |name: &str, shared: &[f64], beside, other: &[f64]| {
            let what = format!("in Redis: execution, shared {name}, {holders} share the key");
            Line::beside('n', what, "µs", shared.to_vec(), (beside, other.to_vec()))
        };
        lines.push(line("acquire", &shared.acquire, "exclusive", &alone.acquire).budget(Budget::AtMost(2.5)));
        lines.push(line("release", &shared.release, "exclusive", &alone.release));
        if let Some(earlier) = &earlier {
            let line = line("acquire", &shared.acquire, "exclusive, earlier", &earlier.acquire);
            lines.push(line.budget(Budget::AtMost(1.7)));
        }
        let one = &all[0].shared;
        if *holders > 1 {
            lines.push(line("acquire", &shared.acquire, "with one", &one.acquire).budget(Budget::AtMost(1.15)));
            lines.push(line("release", &shared.release, "with one", &one.release).budget(Budget::AtMost(1.15)));
        }
    }
    lines.extend(beside_redisson(bench, &all[0].shared));
    lines
}

/// What a share costs Redis, acquired and released, beside Redisson's with one who shares the key, too.
fn beside_redisson(bench: &Bench, shared: &Costs) -> Vec<Line> {
    let mut redis = Redis::start(Cores::One, &bench.scratch);
    let pairs: Vec<f64> =
        shared.acquire.iter().zip(&shared.release).map(|(acquire, release)| acquire + release).collect();
    let kinds = [("read", "Redisson's RReadWriteLock"), ("permit", "Redisson's RPermitExpirableSemaphore")];
    let mut round = |kind| {
        let before = redis.count().script_us;
        let grants = redisson(bench, redis.port, kind, LOCKS)?;
        let took = redis.count().script_us - before;
        redis.ask::<()>(&["FLUSHALL"]);
        Some(took / grants.grants)
    };
    let lines = kinds.into_iter().filter_map(|(kind, name)| {
        let theirs = pairs.iter().map(|_| round(kind)).collect::<Option<Vec<f64>>>()?;
        Some(Line::beside('n', "in Redis: execution, shared acquire and release", "µs", pairs.clone(), (name, theirs)))
    });
    lines.collect()
}

/// In turns, so that what slows the machine down slows all of them.
pub fn costs(bench: &Bench) -> Measured {
    let mut places = HOLDERS.map(|holders| Place::start(bench, &lockside_path(), holders));
    let mut earlier = bench.settings.earlier.as_ref().map(|path| Place::start(bench, path, 0));
    for round in 0..=bench.settings.rounds {
        // The first is not counted: scripts are loaded, caches fill.
        let counts = round > 0;
        for place in &mut places {
            place.measure(bench, counts);
        }
        if let Some(earlier) = &mut earlier {
            earlier.measure_alone(bench, counts);
        }
    }
    let earlier = earlier.map(|place| place.costs.alone);
    Measured { shared: places.into_iter().map(|place| place.costs).collect(), earlier }
}

impl Costs {
    fn add(&mut self, (acquire, release): (f64, f64)) {
        self.acquire.push(acquire);
        self.release.push(release);
    }
}

/// A sidecar with its Redis, and the key that so many share.
struct Place {
    redis: Redis,
    lockside: Lockside,
    costs: Shared,
}

impl Place {
    fn start(bench: &Bench, binary: &str, holders: usize) -> Place {
        let redis = Redis::start(Cores::One, &bench.scratch);
        let lockside = Lockside::of(binary, Cores::Second, &[], redis.port, &[]);
        let costs = Shared { holders, alone: Costs::default(), shared: Costs::default() };
        let place = Place { redis, lockside, costs };
        if holders > 0 {
            place.load(Shape::Shares { count: holders, file: None });
        }
        place
    }

    fn load(&self, shape: Shape) {
        Load { targets: vec![self.lockside.api.clone()], connections: 1, seconds: 0.0, shape }.run(Cores::Second);
    }

    /// An exclusive lock and a share, an acquire and a release of each.
    fn measure(&mut self, bench: &Bench, counts: bool) {
        self.measure_alone(bench, counts);
        let shared = self.cost(bench, Shape::Shares { count: LOCKS, file: Some(bench.scratch.path("shared")) });
        if counts {
            self.costs.shared.add(shared);
        }
    }

    fn measure_alone(&mut self, bench: &Bench, counts: bool) {
        let alone = self.cost(bench, Shape::Acquires { count: LOCKS, file: Some(bench.scratch.path("shared")) });
        if counts {
            self.costs.alone.add(alone);
        }
    }

    fn cost(&mut self, bench: &Bench, acquires: Shape) -> (f64, f64) {
        let before = self.redis.count().script_us;
        self.load(acquires);
        let between = self.redis.count().script_us;
        self.load(Shape::Releases { file: bench.scratch.path("shared") });
        let after = self.redis.count().script_us;
        ((between - before) / LOCKS as f64, (after - between) / LOCKS as f64)
    }
}
