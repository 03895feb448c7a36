//! Three masters and a replica of each, a cluster: all real, on loopback.

mod map;
mod moving;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redis::{FromRedisValue, RedisResult, Value};

use super::topology::tls_args;
use super::{Place, Redundant, Scratch, TestRedis, TimedRedis, until};
use map::Map;

const MASTERS: usize = 3;
const SLOTS: u16 = 16384;
/// A frozen node answers nobody; the others do so at once.
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);

/// Nodes 0 to 2 begin as masters of a third of the slots each, and 3 to 5 as their replicas, in this order.
pub struct Cluster {
    nodes: Vec<Node>,
    is_tls: bool,
    _scratch: Scratch,
}

struct Node {
    server: TestRedis,
    id: String,
    /// Where it says that it listens.
    port: u16,
    /// Killed or frozen by the test.
    is_away: bool,
}

impl Cluster {
    /// Speaks TLS, also among its nodes, and knows the shipped ACL user.
    pub fn with_tls(args: &[&str]) -> Cluster {
        let places: Vec<Place> = (0..2 * MASTERS).map(|_| Place::free()).collect();
        Cluster::of(&places, args, true)
    }

    fn of(places: &[Place], args: &[&str], is_tls: bool) -> Cluster {
        let (scratch, process) = (Scratch::new(), std::process::id());
        let ids: Vec<String> = places.iter().map(|place| format!("{process:020x}{:020x}", place.listens)).collect();
        let nodes = (0..places.len()).map(|index| {
            let [port, announced] = [places[index].listens, places[index].announced].map(|port| port.to_string());
            let bus = map::bus(places[index]).to_string();
            // Its file is what it would have written itself, had the nodes met one by one, which takes them seconds.
            let config = scratch.file(&format!("nodes-{index}.conf"), map::written(index, &ids, places));
            let mut all: Vec<String> = [
                ["--bind", "127.0.0.1"],
                ["--cluster-enabled", "yes"],
                ["--cluster-config-file", &config],
                ["--cluster-announce-port", if is_tls { "0" } else { &announced }],
                ["--cluster-announce-bus-port", &bus],
                ["--cluster-node-timeout", "2000"],
                ["--cluster-require-full-coverage", "no"],
                ["--cluster-allow-replica-migration", "no"],
                ["--repl-diskless-sync-delay", "0"],
            ]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect();
            if is_tls {
                all.extend(tls_args(&scratch, &port, &["127.0.0.1"]));
                all.extend(["--tls-cluster", "yes", "--tls-replication", "yes"].map(str::to_owned));
            } else {
                all.extend(["--port".to_owned(), port]);
            }
            let all: Vec<&str> = all.iter().map(String::as_str).chain(args.iter().copied()).collect();
            let server = TestRedis::start_with(&all, None);
            Node { server, id: ids[index].clone(), port: places[index].announced, is_away: false }
        });
        let cluster = Cluster { nodes: nodes.collect(), is_tls, _scratch: scratch };
        cluster.settled();
        cluster
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// The slot of a Redis key.
    pub fn slot(&self, key: &str) -> u16 {
        let up = self.nodes.iter().position(|node| !node.is_away).expect("a node that answers");
        self.ask(up, "CLUSTER", &["KEYSLOT", key]).expect("a slot")
    }

    /// The master that has a Redis key, as who knows of the latest change of its slot says.
    pub fn owner(&self, key: &str) -> usize {
        self.map().owner(self.slot(key)).expect("every slot is somebody's")
    }

    /// All masters that have slots.
    pub fn masters(&self) -> Vec<usize> {
        self.map().masters()
    }

    /// The replica of a master.
    pub fn replica_of(&self, master: usize) -> usize {
        let replicas = self.map().replicas_of(master);
        *replicas.first().unwrap_or_else(|| panic!("no replica of {master}"))
    }

    /// Runs one command where its key is, or at each master where it asks for keys.
    pub fn ask_whom_it_concerns<T: FromRedisValue>(&self, command: &str, args: &[&str]) -> T {
        if command == "KEYS" {
            let ask = |master: &usize| self.ask::<Vec<Value>>(*master, command, args).expect("an answer from redis");
            let keys: Vec<Value> = self.masters().iter().flat_map(ask).collect();
            return T::from_redis_value(Value::Array(keys)).expect("keys");
        }
        // Every key of lockside's has a hash tag.
        let node = args.iter().find(|arg| arg.starts_with('{')).map_or(0, |key| self.owner(key));
        self.ask(node, command, args).expect("an answer from redis")
    }

    /// Runs one command at a node.
    pub fn ask<T: FromRedisValue>(&self, node: usize, command: &str, args: &[&str]) -> RedisResult<T> {
        redis::cmd(command).arg(args).query(&mut self.connection(node)?)
    }

    /// A connection to a node, which may be frozen.
    pub fn connection(&self, node: usize) -> RedisResult<TimedRedis> {
        TimedRedis::connect(&format!("unix:{}", self.nodes[node].server.socket()), ANSWERS_WITHIN)
    }

    fn is_well(&self, node: usize) -> bool {
        let Ok(info) = self.ask::<String>(node, "CLUSTER", &["INFO"]) else { return false };
        let Ok(nodes) = self.ask::<String>(node, "CLUSTER", &["NODES"]) else { return false };
        info.contains("cluster_state:ok\r\n")
            && info.contains("cluster_slots_ok:16384\r\n")
            && nodes.lines().count() == self.nodes.len()
            && !nodes.contains("fail")
            && nodes.matches("slave").count() == MASTERS
    }

    /// Waits until every node says that this one has the slot of a Redis key. Who takes a slot before it has heard of the latest
    /// epoch loses it again to who had it, and that one says that it is gone.
    pub fn agrees_on(&self, key: &str, owner: usize) {
        let slot = self.slot(key);
        until("all know who has the slot", || {
            (0..self.nodes.len()).all(|node| self.map_of([node]).owner(slot) == Some(owner))
        });
    }

    /// What the nodes that answer say.
    fn map(&self) -> Map {
        self.map_of((0..self.nodes.len()).filter(|node| !self.nodes[*node].is_away))
    }

    /// What these say.
    fn map_of(&self, nodes: impl IntoIterator<Item = usize>) -> Map {
        let views = nodes.into_iter().filter_map(|node| self.ask::<String>(node, "CLUSTER", &["NODES"]).ok());
        let ids: Vec<&str> = self.nodes.iter().map(|node| node.id.as_str()).collect();
        Map::of(views, &ids)
    }
}

impl Redundant for Cluster {
    const TOPOLOGY: &str = "cluster";
    const MASTERS: usize = MASTERS;
    const REPLICAS: usize = 1;

