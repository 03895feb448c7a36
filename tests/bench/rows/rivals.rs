//! (j) Pairs of lock and unlock a second, 64 clients, beside what else a team might take.

use crate::Bench;
use crate::load::{Load, Shape};
use crate::peers::node_redlock;
use crate::process::Cores;
use crate::servers::{Etcd, Lockside, Redis};
use crate::table::{Budget, Line};

pub fn row(bench: &Bench) -> Vec<Line> {
    let redis = Redis::start(Cores::All, &bench.scratch);
    let lockside = Lockside::start(Cores::All, redis.port);
    let etcd = Etcd::start(&bench.scratch);
    let load = |api: &str, shape| Load {
        targets: vec![api.to_owned()],
        connections: 64,
        seconds: bench.settings.seconds,
        shape,
    };
    let (mut ours, mut etcds, mut redlocks) = (vec![], vec![], vec![]);
    for _ in 0..bench.settings.rounds {
        ours.push(load(&lockside.api, Shape::Pairs).run(Cores::All).rate() / 2.0);
        etcds.push(load(&etcd.api, Shape::Etcd).run(Cores::All).rate() / 2.0);
        redlocks.extend(node_redlock(bench, redis.port, 64).map(|grants| grants.grants / grants.seconds));
    }
    let mut lines = vec![
        Line::beside('j', "lock + unlock, 64 clients", "1/s", ours.clone(), ("etcd's HTTP gateway", etcds))
            .budget(Budget::AtLeast(6.0)),
    ];
    if !redlocks.is_empty() {
        let beside = ("node-redlock, no hop", redlocks);
        lines.push(Line::beside('j', "lock + unlock, 64 clients", "1/s", ours, beside).budget(Budget::AtLeast(0.9)));
    }
    lines
}
