//! Redis for the rest of the program: routes each call to the current master of its slot, be there one server, or the masters
//! that sentinels or a cluster name.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};

use super::masters::{Masters, Slot};
use super::node::{CONNECTION_PATIENCE, Node};
use super::{Flight, Heard, InFlight, Info, Needs, Purpose, Push, RedisFailure, Sample, Status, cluster, sentinel};
use crate::metrics::Metrics;
use crate::redis::settings::{RedisConfig, RedisServer};

/// All that the engine asks of Redis. Cheap to clone; belongs to the runtime that made it.
#[derive(Clone)]
pub struct Redis {
    topology: Topology,
    pub(super) masters: watch::Receiver<Masters>,
    pub(super) status: Arc<Status>,
    in_flight: Arc<InFlight>,
    /// How long a command waits for a master.
    pub(super) patience: Duration,
    min_replicas: u32,
    pub(super) purpose: Purpose,
    /// Whether to ask by the connections for long reads.
    pub(super) is_beside: bool,
}

/// One of the masters.
pub struct Server {
    /// Host and port, or the path of its socket.
    pub place: String,
    /// Why it does not answer, where it does not.
    pub answers: Result<(), String>,
    /// A number that changes with the connection to it.
    pub connection: u64,
    /// Whether it may refuse a right that it granted when it was asked.
    pub is_in_doubt: bool,
    /// The first of the slots that were asked about which it serves, an index into them.
    pub first: Option<usize>,
}

/// Whether Redis is there: of several masters, whether any is.
#[derive(Clone)]
pub struct Health {
    status: Arc<Status>,
    masters: watch::Receiver<Masters>,
}

impl Health {
    /// `Ok` while Redis answers, else the reason.
    pub fn ready(&self) -> Result<(), String> {
        let masters = self.masters.borrow();
        if masters.nodes().is_empty() {
            // Between two masters, too.
            self.status.ready()
        } else {
            let mut answers = masters.nodes().iter().map(|node| node.status.ready());
            let first = answers.next().unwrap_or(Ok(()));
            first.or_else(|reason| answers.find(Result::is_ok).unwrap_or(Err(reason)))
        }
    }

    /// A right that Redis refused us within the last minute, on this connection, and what to change.
    pub fn lacks_a_right(&self) -> Option<String> {
        self.status.lacks_a_right()
    }

