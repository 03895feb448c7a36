//! What is done when a node has said whose the slots are, and when a master is connected to or lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use tokio::time::sleep;

use super::view::Map;
use super::{Event, Follower, Missing, Trouble};
use crate::metrics::Label;
use crate::redis::master::{Address, Master};
use crate::redis::masters::Masters;
use crate::redis::operation::Reconnection;

impl Follower {
    pub(super) fn take_in(&mut self, event: Event) {
        match event {
            Event::Said(address, Ok(view)) => {
                self.asked.remove(&address);
                self.mute.remove(&address);
                // Once a master has answered, the seed nodes' answers are dropped.
                let is_master = |address: &Address| self.held.contains_key(address);
                if is_master(&address) {
                    self.views.retain(|known, _| is_master(known));
                } else if self.views.keys().any(is_master) {
                    return;
                }
                if self.views.get(&address) != Some(&view) {
                    self.views.insert(address, view);
                    self.follow();
                }
            }
            Event::Said(address, Err(problem)) => {
                self.asked.remove(&address);
                self.views.remove(&address);
                self.mute.insert(address, problem);
                if self.map.owners.is_empty() {
                    // What all of them say is said once.
                    let problems: BTreeSet<&str> = self.mute.values().map(String::as_str).collect();
                    self.status.silent(problems.into_iter().collect::<Vec<_>>().join("; "));
                }
            }
            Event::Taken(address, Ok(master)) => {
                let Some(Missing { reason, .. }) = self.missing.remove(&address) else { return };
                let (host, port) = &address;
                tracing::info!(reason = reason.label(), "connected to a master of the cluster: `{host}:{port}`");
                self.metrics.redis_reconnections.with_label_values(&[reason.label()]).inc();
                self.status.answered();
                self.held.insert(address, master);
                self.publish();
            }
            Event::Taken(address, Err(problem)) => {
                if let Some(missing) = self.missing.get_mut(&address) {
                    tracing::debug!(problem, "a master was rejected");
                    (missing.problem, missing.is_tried) = (Some(problem), false);
                    self.publish();
                }
            }
            Event::Retired | Event::Due | Event::Trouble(..) => {}
        }
    }

    /// Takes in whose the slots are now.
    fn follow(&mut self) {
        let map = Map::of(self.views.values());
        if map == self.map {
            return;
        }
        let reason = if self.map.owners.is_empty() { Reconnection::First } else { Reconnection::Switch };
        (self.map, self.changed) = (map, Instant::now());
        let is_owner = |address: &Address| self.map.owners.contains(address);
        self.missing.retain(|address, _| is_owner(address));
        let (held, replaced): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.held).into_iter().partition(|(address, _)| is_owner(address));
        self.held = held;
        self.views.retain(|address, _| !replaced.contains_key(address));
        replaced.into_values().for_each(|master| self.retire(master));
        for address in &self.map.owners {
            if !self.held.contains_key(address) {
                let missing = || Missing { reason, problem: None, tried: None, is_tried: false, given_up: None };
                self.missing.entry(address.clone()).or_insert_with(missing);
            }
        }
        self.connect();
        self.publish();
    }

    /// Gives up the connection to a master, until there is another.
    pub(super) fn drop_master(&mut self, address: Address, trouble: Trouble) {
        let Some(master) = self.held.remove(&address) else { return };
        self.changed = Instant::now();
        self.views.remove(&address);
        let (reason, problem, given_up) = match trouble {
            Trouble::Broken(problem) => (Reconnection::Lost, problem, None),
            Trouble::Wanted(reason) => {
                let problem = "it does not answer as a master does".to_owned();
                (reason, master.node.status.ready().err().unwrap_or(problem), Some(Instant::now()))
            }
        };
        master.node.status.silent(problem.clone());
        // Not at once where the last one did not last.
        let tried = Some(master.since);
        let problem = Some(problem);
        self.missing.insert(address, Missing { reason, problem, tried, is_tried: false, given_up });
        self.retire(master);
        self.publish();
    }

    /// Gives up a connection. It is still heard refuse what is under way, which the slots' new owner is then asked.
    fn retire(&mut self, master: Master) {
        master.give_up();
        let patience = self.config.timeout;
        self.tasks.spawn(async move {
            sleep(patience).await;
            drop(master);
            Event::Retired
        });
    }

    /// Tells who serves what.
    fn publish(&self) {
        let mut nodes = Vec::new();
        let mut away = Vec::new();
        let mut places = Vec::new();
        for (index, address) in self.map.owners.iter().enumerate() {
            let held = self.held.get(address);
            places.push(held.and_then(|_| u16::try_from(nodes.len()).ok()));
            nodes.extend(held.map(|master| Arc::clone(&master.node)));
            if let (None, Some(missing)) = (held, self.missing.get(address)) {
                let count = self.map.count(u16::try_from(index).ok());
                let (host, port) = address;
                let problem = missing.problem.as_deref().unwrap_or("not connected yet");
                let place = format!("`{host}:{port}`");
                let named = if problem.contains(&place) { String::new() } else { format!(", {place},") };
                away.push(format!("the master of {count} slots{named} is unavailable: {problem}"));
            }
        }
        let unowned = self.map.count(None);
        if unowned > 0 {
            away.push(format!("{unowned} slots have no master"));
        }
        if nodes.is_empty() && self.missing.values().all(|missing| missing.problem.is_some()) {
            self.status.silent(away.join("; "));
        }
        let slots = self.map.slots.iter().map(|slot| slot.and_then(|index| places[usize::from(index)]));
        self.give.send_replace(Masters::of_a_cluster(nodes, slots.collect(), away));
    }
}
