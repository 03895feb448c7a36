//! Who serves which keys just now.

use std::sync::Arc;

use super::Node;
use super::connection::slot_of;

/// The part of a cluster's keys that a key belongs to, 0 to 16383. Where one server has all keys it means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// How many there are.
    pub const COUNT: u16 = 16384;

    /// The slot of a key, or of a channel: by its hash tag where it has one.
    pub fn of(key: impl AsRef<[u8]>) -> Slot {
        Slot(slot_of(key.as_ref()))
    }

    pub(super) fn index(self) -> usize {
        self.0.into()
    }
}

/// The masters that are connected to.
#[derive(Clone, Default)]
pub(super) struct Masters {
    nodes: Vec<Arc<Node>>,
    /// Slot → index into `nodes`; `None` where one server has every slot.
    slots: Option<Arc<[Option<u16>]>>,
    away: Arc<[String]>,
}

impl Masters {
    /// One that has all keys.
    pub fn all_of(node: Arc<Node>) -> Masters {
        Masters { nodes: vec![node], slots: None, away: Arc::default() }
    }

    /// The masters that are connected, slot → index into them, and a sentence for each master that is missing.
    pub fn of_a_cluster(nodes: Vec<Arc<Node>>, slots: Arc<[Option<u16>]>, away: Vec<String>) -> Masters {
        Masters { nodes, slots: Some(slots), away: away.into() }
    }

    /// None for now, and why.
    pub fn none(why: &str) -> Masters {
        Masters { away: Arc::new([why.to_owned()]), ..Masters::default() }
    }

    /// Who serves a slot.
    pub fn of(&self, slot: Slot) -> Option<&Arc<Node>> {
        match &self.slots {
            None => self.nodes.first(),
            Some(slots) => slots[slot.index()].and_then(|index| self.nodes.get(usize::from(index))),
        }
    }

    /// Why some that should be here are not, a sentence each.
    pub fn away(&self) -> &[String] {
        &self.away
    }

    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }
}
