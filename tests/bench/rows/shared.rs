//! (n) What a share of a key costs Redis, beside an exclusive lock, each alone in its call, and beside Redisson's; with few who share it and many.

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
/// What an acquire may cost among many, beside one among few.
const FLAT: f64 = 1.15;

/// Microseconds in Redis's scripts of an acquire and of a release, round by round.
type Costs = (Vec<f64>, Vec<f64>);

/// A lockside, and a Redis of its own.
struct Side<'a> {
    bench: &'a Bench,
    redis: Redis,
    lockside: Lockside,
}

impl Side<'_> {
    fn start<'a>(bench: &'a Bench, binary: &str) -> Side<'a> {
        let redis = Redis::start(Cores::One, &bench.scratch);
        let lockside = Lockside::of(binary, Cores::Second, &[], redis.port, &[]);
        Side { bench, redis, lockside }
    }

    fn load(&self, shape: Shape) {
        Load { targets: vec![self.lockside.api.clone()], connections: 1, seconds: 0.0, shape }.run(Cores::Second);
    }

    fn cost(&mut self, costs: &mut Costs, acquires: fn(usize, Option<String>) -> Shape) {
        let file = self.bench.scratch.path("shared");
        let before = self.redis.count().script_us;
        self.load(acquires(LOCKS, Some(file.clone())));
        let between = self.redis.count().script_us;
        self.load(Shape::Releases { file });
        costs.0.push((between - before) / LOCKS as f64);
        costs.1.push((self.redis.count().script_us - between) / LOCKS as f64);
    }
}

pub fn row(bench: &Bench) -> Vec<Line> {
    let (mut lines, mut few) = (Vec::new(), Vec::new());
    for holders in HOLDERS {
        let mut measured = Side::start(bench, &lockside_path());
        let mut earlier = bench.settings.earlier.as_ref().map(|path| Side::start(bench, path));
        measured.load(Shape::Shares { count: holders, file: None });
        let (mut alone, mut shared, mut before) = (Costs::default(), Costs::default(), Costs::default());
        // The first is not counted: scripts are loaded, caches fill.
        for round in 0..=bench.settings.rounds {
            measured.cost(&mut alone, |count, file| Shape::Acquires { count, file });
            measured.cost(&mut shared, |count, file| Shape::Shares { count, file });
            if let Some(earlier) = &mut earlier {
                earlier.cost(&mut before, |count, file| Shape::Acquires { count, file });
            }
            if round == 0 {
                (alone, shared, before) = (Costs::default(), Costs::default(), Costs::default());
            }
        }
        let what = |what: &str| format!("in Redis: execution, shared {what}, {holders} share the key");
        if holders == 1 {
            let pairs: Vec<f64> = shared.0.iter().zip(&shared.1).map(|(acquire, release)| acquire + release).collect();
            lines.extend(beside_redisson(bench, &pairs));
        } else {
            let beside = ("1 shares it", few.clone());
            let line = Line::beside('n', what("acquire"), "µs", shared.0.clone(), beside);
            lines.push(line.budget(Budget::AtMost(FLAT)));
        }
        if earlier.is_some() {
            let beside = ("exclusive, of the earlier commit", before.0);
            let line = Line::beside('n', what("acquire"), "µs", shared.0.clone(), beside);
            lines.push(line.budget(Budget::AtMost(1.7)));
        }
        if few.is_empty() {
            few.clone_from(&shared.0);
        }
        lines.extend([
            Line::beside('n', what("acquire"), "µs", shared.0, ("exclusive", alone.0)).budget(Budget::AtMost(2.5)),
            Line::beside('n', what("release"), "µs", shared.1, ("exclusive", alone.1)),
        ]);
    }
    lines
}

/// What Redis's scripts take for one of `pairs`, beside what they take for Redisson's, each with one more who shares the key.
fn beside_redisson(bench: &Bench, pairs: &[f64]) -> Vec<Line> {
    let mut redis = Redis::start(Cores::One, &bench.scratch);
    let kinds = [("read", "Redisson's RReadWriteLock"), ("permit", "Redisson's RPermitExpirableSemaphore")];
    let mut beside = |kind: &str| {
        let mut round = || {
            let before = redis.count().script_us;
            let grants = redisson(bench, redis.port, kind, LOCKS)?;
            redis.ask::<()>(&["FLUSHALL"]);
            Some((redis.count().script_us - before) / grants.grants)
        };
        pairs.iter().map(|_| round()).collect::<Option<Vec<f64>>>()
    };
    let lines = kinds.into_iter().filter_map(|(kind, name)| {
        let theirs = beside(kind)?;
        Some(Line::beside('n', "in Redis: execution, shared acquire and release", "µs", pairs.to_vec(), (name, theirs)))
    });
    lines.collect()
}
