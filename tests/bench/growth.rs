//! `make growth`: whether an operation costs the same when there are many locks, many connections, many sidecars, and many who
//! share a key. Draws a picture of each into `docs/bench/`.

use std::fs;

use crate::Bench;
use crate::load::{Load, Shape};
use crate::process::Cores;
use crate::rows::shared::{self, Shared};
use crate::servers::{Lockside, Redis};
use crate::svg::{Picture, Series};
use crate::table::Spread;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/bench");
const FEW: usize = 64;

/// What an acquire or its release costs, in the middle of several rounds, microseconds.
struct Cost {
    lockside: f64,
    redis: f64,
    /// The time that Redis counts as spent in scripts.
    script: f64,
}

pub fn draw(bench: &Bench) {
    fs::create_dir_all(DIRECTORY).expect("a directory of the repository");
    picture("locks", "locks held", &[10, 1_000, 1_000_000].map(|held| (held, of(bench, 1, FEW, held))));
    picture(
        "connections",
        "connections, up to 64 of them busy",
        &[1, 100, 10_000].map(|open| (open, of(bench, 1, open, 0))),
    );
    picture("sidecars", "sidecars on one Redis", &[1, 4, 16].map(|count| (count, of(bench, count, FEW, 0))));
    picture_of_shares(bench);
}

/// What a share costs Redis with few who share the key and many, beside an exclusive lock.
fn picture_of_shares(bench: &Bench) {
    let costs = shared::costs(bench).shared;
    let median = |rounds: &[f64]| Spread::of(rounds.to_vec()).median;
    let series = |name, of: fn(&Shared) -> &[f64]| Series {
        name,
        points: costs.iter().map(|cost| (cost.holders as f64, median(of(cost)))).collect(),
    };
    let series = vec![
        series("shared acquire", |cost| &cost.shared.acquire),
        series("shared release", |cost| &cost.shared.release),
        series("exclusive acquire", |cost| &cost.alone.acquire),
        series("exclusive release", |cost| &cost.alone.release),
    ];
    let across = "leases that share the key";
    for Series { name, points } in &series {
        for (count, us) in points {
            println!("{count:>9} {across}: {name} {us:.1} µs in scripts");
        }
    }
    draw_into("shared", Picture { title: "In Redis's scripts", across, upward: "µs", series });
}

fn draw_into(name: &str, picture: Picture) {
    fs::write(format!("{DIRECTORY}/{name}.svg"), picture.draw()).expect("a file of the repository");
}

fn of(bench: &Bench, sidecars: usize, connections: usize, held: usize) -> Cost {
    let mut redis = Redis::start(Cores::All, &bench.scratch);
    let sidecars: Vec<Lockside> = (0..sidecars).map(|_| Lockside::start(Cores::All, redis.port)).collect();
    let targets: Vec<String> = sidecars.iter().map(|sidecar| sidecar.api.clone()).collect();
    let load =
        |connections, shape| Load { targets: targets.clone(), connections, seconds: bench.settings.seconds, shape };
    if held > 0 {
        load(FEW, Shape::Acquires { count: held, file: None }).run(Cores::All);
    }
    let busy = connections.min(FEW);
    let _idle = (connections > busy).then(|| load(connections - busy, Shape::Idle).stay());
    let (mut ours, mut theirs, mut scripts) = (vec![], vec![], vec![]);
    for _ in 0..bench.settings.rounds {
        let spent = || sidecars.iter().map(|sidecar| sidecar.process.cpu().as_secs_f64()).sum::<f64>();
        let (before, spent_before) = (redis.count(), spent());
        let report = load(busy, Shape::Pairs).run(Cores::All);
        let after = redis.count();
        let answers = report.answers as f64;
        ours.push((spent() - spent_before) * 1e6 / answers);
        theirs.push((after.cpu - before.cpu).as_secs_f64() * 1e6 / answers);
        scripts.push((after.script_us - before.script_us) / answers);
    }
    let middle = |rounds| Spread::of(rounds).median;
    Cost { lockside: middle(ours), redis: middle(theirs), script: middle(scripts) }
}

fn picture(name: &str, across: &'static str, costs: &[(usize, Cost)]) {
    for (count, cost) in costs {
        let Cost { lockside, redis, script } = cost;
        println!(
            "{count:>9} {across}: lockside {lockside:.1} µs, Redis {redis:.1} µs, in scripts {script:.1} µs a request"
        );
    }
    let points = |of: fn(&Cost) -> f64| costs.iter().map(|(count, cost)| (*count as f64, of(cost))).collect();
    let series = vec![
        Series { name: "CPU of lockside", points: points(|cost| cost.lockside) },
        Series { name: "CPU of Redis", points: points(|cost| cost.redis) },
        Series { name: "time in Redis's scripts", points: points(|cost| cost.script) },
    ];
    draw_into(name, Picture { title: "One request", across, upward: "µs", series });
}
