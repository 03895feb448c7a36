//! Redis, whichever server that is just now: one and the same, or the master that sentinels name.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::sentinel::Master;
use super::{Call, Flight, Heard, InFlight, Info, Node, Push, RedisFailure, Reply, Sample, Script, Status};
use crate::config::{RedisConfig, RedisServer};
use crate::metrics::Metrics;

/// All that the engine asks of Redis. Cheap to clone; belongs to the runtime that made it.
#[derive(Clone)]
pub struct Redis {
    reach: Reach,
    in_flight: Arc<InFlight>,
    min_replicas: u32,
}

#[derive(Clone)]
enum Reach {
    One(Node),
    Master(Arc<Master>),
}

/// Runs `$call` on the server that it is for now. Written once, so that the future of one is not kept twice.
macro_rules! on {
    ($self:ident, $node:ident => $call:expr) => {{
        let master_now;
        let $node: &Node = match &$self.reach {
            Reach::One(node) => node,
            Reach::Master(master) => {
                master_now = Box::pin(master.now()).await?;
                &master_now
            }
        };
        $call.await
    }};
}

impl Redis {
    /// Starts to connect, and keeps at it for as long as the runtime lives. Redis need not be there.
    pub fn connect(config: &RedisConfig, in_flight: Arc<InFlight>, metrics: Arc<Metrics>) -> Redis {
        let reach = match &config.server {
            RedisServer::Tcp { .. } | RedisServer::Unix { .. } => {
                Reach::One(Node::connect(config, Arc::clone(&in_flight), metrics))
            }
            RedisServer::Sentinel { hosts, master } => {
                Reach::Master(Master::follow(hosts, master, config, Arc::clone(&in_flight), metrics))
            }
        };
        Redis { reach, in_flight, min_replicas: config.min_replicas }
    }

    /// Whether Redis answers, and if not, why.
    pub fn status(&self) -> Arc<Status> {
        match &self.reach {
            Reach::One(node) => node.status(),
            Reach::Master(master) => master.status(),
        }
    }

    /// How many replicas must have a promise before it counts.
    pub fn min_replicas(&self) -> u32 {
        self.min_replicas
    }

    /// Which kind of Redis this is, a word for metrics.
    pub fn topology(&self) -> &'static str {
        match &self.reach {
            Reach::One(_) => "single",
            Reach::Master(_) => "sentinel",
        }
    }

    /// Which server is spoken to now, as people say it.
    pub fn place(&self) -> String {
        match &self.reach {
            Reach::One(_) => "one server".to_owned(),
            Reach::Master(master) => format!("the master that sentinels name, {}", master.place()),
        }
    }

    /// Counts a request in; refuses it when too many wait for Redis already. Each request enters once, however many
    /// commands it needs.
    pub fn enter(&self) -> Result<Flight, RedisFailure> {
        self.in_flight.enter()
    }

    /// See [`Node::run_in_time`].
    pub async fn run_in_time(&self, script: &'static Script, call: impl Fn() -> Call) -> Result<Reply, RedisFailure> {
        on!(self, node => node.run_in_time(script, call))
    }

    /// Runs a script by its digest; loads it first where Redis does not know it, and the caller does not notice.
    pub async fn run(&self, script: &'static Script, call: impl Fn() -> Call) -> Result<Reply, RedisFailure> {
        on!(self, node => node.run(script, call))
    }

    /// At most `count` members of a zset with scores above `score` and below 2^53, with their scores, lowest score
    /// first.
    pub async fn members_above(&self, zset: &Bytes, score: u64, count: u32) -> Result<Vec<(Bytes, u64)>, RedisFailure> {
        on!(self, node => node.members_above(zset, score, count))
    }

    /// The member of a zset with exactly this score, which must be below 2^53.
    pub async fn member_at(&self, zset: &Bytes, score: u64) -> Result<Option<Bytes>, RedisFailure> {
        on!(self, node => node.member_at(zset, score))
    }

    /// Number of members of a zset.
    pub async fn cardinality(&self, zset: &Bytes) -> Result<u64, RedisFailure> {
        on!(self, node => node.cardinality(zset))
    }

    /// Whether a zset has this member.
    pub async fn has_member(&self, zset: &Bytes, member: &str) -> Result<bool, RedisFailure> {
        on!(self, node => node.has_member(zset, member))
    }

    /// Puts a mark that is kept for `keep_ms`.
    pub async fn mark(&self, key: &str, keep_ms: i64) -> Result<(), RedisFailure> {
        on!(self, node => node.mark(key, keep_ms))
    }

    /// Whether there is such a mark.
    pub async fn is_marked(&self, key: &str) -> Result<bool, RedisFailure> {
        on!(self, node => node.is_marked(key))
    }

    /// Says `message` on a channel; how many heard it.
    pub async fn publish(&self, channel: &str, message: &str) -> Result<u64, RedisFailure> {
        on!(self, node => node.publish(channel, message))
    }

    /// Listens on channels, by a connection of its own.
    pub async fn listen(&self, channels: Vec<String>, ear: mpsc::UnboundedSender<Heard>) -> Result<Push, RedisFailure> {
        on!(self, node => node.listen(channels, ear))
    }

    /// What Redis says of itself.
    pub async fn info(&self) -> Result<Info, RedisFailure> {
        on!(self, node => node.info())
    }

    /// What was last heard of Redis's clock; it is asked where that is not known yet.
    pub async fn clock(&self) -> Result<Option<Sample>, RedisFailure> {
        on!(self, node => node.clock())
    }

    /// A field of a hash, where there is one.
    pub async fn hash_field(&self, hash: &str, field: &str) -> Result<Option<Bytes>, RedisFailure> {
        on!(self, node => node.hash_field(hash, field))
    }
}
