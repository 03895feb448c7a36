//! (k): what it costs to wait until a replica has a grant, beside not waiting, on the same Redis.

use crate::Bench;
use crate::load::{Load, Shape};
use crate::process::{Cores, eventually};
use crate::servers::{Lockside, Redis};
use crate::table::Line;

pub fn row(bench: &Bench) -> Vec<Line> {
    let (mut master, mut replica) =
        (Redis::start(Cores::All, &bench.scratch), Redis::start(Cores::All, &bench.scratch));
    let port = master.port.to_string();
    replica.ask::<()>(&["REPLICAOF", "127.0.0.1", &port]);
    eventually("the replica says what it has", || {
        master.ask::<()>(&["SET", "written", "yes"]);
        Some(()).filter(|()| master.ask::<u32>(&["WAIT", "1", "100"]) == 1)
    });
    let waits = Lockside::with(Cores::All, &[], master.port, &["--min-replicas", "1"]);
    let plain = Lockside::with(Cores::All, &[], master.port, &[]);
    let mut lines = Vec::new();
    for connections in [1, 64] {
        let (mut ours, mut others) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for _ in 0..bench.settings.rounds {
            for (figures, side) in [(&mut others, &plain), (&mut ours, &waits)] {
                let targets = vec![side.api.clone()];
                let load = Load { targets, connections, seconds: bench.settings.seconds, shape: Shape::Pairs };
                let report = load.run(Cores::All);
                figures.0.push(report.rate());
                figures.1.push(report.p50_us);
            }
        }
        let what = |what: &str| format!("--min-replicas 1, acquire + release, connections: {connections}: {what}");
        lines.push(Line::beside('k', what("requests"), "1/s", ours.0, ("without", others.0)));
        lines.push(Line::beside('k', what("p50"), "µs", ours.1, ("without", others.1)));
    }
    lines
}
