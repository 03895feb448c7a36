//! What happens to a master.

use std::time::{Duration, Instant};

use crate::harness::Redundant;

/// What happens to a master.
#[derive(Clone, Copy, Debug)]
pub enum Blow {
    /// Killed, and started again when another is the master.
    Killed,
    /// Frozen, and resumed when another is the master.
    Frozen,
    /// Switched by hand: `SENTINEL FAILOVER`, `CLUSTER FAILOVER`.
    Switched,
}

/// Strikes the master that has a Redis key; how long it took until another served.
pub fn strike(redis: &mut impl Redundant, key: &str, blow: Blow) -> Duration {
    let (old, begun) = (redis.master(key), Instant::now());
    match blow {
        Blow::Killed => redis.kill(old),
        Blow::Frozen => redis.freeze(old),
        Blow::Switched => redis.switch(old),
    }
    redis.promoted(key, old);
    let took = begun.elapsed();
    match blow {
        Blow::Killed => redis.restart(old),
        Blow::Frozen => redis.resume(old),
        Blow::Switched => {}
    }
    took
}
