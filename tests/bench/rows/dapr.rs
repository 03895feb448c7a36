//! (m) Dapr's lock and unlock over gRPC, 64 calls under way on one connection: beside lockside's own HTTP form of it, and
//! beside Dapr's sidecar.

use crate::Bench;
use crate::load::{Load, Report, Shape};
use crate::process::{Cores, Process, free_port};
use crate::servers::{Daprd, Lockside, Redis};
use crate::table::{Budget, Line};

const CALLS: usize = 64;

/// Pairs a second, and CPU a request.
#[derive(Default)]
struct Figures {
    rate: Vec<f64>,
    cpu: Vec<f64>,
}

impl Figures {
    fn measure(&mut self, bench: &Bench, process: &Process, target: &str, shape: Shape) {
        let seconds = bench.settings.seconds;
        let load = Load { targets: vec![target.to_owned()], connections: CALLS, seconds, shape };
        let before = process.cpu();
        let report: Report = load.run(Cores::All);
        self.rate.push(report.rate() / 2.0);
        self.cpu.push((process.cpu() - before).as_secs_f64() * 1e6 / report.answers as f64);
    }
}

pub fn row(bench: &Bench) -> Vec<Line> {
    let redis = Redis::start(Cores::All, &bench.scratch);
    let grpc = format!("127.0.0.1:{}", free_port());
    let lockside = Lockside::with(Cores::All, &[], redis.port, &["--dapr-grpc-listen", &grpc]);
    let daprd = Daprd::start(bench, redis.port);
    let (mut ours, mut http, mut theirs) = (Figures::default(), Figures::default(), Figures::default());
    for _ in 0..bench.settings.rounds {
        ours.measure(bench, &lockside.process, &grpc, Shape::DaprGrpc);
        http.measure(bench, &lockside.process, &lockside.api, Shape::DaprHttp);
        if let Some(daprd) = &daprd {
            theirs.measure(bench, &daprd.process, &daprd.grpc, Shape::DaprGrpc);
        }
    }
    let what = |what: &str| format!("Dapr's lock + unlock over gRPC, 64 calls: {what}");
    let mut lines = vec![
        Line::beside('m', what("pairs"), "1/s", ours.rate.clone(), ("over HTTP", http.rate)),
        Line::beside('m', what("CPU of a request"), "µs", ours.cpu.clone(), ("over HTTP", http.cpu)),
    ];
    if daprd.is_some() {
        let beside = "daprd 1.16";
        lines.push(
            Line::beside('m', what("pairs"), "1/s", ours.rate, (beside, theirs.rate)).budget(Budget::AtLeast(2.0)),
        );
        lines.push(
            Line::beside('m', what("CPU of a request"), "µs", ours.cpu, (beside, theirs.cpu))
                .budget(Budget::AtMost(0.33)),
        );
    }
    lines
}
