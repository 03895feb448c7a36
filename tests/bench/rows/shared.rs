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
type Costs = (Vec<f64>, Vec<f64>);

pub fn row(bench: &Bench) -> Vec<Line> {
    let mut lines = Vec::new();
    for holders in HOLDERS {
        let mut redis = Redis::start(Cores::One, &bench.scratch);
        let lockside = Lockside::start(Cores::Second, redis.port);
        let load = |shape| Load { targets: vec![lockside.api.clone()], connections: 1, seconds: 0.0, shape };
        load(Shape::Shares { count: holders, file: None }).run(Cores::Second);
        let mut cost = |costs: &mut Costs, acquires: fn(usize, Option<String>) -> Shape| {
            let file = bench.scratch.path("shared");
            let before = redis.count().script_us;
            load(acquires(LOCKS, Some(file.clone()))).run(Cores::Second);
            let between = redis.count().script_us;
            load(Shape::Releases { file }).run(Cores::Second);
            costs.0.push((between - before) / LOCKS as f64);
            costs.1.push((redis.count().script_us - between) / LOCKS as f64);
        };
        let (mut alone, mut shared) = (Costs::default(), Costs::default());
        // The first is not counted: scripts are loaded, caches fill.
        for round in 0..=bench.settings.rounds {
            cost(&mut alone, |count, file| Shape::Acquires { count, file });
            cost(&mut shared, |count, file| Shape::Shares { count, file });
            if round == 0 {
                (alone, shared) = (Costs::default(), Costs::default());
            }
        }
        let what = |what: &str| format!("in Redis: execution, shared {what}, {holders} share the key");
        lines.extend([
            Line::beside('n', what("acquire"), "µs", shared.0, ("exclusive", alone.0)).budget(Budget::AtMost(2.5)),
            Line::beside('n', what("release"), "µs", shared.1, ("exclusive", alone.1)),
        ]);
    }
    lines
}
