//! Who has which slots: as the nodes say, and as a node is told before it starts.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::{MASTERS, Place, SLOTS};

/// What nodes say of each other, put together.
pub(super) struct Map(Vec<Claim>);

/// What one node says of another.
struct Claim {
    node: usize,
    /// The node that it follows, where it is a replica.
    master: Option<usize>,
    /// Who has the higher one has the slot.
    epoch: u64,
    slots: Vec<RangeInclusive<u16>>,
}

impl Map {
    /// From what some nodes answer to `CLUSTER NODES`.
    pub fn of(views: impl Iterator<Item = String>, ids: &[&str]) -> Map {
        let number = |id: &str| ids.iter().position(|known| *known == id);
        let mut claims = Vec::new();
        for view in views {
            for line in view.lines() {
                let fields: Vec<&str> = line.split(' ').collect();
                let Some(node) = number(fields[0]) else { continue };
                let (master, epoch) = (number(fields[3]), fields[6].parse().expect("an epoch"));
                // A slot that is being moved stands in brackets beside its range.
                let slots = fields[8..].iter().filter(|range| !range.starts_with('[')).map(|range| {
                    let (first, last) = range.split_once('-').unwrap_or((range, range));
                    first.parse().expect("a slot")..=last.parse().expect("a slot")
                });
                claims.push(Claim { node, master, epoch, slots: slots.collect() });
            }
        }
        Map(claims)
    }

    pub fn owner(&self, slot: u16) -> Option<usize> {
        let claims = self.0.iter().filter(|claim| claim.slots.iter().any(|range| range.contains(&slot)));
        claims.max_by_key(|claim| claim.epoch).map(|claim| claim.node)
    }

    pub fn masters(&self) -> Vec<usize> {
        let owners: BTreeSet<usize> = (0..SLOTS).step_by(16).filter_map(|slot| self.owner(slot)).collect();
        owners.into_iter().collect()
    }

    pub fn replicas_of(&self, master: usize) -> Vec<usize> {
        let replicas = self.0.iter().filter(|claim| claim.master == Some(master)).map(|claim| claim.node);
        replicas.collect::<BTreeSet<usize>>().into_iter().collect()
    }
}

/// The port on which a node speaks with others.
pub(super) fn bus(place: Place) -> u16 {
    place.listens + 10_000
}

/// The file from which node `own` learns of all.
pub(super) fn written(own: usize, ids: &[String], places: &[Place]) -> String {
    let lines = ids.iter().zip(places).enumerate().map(|(node, (id, place))| {
        let (port, bus, shard) = (place.announced, bus(*place), node % MASTERS);
        let myself = if node == own { "myself," } else { "" };
        let (role, master, slots) = match node {
            0..MASTERS => {
                let third = |part: usize| part * usize::from(SLOTS) / MASTERS;
                ("master", "-", format!(" {}-{}", third(node), third(node + 1) - 1))
            }
            _ => ("slave", ids[shard].as_str(), String::new()),
        };
        format!("{id} 127.0.0.1:{port}@{bus} {myself}{role} {master} 0 0 {} connected{slots}\n", shard + 1)
    });
    format!("{}vars currentEpoch {MASTERS} lastVoteEpoch 0\n", lines.collect::<String>())
}
