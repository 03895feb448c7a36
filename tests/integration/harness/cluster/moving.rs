//! A slot that moves to another master, step by step.

use super::{Cluster, Redundant, until};

/// A slot on its way: each key is at one of the two masters.
pub struct Move<'a> {
    cluster: &'a Cluster,
    slot: String,
    from: usize,
    to: usize,
}

impl Cluster {
    /// Has a replica leave its master, and join the cluster as another master that has no slots yet.
    pub fn becomes_a_master(&self, node: usize) {
        let (first, id) = (self.port(0).to_string(), &self.nodes[node].id);
        self.ask::<()>(node, "CLUSTER", &["RESET", "SOFT"]).expect("it forgets the others");
        self.ask::<()>(node, "CLUSTER", &["MEET", "127.0.0.1", &first]).expect("it meets one of them");
        let knows = |nodes: String| {
            let is_master = |line: &str| line.starts_with(id.as_str()) && line.contains("master - ");
            nodes.lines().count() == self.nodes.len() && nodes.lines().any(is_master)
        };
        until("everybody knows it as a master", || {
            (0..self.nodes.len()).all(|node| self.ask(node, "CLUSTER", &["NODES"]).is_ok_and(knows))
        });
        until("it serves", || {
            let info = self.ask::<String>(node, "CLUSTER", &["INFO"]);
            info.is_ok_and(|info| info.contains("cluster_state:ok\r\n"))
        });
    }

    /// Begins to move the slot of a Redis key; no key has gone yet.
    pub fn begin_move(&self, key: &str, to: usize) -> Move<'_> {
        let (slot, from) = (self.slot(key).to_string(), self.owner(key));
        assert_ne!(from, to, "a slot moves to another master");
        for (at, state, other) in [(to, "IMPORTING", from), (from, "MIGRATING", to)] {
            let args = ["SETSLOT", &slot, state, &self.nodes[other].id];
            self.ask::<()>(at, "CLUSTER", &args).expect("the move begins");
        }
        Move { cluster: self, slot, from, to }
    }

    /// Moves the slot of a Redis key with all that is in it.
    pub fn move_slot(&self, key: &str, to: usize) {
        self.begin_move(key, to).finish();
    }
}

impl Move<'_> {
    /// Moves one Redis key.
    pub fn one(&self, key: &str) {
        self.migrate(&[key.to_owned()]);
    }

    /// Leaves the slot where it was; no key may have gone yet.
    pub fn give_up(self) {
        for node in [self.to, self.from] {
            self.cluster.ask::<()>(node, "CLUSTER", &["SETSLOT", &self.slot, "STABLE"]).expect("the slot stays");
        }
    }

    /// Moves all that is still there, and has both know whose the slot is now; they tell the others.
    pub fn finish(self) {
        // No key comes to a slot that is on its way: whoever would make one is sent to the target.
        loop {
            let rest: Vec<String> =
                self.cluster.ask(self.from, "CLUSTER", &["GETKEYSINSLOT", &self.slot, "1000"]).expect("keys");
            if rest.is_empty() {
                break;
            }
            self.migrate(&rest);
        }
        let target = &self.cluster.nodes[self.to].id;
        // The target first: no moment may come in which each says that the other has it.
        for node in [self.to, self.from] {
            self.cluster
                .ask::<()>(node, "CLUSTER", &["SETSLOT", &self.slot, "NODE", target])
                .expect("the slot is given");
        }
    }

    fn migrate(&self, keys: &[String]) {
        let port = self.cluster.port(self.to).to_string();
        let mut args = vec!["127.0.0.1", &port, "", "0", "5000", "KEYS"];
        args.extend(keys.iter().map(String::as_str));
        // Says NOKEY where all of them have expired meanwhile.
        self.cluster.ask::<String>(self.from, "MIGRATE", &args).expect("keys that go");
    }
}
