//! Other people's locks, by their own clients, on a Redis like ours.

use std::io::Read;

use serde::Deserialize;

use crate::Bench;
use crate::process::{Cores, Process};

/// What a peer's script prints.
#[derive(Deserialize)]
pub struct Grants {
    pub grants: f64,
    /// Grants to another than had it before.
    #[serde(default)]
    pub handoffs: f64,
    pub seconds: f64,
}

/// redis-py's blocking lock: `handoffs` or `turns`, as `redis_py_lock.py` describes them.
pub fn redis_py(bench: &Bench, redis_port: u16, contenders: usize, shape: &str) -> Grants {
    let path = bench.scratch.path("redis_py_lock.py");
    std::fs::write(&path, include_str!("redis_py_lock.py")).expect("a scratch file");
    let (port, contenders) = (redis_port.to_string(), contenders.to_string());
    let seconds = bench.settings.seconds.to_string();
    run(&bench.settings.python, &[&path, &port, &contenders, &seconds, shape])
}

fn run(program: &str, args: &[&str]) -> Grants {
    let mut process = Process::start(Cores::All, program, args);
    let mut text = String::new();
    process.stdout().read_to_string(&mut text).expect("a pipe");
    process.finish();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{program}: {error}: `{text}`"))
}

/// node-redlock, so many pairs at a time; nothing where it is not installed.
pub fn node_redlock(bench: &Bench, redis_port: u16, clients: usize) -> Option<Grants> {
    let modules = bench.settings.node_modules.as_ref().filter(|path| !path.is_empty())?;
    // Beside its modules, since that is where node looks for them.
    let path = format!("{modules}/../redlock-bench.cjs");
    std::fs::write(&path, include_str!("redlock.cjs")).expect("a file beside the modules");
    let (port, clients) = (redis_port.to_string(), clients.to_string());
    Some(run("node", &[&path, &port, &clients, &bench.settings.seconds.to_string()]))
}

/// Redisson's lock of this kind, `read` or `permit`, so many pairs one after the other; nothing where it is not installed.
pub fn redisson(bench: &Bench, redis_port: u16, kind: &str, pairs: usize) -> Option<Grants> {
    let jars = bench.settings.redisson.as_ref().filter(|path| !path.is_empty())?;
    let path = bench.scratch.path("Pairs.java");
    std::fs::write(&path, include_str!("redisson/Pairs.java")).expect("a scratch file");
    let (port, pairs, jars) = (redis_port.to_string(), pairs.to_string(), format!("{jars}/*"));
    Some(run("java", &["-XX:TieredStopAtLevel=1", "-cp", &jars, &path, &port, kind, &pairs]))
}
