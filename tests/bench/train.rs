//! `make static`: plays what a sidecar does all day on a binary that counts how often each of its branches is taken, for the
//! compiler to read (`-C profile-use`). The shapes are those of the table.

use crate::Bench;
use crate::load::{Load, Shape};
use crate::process::{Cores, free_port};
use crate::servers::{Lockside, Redis};

/// Each shape for `--seconds`, on two sidecars that share a Redis. They write what they counted when they end.
pub fn play(bench: &Bench) {
    let redis = Redis::start(Cores::All, &bench.scratch);
    let grpc = format!("127.0.0.1:{}", free_port());
    let first = Lockside::with(Cores::All, &[], redis.port, &["--dapr-grpc-listen", &grpc]);
    let second = Lockside::start(Cores::All, redis.port);
    let one = vec![first.api.clone()];
    let both = vec![first.api.clone(), second.api.clone()];
    let load = |targets: &Vec<String>, connections, shape| Load {
        targets: targets.clone(),
        connections,
        seconds: bench.settings.seconds,
        shape,
    };
    let _held = load(&one, 64, Shape::Holds { ttl_ms: 1_000 }).stay();
    load(&one, 64, Shape::Acquires { count: 1_000, file: None }).run(Cores::All);
    for (targets, connections, shape) in [
        (&one, 64, Shape::Pairs),
        (&one, 1, Shape::Pairs),
        (&one, 64, Shape::Contended),
        (&one, 64, Shape::Renewals),
        (&both, 100, Shape::Handoffs),
        (&both, 2, Shape::Handoffs),
        (&one, 1, Shape::List),
        (&one, 64, Shape::DaprHttp),
        (&vec![grpc], 64, Shape::DaprGrpc),
    ] {
        load(targets, connections, shape).run(Cores::All);
    }
    first.process.terminate();
    second.process.terminate();
}