    /// As above, where a script was refused it.
    pub fn refuses_a_script(&self) -> bool {
        self.status.rights().refuses_a_script()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Topology {
    Single,
    Sentinel,
    Cluster,
}

impl Redis {
    /// Starts to connect, and keeps at it for as long as the runtime lives. Redis need not be there.
    pub fn connect(config: &RedisConfig, in_flight: Arc<InFlight>, metrics: Arc<Metrics>) -> Redis {
        let (topology, (masters, status)) = match &config.server {
            RedisServer::Tcp { .. } | RedisServer::ClusterNode { .. } | RedisServer::Unix { .. } => {
                let node = Node::connect(config, Arc::clone(&in_flight), metrics);
                let status = Arc::clone(&node.status);
                (Topology::Single, (watch::channel(Masters::all_of(Arc::new(node))).1, status))
            }
            RedisServer::Sentinel { hosts, master } => {
                (Topology::Sentinel, sentinel::follow(hosts, master, config, Arc::clone(&in_flight), metrics))
            }
            RedisServer::Cluster { hosts } => {
                (Topology::Cluster, cluster::follow(hosts, config, Arc::clone(&in_flight), metrics))
            }
        };
        let patience = CONNECTION_PATIENCE.min(config.timeout);
        let (min_replicas, purpose) = (config.min_replicas, Purpose::Locks);
        Redis { topology, masters, status, in_flight, patience, min_replicas, purpose, is_beside: false }
    }

    /// A handle on this Redis for another purpose.
    pub fn for_purpose(&self, purpose: Purpose) -> Redis {
        Redis { purpose, ..self.clone() }
    }

    /// A handle on these servers by connections of its own, for reads that may be long: no lock waits behind them.
    pub fn beside(&self) -> Redis {
        Redis { is_beside: true, ..self.clone() }
    }

    /// What lockside's ACL user must be allowed in this namespace.
    pub fn know(&self, needs: Needs) {
        self.status.rights().know(needs);
    }

    /// Refuses every request with this reason, on all threads, before anything is sent; or no longer.
    pub fn close(&self, why: Option<String>) {
        self.in_flight.close(why.map(|why| self.status.rights().advise(&format!("UNFIT {why}"))));
    }

    /// Whether another server is to take the place of one that fails.
    pub fn fails_over(&self) -> bool {
        self.topology != Topology::Single
    }

    /// The masters that are connected to, and which of `slots` each serves first.
    pub fn servers(&self, slots: &[Slot]) -> Vec<Server> {
        let masters = self.masters.borrow();
        let server = |node: &Arc<Node>| Server {
            place: node.config.place(),
            answers: node.status.ready(),
            connection: node.status.connection(),
            is_in_doubt: node.is_in_doubt(),
            first: slots.iter().position(|slot| masters.of(*slot).is_some_and(|owner| Arc::ptr_eq(owner, node))),
        };
        masters.nodes().iter().map(server).collect()
    }

    /// Whether Redis answers, and if not, why.
    pub fn health(&self) -> Health {
        Health { status: Arc::clone(&self.status), masters: self.masters.clone() }
    }

    /// How many replicas must have a promise before it counts.
    pub fn min_replicas(&self) -> u32 {
        self.min_replicas
    }

    /// Which kind of Redis this is, a word for metrics.
    pub fn topology(&self) -> &'static str {
        match self.topology {
            Topology::Single => "single",
            Topology::Sentinel => "sentinel",
            Topology::Cluster => "cluster",
        }
    }

    /// Whether each server has a part of the keys.
    pub fn is_cluster(&self) -> bool {
        self.topology == Topology::Cluster
    }

    /// Which servers are spoken to now, as people say it.
    pub fn place(&self) -> String {
        let masters = self.addresses();
        let masters = if masters.is_empty() { "unknown just now" } else { &masters };
        match self.topology {
            Topology::Single => "one server".to_owned(),
            Topology::Sentinel => format!("the master that sentinels name, {masters}"),
            Topology::Cluster => format!("a cluster, its masters {masters}"),
        }
    }

    /// The masters, `host:port` or the path of a socket, with a comma between; nothing while none is known.
    pub fn addresses(&self) -> String {
        let masters: Vec<String> = self.masters.borrow().nodes().iter().map(|node| node.config.place()).collect();
        masters.join(", ")
    }

    /// Counts a request in; refuses it when too many wait for Redis already. Each request enters once, however many
    /// commands it needs.
    pub fn enter(&self) -> Result<Flight, RedisFailure> {
        self.in_flight.enter()
    }

    /// Counts a request in that is never refused: one that keeps or frees what was granted. Were it shed with those that
    /// ask for more, an overload would cost locks.
    pub fn enter_always(&self) -> Flight {
        self.in_flight.enter_always()
    }

    /// Which of `slots` one master serves, each group by the places in `slots`; those that none is known of are one
    /// group, too.
    pub fn by_master(&self, slots: &[Slot]) -> Vec<Vec<usize>> {
        let masters = self.masters.borrow();
        let mut groups: Vec<(Option<*const Node>, Vec<usize>)> = Vec::new();
        for (place, slot) in slots.iter().enumerate() {
            let master = masters.of(*slot).map(Arc::as_ptr);
            match groups.iter_mut().find(|(other, _)| *other == master) {
                Some((_, places)) => places.push(place),
                None => groups.push((master, vec![place])),
            }
        }
        groups.into_iter().map(|(_, places)| places).collect()
    }

    /// Listens on channels that are yet to be named, wherever they are served; what is heard goes to the receiver.
    pub fn listen(&self) -> (Push, mpsc::UnboundedReceiver<Heard>) {
        Push::follow(self.masters.clone(), Arc::clone(&self.status), self.patience)
    }

    /// What each server says of itself, and which it is; none where no master is known.
    pub async fn infos(&self) -> Vec<(String, Result<Info, RedisFailure>)> {
        let nodes = self.masters.borrow().nodes().to_vec();
        join_all(nodes.iter().map(async |node| (node.config.place(), node.info().await))).await
    }

    /// What was last heard of each server's clock, and which it is; it is asked where that is not known yet.
    pub async fn clocks(&self) -> Vec<(String, Result<Option<Sample>, RedisFailure>)> {
        let nodes = self.masters.borrow().nodes().to_vec();
        join_all(nodes.iter().map(async |node| (node.config.place(), node.clock().await))).await
    }

    /// Which masters of some keys are away while others answer, a sentence each.
    pub fn away(&self) -> Vec<String> {
        if !self.is_cluster() {
            return Vec::new();
        }
        let masters = self.masters.borrow();
        let silent = masters.nodes().iter().filter_map(|node| {
            let reason = node.status.ready().err()?;
            let place = format!("`{}`", node.config.place());
            let named = if reason.contains(&place) { String::new() } else { format!(" {place}") };
            Some(format!("the master{named} is unavailable: {reason}"))
        });
        masters.away().iter().cloned().chain(silent).collect()
    }
}