    fn start_at(places: &[Place], args: &[&str]) -> Cluster {
        Cluster::of(places, args, false)
    }

    /// It names some nodes, a replica first.
    fn url(&self) -> String {
        let hosts = [5, 0, 1].map(|node: usize| format!("127.0.0.1:{}", self.nodes[node].port)).join(",");
        format!("redis{}-cluster://{hosts}", if self.is_tls { "s" } else { "" })
    }

    fn server(&self, node: usize) -> &TestRedis {
        &self.nodes[node].server
    }

    fn port(&self, node: usize) -> u16 {
        self.nodes[node].port
    }

    fn master(&self, key: &str) -> usize {
        self.owner(key)
    }

    fn is_replicated(&self, key: &str) {
        let mut connection = self.connection(self.owner(key)).expect("a master that answers");
        redis::cmd("SET").arg(&[&probe(key), "written"]).query::<()>(&mut connection).expect("written");
        until("the replica has it", || redis::cmd("WAIT").arg(&["1", "100"]).query(&mut connection) == Ok(1));
    }

    fn kill(&mut self, node: usize) {
        self.nodes[node].server.kill();
        self.nodes[node].is_away = true;
    }

    fn restart(&mut self, node: usize) {
        self.nodes[node].server.up();
        self.nodes[node].is_away = false;
    }

    fn freeze(&mut self, node: usize) {
        self.nodes[node].server.signal("STOP");
        self.nodes[node].is_away = true;
    }

    fn resume(&mut self, node: usize) {
        self.nodes[node].server.signal("CONT");
        self.nodes[node].is_away = false;
    }

    /// By `CLUSTER FAILOVER`.
    fn switch(&self, master: usize) {
        let replica = self.replica_of(master);
        until("a switch by hand begins", || self.ask::<()>(replica, "CLUSTER", &["FAILOVER"]).is_ok());
    }

    fn promoted(&self, key: &str, old: usize) {
        let slot = self.slot(key);
        let probe = probe(key);
        until("another master serves", || {
            let Some(master) = self.map().owner(slot).filter(|master| *master != old) else { return false };
            match self.ask::<()>(master, "SET", &[&probe, "written", "PX", "1"]) {
                Ok(()) => true,
                Err(error) => error.code() == Some("NOREPLICAS"),
            }
        });
    }

    /// Every node knows that all are well, and each master has its replica.
    fn settled(&self) {
        until("the cluster is well", || (0..self.nodes.len()).all(|node| self.is_well(node)));
        until("each master has a replica", || {
            let masters = self.masters();
            masters.len() == MASTERS
                && masters.iter().all(|master| {
                    let info = self.ask::<String>(*master, "INFO", &["replication"]);
                    info.is_ok_and(|info| info.contains("role:master") && info.contains("state=online"))
                })
        });
    }

    fn place(&self) -> String {
        let mut ports: Vec<u16> = self.masters().into_iter().map(|master| self.port(master)).collect();
        ports.sort_unstable();
        let masters: Vec<String> = ports.into_iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis: a cluster, its masters {}\n", masters.join(", "))
    }
}

/// A key in the slot of another.
fn probe(key: &str) -> String {
    format!("{}}}:probe", key.split_once('}').expect("a key with a hash tag").0)
}

/// A port that is free, and so is the one 10000 above it, which the nodes use among themselves. Both are below those that
/// the kernel gives away by itself.
pub fn free_port() -> u16 {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 10_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    loop {
        // Processes that run at once begin far from each other.
        let number = std::process::id().wrapping_mul(617).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + number % COUNT).expect("below 22000");
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}
