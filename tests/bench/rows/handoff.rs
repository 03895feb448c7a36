//! (f) How fast a lock that many want goes from hand to hand, beside redis-py's blocking lock, which asks every 0.1 s.
//! Both sides have the same number of contenders, and each lets go at once. A handoff is a grant to another contender
//! than the one before: a loop that takes again what it has just let go of hands nothing over. The more
//! wait, the sooner one of them happens to ask: with two the pause of 0.1 s shows whole, with a hundred hardly.

use crate::Bench;
use crate::load::{Load, Shape};
use crate::peers::redis_py;
use crate::process::Cores;
use crate::servers::{Lockside, Redis};
use crate::table::{Budget, Line};

pub fn row(bench: &Bench) -> Vec<Line> {
    let shapes = [
        (100, Shape::Turns, "turns", "handoffs, 100 wait, each has it once"),
        (100, Shape::Handoffs, "handoffs", "handoffs, 100 contend, again at once"),
        (2, Shape::Handoffs, "handoffs", "handoffs, 2 contend, again at once"),
    ];
    let mut lines = Vec::new();
    for (contenders, shape, name, what) in shapes {
        let mut redis = Redis::start(Cores::All, &bench.scratch);
        let sidecars = [Lockside::start(Cores::All, redis.port), Lockside::start(Cores::All, redis.port)];
        let targets = sidecars.iter().map(|sidecar| sidecar.api.clone()).collect();
        let load = Load { targets, connections: contenders, seconds: bench.settings.seconds, shape };
        let (mut ours, mut theirs, mut our_commands, mut their_commands) = (vec![], vec![], vec![], vec![]);
        for _ in 0..bench.settings.rounds {
            let before = redis.count().commands;
            let report = load.run(Cores::All);
            let between = redis.count().commands;
            let grants = redis_py(bench, redis.port, contenders, name);
            let after = redis.count().commands;
            ours.push(report.rate());
            theirs.push(grants.handoffs / grants.seconds);
            our_commands.push((between - before) as f64 / report.counted as f64);
            their_commands.push((after - between) as f64 / grants.handoffs);
        }
        let line = Line::beside('f', what, "1/s", ours, ("redis-py", theirs));
        lines.push(line.budget(Budget::AtLeast(100.0)));
        lines.push(Line::beside('f', "Redis commands for one of them", "", our_commands, ("redis-py", their_commands)));
    }
    lines
}
