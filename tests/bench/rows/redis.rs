//! (i) What an operation costs Redis, which all sidecars share, beside the least that a lock could cost it.

use crate::Bench;
use crate::load::{Load, Shape};
use crate::process::Cores;
use crate::servers::{Counted, Lockside, Redis};
use crate::table::{Budget, Line};

/// Acquires, and then releases, in one round.
const LOCKS: usize = 10_000;
/// As deep as a sidecar's own pipeline under load.
const DEPTH: usize = 16;

#[derive(Default)]
struct Cost {
    script: Vec<f64>,
    cpu: Vec<f64>,
    commands: Vec<f64>,
    bytes: Vec<f64>,
}

impl Cost {
    fn add(&mut self, before: &Counted, after: &Counted, operations: u64) {
        let operations = operations as f64;
        self.script.push((after.script_us - before.script_us) / operations);
        self.cpu.push((after.cpu - before.cpu).as_secs_f64() * 1e6 / operations);
        self.commands.push((after.commands - before.commands) as f64 / operations);
        let bytes = |counted: &Counted| (counted.bytes_in + counted.bytes_out) as f64;
        self.bytes.push((bytes(after) - bytes(before)) / operations);
    }
}

/// Redis has a core to itself: its times are those on the clock, and would else be others' too.
pub fn row(bench: &Bench) -> Vec<Line> {
    let mut redis = Redis::start(Cores::One, &bench.scratch);
    let lockside = Lockside::start(Cores::Second, redis.port);
    let mut plain = Redis::start(Cores::One, &bench.scratch);
    let file = bench.scratch.path("acquired");
    let load =
        |shape| Load { targets: vec![lockside.api.clone()], connections: 64, seconds: bench.settings.seconds, shape };
    let targets = vec![format!("127.0.0.1:{}", plain.port)];
    let bare =
        Load { targets, connections: 1, seconds: bench.settings.seconds, shape: Shape::BareScripts { depth: DEPTH } };
    let (mut acquires, mut releases) = (Cost::default(), Cost::default());
    let (mut pairs, mut bares) = (Cost::default(), Cost::default());
    for _ in 0..bench.settings.rounds {
        let before = redis.count();
        load(Shape::Acquires { count: LOCKS, file: Some(file.clone()) }).run(Cores::Second);
        let between = redis.count();
        load(Shape::Releases { file: file.clone() }).run(Cores::Second);
        let after = redis.count();
        acquires.add(&before, &between, LOCKS as u64);
        releases.add(&between, &after, LOCKS as u64);
        let before = redis.count();
        let report = load(Shape::Pairs).run(Cores::Second);
        pairs.add(&before, &redis.count(), report.answers);
        let before = plain.count();
        let report = bare.run(Cores::Second);
        bares.add(&before, &plain.count(), report.answers);
    }
    let scripts = "bare scripts";
    vec![
        Line::beside('i', "in Redis: execution, acquire + release, each", "µs", pairs.script, (scripts, bares.script))
            .budget(Budget::AtMost(2.0)),
        Line::alone('i', "in Redis: execution, acquire", "µs", acquires.script),
        Line::alone('i', "in Redis: execution, release", "µs", releases.script),
        Line::beside('i', "in Redis: whole CPU, each", "µs", pairs.cpu, (scripts, bares.cpu)),
        Line::beside('i', "in Redis: commands, each", "", pairs.commands, (scripts, bares.commands)),
        Line::beside('i', "in Redis: bytes in and out, each", "", pairs.bytes, (scripts, bares.bytes)),
    ]
}
