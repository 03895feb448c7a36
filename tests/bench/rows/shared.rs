//! (n) What a share of a key costs Redis, beside an exclusive lock, each alone in its call; with few who share it and many.

use crate::Bench;
use crate::load::{Load, Shape};
use crate::process::Cores;
use crate::servers::{Lockside, Redis};
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

pub fn row(bench: &Bench) -> Vec<Line> {
    let all = costs(bench);
    let mut lines = Vec::new();
    for Shared { holders, alone, shared } in &all {
        let line = |name: &str, shared: &[f64], beside, other: &[f64]| {
            let what = format!("in Redis: execution, shared {name}, {holders} share the key");
            Line::beside('n', what, "µs", shared.to_vec(), (beside, other.to_vec()))
        };
        lines.push(line("acquire", &shared.acquire, "exclusive", &alone.acquire).budget(Budget::AtMost(2.5)));
        lines.push(line("release", &shared.release, "exclusive", &alone.release));
        let one = &all[0].shared;
        if *holders > 1 {
            lines.push(line("acquire", &shared.acquire, "with one", &one.acquire).budget(Budget::AtMost(1.15)));
            lines.push(line("release", &shared.release, "with one", &one.release).budget(Budget::AtMost(1.15)));
        }
    }
    lines
}

/// In turns, so that what slows the machine down slows all of them.
pub fn costs(bench: &Bench) -> Vec<Shared> {
    let mut places = HOLDERS.map(|holders| Place::start(bench, holders));
    for round in 0..=bench.settings.rounds {
        for place in &mut places {
            let (alone, shared) = place.measure(bench);
            // The first is not counted: scripts are loaded, caches fill.
            if round > 0 {
                place.costs.alone.add(alone);
                place.costs.shared.add(shared);
            }
        }
    }
    places.into_iter().map(|place| place.costs).collect()
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
    fn start(bench: &Bench, holders: usize) -> Place {
        let redis = Redis::start(Cores::One, &bench.scratch);
        let lockside = Lockside::start(Cores::Second, redis.port);
        let costs = Shared { holders, alone: Costs::default(), shared: Costs::default() };
        let place = Place { redis, lockside, costs };
        place.load(Shape::Shares { count: holders, file: None });
        place
    }

    fn load(&self, shape: Shape) {
        Load { targets: vec![self.lockside.api.clone()], connections: 1, seconds: 0.0, shape }.run(Cores::Second);
    }

    /// Of an exclusive lock and of a share, an acquire and a release each.
    fn measure(&mut self, bench: &Bench) -> ((f64, f64), (f64, f64)) {
        let file = Some(bench.scratch.path("shared"));
        let alone = self.cost(bench, Shape::Acquires { count: LOCKS, file: file.clone() });
        (alone, self.cost(bench, Shape::Shares { count: LOCKS, file }))
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
